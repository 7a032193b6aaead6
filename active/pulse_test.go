package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Rules of heartbeats by datagram: see pulse.go, and counterexample 37.

// The tokens that b and c say of themselves.
var tokens = map[string]protocol.Token{"b": {0xb}, "c": {0xc}}

// pulsedHub is a hub with a secret.
func pulsedHub(t *testing.T, terms ...int) *hub {
	h := newHub(t, 1, 1, terms...)
	h.n.m.cfg.Secret = Secret{1}
	return h
}

// pulse is one of b, answer an answer of a member, as they are sent by whoever has
// exchanged tokens with the hub.
func (h *hub) pulse(term protocol.Term, round uint64) *protocol.Pulse {
	return &protocol.Pulse{Term: term, Round: round, Of: tokens["b"], To: h.n.m.cfg.tokenFor(idOf("b"))}
}

func (h *hub) answer(of string, term protocol.Term, round uint64) *protocol.PulseAnswer {
	return &protocol.PulseAnswer{Term: term, Round: round, Of: tokens[of], To: h.n.m.cfg.tokenFor(idOf(of))}
}

// settled makes the hub the leader of term 2 that has committed its first entry, index 2,
// and that b and c have given their tokens.
func settledHub(t *testing.T) *hub {
	t.Helper()
	h := pulsedHub(t, 1)
	h.lead()
	for name, token := range tokens {
		h.says(name, &protocol.HeartbeatAnswer{Term: 2, Round: 1, Token: token})
	}
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	equal(t, "commit", h.n.m.hard.Commit, 2)
	return h
}

// forged are the tokens of a datagram as somebody may send them who is not asked: none,
// one that is not of this run of either side, and those of another pair.
func forged(h *hub) [][2]protocol.Token {
	mine := h.n.m.cfg.tokenFor(idOf("b"))
	before := Config{Secret: Secret{2}}
	return [][2]protocol.Token{
		{}, {tokens["b"], {}}, {{}, mine}, {tokens["b"], {0xb}}, {mine, tokens["b"]}, {mine, mine}, {tokens["b"], before.tokenFor(idOf("b"))},
		{{0xb, 1}, mine}, {tokens["b"], h.n.m.cfg.tokenFor(idOf("c"))}, {tokens["c"], h.n.m.cfg.tokenFor(idOf("c"))},
	}
}

// [S] A datagram in the leader's name, of somebody who has no stream to this member, or of
// an earlier run, would keep it from electing for ever.
func TestAForgedPulseKeepsNobodyFromElecting(t *testing.T) {
	h := pulsedHub(t, 1)
	h.says("b", &protocol.Heartbeat{Term: 2, Round: 1, Token: tokens["b"]})
	heard := h.n.m.heard
	for i, f := range forged(h) {
		h.tick(10 * time.Millisecond)
		p := h.pulse(2, uint64(10+i))
		p.Of, p.To = f[0], f[1]
		equal(t, "answers to a forged pulse", len(h.says("b", p)), 0)
		equal(t, "heard", h.n.m.heard, heard)
	}
	equal(t, "counted", h.n.m.Unheeded(), uint64(len(forged(h))))
	a := one[*protocol.PulseAnswer](t, h.says("b", h.pulse(2, 3)))
	equal(t, "answer", *a, protocol.PulseAnswer{Term: 2, Round: 3, Of: h.n.m.cfg.tokenFor(idOf("b")), To: tokens["b"]})
	equal(t, "heard by a pulse", h.n.m.heard, h.now)
}

// [S] A forged answer would confirm a read of a leader that has been replaced.
func TestAForgedPulseAnswerConfirmsNoRead(t *testing.T) {
	h := settledHub(t)
	h.n.m.ReadIndex(h.now, protocol.ReadIndex{Origin: idOf("a"), Run: 1, Request: 7})
	h.settle(h.n)
	round := h.n.m.lead.round
	for _, f := range forged(h) {
		a := h.answer("b", 2, round)
		a.Of, a.To = f[0], f[1]
		h.says("b", a)
		equal(t, "reads by a forged answer", len(h.n.reads), 0)
	}
	h.says("b", h.answer("b", 2, round))
	if len(h.n.reads) != 1 || h.n.reads[0].Request != 7 || h.n.reads[0].Index != 2 {
		t.Errorf("got reads %+v, want request 7 at 2", h.n.reads)
	}
}

// [S] Whoever leads a term of which this member does not know says so on a stream; and a
// datagram with "committed up to your end" would commit what no majority has.
func TestAPulseMovesNeitherTermNorLogNorCommit(t *testing.T) {
	h := pulsedHub(t, 1, 2, 2)
	h.says("b", &protocol.Heartbeat{Term: 2, Commit: 1, Round: 1, Token: tokens["b"]})
	h.says("c", &protocol.Vote{Term: 2, Pre: true, Token: tokens["c"]})
	before, last := h.n.m.hard, h.n.m.logTerms.LastIndex()
	for _, term := range []protocol.Term{0, 1, 2, 3, 9, 1 << 40} {
		h.says("b", h.pulse(term, 5))
		c := h.pulse(term, 50)
		c.Of, c.To = tokens["c"], h.n.m.cfg.tokenFor(idOf("c"))
		equal(t, "answers to another leader's pulse", len(h.says("c", c)), 0)
	}
	equal(t, "hard state", h.n.m.hard, before)
	equal(t, "last", h.n.m.logTerms.LastIndex(), last)
	equal(t, "leader", h.n.m.leader, idOf("b"))
	equal(t, "stopped", h.n.m.stopped, false)
	h.says("b", &protocol.Heartbeat{Term: 2, Commit: 3, Round: 5})
	equal(t, "commit by the stream's copy of the round", h.n.m.hard.Commit, 3)

	l := settledHub(t)
	l.propose("a", "x")
	l.says("b", l.answer("b", 2, l.n.m.lead.round))
	l.says("c", l.answer("c", 2, l.n.m.lead.round))
	l.says("c", l.answer("c", 9, l.n.m.lead.round+1))
	equal(t, "leader's commit", l.n.m.hard.Commit, 2)
	equal(t, "leader's term", l.n.m.hard.Term, 2)
	equal(t, "leader's state", l.n.m.state, StateLeader)
}

// A round that comes late or twice is no news: neither of a leader, nor of a later read.
func TestAPulseThatIsLateOrDoubledProvesNothing(t *testing.T) {
	h := settledHub(t)
	h.tick(LAN.Heartbeat)
	late := h.n.m.lead.round
	h.n.m.ReadIndex(h.now, protocol.ReadIndex{Origin: idOf("a"), Run: 1, Request: 7})
	h.settle(h.n)
	h.tick(LAN.Heartbeat)
	pulsed := h.n.m.lead.find(idOf("b")).pulsed
	h.says("b", h.answer("b", 2, late))
	h.says("b", h.answer("b", 2, late))
	h.says("b", h.answer("b", 1, h.n.m.lead.round)) // of a term that is over, in which this one led as well
	h.says("b", h.answer("b", 2, h.n.m.lead.round+1))
	equal(t, "reads", len(h.n.reads), 0)
	if p := h.n.m.lead.find(idOf("b")); p.round != late || p.pulsed == pulsed {
		t.Errorf("round %d, heard at %d: want that of the late answer, %d", p.round, p.pulsed, late)
	}
	heard := h.n.m.lead.find(idOf("b")).pulsed
	h.tick(10 * time.Millisecond)
	h.says("b", h.answer("b", 2, late))
	equal(t, "heard by a doubled answer", h.n.m.lead.find(idOf("b")).pulsed, heard)

	f := pulsedHub(t, 1)
	f.says("b", &protocol.Heartbeat{Term: 2, Round: 1, Token: tokens["b"]})
	one[*protocol.PulseAnswer](t, f.says("b", f.pulse(2, 4)))
	at := f.n.m.heard
	f.tick(10 * time.Millisecond)
	for _, round := range []uint64{4, 3, 1} {
		equal(t, "answers to an old pulse", len(f.says("b", f.pulse(2, round))), 0)
	}
	equal(t, "heard by an old pulse", f.n.m.heard, at)
	f.says("b", &protocol.Heartbeat{Term: 2, Round: 9, Token: tokens["b"]})
	at = f.n.m.heard
	f.tick(10 * time.Millisecond)
	one[*protocol.PulseAnswer](t, f.says("b", f.pulse(2, 8))) // what it pledges is pledged since round 9
	equal(t, "heard by a pulse that came after a later round", f.n.m.heard, at)
	one[*protocol.PulseAnswer](t, f.says("b", f.pulse(2, 10)))
	equal(t, "heard by the next one", f.n.m.heard, f.now)
}

// [S] Whoever has seen the tokens of a leader that is gone can send its pulses for ever. They
// keep its followers from electing for no longer than lostAfter election timeouts, and what
// is not heard is not answered: it would renew a lease that nobody pledges.
func TestPulsesAloneKeepNobodyForEver(t *testing.T) {
	h := pulsedHub(t, 1)
	h.says("b", &protocol.Heartbeat{Term: 2, Round: 1, Token: tokens["b"]})
	began, round := h.now, uint64(2)
	for ; h.now < began.Add((lostAfter+3)*LAN.Election) && h.n.m.state == StateFollower; round++ {
		h.tick(LAN.Heartbeat)
		answers := len(h.says("b", h.pulse(2, round)))
		equal(t, "answers", answers, map[bool]int{true: 1}[h.now < began.Add(lostAfter*LAN.Election)])
	}
	if lasted := h.now.Sub(began); h.n.m.state == StateFollower || lasted < lostAfter*LAN.Election {
		t.Errorf("after %v it is a %s, want it to ask for votes after %v", lasted, h.n.m.state, lostAfter*LAN.Election)
	}
}

// [S] Where datagrams pass and streams do not, a leader that is heard would lead on, and
// commit nothing.
func TestALeaderWithoutAMajorityOnStreamsStepsDown(t *testing.T) {
	const step = 50 * time.Millisecond
	for _, c := range []struct {
		name   string
		stream func(h *hub) protocol.Message // of c, again and again; nil: nothing
		leads  bool
	}{
		{"nothing on streams", func(*hub) protocol.Message { return nil }, false},
		{"heartbeats are answered on a stream", func(h *hub) protocol.Message { return &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round} }, true},
		{"appends are", func(*hub) protocol.Message { return &protocol.AppendAnswer{Term: 2, Index: 2} }, true},
	} {
		h := settledHub(t)
		began := h.now
		for h.now < began.Add(3*LAN.Election) {
			h.tick(step)
			if h.n.m.state != StateLeader {
				break
			}
			h.says("b", h.answer("b", 2, h.n.m.lead.round))
			h.says("c", h.answer("c", 2, h.n.m.lead.round))
			if msg := c.stream(h); msg != nil {
				h.says("c", msg)
			}
		}
		equal(t, c.name+": leads", h.n.m.state == StateLeader, c.leads)
		if lasted := h.now.Sub(began); !c.leads && (lasted < streamPatience*LAN.Election-step || lasted > streamPatience*LAN.Election) {
			t.Errorf("%s: it led on for %v, want %v", c.name, lasted, streamPatience*LAN.Election)
		}
	}
}

// [S] A follower that hears its leader by datagram alone gets no entry from it. It asks the
// flock, as without a leader, and elects nobody.
func TestAFollowerThatHearsPulsesAloneAsksTheFlock(t *testing.T) {
	h := pulsedHub(t, 1)
	h.says("b", &protocol.Heartbeat{Term: 2, Round: 1, Token: tokens["b"]})
	began := h.now
	for round := uint64(2); h.now < began.Add(4*LAN.Election); round++ {
		equal(t, "asks the flock", h.n.m.IsLeaderless(h.now), h.now >= began.Add(2*LAN.Election))
		h.tick(LAN.Heartbeat)
		h.says("b", h.pulse(2, round))
	}
	equal(t, "state", h.n.m.state, StateFollower)
	equal(t, "leader", h.n.m.leader, idOf("b"))
	h.says("b", appendOf(2, 1, 1, 1, logOf(1)))
	equal(t, "asks the flock while it is fed", h.n.m.IsLeaderless(h.now), false)
}

// What a pulse answers is pledged as what a heartbeat does: the lease runs from the
// sending of the round, and the follower keeps it.
func TestAPulseRenewsALeaseOnBothSides(t *testing.T) {
	h := leasedHub(t, LAN.Election, 1)
	h.n.m.cfg.Secret = Secret{1}
	h.lead()
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: 1, Token: tokens["b"]})
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.tick(LAN.Heartbeat)
	sent := h.now
	h.tick(LAN.Heartbeat / 2)
	h.says("b", h.answer("b", 2, h.n.m.lead.round))
	equal(t, "lease from", h.n.m.lead.leaseFrom, sent)

	f := leasedHub(t, LAN.Election, 1)
	f.n.m.cfg.Secret = Secret{1}
	f.says("b", &protocol.Heartbeat{Term: 2, Round: 1, Token: tokens["b"]})
	f.tick(400 * time.Millisecond)
	f.says("b", f.pulse(2, 2))
	f.tick(400 * time.Millisecond)
	equal(t, "pledged", f.n.m.isInLeasePromise(), true)
}

// A token is of one run and one pair: who is let in with another run is not known by the
// datagrams of the one before, and whoever has given none is sent none.
func TestTokensAreOfOneRunAndOnePair(t *testing.T) {
	b, c := idOf("b"), idOf("c")
	one, other := Config{Secret: Secret{1}}, Config{Secret: Secret{2}}
	if one.tokenFor(b) == one.tokenFor(c) || one.tokenFor(b) == other.tokenFor(b) || one.tokenFor(b).IsZero() {
		t.Error("two pairs or runs have one token")
	}
	h := settledHub(t)
	sent := func() (to []string) {
		h.sent()
		h.now = h.now.Add(LAN.Heartbeat)
		h.n.m.Tick(h.now)
		h.settle(h.n)
		for _, e := range h.wire {
			if p, ok := e.Message.(*protocol.Pulse); ok {
				to = append(to, nameOf(e.To))
				if p.To != tokens[nameOf(e.To)] || p.Of != h.n.m.cfg.tokenFor(e.To) {
					t.Errorf("%s is sent the tokens %x, %x", nameOf(e.To), p.Of, p.To)
				}
			}
		}
		return to
	}
	equal(t, "pulses to two", len(sent()), 2)
	h.n.m.LetIn(h.now, b, 77)
	if got := sent(); len(got) != 1 || got[0] != "c" {
		t.Errorf("pulses go to %v, want c alone: b has another run", got)
	}
	h.says("b", h.answer("b", 2, h.n.m.lead.round))
	if p := h.n.m.lead.find(b); p.round == h.n.m.lead.round {
		t.Error("the datagram of an earlier run counts")
	}
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: 1})
	equal(t, "pulses to one that knows no tokens", len(sent()), 1)
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: 1, Token: tokens["b"]})
	h.n.m.LetIn(h.now, b, 77)
	equal(t, "pulses after another stream of the same run", len(sent()), 2)
	h.n.m.LetIn(h.now, b, 78)
	next := h.n.m.current.Configuration.Without(c)
	if _, err := h.change("a", next); err != nil {
		t.Fatal(err)
	}
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: h.n.m.logTerms.LastIndex()})
	h.says("c", &protocol.AppendAnswer{Term: 2, Index: h.n.m.logTerms.LastIndex()})
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: h.n.m.logTerms.LastIndex()})
	h.says("c", &protocol.Vote{Term: 2, Pre: true, Token: tokens["c"]})
	equal(t, "tokens of the member without a seat", h.n.m.tokens[c], said{})
	equal(t, "members of whom something is known", len(h.n.m.tokens), 1)
}
