package sim

import (
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/sim/awkward"
	"github.com/starlinghq/starling/protocol"
)

// applying is how a member applies what is committed, and what its state has become.
type applying struct {
	*witnessed
	machine   *machine.Machine
	behind    behind
	applies   []replica.Apply
	applied   protocol.Index // by the machine of the last run
	digest    machine.Digest
	busy      bool // the state machine is at work
	answering bool // what is applied is being answered
	// divergedState is what is known of a state that is wrong; nil: it is right.
	// misapplies says that it will apply the next entry that it can wrongly,
	// strayed that its state was wrong since it was last healed, shut that it is
	// in quarantine, which began when it had applied until. suspendServing is how many
	// checkpoint entries its state must pass to count as right.
	divergedState             *divergedState
	misapplies, strayed, shut bool
	until                     protocol.Index
	suspendServing            int
	// doubts counts how often the state went wrong, and right again; rightFrom is where it did that last: what it
	// has told up to there may be wrong.
	doubts    uint64
	rightFrom protocol.Index
}

// stop ends a run.
func (x *applying) stop() {
	x.comesRight("it is gone")
	x.rightFrom = 0
	x.machine, x.applies, x.busy, x.misapplies, x.suspendServing = nil, nil, false, false, 0
	x.behind = behind{}
	x.shut = x.shut && x.disk.quarantine
}

// startApply gives the next batch to the state machine, unless it is at work.
func (x *applying) startApply() {
	if x.busy || len(x.applies) == 0 || !x.survives(beforeApply) {
		return
	}
	x.busy = true
	x.later(x.applyTime(len(x.applies[0].Entries)), x.apply)
}

// applyTime is how long a state machine takes for a batch.
func (x *applying) applyTime(entries int) time.Duration {
	return between(x.s.random.members, 10*time.Microsecond, x.s.plan.apply) + time.Duration(entries)*2*time.Microsecond
}

// applyOne applies an entry. What the state holds stays within its limit, or does not grow.
func (x *applying) applyOne(one []protocol.Entry, results []protocol.Result) ([]protocol.Result, error) {
	before := x.machine.Stats().Held
	results = x.machine.Apply(one, results)
	if err := x.machine.Stopped(); err != nil {
		return results, violated(RuleFault, "%s stops applying: %v", x.name, err)
	}
	if s := x.machine.Stats(); s.Limit != 0 && s.Held > max(s.Limit, before) {
		return results, violated(RuleState, "%s holds %d bytes after %d, and %d before, and the limit is %d", x.name, s.Held, one[0].Index, before, s.Limit)
	}
	return results, nil
}

// apply runs the oldest batch through the state machine, entry by entry, so
// that digests are compared at every index.
func (x *applying) apply() {
	work := &x.applies[0]
	batch := work.Entries
	x.applies = x.applies[1:]
	x.busy = false
	if work.Installed != 0 {
		if err := x.installState(work); err != nil {
			x.s.fail(err)
			return
		}
	}
	if x.number%2 == 1 && x.applied%4 == 0 {
		awkward.Spoil(int64(x.applied)) // this process, as others do that have more to do
	}
	results := make([]protocol.Result, 0, len(batch))
	for i := range batch {
		e := &batch[i]
		if e.Index != x.applied+1 {
			x.s.fail(violated(RuleOrder, "%s applies %d after %d", x.name, e.Index, x.applied))
			return
		}
		x.applied = e.Index
		if x.divergedState == nil {
			x.s.configured(e)
		}
		one := batch[i : i+1]
		if x.misapplies {
			one = x.misapplied(one)
		}
		var err error
		if results, err = x.applyOne(one, results); err != nil {
			x.s.fail(err)
			return
		}
		index, digest := x.machine.Digest()
		x.digest = digest
		if x.divergedState != nil && !x.wanders(e, digest) {
			continue
		}
		if x.s.forked {
			continue
		}
		if err := x.s.state.applied(x.name, e, &results[len(results)-1], index, digest); err != nil {
			x.s.fail(err)
			return
		}
	}
	x.digest = x.machine.Stats().Digest
	x.s.counts.add(countApplied, uint64(len(batch)))
	x.s.trace.note(tagApply, x.number, uint64(x.applied), 0)
	if !x.survives(afterApply) {
		return
	}
	run := x.run
	x.answering = true
	done := x.driver.Applied(work, results)
	x.answering = false
	x.takes(work)
	x.replica.Applied(x.now(), done)
	if x.serve(); x.alive(run) {
		x.writesChanges()
		x.startApply()
	}
}

// takes has a checkpoint taken, or the state counted, after a checkpoint entry.
func (x *applying) takes(work *replica.Apply) {
	if work.Take == nil {
		return
	}
	x.passes()
	if x.driver.Taking() {
		x.s.counts.add(countCheckpointEntriesSkipped, 1)
	}
	x.driver.Take(work)
}

// installState makes the installed state the one in force.
func (x *applying) installState(a *replica.Apply) error {
	x.driver.Install(a)
	x.applied = a.Installed
	x.s.counts.add(countInstalls, 1)
	x.tell(colorSuffrage, "# its state is the installed one of %d", a.Installed)
	if x.unconfirmed() {
		x.s.counts.add(countUnconfirmed, 1)
	}
	return x.takesOver(a.Installed, false)
}

// configured counts the seats that a committed configuration gives, and what is confirmed, the first
// time that somebody applies it.
func (s *checkers) configured(e *protocol.Entry) {
	if e.Kind.Confirms() && e.Index > protocol.Index(len(s.state.applies)) {
		s.counts.add(countConfirmed, 1)
		if !s.forked {
			s.fail(s.state.confirmed(e))
		}
	}
	if e.Kind != protocol.EntryConfiguration || e.Index <= protocol.Index(len(s.state.applies)) {
		return
	}
	c, err := protocol.DecodeConfiguration(e.Data)
	if err != nil {
		s.fail(violated(RuleState, "the data of %s is no configuration: %v", e, err))
		return
	}
	s.counts.add(countConfigurations, 1)
	if c.Joint() {
		s.counts.add(countJoint, 1)
	}
	for _, line := range c.Members {
		before, _ := s.configuration.Find(line.ID)
		if before.Suffrage == line.Suffrage {
			continue
		}
		switch line.Suffrage {
		case protocol.SuffrageLearner:
			s.counts.add(countLearners, 1)
		case protocol.SuffrageVoter:
			s.counts.add(countVoters, 1)
		}
	}
	s.configuration = c
}
