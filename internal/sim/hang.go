package sim

import (
	"runtime"
	"time"
)

const (
	// hangMax is how long one step may take, in real time: it takes well under
	// a millisecond.
	hangMax = 30 * time.Second
	// stepsPerSecond bounds the events of a simulated second for each member
	// and client. The busiest seeds have a twentieth of it.
	stepsPerSecond = 4000
)

// stepsMax bounds the events of a run: members that answer one another without
// end would let it go on for ever, or stop time.
func (s *simulation) stepsMax() uint64 {
	seconds := uint64((s.options.Duration + settleMax) / time.Second)
	return stepsPerSecond * (seconds + 1) * uint64(len(s.members)+len(s.clients)+1)
}

// watched plays the trace on a goroutine of its own. A step that does not end is
// a violation; that goroutine is then left alone, because nothing can end it.
func (s *simulation) watched(patience time.Duration) Report {
	began := time.Now()
	done := make(chan string, 1)
	go func() { done <- s.play() }()
	look := time.NewTicker(patience)
	defer look.Stop()
	last := ^uint64(0)
	for {
		select {
		case stack := <-done:
			return Report{
				Seed: s.seed, Profile: s.plan.profile, Violation: s.violation, At: s.schedule.now, Steps: s.schedule.steps,
				Counts: s.counts, TraceHash: s.trace.hash, Wall: time.Since(began), Stack: stack, TraceErr: s.trace.broken(), options: s.asked,
			}
		case <-look.C:
			beat := s.beat.Load()
			if beat == last {
				return s.hung(beat, patience, time.Since(began))
			}
			last = beat
		}
	}
}

// hung is the report of a run that has not ended. Only what belongs to nobody
// else may be read.
func (s *simulation) hung(step uint64, patience, wall time.Duration) Report {
	stacks := make([]byte, 1<<16)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return Report{
		Seed: s.seed, Profile: s.plan.profile, Steps: step, Wall: wall, Stack: string(stacks), options: s.asked,
		Violation: violated(RuleEnds, "step %d has taken more than %v of real time", step, patience),
	}
}
