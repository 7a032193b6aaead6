package gossip

import (
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// zoneBench is a treeBench whose member and parents are of one zone, but for
// the one that is the anchor.
func zoneBench(t *testing.T) (b *bench, far protocol.MemberID, near []protocol.MemberID, h []protocol.Entry) {
	b, parents, h := treeBench(t)
	b.core.cfg.Zone = "here"
	for _, m := range b.core.members.all {
		m.peer.Zone = "here"
	}
	b.core.members.get(parents[0]).peer.Zone = "there"
	b.bring(parents[0], pushed(h, 11, 0, 5))
	if b.core.links.anchor != parents[0] {
		t.Fatal("the first to bring a frame is not the anchor")
	}
	return b, parents[0], parents[1:], h
}

// A member that has a way within its zone takes that, and gives the one from
// another zone up: frames cross once for each zone, not for each member.
func TestWayWithinTheZoneIsTaken(t *testing.T) {
	b, far, near, h := zoneBench(t)
	for i := protocol.Index(12); i < 12+anchorWins; i++ {
		b.bring(far, pushed(h, i, 0, 5))
		if got := pruned(b.bring(near[0], pushed(h, i, 0, 5))); len(got) != 0 {
			t.Fatalf("got %v pruned, want none while the link within the zone proves itself", got)
		}
	}
	if b.core.links.anchor != near[0] {
		t.Fatalf("got the anchor %v, want %v after %d frames", b.core.links.anchor, near[0], anchorWins)
	}
	next := protocol.Index(12 + anchorWins)
	b.bring(far, pushed(h, next, 0, 5))
	if got := pruned(b.bring(near[0], pushed(h, next, 0, 5))); !slices.Equal(got, []protocol.MemberID{far}) {
		t.Errorf("got %v pruned, want %v, from another zone", got, far)
	}
}

// [S] Two members of a zone that each take the other one for a parent are cut
// off, both. A copy that may have come by way of this member, going by its hops,
// is no way.
func TestWayThatLeadsBackHereIsNotTaken(t *testing.T) {
	b, far, near, h := zoneBench(t)
	for i := protocol.Index(12); i < 20; i++ {
		b.bring(far, pushed(h, i, 0, 5))
		b.bring(near[0], pushed(h, i, 0, 6))
	}
	if b.core.links.anchor != far || b.core.members.get(near[0]).link.in != linkPruned {
		t.Errorf("got the anchor %v, and the link within the zone %v", b.core.links.anchor, b.core.members.get(near[0]).link.in)
	}
}

// [S] taint, with zones: a copy that took a random hop neither takes the place
// of a link from another zone, nor prunes it.
func TestTaintedCopyTakesNoPlaceFromAnotherZone(t *testing.T) {
	b, far, near, h := zoneBench(t)
	for i := protocol.Index(12); i < 20; i++ {
		b.bring(far, pushed(h, i, 0, 5))
		b.bring(near[0], pushed(h, i, protocol.FrameTaint, 2))
	}
	if b.core.links.anchor != far {
		t.Fatal("tainted copies replaced the anchor")
	}
	b.core.links.anchor = near[0]
	b.core.members.get(near[0]).link.in = linkEager
	for i := protocol.Index(20); i < 22; i++ {
		b.bring(far, pushed(h, i, 0, 5))
		if got := pruned(b.bring(near[0], pushed(h, i, protocol.FrameTaint, 2))); len(got) != 0 {
			t.Errorf("got %v pruned for a tainted copy", got)
		}
	}
}

// A way within the zone that is much slower is not taken.
func TestSlowWayWithinTheZoneIsNotTaken(t *testing.T) {
	b, far, near, h := zoneBench(t)
	for i := protocol.Index(12); i < 20; i++ {
		b.bring(far, pushed(h, i, 0, 5))
		b.now = b.now.Add(zonePatience)
		b.bring(near[0], pushed(h, i, 0, 5))
	}
	if b.core.links.anchor != far {
		t.Error("the anchor was replaced by a link that is slower by far")
	}
}

// Links to other zones count as hops, so that the way within a zone is the
// shorter one.
func TestWayToAnotherZoneCountsAsHops(t *testing.T) {
	b, far, _, h := zoneBench(t)
	child := passiveID(1)
	for child == far || b.core.members.get(child).link.in != linkNone {
		child[1]++
	}
	b.core.members.get(child).peer.Zone = "there"
	b.step(child, &protocol.Graft{From: 12})
	for _, e := range only[*protocol.Frame](b.bring(far, pushed(h, 12, 0, 3)).Messages) {
		if f := e.Message.(*protocol.Frame); e.To == child && f.Hop != 4+zoneHops {
			t.Errorf("got hop %d in another zone, want %d", f.Hop, 4+zoneHops)
		} else if e.To == child {
			return
		}
	}
	t.Error("the child got no copy")
}

// A gap of which only an active is known to hold anything is asked of passives
// first, which will have it by now: else an active pays for every frame that one
// of those it feeds did not get. The third that has not is the last.
func TestActiveIsAskedAfterThreeGuesses(t *testing.T) {
	b, _, h := treeBench(t)
	b.step(activeID(1), &protocol.Have{First: 1, LastIndex: 14})
	for k := range guessesMax {
		wants := only[*protocol.Want](b.wait(3 * ms).Messages)
		if len(wants) != 1 || b.core.members.get(wants[0].To).peer.Role != protocol.RolePassive {
			t.Fatalf("guess %d: got %v, want a passive asked", k, wants)
		}
		if k < guessesMax-1 {
			b.step(wants[0].To, &protocol.Have{First: 1, LastIndex: 10})
			continue
		}
		// One that holds the log from higher up only is no help either.
		b.step(wants[0].To, &protocol.Have{First: 13, LastIndex: 14})
	}
	wants := only[*protocol.Want](b.wait(3 * ms).Messages)
	if len(wants) != 1 || wants[0].To != activeID(1) {
		t.Fatalf("got %v, want the active asked", wants)
	}
	f := frame(h, activeID(1), 11, 14)
	f.Flags = protocol.FramePulled
	b.take(b.step(activeID(1), f).Runs)
	b.step(activeID(1), &protocol.Have{First: 1, LastIndex: 16})
	if wants = only[*protocol.Want](b.wait(3 * ms).Messages); len(wants) != 1 || wants[0].To == activeID(1) {
		t.Errorf("got %v, want passives guessed again after an answer", wants)
	}
}

// Whoever asks for what was given up here hears so at once, and not by silence.
func TestAskerHearsWhatWasGivenUp(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(20, 10, "h"), 20, 2, 5, Config{})
	b.core.Progress(b.now, Progress{First: 10, LastIndex: 20, Applied: 20, Commit: 20, Term: 1, Role: b.role, Source: true})
	rd := b.step(passiveID(1), &protocol.Want{Ranges: []protocol.Range{{First: 5, Last: 20}}, Bytes: 1 << 20})
	haves := only[*protocol.Have](rd.Messages)
	if len(haves) != 1 || haves[0].Message.(*protocol.Have).First != 10 {
		t.Errorf("got %v, want to hear where the log begins", rd.Messages)
	}
}

// A digest tells of entries whose frames are still on their way through the
// tree: they get the time that takes. A frame beyond the gap says that the tree
// has brought what it will.
func TestDigestLeavesTheTreeItsTime(t *testing.T) {
	for _, hole := range []bool{false, true} {
		b, parents, h := treeBench(t)
		b.core.members.rtt = 4 * ms
		grace, depth := 8*ms, time.Duration(treeDepth(13, 2))*2*ms
		b.step(activeID(1), &protocol.Have{First: 1, LastIndex: 12})
		want := grace + depth
		if hole {
			b.step(parents[0], pushed(h, 12, 0, 3))
			want = grace
		}
		if wants := only[*protocol.Want](b.wait(want - 1).Messages); len(wants) != 0 {
			t.Errorf("hole %v: got %v before %v", hole, wants, want)
		}
		if wants := only[*protocol.Want](b.wait(1).Messages); len(wants) != 1 {
			t.Errorf("hole %v: got %v after %v, want a pull", hole, wants, want)
		}
	}
}

// Actives do not pay for members that know some of a large flock only: those ask
// them as seldom as if they knew all.
func TestActivesAreAskedAsSeldomInALargeFlock(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(20, 10, "h"), 10, 3, 100, Config{Mode: Hybrid, Flock: 10_000, Have: 50 * ms})
	asked := 0
	for range 4000 {
		for _, m := range b.core.digest.company(nil, 1, protocol.MemberID{}) {
			if m.peer.Role == protocol.RoleActive {
				asked++
			}
		}
	}
	if asked > 10 {
		t.Errorf("got %d of 4000 digests to actives, want about 1", asked)
	}
	feeds := 0
	for now := b.now; now < b.now.Add(100*time.Second); now = now.Add(50 * ms) {
		if b.core.digest.feed(now) != nil {
			feeds++
		}
	}
	// Two followers, 200 questions a second each, ten thousand members.
	if feeds < 3 || feeds > 5 {
		t.Errorf("got an active asked %d times in 100 s, want 4", feeds)
	}
}

// A leader is asked by others; what it sends besides frames is answers.
func TestLeaderSendsNoDigests(t *testing.T) {
	for _, c := range []struct {
		leader protocol.MemberID
		want   int
	}{{self, 0}, {activeID(1), 2}} {
		b := newBench(t, protocol.RoleActive, chain(20, 10, "h"), 10, 2, 30, Config{Mode: Hybrid, Have: 50 * ms})
		b.core.Progress(b.now, Progress{First: 1, LastIndex: 10, Commit: 10, Term: 2, Leader: c.leader, Role: b.role, Source: true})
		b.core.Ready()
		if got := len(only[*protocol.Have](b.wait(50 * ms).Messages)); got != c.want {
			t.Errorf("leader %v: got %d digests, want %d", c.leader, got, c.want)
		}
	}
}
