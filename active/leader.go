package active

import (
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// leadership is what a leader knows beyond what every active knows. It lasts
// for one term.
type leadership struct {
	// noop is the first entry of the term. Nothing is read, and no
	// configuration changed, before it is committed.
	noop protocol.Index
	time protocol.ClusterTime // now: see time.go

	progress    []progress // of all others in the latest configuration, by id
	heartbeatAt protocol.Instant

	round  uint64  // the last one sent
	rounds []round // sent and not confirmed, in order
	reads  []read  // that wait for a round to be sent

	leased    bool             // a round of this configuration was answered
	leaseFrom protocol.Instant // when it was sent

	transfer   *transfer        // under way
	handedOver bool             // TimeoutNow was sent in this term
	passAt     protocol.Instant // when the lead may be passed on again; see passOn

	batches []batch // proposed and not committed, in order
	bytes   int     // of all batches
}

// batch is what one call of Propose brought.
type batch struct {
	last  protocol.Index
	bytes int
}

// Proposal is one entry to be: a command or a tick.
type Proposal struct {
	Kind protocol.EntryKind
	Data []byte
}

// becomeLeader takes the leadership of a term that was won.
func (m *Member) becomeLeader() {
	invariant.Check(m.state == StateCandidate, "%s became leader of term %d", m.state, m.hard.Term)
	m.state, m.leader, m.ballots = StateLeader, m.cfg.ID, nil
	m.lead = &leadership{noop: m.logTerms.LastIndex() + 1, time: m.lastTime}
	m.lead.follow(m)
	m.emit(protocol.EventBecameLeader, m.cfg.ID, m.logTerms.LastIndex(), "")
	// Entries of earlier terms are committed by the one that follows them
	// (the paper, sections 5.4.2 and 8).
	m.appendOwn([]protocol.Entry{{Kind: protocol.EntryNoop}}, nil)
	m.startRound(true)
}

// stepDown gives up leadership in the same term.
func (m *Member) stepDown(why string) {
	m.emit(protocol.EventSteppedDown, protocol.MemberID{}, m.hard.Commit, why)
	m.becomeFollower(m.hard.Term, protocol.MemberID{})
}

// tickLeader steps down without a quorum, asserts leadership, and lets lost
// probes go out again.
func (m *Member) tickLeader() {
	if m.now >= m.quorumHeard().Add(m.cfg.Election) {
		m.stepDown("no quorum was heard for an election timeout")
		return
	}
	if m.now >= quorumOnStreams(m).Add(streamPatience*m.cfg.Election) {
		m.stepDown("no quorum was heard on streams for two election timeouts: datagrams pass, and nothing else")
		return
	}
	m.tickTransfer()
	if m.now < m.lead.heartbeatAt {
		return
	}
	for i := range m.lead.progress {
		if m.lead.progress[i].retry(m.now, m.cfg.Election, m.feedsAfter()) {
			m.due = true
		}
	}
	m.startRound(true)
	m.remindTransferee()
}

// Propose appends entries to the leader's log and returns the index of the
// first. They are stamped and encoded here, once; Data may be reused after.
// Nothing has happened if it fails: with ErrNotLeader, also while the
// leadership is being handed over, which lasts an election timeout at most; with
// ErrOverloaded if too much is uncommitted; with ErrTooLarge or ErrInvalid for an entry that
// cannot be replicated. A nil error is not a commit: the entries may still be
// lost with this leader.
func (m *Member) Propose(now protocol.Instant, proposals []Proposal) (protocol.Index, error) {
	m.advance(now)
	if err := mayPropose(m); err != nil {
		return 0, err
	}
	entries := make([]protocol.Entry, len(proposals))
	for i := range proposals {
		p := &proposals[i]
		entries[i] = protocol.Entry{Kind: p.Kind, Data: p.Data}
		if p.Kind == protocol.EntryNoop || p.Kind == protocol.EntryConfiguration || !m.current.Configuration.Level.Has(p.Kind) || !p.Kind.Known() {
			return 0, protocol.ErrInvalid.With("a " + p.Kind.String() + " entry was proposed")
		}
	}
	first := m.logTerms.LastIndex() + 1
	if len(entries) == 0 {
		return first, nil
	}
	bytes, err := m.admit(entries)
	if err != nil {
		return 0, err
	}
	m.appendOwn(entries, nil)
	m.lead.batches = append(m.lead.batches, batch{last: m.logTerms.LastIndex(), bytes: bytes})
	m.lead.bytes += bytes
	return first, nil
}

// entryOverheadMax is what an entry's envelope takes at most, in bytes.
const entryOverheadMax = 40

// admit refuses what is too large, and what would grow the uncommitted part of
// the log beyond its limits. One batch is always let in.
func (m *Member) admit(entries []protocol.Entry) (bytes int, err error) {
	for i := range entries {
		size := len(entries[i].Data) + entryOverheadMax
		if size > protocol.EntryBytesMax {
			return 0, protocol.ErrTooLarge.With("the entry is over the limit")
		}
		bytes += size
	}
	count := int(m.logTerms.LastIndex()-m.hard.Commit) + len(entries)
	if len(m.lead.batches) > 0 && (count > m.cfg.UncommittedMax || m.lead.bytes+bytes > m.cfg.UncommittedBytesMax) {
		return 0, protocol.ErrOverloaded
	}
	return bytes, nil
}

// appendOwn stamps entries with index, term and cluster time and appends them.
func (m *Member) appendOwn(entries []protocol.Entry, configs []protocol.ConfigurationAt) {
	index, at := m.logTerms.LastIndex(), m.lead.time
	for i := range entries {
		index++
		e := &entries[i]
		e.Index, e.Term, e.Time = index, m.hard.Term, at
	}
	protocol.EncodeEntries(entries)
	m.appendEntries(entries, configs)
	m.due = true
}

// hasCommittedOwnTerm reports whether an entry of the leader's own term is committed.
func (m *Member) hasCommittedOwnTerm() bool { return m.hard.Commit >= m.lead.noop }

// maybeCommit raises the commit index to what a majority holds durably, but
// only if that is an entry of the own term: an entry of an earlier one may be
// on a majority and still be replaced (the paper, figure 8).
func (m *Member) maybeCommit() {
	i := protocol.Index(m.quorumOf(uint64(m.disk.stable), matchOf))
	if i <= m.hard.Commit {
		return
	}
	if t, ok := m.logTerms.TermAt(i); !ok || t != m.hard.Term {
		return
	}
	m.commitTo(i)
	m.due = true
	m.lead.release(i)
	m.finishChange()
	if m.current.Index <= m.hard.Commit && !m.voter {
		// The paper, section 6: a leader that is not in the new configuration
		// leads until it is committed. The others learn so now.
		m.resign()
	}
}

// release forgets the proposals that are committed.
func (l *leadership) release(commit protocol.Index) {
	n := 0
	for n < len(l.batches) && l.batches[n].last <= commit {
		l.bytes -= l.batches[n].bytes
		n++
	}
	l.batches = l.batches[n:]
}

// onHeartbeatAnswer counts an answer to a round, and sends again what seems
// to be lost: whoever answers can be reached.
func (m *Member) onHeartbeatAnswer(from protocol.MemberID, a *protocol.HeartbeatAnswer) {
	if m.heedTerm(from, a.Term) || m.state != StateLeader {
		return
	}
	p := m.lead.find(from)
	if p == nil || a.Round > m.lead.round {
		return
	}
	p.hears(m.now)
	p.round = max(p.round, a.Round)
	p.unfit, p.room, p.told, p.takes = a.Unfit, a.Room, true, a.Takes
	if p.passive { // passives do not answer heartbeats
		p.passive = false
		p.probing = p.probing && p.state == ProgressCatchUp
	}
	if p.probing && m.now >= p.probeAt.Add(m.cfg.Heartbeat) && p.state == ProgressProbe {
		p.probing = false
	}
	m.due = true
	m.recheck(p)
	m.confirmRounds()
}
