package sim

import (
	"context"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// Answer passes the result of a command on to the client.
func (m *member) Answer(r replica.Answer) {
	a, ok := m.asked[r.Request]
	if !ok || a.read {
		m.s.fail(violated(RuleFault, "%s answers request %d, which nobody waits for", m.name, r.Request))
		return
	}
	delete(m.asked, r.Request)
	a.answer(r.Result)
}

// AnswerRead serves a read that the state may answer now.
func (m *member) AnswerRead(r replica.ReadAnswer) {
	a, ok := m.asked[r.Request]
	if !ok || !a.read {
		m.s.fail(violated(RuleFault, "%s answers read %d, which nobody waits for", m.name, r.Request))
		return
	}
	delete(m.asked, r.Request)
	if r.Err != nil {
		a.answer(protocol.Failed(r.Err))
		return
	}
	if m.applied < r.Index {
		m.s.fail(violated(RuleRead, "%s may read at %d, its state is at %d", m.name, r.Index, m.applied))
		return
	}
	if m.quarantined() {
		m.s.fail(violated(RuleQuarantine, "%s may read at %d, its state is in quarantine", m.name, r.Index))
		return
	}
	m.s.counts.add(countLinearizable, 1)
	if m.replica.Status(m.now()).Leads {
		m.s.counts.add(countReadsAtLeader, 1)
	}
	if m.s.plan.lease > 0 && a.step == m.s.schedule.steps {
		m.s.counts.add(countLeaseReads, 1)
	}
	a.answer(m.query(a.query))
}

// query reads the state as it is, and checks how old it is said to be.
func (m *member) query(q *protocol.Query) protocol.Result {
	r := m.machine.Query(context.Background(), q)
	if r.Index != m.applied {
		m.s.fail(violated(RuleOrder, "%s reads at %d, its state is at %d", m.name, r.Index, m.applied))
	}
	if q.Level == protocol.Local {
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
