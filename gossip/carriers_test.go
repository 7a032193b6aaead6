package gossip

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// block has datagrams lost between two members, from one to the other.
func (n *network) block(from, to int, lost bool) { n.net.Link(from, to).NoDatagrams = lost }

// blockAll has them lost between all, or not.
func (n *network) blockAll(lost bool) {
	for i := range n.nodes {
		for k := range n.nodes {
			n.block(i, k, lost)
		}
	}
}

func (d *node) said(kind protocol.EventKind) (texts []string) {
	for _, e := range d.events {
		if e.Kind == kind {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// follows checks that all get level with what is written for a while, and know how old
// they are at the end.
func (n *network) follows(lasts time.Duration) {
	n.t.Helper()
	for end := n.now + lasts; n.now < end; {
		n.write(1, 100)
		n.run(n.now + 100*ms)
	}
	n.run(n.now + time.Second)
	if err := n.equal(); err != nil {
		n.t.Fatal(err)
	}
	for i, d := range n.nodes {
		age, known := d.core.Age(d.local(n.now), protocol.Index(len(d.log)))
		if !known || age > time.Second {
			n.t.Errorf("member %d: an age of %v, known %t, want below a second", i, age, known)
		}
	}
}

// streamedTo are to how many of the others each sends by stream.
func (n *network) streamedTo() (list []int) {
	for _, d := range n.nodes {
		members, _ := d.core.Streamed()
		list = append(list, len(members))
	}
	return list
}

// UDP is closed and TCP is open, which is the commonest mistake with firewalls: no
// follower would get anything that fits into a datagram, for ever.
func TestAFlockFollowsWithoutDatagrams(t *testing.T) {
	for _, mode := range []Mode{Hybrid, Flood} {
		n := newNetwork(t, options{seed: 3, actives: 3, passives: 4, delay: ms, jitter: ms, config: Config{Mode: mode}})
		n.blockAll(true)
		n.follows(10 * time.Second)
		for i, got := range n.streamedTo() {
			if got != 6 {
				t.Errorf("mode %d: member %d sends to %d by stream, want 6", mode, i, got)
			}
			if d := n.nodes[i]; len(d.said(protocol.EventDatagramsLost)) == 0 {
				t.Errorf("mode %d: member %d says nothing", mode, i)
			}
			if _, text := n.nodes[i].core.Streamed(); !strings.HasPrefix(text, "UDP does not get through between this member and ") {
				t.Errorf("mode %d: member %d: %q", mode, i, text)
			}
		}
		n.blockAll(false)
		n.follows(20 * time.Second)
		for i, got := range n.streamedTo() {
			if said := n.nodes[i].said(protocol.EventDatagramsBack); got != 0 || len(said) == 0 {
				t.Errorf("mode %d: member %d sends to %d by stream when datagrams get through again, and says %q", mode, i, got, said)
			}
		}
		for i, d := range n.nodes {
			if lost := len(d.said(protocol.EventDatagramsLost)); lost > 3 {
				t.Errorf("mode %d: member %d has warned %d times of one cause", mode, i, lost)
			}
		}
	}
}

// Datagrams of the leader do not get to a passive; what that sends does. Only the passive
// finds out by asking, the leader asks nobody: it has to be told.
func TestDatagramsLostInOneDirection(t *testing.T) {
	for _, sides := range [][2]int{{0, 3}, {3, 0}} {
		n := newNetwork(t, options{seed: 5, actives: 1, passives: 3, delay: ms, jitter: ms})
		n.block(sides[0], sides[1], true)
		n.follows(10 * time.Second)
		for i, want := range []int{1, 0, 0, 1} {
			if got := n.streamedTo()[i]; got != want {
				t.Errorf("%v: member %d sends to %d by stream, want %d", sides, i, got, want)
			}
			if got := len(n.nodes[i].said(protocol.EventDatagramsLost)); got != want {
				t.Errorf("%v: member %d has warned %d times, want %d", sides, i, got, want)
			}
		}
		n.block(sides[0], sides[1], false)
		n.follows(20 * time.Second)
		for i, got := range n.streamedTo() {
			if got != 0 {
				t.Errorf("%v: member %d still sends to %d by stream", sides, i, got)
			}
		}
	}
}

// A member that is gone answers nothing: that is no reason to blame UDP.
func TestAMemberThatIsGoneIsNoFirewall(t *testing.T) {
	n := newNetwork(t, options{seed: 7, actives: 3, passives: 3, delay: ms, jitter: ms})
	n.run(time.Second)
	n.nodes[4].paused = n.now + 20*time.Second
	n.run(n.now + 30*time.Second)
	for i, d := range n.nodes {
		if said := d.said(protocol.EventDatagramsLost); len(said) > 0 {
			t.Errorf("member %d: %q", i, said)
		}
	}
	n.follows(5 * time.Second)
	for i, got := range n.streamedTo() {
		if got != 0 {
			t.Errorf("member %d sends to %d by stream", i, got)
		}
	}
}

// A fifth of all datagrams is lost: that is repaired, and nobody is warned.
func TestLossIsNoFirewall(t *testing.T) {
	n := newNetwork(t, options{seed: 9, actives: 3, passives: 4, loss: 0.2, delay: ms, jitter: 5 * ms})
	n.follows(2 * time.Minute)
	for i, d := range n.nodes {
		if said := d.said(protocol.EventDatagramsLost); len(said) > 0 {
			t.Errorf("member %d: %q", i, said)
		}
	}
}

// The word that datagrams do not come back counts for a while only, whoever gave it and is
// silent since.
func TestTheWordOfAnotherIsForgotten(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, 2, Config{})
	p := passiveID(1)
	answers := b.step(p, &protocol.StreamEcho{Number: 9, State: protocol.DatagramsDoubted})
	if len(answers.Messages) != 1 || answers.Messages[0].Message.Kind() != protocol.KindStreamEchoAnswer {
		t.Fatalf("got %v, want an answer", answers.Messages)
	}
	asked := func() (datagrams, streams int) {
		rd := b.step(p, &protocol.Have{Nonce: 1})
		return len(rd.Messages), len(rd.Streamed)
	}
	if d, s := asked(); d != 0 || s != 1 {
		t.Errorf("told of a doubt: %d answers as datagrams, %d over streams", d, s)
	}
	b.wait(echoToldFor)
	if d, s := asked(); d != 1 || s != 0 {
		t.Errorf("a while later: %d answers as datagrams, %d over streams", d, s)
	}
	b.step(p, &protocol.StreamEcho{Number: 10, State: protocol.DatagramsLost})
	b.step(p, &protocol.StreamEcho{State: protocol.DatagramsWork})
	if d, s := asked(); d != 1 || s != 0 {
		t.Errorf("told that all is well: %d answers as datagrams, %d over streams", d, s)
	}
}

// A member that has said that datagrams are lost, and has forgotten it since, answers as a
// datagram, and is not heard. Questions that it does not answer over the stream either are
// evidence like any other: it is told again, and that in seconds.
func TestWhoHasSaidItAndForgottenIsTold(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, 2, Config{Have: 50 * time.Millisecond})
	p := passiveID(1)
	b.step(p, &protocol.StreamEcho{Number: 9, State: protocol.DatagramsLost})
	told := false
	for range 100 {
		for _, e := range b.wait(50 * time.Millisecond).Messages {
			echo, is := e.Message.(*protocol.StreamEcho)
			told = told || is && e.To == p && echo.State == protocol.DatagramsDoubted
		}
	}
	if !told {
		t.Errorf("it is not told within 5 s, while its word counts for %v", echoToldFor)
	}
}
