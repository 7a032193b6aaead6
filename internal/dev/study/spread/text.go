package spread

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Notes says what the figures rest on, one sentence each.
func Notes() []string {
	return []string{
		"Time is virtual. A message takes the delay and a random fifth on top, and costs its sender " + number(SendCost.Seconds()*1e6) + " us, one after another, in all modes. Loss is of datagrams; a stream that loses a packet is " + number(milliseconds(recovery)) + " ms and two delays late.",
		"hybrid and flood are the real core. \"push alone\" is measured by itself, with repair off.",
		"pull is a model: every passive asks an active for what comes next, by stream, and the active answers as soon as it has something.",
		"broadcast is a model of memberlist's documented queue: every 200 ms 1,400 B to 3 random members, each message 4 ceil(log10(N+1)) times, new ones first. Its entries count when they arrive, in any order; it repairs nothing.",
		"The bound is a tree in which each member sends a frame on over all but one of its links; the copies of a tree are one for each member, and the leader needs to send one.",
	}
}

// Table returns the figures of runs that differ in mode and members only, one
// column for each.
func Table(all []Figures) string {
	var b strings.Builder
	set := all[0].Setting
	sizes := slices.ContainsFunc(all, func(f Figures) bool { return f.Setting.Members != set.Members })
	if sizes {
		text := set.String()
		b.WriteString(text[strings.Index(text, ";")+2:] + "\n\n")
	} else {
		b.WriteString(set.String() + "\n\n")
	}
	row := func(name string, cell func(f *Figures) string, bound string) {
		line := fmt.Sprintf("%-34s", name)
		for i := range all {
			line += fmt.Sprintf(" %11s", cell(&all[i]))
		}
		b.WriteString(strings.TrimRight(fmt.Sprintf("%s  %9s", line, bound), " ") + "\n")
	}
	row("", func(f *Figures) string { return f.Setting.Mode.String() }, "bound")
	if sizes {
		row("passives", func(f *Figures) string { return grouped(f.Setting.Members) }, "")
	}
	row("copies per member", func(f *Figures) string { return fixed(f.Copies) }, "1.00")
	row("  of them pulled", func(f *Figures) string { return fixed(f.PulledCopies) }, "")
	row("copies sent by the leader", func(f *Figures) string { return fixed(f.LeaderCopies) }, "1.00")
	row("copies sent by all actives", func(f *Figures) string { return fixed(f.ActiveCopies) }, "")
	row("leader, all else, KB/s", func(f *Figures) string { return strconv.FormatFloat(f.LeaderControl/1000, 'f', 1, 64) }, "")
	row("  beside its copies", func(f *Figures) string { return percent(f.LeaderControlShare) }, "")
	if set.Zones > 1 {
		row("copies across zones", func(f *Figures) string { return fixed(f.Crossing) }, strconv.Itoa(set.Zones-1))
	}
	row("reached by push alone", func(f *Figures) string { return percent(f.CoveragePush) }, "")
	row("  in theory", func(f *Figures) string {
		if f.Setting.Mode != Flood || f.Setting.Dead > 0 {
			return ""
		}
		return percent(f.Setting.Theory())
	}, "")
	row("reached", func(f *Figures) string { return percent(f.Coverage) }, "100 %")
	row("arrivals by repair", func(f *Figures) string { return percent(f.RepairShare) }, "")
	bound := ""
	if !sizes {
		bound = spell(set.Bound())
	}
	row("99 % have an entry after", func(f *Figures) string { return spell(f.T99) }, "")
	row("all have an entry after", func(f *Figures) string { return spell(f.T100) }, bound)
	row("  in the worst case", func(f *Figures) string { return spell(f.T100Worst) }, "")
	row("lag, median", func(f *Figures) string { return spell(f.LagP50) }, "")
	row("lag, 99 %", func(f *Figures) string { return spell(f.LagP99) }, "")
	row("lag, worst", func(f *Figures) string { return spell(f.LagMax) }, "")
	age := func(d func(*Figures) time.Duration) func(*Figures) string {
		return func(f *Figures) string {
			if !f.AgeKnown {
				return "-"
			}
			return spell(d(f))
		}
	}
	row("reported age, median", age(func(f *Figures) time.Duration { return f.AgeP50 }), "")
	row("reported age, 99 %", age(func(f *Figures) time.Duration { return f.AgeP99 }), "")
	row("  below the true one", func(f *Figures) string {
		if !f.AgeKnown {
			return "-"
		}
		return fmt.Sprintf("%d of %d", f.AgesTooLow, f.AgesRead)
	}, "0")
	return b.String()
}

// spell writes a time for people.
func spell(d time.Duration) string {
	ms := milliseconds(d)
	switch {
	case d < 0:
		return "never"
	case d >= 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case ms >= 100:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case ms >= 10:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	}
	return strconv.FormatFloat(ms, 'f', 2, 64) + " ms"
}

// percent writes a share; -1 is none.
func percent(share float64) string {
	switch {
	case share < 0:
		return "-"
	case share == 1:
		return "100 %"
	case share > 0.999:
		// Never rounded to all of them.
		return strconv.FormatFloat(float64(int(share*1e6))/1e4, 'f', -1, 64) + " %"
	}
	return strconv.FormatFloat(100*share, 'f', 2, 64) + " %"
}

func fixed(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

// number writes a number without needless digits.
func number(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// grouped writes a whole number with commas.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
