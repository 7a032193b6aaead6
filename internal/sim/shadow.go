package sim

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// shadow is a log without payload: the checkers' own copy of what a member
// was told to write.
type shadow struct {
	terms []protocol.Term
	sums  []protocol.LogSum
	state protocol.HardState
}

func (s *shadow) last() protocol.Index { return protocol.Index(len(s.terms)) }

// sumAt returns the log sum after an index; zero if it is not held.
func (s *shadow) sumAt(i protocol.Index) protocol.LogSum {
	if i == 0 || i > s.last() {
		return protocol.LogSum{}
	}
	return s.sums[i-1]
}

func (s *shadow) truncate(after protocol.Index) {
	if after < s.last() {
		s.terms, s.sums = s.terms[:after], s.sums[:after]
	}
}

// line is one write, without payload.
type line struct {
	id       uint64
	state    protocol.HardState
	truncate bool
	after    protocol.Index
	whole    bool // the log begins anew: terms and sums are all of it
	terms    []protocol.Term
	sums     []protocol.LogSum
}

func (s *shadow) write(w *line) {
	if w.whole {
		s.truncate(0)
		s.terms, s.sums = nil, nil
	}
	if w.truncate {
		s.truncate(w.after)
	}
	s.terms = append(s.terms, w.terms...)
	s.sums = append(s.sums, w.sums...)
	s.state = w.state
}

func (s *shadow) clone() *shadow {
	return &shadow{
		terms: append([]protocol.Term(nil), s.terms...),
		sums:  append([]protocol.LogSum(nil), s.sums...),
		state: s.state,
	}
}

// shadows are what one member has written, and what of it must survive a power
// cut. They outlive the member's runs.
type shadows struct {
	name    string
	written shadow
	durable shadow
	pending []line             // written, not known to be synced
	voted   protocol.HardState // term and vote of the newest vote that was written ahead of a write
	half    int                // how many writes at the end are not made in whole
	commit  protocol.Index
	// sheds, if not nil, is the index above which the member has dropped its log
	// in memory to become passive, in this run and not yet on disk. It may be
	// active again before there is room for that write.
	sheds *protocol.Index
}

// clone returns a copy that shares nothing with it.
func (m *shadows) clone() shadows {
	out := *m
	out.written, out.durable = *m.written.clone(), *m.durable.clone()
	out.pending = append([]line(nil), m.pending...)
	return out
}

// newer checks that b may follow a: terms never go back, a vote is for ever.
func newer(a, b protocol.HardState) bool {
	if b.Term < a.Term || b.Commit < a.Commit {
		return false
	}
	return b.Term > a.Term || a.Vote.IsZero() || a.Vote == b.Vote
}

// persist follows a write as it reaches the operating system.
func (m *shadows) persist(l *ledger, member int, role protocol.Role, id uint64, w *protocol.Write, entries []protocol.Entry) error {
	if l.blind {
		return nil
	}
	state := w.State.Noting(m.voted.Term, m.voted.Vote)
	if !newer(m.written.state, state) {
		return violated(RuleHardState, "%s writes %v after %v", m.name, w.State, m.written.state)
	}
	n := line{id: id, state: state, truncate: w.Truncate, after: w.After}
	if w.Truncate {
		if err := m.mayTruncate(l, member, role, w); err != nil {
			return err
		}
		m.sheds = nil
		m.written.truncate(w.After)
	}
	prev := m.written.last()
	var before protocol.Term
	if prev > 0 {
		before = m.written.terms[prev-1]
	}
	for i := range entries {
		e := &entries[i]
		prev++
		if e.Index != prev || e.Term < before {
			return violated(RuleOrder, "%s writes %s after %d@%d", m.name, e, prev-1, before)
		}
		before = e.Term
		if err := l.holds(member, e); err != nil {
			return err
		}
		if err := l.stamps(member, e); err != nil {
			return err
		}
		if role == protocol.RolePassive && !l.isCommitted(e.Index, e.Sum) {
			return violated(RulePassive, "%s, a passive, writes %s, which nobody knows to be committed", m.name, e)
		}
		n.terms = append(n.terms, e.Term)
		n.sums = append(n.sums, e.Sum)
	}
	if w.State.Commit > prev {
		return violated(RuleOrder, "%s writes commit %d in a log that ends at %d", m.name, w.State.Commit, prev)
	}
	n.truncate = false // done above
	m.written.write(&n)
	n.truncate = w.Truncate
	m.pending = append(m.pending, n)
	return nil
}

// vote follows a vote that is written ahead of the last writes, of which nothing is on the
// disk yet: what they say of term and vote rises with it. It returns how to take it back.
func (m *shadows) vote(l *ledger, term protocol.Term, vote protocol.MemberID, waiting int) (back func(), err error) {
	if l.blind {
		return func() {}, nil
	}
	was := m.clone()
	at, state := len(m.pending)-waiting, m.durable.state
	if at > 0 {
		state = m.pending[at-1].state
	}
	if term == state.Term && vote != state.Vote && !state.Vote.IsZero() {
		return nil, violated(RuleHardState, "%s writes another vote in term %d after %v", m.name, term, state)
	}
	m.pending = slices.Insert(m.pending, at, line{state: state})
	for i := at; i < len(m.pending); i++ {
		m.pending[i].state = m.pending[i].state.Noting(term, vote)
	}
	m.written.state, m.voted = m.written.state.Noting(term, vote), m.voted.Noting(term, vote)
	return func() { *m = was }, nil
}

// promises checks a message that leaves against what is on disk: a vote, the
// own one of a candidate included, and an acknowledgement are for ever.
func (m *shadows) promises(msg protocol.Message, to, self protocol.MemberID) error {
	have := &m.durable
	switch msg := msg.(type) {
	case *protocol.Vote:
		if !msg.Pre && have.state.Term == msg.Term && have.state.Vote != self || !msg.Pre && have.state.Term < msg.Term {
			return violated(RulePromise, "%s asks for votes in term %d, on its disk is %v", m.name, msg.Term, have.state)
		}
	case *protocol.VoteAnswer:
		if msg.Granted && !msg.Pre && (have.state.Term != msg.Term || have.state.Vote != to) {
			return violated(RulePromise, "%s votes for %s in term %d, on its disk is %v", m.name, to.Short(), msg.Term, have.state)
		}
	case *protocol.AppendAnswer:
		if !msg.Reject && !msg.Passive && (have.last() < msg.Index || have.sumAt(msg.Index) != m.written.sumAt(msg.Index) || have.state.Term < msg.Term) {
			return violated(RulePromise, "%s acknowledges %d in term %d, on its disk is %v and a log to %d", m.name, msg.Index, msg.Term, have.state, have.last())
		}
	}
	return nil
}

// mayTruncate checks a truncation before it is made. What the member knew to be
// committed when it truncated its log in memory is checked there: by now it may
// know more, about other entries.
func (m *shadows) mayTruncate(l *ledger, member int, role protocol.Role, w *protocol.Write) error {
	last := m.written.last()
	if sum := m.written.sumAt(w.After); w.Joined && sum != (protocol.LogSum{}) && (sum != w.AfterSum || m.written.terms[w.After-1] != w.AfterTerm) {
		return violated(RuleOrder, "%s truncates to %d@%d, log sum %s, of a log that has %d@%d there, log sum %s", m.name,
			w.After, w.AfterTerm, w.AfterSum, w.After, m.written.terms[w.After-1], sum)
	}
	if w.After >= last {
		return nil
	}
	if w.After < m.written.state.Commit {
		return violated(RuleNotTruncated, "%s truncates to %d, it has written that %d is committed", m.name, w.After, m.written.state.Commit)
	}
	active := role == protocol.RoleActive && (m.sheds == nil || *m.sheds != w.After)
	if active && l.isCommitted(w.After+1, m.written.sums[w.After]) {
		return violated(RuleNotTruncated, "%s, an active, truncates to %d, but its %d@%d is committed", m.name, w.After, w.After+1, m.written.terms[w.After])
	}
	// One that the log no longer names drops what it could not commit.
	if leader, ok := l.leaders[w.State.Term]; ok && leader == member && active {
		for i := w.After; i < last; i++ {
			if m.written.terms[i] == w.State.Term {
				return violated(RuleAppendOnly, "%s leads term %d and truncates its own %d@%d", m.name, w.State.Term, i+1, w.State.Term)
			}
		}
	}
	return nil
}

// synced says that everything written so far is durable, without the last writes, of which
// nothing is on the disk yet.
func (m *shadows) synced(waiting int) {
	n := max(len(m.pending)-waiting, 0)
	for i := range n {
		m.durable.write(&m.pending[i])
	}
	m.pending = slices.Delete(m.pending, 0, n)
}

// installState takes over what the first opening of a directory found. What a founder
// begins with is committed.
func (m *shadows) installState(l *ledger, member int, rec *storage.Opened) error {
	if l.blind {
		return nil
	}
	m.durable = shadow{}
	for i := range rec.Tail {
		if e := &rec.Tail[i]; e.Index <= rec.State.Commit {
			if err := l.commits(0, member, e.Term, e.Index, e.Term, e.Sum); err != nil {
				return err
			}
		}
		m.durable.terms = append(m.durable.terms, rec.Tail[i].Term)
		m.durable.sums = append(m.durable.sums, rec.Tail[i].Sum)
	}
	m.durable.state, m.commit = rec.State, rec.State.Commit
	m.written = *m.durable.clone()
	return nil
}

// ended returns the log as it was if it ends like that: with what was synced, and of
// the writes after it any number from the first on.
func (m *shadows) ended(last protocol.Index, sum protocol.LogSum) (*shadow, bool) {
	try := m.durable.clone()
	for k := 0; ; k++ {
		if try.last() == last && try.sumAt(last) == sum {
			return try, true
		}
		if k == len(m.pending) {
			return nil, false
		}
		try.write(&m.pending[k])
	}
}

// onOpened checks what an opening found: everything that was synced, and of
// the writes after it any number from the first on. If the power stayed on, it
// is all of them, but for those at the end that were not made in whole.
func (m *shadows) onOpened(l *ledger, power bool, half int, state protocol.HardState, last protocol.Index, sum protocol.LogSum) error {
	if l.blind {
		return nil
	}
	try := m.durable.clone()
	for k := 0; ; k++ {
		kept := power || k >= len(m.pending)-half
		if kept && try.state == state && try.last() == last && try.sumAt(last) == sum {
			m.written = *try
			m.durable = *try.clone()
			m.pending, m.voted = m.pending[:0], protocol.HardState{}
			m.commit = min(m.commit, last)
			for m.commit > 0 && !l.isCommitted(m.commit, m.written.sumAt(m.commit)) {
				m.commit-- // what it knew was of entries that did not reach the disk
			}
			return nil
		}
		if k == len(m.pending) {
			break
		}
		try.write(&m.pending[k])
	}
	rule := RuleDurable
	if !newer(m.durable.state, state) {
		rule = RuleHardState
	}
	return violated(rule, "%s recovers %v with a log to %d (%s) after power=%v; synced was %v to %d, written %v to %d in %d writes",
		m.name, state, last, sum, power, m.durable.state, m.durable.last(), m.written.state, m.written.last(), len(m.pending))
}

// reset follows a log that is begun anew after a checkpoint. What is before it is
// committed, or it would not be in a checkpoint.
func (m *shadows) reset(l *ledger, b *storage.Begin, state protocol.HardState) error {
	if l.blind {
		return nil
	}
	if !l.isCommitted(b.Index, b.Sum) {
		return violated(RuleStateMachine, "%s begins its log after %d (%s), which is not what is committed", m.name, b.Index, b.Sum)
	}
	if !newer(m.written.state, state) {
		return violated(RuleHardState, "%s begins its log anew with %v after %v", m.name, state, m.written.state)
	}
	all := l.upTo(b.Index)
	n := line{state: state, whole: true, terms: all.terms, sums: all.sums}
	m.written.write(&n)
	m.pending = append(m.pending, n)
	return nil
}
