package sim

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// twice is how many seeds there are to one that is run a second time.
const twice = 20

// Summary is what came of many runs.
type Summary struct {
	// Seeds is how many were run.
	Seeds int
	// Violations are the reports of those that broke a promise, by seed.
	Violations []Report
	// Counts are those of all seeds together.
	Counts Counts
	// Steps, Virtual and Wall add up events, virtual time and real time. Wall
	// is that of the whole, not of the sum of all runs.
	Steps   uint64
	Virtual time.Duration
	Wall    time.Duration
	// Busy adds up the real time of each run, over all workers.
	Busy time.Duration
	// TraceHash covers the trace hashes of all seeds, in order.
	TraceHash uint64
}

// RunMany plays the seeds from, from+1, ..., n of them, on a number of workers
// (at least one). One seed in twenty is run twice and must give the same trace.
// progress, if not nil, is called after each seed, by one goroutine at a time,
// in no order; it returns false to stop early. A seed that Options.Stop ends does not count.
func RunMany(from uint64, n, workers int, o Options, progress func(Report) bool) Summary {
	began := time.Now()
	reports := make([]*Report, n)
	var next atomic.Int64
	var stop atomic.Bool
	var lock sync.Mutex
	var group sync.WaitGroup
	for range max(workers, 1) {
		group.Go(func() {
			for !stop.Load() {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				r := runChecked(from+uint64(i), o)
				if r.Stopped {
					stop.Store(true)
					return
				}
				lock.Lock()
				reports[i] = &r
				if progress != nil && !progress(r) {
					stop.Store(true)
				}
				lock.Unlock()
			}
		})
	}
	group.Wait()
	return summarize(reports, time.Since(began))
}

// runChecked runs a seed, and one in twenty a second time.
func runChecked(seed uint64, o Options) Report {
	r := Run(seed, o)
	if seed%twice != 0 || r.Violation != nil || r.Stopped {
		return r
	}
	o.Trace = nil // one trace is enough
	again := Run(seed, o)
	r.Wall += again.Wall
	if r.Stopped = again.Stopped; r.Stopped {
		return r
	}
	r.Violation = same(&r, &again)
	return r
}

// same checks that two runs of a seed have gone the same way.
func same(a, b *Report) error {
	if a.TraceHash == b.TraceHash && a.Steps == b.Steps {
		return nil
	}
	return violated(RuleDeterminism, "%016x after %d steps, then %016x after %d", a.TraceHash, a.Steps, b.TraceHash, b.Steps)
}

func summarize(reports []*Report, wall time.Duration) Summary {
	s := Summary{Wall: wall}
	for _, r := range reports {
		if r == nil {
			continue
		}
		s.Seeds++
		s.Counts.Add(&r.Counts)
		s.Steps += r.Steps
		s.Virtual += time.Duration(r.At)
		s.Busy += r.Wall
		s.TraceHash = mix(s.TraceHash ^ r.TraceHash)
		if r.Violation != nil {
			s.Violations = append(s.Violations, *r)
		}
	}
	return s
}

// Line names seeds, violations and time: the last line of `starling sim`.
func (s *Summary) Line() string {
	perSecond := 0.0
	if s.Busy > 0 {
		perSecond = float64(s.Seeds) / s.Busy.Seconds()
	}
	return fmt.Sprintf("%s, %s, %v (%.1f seeds per second and core, %.0f virtual hours)",
		counted(s.Seeds, "seed"), counted(len(s.Violations), "violation"), s.Wall.Round(time.Millisecond), perSecond, s.Virtual.Hours())
}

// counted is a number of things, of which one has no s.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Replay returns the command that plays a seed again.
func (r *Report) Replay(duration time.Duration) string {
	if duration == 0 {
		duration = DurationDefault
	}
	line := fmt.Sprintf("starling sim --seed %d --for %v", r.Seed, duration)
	o := &r.options
	if o.Profile != "" {
		line += " --profile " + o.Profile
	}
	if o.Actives != 0 && o.Actives != activesDefault {
		line += fmt.Sprintf(" --actives %d", o.Actives)
	}
	if o.Passives != 0 && o.Passives != passivesDefault {
		line += fmt.Sprintf(" --passives %d", max(o.Passives, 0))
	}
	if o.Reserves != 0 {
		line += fmt.Sprintf(" --reserves %d", o.Reserves)
	}
	return line
}
