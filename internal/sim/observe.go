package sim

import (
	"strings"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/sim/awkward"
	"github.com/starlinghq/starling/protocol"
)

// observe counts and traces what the replica tells of itself.
func (m *member) observe(events []protocol.Event) {
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case protocol.EventBecameCandidate:
			m.s.counts.add(countElections, 1)
		case protocol.EventBecameLeader:
			if m.leads(e.Term); m.s.ledger.ahead[e.Term] {
				m.s.counts.add(countElectedAhead, 1)
			}
		case protocol.EventSteppedDown:
			m.s.counts.add(countStepDowns, 1)
		case protocol.EventTransfer:
			if strings.HasSuffix(e.Text, replica.WithoutRoom) {
				m.s.counts.add(countFullHandOvers, 1)
			}
		case protocol.EventRejected:
			m.s.counts.add(countRejected, 1)
		case protocol.EventTruncated:
			m.truncates(e)
		case protocol.EventBecamePassive:
			at := e.Index
			m.log.sheds = &at
		case protocol.EventConfiguration:
			m.proposes(e.Index)
		case protocol.EventBehind:
			m.s.counts.add(countFarBehind, 1)
		case protocol.EventDiverged, protocol.EventRepaired:
			if !m.s.forked {
				m.quarantine()
			}
		case protocol.EventAhead:
			if !m.s.forked {
				m.s.fail(violated(RuleHistory, "%s says of a member: %s", m.name, e.Text))
			}
		}
		if m.s.trace.on() {
			if text, c := m.traced(e); text != "" {
				m.tell(c, "%s", text)
			}
		}
	}
}

// durableSum returns the sum of what a member has on disk at an index.
func (s *checkers) durableSum(id protocol.MemberID, i protocol.Index) protocol.LogSum {
	if m := s.byID(id); m != nil && m.copied != nil && !m.copied.refused {
		return m.copied.copy.log.durable.sumAt(i) // it has taken the place
	} else if m != nil && m.rolledBack != nil {
		return m.rolledBack.sumAt(i)
	} else if m != nil {
		return m.log.durable.sumAt(i)
	}
	if g, gone := s.graves[id]; gone {
		return g.durable.sumAt(i)
	}
	return protocol.LogSum{}
}

// apply runs the oldest batch through the state machine, entry by entry, so
// that digests are compared at every index.
func (m *member) apply() {
	work := &m.applies[0]
	batch := work.Entries
	m.applies = m.applies[1:]
	m.busy = false
	if work.Installed != 0 {
		if err := m.installState(work); err != nil {
			m.s.fail(err)
			return
		}
	}
	if m.number%2 == 1 && m.applied%4 == 0 {
		awkward.Spoil(int64(m.applied)) // this process, as others do that have more to do
	}
	results := make([]protocol.Result, 0, len(batch))
	for i := range batch {
		e := &batch[i]
		if e.Index != m.applied+1 {
			m.s.fail(violated(RuleOrder, "%s applies %d after %d", m.name, e.Index, m.applied))
			return
		}
		m.applied = e.Index
		if m.divergedState == nil {
			m.s.configured(e)
		}
		one := batch[i : i+1]
		if m.misapplies {
			one = m.misapplied(one)
		}
		results = m.machine.Apply(one, results)
		if err := m.machine.Stopped(); err != nil {
			m.s.fail(violated(RuleFault, "%s stops applying: %v", m.name, err))
			return
		}
		index, digest := m.machine.Digest()
		m.digest = digest
		if m.divergedState != nil && !m.wanders(e, digest) {
			continue
		}
		if m.s.forked {
			continue
		}
		if err := m.s.state.applied(m.name, e, &results[len(results)-1], index, digest); err != nil {
			m.s.fail(err)
			return
		}
	}
	if work.Take != nil {
		m.passes()
		if m.driver.Taking() {
			m.s.counts.add(countCheckpointEntriesSkipped, 1)
		}
		m.driver.Take(*work.Take)
	}
	m.digest = m.machine.Stats().Digest
	m.s.counts.add(countApplied, uint64(len(batch)))
	m.s.trace.note(tagApply, m.number, uint64(m.applied), 0)
	if !m.survives(afterApply) {
		return
	}
	run := m.run
	m.applying = true
	done := m.driver.Applied(work, results)
	m.applying = false
	m.replica.Applied(m.now(), done)
	if m.serve(); m.alive(run) {
		m.startApply()
	}
}

// configured counts the seats that a committed configuration gives, the first
// time that somebody applies it.
func (s *checkers) configured(e *protocol.Entry) {
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
