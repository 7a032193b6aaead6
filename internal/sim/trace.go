package sim

import (
	"fmt"
	"io"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// trace is what happened, as a hash always and as lines on demand. The hash
// covers every message, write, completion and fault, so that two runs of a
// seed that differ anywhere differ in it.
type trace struct {
	hash  uint64
	lines *traceLines // nil: no lines
	now   *Time
}

// on reports whether lines are wanted. Callers ask first, so that nothing is
// formatted in vain.
func (t *trace) on() bool { return t.lines != nil }

// messages reports whether lines about messages and clients are wanted.
func (t *trace) messages() bool { return t.lines != nil && t.lines.messages }

// broken returns why the trace did not get all lines, or nil.
func (t *trace) broken() error {
	if t.lines == nil {
		return nil
	}
	return t.lines.err
}

// tag is the first number of what is hashed: it tells kinds of happenings
// apart.
type tag uint64

const (
	tagSend tag = iota + 1
	tagDeliver
	tagPersist
	tagPersisted
	tagApply
	tagBoot
	tagDown
	tagFault
	tagSeen
	tagAsk
	tagAnswer
	tagTick
	tagSuffrage
	tagRefused
	tagWeakRead
	tagTold
)

// note adds a happening to the hash.
func (t *trace) note(m tag, member int, a, b uint64) {
	h := t.hash
	h = (h ^ uint64(m)<<56 ^ uint64(member)<<48 ^ uint64(*t.now)) * 0x9e3779b97f4a7c15
	h = (bits.RotateLeft64(h, 29) ^ a) * 0xbf58476d1ce4e5b9
	h = (bits.RotateLeft64(h, 31) ^ b) * 0x94d049bb133111eb
	t.hash = h ^ h>>32
}

// say writes one line about the cluster as a whole.
func (t *trace) say(format string, args ...any) {
	if t.lines != nil {
		t.lines.across(*t.now, fmt.Sprintf(format, args...))
	}
}

// arrow writes one line about a message that arrives.
func (t *trace) arrow(from, to *member, text string) {
	if t.lines != nil {
		t.lines.between(*t.now, from.number, to.number, text)
	}
}

// traceLines writes a run for people: time goes down, each member has a column, and
// each event is one line. The sign at the left of a column says what the member
// is at that moment, so that a column can be followed with a finger.
type traceLines struct {
	out      io.Writer
	messages bool
	colors   bool
	names    []string
	sign     func(column int) string
	err      error // of the first line that could not be written
}

// The measures of a trace, in characters.
const (
	timeWide   = 8 // of the time
	columnWide = 14
)

// The signs of members.
const (
	signLeader  = "┃"
	signActive  = "│"
	signPassive = "┊"
	signPaused  = "z"
	signDown    = " "
)

// color is how something looks on a terminal.
type color string

const (
	colorPlain    color = ""
	colorLeader   color = "1;32" // bold green
	colorFault    color = "31"   // red
	colorTrouble  color = "33"   // yellow
	colorSuffrage color = "36"   // cyan
	colorQuiet    color = "2"    // faint
	colorAlarm    color = "1;31"
)

// head writes the legend and the names of the columns.
func (f *traceLines) head(title string) {
	f.write(title)
	f.write(signLeader + " leads   " + signActive + " active   " + signPassive + " passive   " + signPaused + " paused   (nothing) down")
	f.write("+12..15 writes these entries   cut 11 drops those above   commit 14 knows it to be decided   t3 term 3   x dies   % trouble   # seats")
	if f.messages {
		f.write("c1> asks   c1< is answered   ───▶ a message arrives")
	}
	line := pad("time", timeWide)
	for _, name := range f.names {
		line += "  " + pad(name, columnWide-2)
	}
	f.write(line)
}

// cells returns one line of signs, as runes.
func (f *traceLines) cells() []rune {
	line := []rune(strings.Repeat(" ", columnWide*len(f.names)))
	for i := range f.names {
		r, _ := utf8.DecodeRuneInString(f.sign(i))
		line[i*columnWide] = r
	}
	return line
}

// sign says what the member is at this moment, for its column.
func (p *process) sign() string {
	switch {
	case !p.up():
		return signDown
	case p.paused:
		return signPaused
	}
	switch st := p.replica.Status(p.now()); {
	case st.Leads:
		return signLeader
	case st.RaftRole != "none":
		return signActive
	}
	return signPassive
}

// beside writes an event into the column of a member, and beyond it if it is
// long.
func (f *traceLines) beside(now Time, member int, c color, text string) {
	line := f.cells()
	at := member*columnWide + 2
	end := at + utf8.RuneCountInString(text)
	after := ""
	if end+1 < len(line) {
		after = string(line[end+1:])
		text += " "
	}
	f.line(now, string(line[:at])+f.paint(c, text)+after)
}

// between draws an arrow from one column to another, with the text on it.
func (f *traceLines) between(now Time, from, to int, text string) {
	if from == to {
		f.beside(now, to, colorQuiet, text)
		return
	}
	line := f.cells()
	left, right := min(from, to)*columnWide+1, max(from, to)*columnWide-1
	shaft := []rune(strings.Repeat("─", right-left+1))
	label := []rune(text)
	if most := len(shaft) - 3; len(label) > most {
		label = append(label[:most-1:most-1], '…')
	}
	if from < to {
		copy(shaft[1:], label)
		shaft[len(shaft)-1] = '▶'
	} else {
		copy(shaft[len(shaft)-1-len(label):], label)
		shaft[0] = '◀'
	}
	copy(line[left:], shaft)
	f.line(now, string(line[:left])+f.paint(colorQuiet, string(line[left:right+1]))+string(line[right+1:]))
}

// across writes what concerns all members.
func (f *traceLines) across(now Time, text string) {
	c := colorSuffrage
	if strings.HasPrefix(text, "VIOLATION") {
		c = colorAlarm
	}
	f.line(now, f.paint(c, "── "+text+" "+strings.Repeat("─", max(2, columnWide*len(f.names)-utf8.RuneCountInString(text)-6))))
}

func (f *traceLines) line(now Time, text string) {
	f.write(f.paint(colorQuiet, fmt.Sprintf("%*.4f", timeWide, float64(now)/1e9)) + "  " + text)
}

func (f *traceLines) paint(c color, text string) string {
	if !f.colors || c == colorPlain {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

func (f *traceLines) write(line string) {
	if f.err == nil {
		_, f.err = fmt.Fprintln(f.out, strings.TrimRight(line, " "))
	}
}

func pad(s string, n int) string { return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) }
