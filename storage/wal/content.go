package wal

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// windowBytes is how much of a segment is in memory at a time while a log is read at a
// start, but for a record that is larger.
const windowBytes = 1 << 20

// content is what a segment holds, of which a window is in memory. A segment is
// large, and a machine may start many members at once.
//
// [S] What the disk refuses to give is read around and counts as bytes that are wrong:
// see vfs.ReadAround. It stays wrong, also if the disk gives it when the window comes
// by again: one opening does not judge the same bytes twice.
type content struct {
	file     vfs.File
	name     string
	size     int64
	patience *vfs.Patience
	// written is where the file ends, as far as anything was written of it. [S] It is the file
	// system's word, and only what follows the end of the log is passed over for it: a record is
	// looked for where it should be, whatever that says.
	written int64

	at     int64 // of the window
	window []byte
	seen   int64          // everything below was read
	bad    []vfs.BadRange // of that, in order
	looked following      // what following returned last
	err    error          // the first that is not about a bad place: nothing can be said then
}

// reset takes another segment. The window's memory is used again.
func (c *content) reset(s *segment, patience *vfs.Patience) {
	*c = content{file: s.file, name: s.name, size: s.size, patience: patience, window: c.window[:0]}
	c.written = vfs.Written(c.file, c.size)
	c.load(0, min(windowBytes, c.size))
}

// bytes returns n bytes from an offset on, until the next call; nil if there are not
// so many, or err is set.
func (c *content) bytes(at, n int64) []byte {
	if at+n > c.size || c.err != nil {
		return nil
	}
	for at+n > c.seen && c.seen < pageOf(at) && c.err == nil {
		c.readOn() // so that nothing is passed over
	}
	if at < c.at || at+n > c.at+int64(len(c.window)) {
		c.load(at, n)
	}
	if c.err != nil {
		return nil
	}
	return c.window[at-c.at : at-c.at+n : at-c.at+n]
}

// rest returns what follows an offset, as much as a window holds at most.
func (c *content) rest(at int64) []byte { return c.bytes(at, min(windowBytes, max(c.size-at, 0))) }

// finish reads what was not read yet: what of it is bad is told, too.
func (c *content) finish() {
	for c.seen < c.size && c.err == nil {
		c.readOn()
	}
}

// readOn reads a window of what was not read yet.
func (c *content) readOn() {
	if c.seen >= c.written {
		c.seen = c.size
		return
	}
	c.load(c.seen, min(windowBytes, c.size-c.seen))
}

func pageOf(at int64) int64 { return at &^ (segmentAlign - 1) }

// load has the window begin with the page of an offset and hold n bytes from there,
// and what else a window has room for. What it holds already is not read again.
func (c *content) load(at, n int64) {
	from := pageOf(at)
	to := min(c.size, max(from+windowBytes, at+n))
	var kept []byte
	if end := c.at + int64(len(c.window)); from >= c.at && from < end {
		kept = c.window[from-c.at : min(end, to)-c.at]
	}
	into := c.window[:0]
	if size := int(to - from); cap(into) < size || cap(into) > bufferKeep && size <= bufferKeep {
		into = make([]byte, 0, size)
	}
	into = append(into, kept...) // which may be the same memory, further on
	c.window, c.at = into[:to-from], from
	begin := from + int64(len(kept))
	bad, err := c.patience.ReadAround(c.file, c.window[len(kept):], begin, c.bad)
	if err != nil {
		c.err = protocol.ErrDiskFailed.Because(fmt.Errorf("%s: %w", c.name, err))
		return
	}
	if begin < c.seen {
		for _, b := range c.bad {
			if lo, hi := max(b.From, begin), min(b.To, to); lo < hi {
				clear(c.window[lo-from : hi-from])
			}
		}
	}
	c.note(bad)
	c.seen = max(c.seen, to)
}

// note adds bad places to those that are known.
func (c *content) note(bad []vfs.BadRange) {
	if len(bad) == 0 {
		return
	}
	all := append(slices.Clone(c.bad), bad...)
	slices.SortStableFunc(all, func(a, b vfs.BadRange) int { return cmp.Compare(a.From, b.From) })
	c.bad = all[:1]
	for _, b := range all[1:] {
		if last := &c.bad[len(c.bad)-1]; b.From <= last.To {
			last.To = max(last.To, b.To)
		} else {
			c.bad = append(c.bad, b)
		}
	}
}

// zeroSkip is how much of a segment's untouched end is passed over at a time.
const zeroSkip = 4096

var zeros [zeroSkip]byte

// following is what good headers at or after an offset of a segment say: the highest
// durable, how many there are, and where the last record ends.
type following struct {
	segment *segment
	at      int64
	last    protocol.Sequence
	durable protocol.Sequence
	records int
	end     int64
}

// following looks at all headers at or after an offset whose numbers are above last, as far as
// anything was written.
func (c *content) following(s *segment, at int64, last protocol.Sequence) following {
	if c.looked.segment == s && c.looked.at == at && c.looked.last == last {
		return c.looked // durableAnywhere has asked just now
	}
	f := following{segment: s, at: at, last: last, end: at}
	var h header
	for b := c.rest(at); len(b) >= recordBytes; b = c.rest(at) {
		k := 0
		for ; k+recordBytes <= len(b); k += recordAlign {
			if k+zeroSkip <= len(b) && bytes.Equal(b[k:k+zeroSkip], zeros[:]) {
				k += zeroSkip - 2*recordAlign // a header has its number in its second word
				continue
			}
			if parseHeader(b[k:], s.nonce, last, &h) {
				f.durable = max(f.durable, h.durable)
				f.records, f.end = f.records+1, max(f.end, min(at+int64(k)+h.size(), c.size))
			}
		}
		if at += int64(k); at >= c.written {
			break
		}
	}
	c.looked = f
	return f
}

// count counts the good headers at or after an offset, and says whether all of it is
// zeros.
func (c *content) count(at int64, nonce uint64) (n int, zero bool) {
	var h header
	zero = true
	for b := c.rest(at); len(b) > 0; b = c.rest(at) {
		k := 0
		for ; k+recordBytes <= len(b); k += recordAlign {
			zero = zero && allZero(b[k:k+recordAlign])
			if parseHeader(b[k:], nonce, 0, &h) {
				n++
			}
		}
		if at+int64(len(b)) == c.size {
			return n, zero && allZero(b[k:])
		}
		at += int64(k)
	}
	return n, zero
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
