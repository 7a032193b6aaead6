package gossip

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// echoes lets time pass at a member that doubts another one, whose answers by stream and by
// datagram come after so long, never where it is 0. It counts the pairs that were sent.
func (b *bench) echoes(from protocol.MemberID, lasts, byStream, byDatagram time.Duration) (pairs int) {
	type answer struct {
		at  protocol.Instant
		msg protocol.Message
	}
	var coming []answer
	for end := b.now.Add(lasts); b.now < end; {
		rd := b.wait(10 * ms)
		for len(coming) > 0 && coming[0].at <= b.now {
			next := b.step(from, coming[0].msg)
			rd.Messages, coming = append(rd.Messages, next.Messages...), coming[1:]
		}
		for _, e := range rd.Messages {
			switch m := e.Message.(type) {
			case *protocol.StreamEcho:
				if m.Number != 0 {
					pairs++
					if byStream > 0 {
						coming = append(coming, answer{b.now.Add(byStream), &protocol.StreamEchoAnswer{Number: m.Number}})
					}
				}
			case *protocol.Echo:
				if byDatagram > 0 {
					coming = append(coming, answer{b.now.Add(byDatagram), &protocol.EchoAnswer{Number: m.Number}})
				}
			}
		}
	}
	return pairs
}

// UDP is closed, and the stream takes longer than the pause between two pairs of echoes: all
// answers are late, the member was taken for gone, and datagrams were tried for ever.
func TestAnswersToEchoesMayBeLate(t *testing.T) {
	for _, late := range []time.Duration{300 * ms, 700 * ms, 2 * time.Second} {
		b := newBench(t, protocol.RolePassive, chain(10, 10, "h"), 10, 1, 2, Config{})
		m := b.core.members.get(activeID(1))
		b.core.carriers.doubt(b.now, m)
		b.echoes(m.id, time.Minute, late, 0)
		if c := m.carrier; !c.lost {
			t.Errorf("streams of %v: got %+v, want that datagrams are lost", late, c)
		}
		if m.rtt != late && m.rtt < late/2 {
			t.Errorf("streams of %v: a round trip of %v", late, m.rtt)
		}
		b.echoes(m.id, time.Minute, late, late)
		if c := m.carrier; c.doubted || c.lost {
			t.Errorf("round trips of %v: got %+v, want that datagrams are back", late, c)
		}
	}
	// Who is gone is no firewall, as before.
	b := newBench(t, protocol.RolePassive, chain(10, 10, "h"), 10, 1, 2, Config{})
	m := b.core.members.get(activeID(1))
	b.core.carriers.doubt(b.now, m)
	if pairs := b.echoes(m.id, time.Minute, 0, 0); pairs != echoesSilent || m.carrier.doubted {
		t.Errorf("%d pairs to a member that is gone, want %d; got %+v", pairs, echoesSilent, m.carrier)
	}
}

// An echo that finds no datagram would wait in the stream, and prove that datagrams work.
func TestEchoesNeverGoByStream(t *testing.T) {
	for _, k := range []protocol.MessageKind{protocol.KindEcho, protocol.KindEchoAnswer} {
		if !k.NeverByStream() {
			t.Errorf("%s may go by stream", k)
		}
	}
	for _, k := range []protocol.MessageKind{protocol.KindStreamEcho, protocol.KindStreamEchoAnswer} {
		if k.Datagram() {
			t.Errorf("%s may go by datagram", k)
		}
	}
}

// Nothing goes to a member to which datagrams are lost, as to most members of a large flock:
// echoes were sent every five seconds all the same, between any two.
func TestEchoesRestWhereNothingIsStreamed(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(10, 10, "h"), 10, 1, 2, Config{})
	m := b.core.members.get(passiveID(1))
	b.core.carriers.doubt(b.now, m)
	b.echoes(m.id, time.Minute, ms, 0)
	if !m.carrier.lost {
		t.Fatalf("got %+v, want that datagrams are lost", m.carrier)
	}
	// The other one's word does not run out meanwhile.
	if pairs := b.echoes(m.id, 10*time.Minute, ms, 0); pairs < int(10*time.Minute/echoToldFor)+1 || pairs > 21 {
		t.Errorf("%d pairs in ten minutes in which nothing was streamed, want one in half a minute", pairs)
	}
	used := func() { b.step(m.id, &protocol.Have{Nonce: 1}) }
	pairs := 0
	for range 60 {
		used()
		pairs += b.echoes(m.id, 5*time.Second, ms, 0)
	}
	if pairs < 50 {
		t.Errorf("%d pairs in five minutes of traffic, want one every five seconds", pairs)
	}
	b.echoes(m.id, time.Minute, ms, 0)
	used()
	if b.echoes(m.id, 7*time.Second, ms, ms); m.carrier.doubted {
		t.Errorf("datagrams are back, and something was streamed: got %+v", m.carrier)
	}
}

// Datagrams are back while nothing is streamed: they go before anything has to.
func TestDatagramsThatAreBackAreFoundAtRest(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(10, 10, "h"), 10, 1, 2, Config{})
	m := b.core.members.get(passiveID(1))
	b.core.carriers.doubt(b.now, m)
	b.echoes(m.id, time.Minute, ms, 0)
	lost := m.carrier.lost
	if b.echoes(m.id, echoRest+7*time.Second, ms, ms); !lost || m.carrier.doubted {
		t.Errorf("lost %t; got %+v, want that datagrams are back", lost, m.carrier)
	}
}

// Nobody answers in a large flock, as when its network fails: whoever may have lost datagrams
// took the place of all that are asked at random, who tell of freshness and of what is held.
func TestSuspectsLeaveRoomForOthers(t *testing.T) {
	const rounds = 100
	b := newBench(t, protocol.RolePassive, chain(10, 10, "h"), 10, 1, 400, Config{Have: 500 * ms})
	asked := map[protocol.MemberID]bool{}
	for range rounds {
		for _, e := range b.wait(500 * ms).Messages {
			if h, ok := e.Message.(*protocol.Have); ok && h.AnswerTo == 0 {
				asked[e.To] = true
			}
		}
	}
	if len(asked) < rounds*4/5 {
		t.Errorf("%d members were asked in %d rounds, want more: a suspect at most in every second round", len(asked), rounds)
	}
}
