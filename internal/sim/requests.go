package sim

import (
	"context"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// read notes a read that is answered once.
func (m *member) read(q *protocol.Query, answer func(protocol.Result)) uint64 {
	step := m.s.schedule.steps
	return m.answers.Read(func(i protocol.Index, err error) {
		if err != nil {
			answer(protocol.Failed(err))
			return
		}
		if m.mayRead(i, step) {
			answer(m.query(q))
		}
	})
}

// mayRead checks that the state may answer a read that was asked for in a step.
func (m *member) mayRead(i protocol.Index, step uint64) bool {
	if m.applied < i {
		m.s.fail(violated(RuleRead, "%s may read at %d, its state is at %d", m.name, i, m.applied))
		return false
	}
	if m.quarantined() {
		m.s.fail(violated(RuleQuarantine, "%s may read at %d, its state is in quarantine", m.name, i))
		return false
	}
	m.s.counts.add(countLinearizable, 1)
	if m.replica.Status(m.now()).Leads {
		m.s.counts.add(countReadsAtLeader, 1)
	}
	if m.s.plan.lease > 0 && step == m.s.schedule.steps {
		m.s.counts.add(countLeaseReads, 1)
	}
	return true
}

// query reads the state as it is, and checks how old it is said to be.
func (m *member) query(q *protocol.Query) protocol.Result {
	r := m.machine.Query(context.Background(), q)
	if r.Index != m.applied {
		m.s.fail(violated(RuleOrder, "%s reads at %d, its state is at %d", m.name, r.Index, m.applied))
	}
	if q.Consistency == protocol.Local {
		m.s.counts.add(countLocal, 1)
	}
	m.checkAge()
	return r
}

// checkAge asks the member how old its state is.
func (m *member) checkAge() {
	age, known := m.replica.Age(m.now(), m.applied)
	if !known || m.s.plan.wild {
		return
	}
	m.s.counts.add(countAges, 1)
	m.s.fail(m.s.ledger.age(m.s.schedule.now, m.number, m.applied, int64(age)))
}

// checkAnswers checks that only what was asked is answered.
func checkAnswers(m *member, fx *replica.Effects) {
	for _, a := range fx.Answers {
		if !m.answers.Issued(a.Request) {
			m.s.fail(violated(RuleFault, "%s answers request %d, which nobody has asked", m.name, a.Request))
		}
	}
	for _, a := range fx.Reads {
		if !m.answers.Issued(a.Request) {
			m.s.fail(violated(RuleFault, "%s answers read %d, which nobody has asked", m.name, a.Request))
		}
	}
}
