package active

import (
	"crypto/sha256"

	"github.com/starlinghq/starling/protocol"
)

// Heartbeats share a stream with everything else. Where packets are lost, a stream stands
// still: for a fifth of a second after the first loss, twice as long after the next, and so
// on, which is more than an election timeout. So each heartbeat goes by datagram as well, as
// a pulse, and whichever comes first counts (ADR 53).
//
//   - [S] A pulse counts with the tokens of both, which they have said on their streams in
//     this run of each. Anybody can send a datagram in the name of another: one that is not
//     known for what it is would keep followers from electing, confirm reads and renew a
//     lease.
//   - [S] It moves neither term, nor log, nor commit index, and it ends nobody. The
//     heartbeat on the stream does.
//   - [S] A leader needs an answer of a majority on streams all the same, within
//     streamPatience election timeouts: where datagrams pass and streams do not, it would
//     lead on and commit nothing. A heartbeat on a stream is answered whatever the disk
//     does, so that what is answered for here is that streams work, in both directions.
//   - [S] A follower that hears its leader by pulses alone gets nothing from it. It asks the
//     flock for committed entries like one without a leader (see IsLeaderless).
//   - A round that came late or twice is old: it confirms no other round, and keeps nobody
//     with a leader that is gone. Nor do pulses alone, for longer than lostAfter election
//     timeouts: whoever has seen the tokens of two could forge them for ever.
//
// Without a secret, and to whoever has given no token, heartbeats go by stream alone.

// streamPatience is how many election timeouts a leader goes on without a majority on
// streams, of which it hears by datagram.
const streamPatience = 2

// Secret is what the tokens of one run are made of. It is random and nobody else's.
type Secret [32]byte

// listening is how a member hears its leader.
type listening struct {
	heard    protocol.Instant // when a leader was heard last; at first, the start
	streamed protocol.Instant // the same, on a stream
	pulse    struct {         // the newest one that counted
		term  protocol.Term
		round uint64
	}
	// rounds are the newest that came on a stream.
	rounds struct {
		term  protocol.Term
		round uint64
	}
	// tokens are those that others have said in the run that was let in last.
	tokens map[protocol.MemberID]said
}

// said is what a run of a member has said on its streams.
type said struct {
	run   protocol.RunID // 0: not known
	token protocol.Token // zero: none
}

// tokenFor is what this member says to another, and what that shows in its pulses. It is
// another one for each pair and run.
func (c *Config) tokenFor(id protocol.MemberID) (t protocol.Token) {
	if c.Secret == (Secret{}) {
		return t
	}
	var b [len(c.Secret) + len(id)]byte
	copy(b[copy(b[:], c.Secret[:]):], id[:])
	sum := sha256.Sum256(b[:])
	copy(t[:], sum[:])
	return t
}

// noteToken remembers what a member has said on a stream, if it has a seat or may have one:
// the list is as long as the configurations are.
func noteToken(m *Member, from protocol.MemberID, msg protocol.Message) {
	var t protocol.Token
	switch msg := msg.(type) {
	case *protocol.Vote:
		t = msg.Token
	case *protocol.VoteAnswer:
		t = msg.Token
	case *protocol.Heartbeat:
		t = msg.Token
	case *protocol.HeartbeatAnswer:
		t = msg.Token
	}
	if !t.IsZero() {
		say(m, from, said{m.tokens[from].run, t})
	}
}

// letInToken forgets the token of an earlier run: this one is to say its own. Another
// stream of the same run changes nothing: where packets are lost streams break, and that is
// when pulses are needed.
func letInToken(m *Member, id protocol.MemberID, run protocol.RunID) {
	if m.tokens[id].run != run {
		say(m, id, said{run: run})
	}
}

func say(m *Member, id protocol.MemberID, what said) {
	if !m.current.Configuration.Names(id) && !m.names(id) {
		delete(m.tokens, id)
		return
	}
	if m.tokens == nil {
		m.tokens = map[protocol.MemberID]said{}
	}
	m.tokens[id] = what
}

// forgetTokens drops those of members that have lost their seats.
func forgetTokens(m *Member) {
	for id := range m.tokens { // order does not matter: each is judged by itself
		if !m.current.Configuration.Names(id) && !m.names(id) {
			delete(m.tokens, id)
		}
	}
}

// vouched reports whether a message is of whom it names. Streams see to that; a datagram
// shows that its sender has given its token on one, and has got this member's there.
func vouched(m *Member, from protocol.MemberID, msg protocol.Message) bool {
	var of, to protocol.Token
	switch msg := msg.(type) {
	case *protocol.Pulse:
		of, to = msg.Of, msg.To
	case *protocol.PulseAnswer:
		of, to = msg.Of, msg.To
	default:
		return true
	}
	known, mine := m.tokens[from].token, m.cfg.tokenFor(from)
	if known.IsZero() || mine.IsZero() {
		return false // it may say it on its stream in a moment: that is nothing to speak of
	}
	if of != known || to != mine {
		m.unheeded++
		return false
	}
	return true
}

// sendPulse sends the copy of a round's heartbeat to a follower whose token is known.
func sendPulse(m *Member, to protocol.MemberID) {
	if of, t := m.cfg.tokenFor(to), m.tokens[to].token; !of.IsZero() && !t.IsZero() {
		m.send(to, &protocol.Pulse{Round: m.lead.round, Term: m.hard.Term, Of: of, To: t})
	}
}

// onPulse hears a leader by datagram, and answers it. What it says of this term is that
// the sender leads it; of another term it says nothing.
func onPulse(m *Member, from protocol.MemberID, p *protocol.Pulse) {
	if p.Term != m.hard.Term || m.state == StateLeader || !m.leader.IsZero() && m.leader != from {
		return
	}
	if last := &m.pulse; last.term == p.Term && p.Round <= last.round {
		return
	}
	if m.now >= m.streamed.Add(lostAfter*m.cfg.Election) {
		return
	}
	m.pulse.term, m.pulse.round = p.Term, p.Round
	// [S] What is answered is pledged: the leader was heard since the round was sent, by
	// this pulse, or by a later round on the stream, which it has come after.
	if m.rounds.term != p.Term || p.Round >= m.rounds.round {
		hear(m, from, p.Term)
	}
	m.send(from, &protocol.PulseAnswer{Round: p.Round, Term: p.Term, Of: p.To, To: p.Of})
}

// onPulseAnswer counts an answer to a round, which says that its sender was in this term
// when that came. It says nothing of whether entries arrive there.
func onPulseAnswer(m *Member, from protocol.MemberID, a *protocol.PulseAnswer) {
	if m.state != StateLeader || a.Term != m.hard.Term {
		return
	}
	p := m.lead.find(from)
	if p == nil || a.Round > m.lead.round || a.Round <= p.round {
		return
	}
	p.pulsed, p.round = m.now, a.Round
	m.confirmRounds()
}

// quorumOnStreams is quorumHeard of streams alone.
func quorumOnStreams(m *Member) protocol.Instant {
	return instantOf(m.quorumOf(orderOf(m.now), func(p *progress) uint64 { return orderOf(p.heard) }))
}
