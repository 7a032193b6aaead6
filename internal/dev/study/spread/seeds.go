package spread

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SeedsMax bounds how many seeds one report is of.
const SeedsMax = 1000

// Tails are the figures of one setting over several seeds: one seed says little of what
// is rare.
type Tails struct {
	Setting Setting // of the first seed
	All     []Figures
	// Times is how many times longer the lag that 99 % of the arrivals stay below is than
	// with the same seed and no member dead or slow; none if that is not asked.
	Times []float64
}

// RunSeeds measures a valid setting with so many seeds, from its own on. It does not
// measure push alone.
func RunSeeds(set Setting, seeds int, progress Progress) (Tails, error) {
	t := Tails{Setting: set}
	ill := set.Dead+set.Slow > 0
	for i := range seeds {
		part := func(from, to float64) Progress {
			return func(done float64) error { return progress((float64(i) + from + done*(to-from)) / float64(seeds)) }
		}
		now, share := set, 1.0
		now.Seed += uint64(i)
		if ill {
			share = 0.5
		}
		f, err := steady(&now, part(0, share))
		if err != nil {
			return Tails{}, err
		}
		f.CoveragePush, f.Curve = -1, nil
		t.All = append(t.All, f)
		if !ill {
			continue
		}
		now.Dead, now.Slow = 0, 0
		well, err := steady(&now, part(share, 1))
		if err != nil {
			return Tails{}, err
		}
		t.Times = append(t.Times, times(f.LagP99, well.LagP99))
	}
	return t, nil
}

// times is how many times longer one lag is than another; -1 if one never came.
func times(long, short time.Duration) float64 {
	if long < 0 || short <= 0 {
		return -1
	}
	return float64(long) / float64(short)
}

// middleAndWorst returns the middle and the worst of what is the worse the larger it is; -1
// says never, and is the worst of all.
func middleAndWorst(list []float64) (middle, worst float64) {
	s := slices.Clone(list)
	slices.SortFunc(s, func(a, b float64) int {
		switch {
		case a == b:
			return 0
		case a < 0 || b >= 0 && a > b:
			return 1
		}
		return -1
	})
	return s[len(s)/2], s[len(s)-1]
}

// tail is a figure over the seeds.
type tail struct {
	name, key string
	of        func(f *Figures) float64
	spell     func(x float64) string
}

func tails() []tail {
	return []tail{
		{"lag, median", "lag_p50_ms", func(f *Figures) float64 { return inMilliseconds(f.LagP50) }, spellMilliseconds},
		{"lag, 99 %", "lag_p99_ms", func(f *Figures) float64 { return inMilliseconds(f.LagP99) }, spellMilliseconds},
		{"lag, worst", "lag_max_ms", func(f *Figures) float64 { return inMilliseconds(f.LagMax) }, spellMilliseconds},
		{"copies per member", "copies_per_member", func(f *Figures) float64 { return f.Copies }, fixed},
		{"  of them pulled", "pulled_per_member", func(f *Figures) float64 { return f.PulledCopies }, fixed},
		{"copies sent by the leader", "leader_copies_per_frame", func(f *Figures) float64 { return f.LeaderCopies }, fixed},
		{"copies sent by all actives", "actives_copies_per_frame", func(f *Figures) float64 { return f.ActiveCopies }, fixed},
		{"not reached", "missed_share", func(f *Figures) float64 { return 1 - f.Coverage }, percent},
		{"reported age, 99 %", "age_p99_ms", func(f *Figures) float64 { return inMilliseconds(f.AgeP99) }, spellMilliseconds},
		{"  below the true one", "ages_too_low", func(f *Figures) float64 { return float64(f.AgesTooLow) }, number},
	}
}

// inMilliseconds is a time for comparing; -1 is never.
func inMilliseconds(d time.Duration) float64 {
	if d < 0 {
		return -1
	}
	return milliseconds(d)
}

func spellMilliseconds(ms float64) string {
	return spell(time.Duration(ms * float64(time.Millisecond)))
}

// each calls f with each figure that there is.
func (t *Tails) each(f func(x *tail, middle, worst float64)) {
	for _, x := range tails() {
		if x.key == "age_p99_ms" && !t.All[0].AgeKnown {
			continue
		}
		var list []float64
		for k := range t.All {
			list = append(list, x.of(&t.All[k]))
		}
		middle, worst := middleAndWorst(list)
		f(&x, middle, worst)
	}
	if len(t.Times) > 0 {
		middle, worst := middleAndWorst(t.Times)
		f(&tail{"lag, 99 %, times that of a healthy flock", "lag_p99_times", nil, fixed}, middle, worst)
	}
}

// String returns the figures, for people.
func (t *Tails) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s; this seed and the next %d\n\n%-42s %11s %11s\n", t.Setting.Mode, t.Setting.String(), len(t.All)-1, "", "median seed", "worst seed")
	t.each(func(x *tail, middle, worst float64) {
		fmt.Fprintf(&b, "%-42s %11s %11s\n", x.name, x.spell(middle), x.spell(worst))
	})
	return b.String()
}

// JSON is the figures for a script.
func (t *Tails) JSON() map[string]any {
	out := t.Setting.JSON()
	out["seeds"] = len(t.All)
	known := func(x float64) any {
		if x < 0 {
			return nil
		}
		return x
	}
	t.each(func(x *tail, middle, worst float64) {
		out[x.key] = map[string]any{"median": known(middle), "worst": known(worst)}
	})
	return out
}
