package sim

import (
	"context"
	"time"

	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// serving is how one run of a member answers those who ask it.
type serving struct {
	*applying
	answers  *driver.Answers
	fresh    replica.Fresh // that readers have
	level    level
	diverged bool // it knows of another history than its own
}

// looks has readers see what came of a step, and the checkers since when the member may
// take itself to be level.
func (x *serving) looks() {
	x.fresh = replica.FreshOf(x.replica, x.now())
	if x.fresh.Known && !x.level.known {
		x.level = level{known: true, since: x.s.schedule.now.Add(-x.fresh.Age)}
	}
}

// read notes a read that is answered once.
func (x *serving) read(q *protocol.Query, answer func(protocol.Result)) uint64 {
	step := x.s.schedule.steps
	return x.answers.Read(func(i protocol.Index, err error) {
		if err != nil {
			answer(protocol.Failed(err))
			return
		}
		if x.mayRead(i, step) {
			answer(x.query(q))
		}
	})
}

// mayRead checks that the state may answer a read that was asked for in a step.
func (x *serving) mayRead(i protocol.Index, step uint64) bool {
	if x.applied < i {
		x.s.fail(violated(RuleRead, "%s may read at %d, its state is at %d", x.name, i, x.applied))
		return false
	}
	if x.quarantined() {
		x.s.fail(violated(RuleQuarantine, "%s may read at %d, its state is in quarantine", x.name, i))
		return false
	}
	x.s.counts.add(countLinearizable, 1)
	if x.replica.Status(x.now()).Leads {
		x.s.counts.add(countReadsAtLeader, 1)
	}
	if x.s.plan.lease > 0 && step == x.s.schedule.steps {
		x.s.counts.add(countLeaseReads, 1)
	}
	return true
}

// query reads the state as it is, and checks how old it is said to be.
func (x *serving) query(q *protocol.Query) protocol.Result {
	sight := x.reads().Sight()
	if err := sight.Withheld(q); err != nil {
		x.s.counts.add(countDisputedRefused, 1)
		return protocol.Failed(err)
	}
	r := x.machine.Query(context.Background(), q)
	if r.Index != x.applied {
		x.s.fail(violated(RuleOrder, "%s reads at %d, its state is at %d", x.name, r.Index, x.applied))
	}
	if q.Consistency == protocol.Local {
		x.s.counts.add(countLocal, 1)
	}
	x.checkAge()
	return r
}

// checkAge asks the member how old its state is.
func (x *serving) checkAge() {
	age, known := x.replica.Age(x.now(), x.applied)
	if !known || x.s.plan.wild {
		return
	}
	x.s.counts.add(countAges, 1)
	x.s.fail(x.s.ledger.age(x.s.schedule.now, x.number, x.applied, int64(age)))
}

// agesEvery is between two looks at how old all members say that their states are.
const agesEvery = 25 * time.Millisecond

// watchAges asks all members for their ages while there are faults, whatever clients ask. It
// changes nothing.
func (s *load) watchAges() {
	s.again(agesEvery, int(s.options.Duration/agesEvery), func() bool {
		for _, m := range s.members {
			if m.up() && !m.paused {
				m.serving.checkAge()
			}
		}
		return true
	})
}

// checkAnswers checks that only what was asked is answered.
func (x *serving) checkAnswers(fx *replica.Effects) {
	for _, a := range fx.Answers {
		if !x.answers.Issued(a.Request) {
			x.s.fail(violated(RuleFault, "%s answers request %d, which nobody has asked", x.name, a.Request))
		}
	}
	for _, a := range fx.Reads {
		if !x.answers.Issued(a.Request) {
			x.s.fail(violated(RuleFault, "%s answers read %d, which nobody has asked", x.name, a.Request))
		}
	}
}
