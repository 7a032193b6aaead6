package gossip

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

func TestDegreeAndHops(t *testing.T) {
	for _, c := range []struct{ n, degree, hops int }{
		{0, 4, 6}, {1, 4, 6}, {4, 4, 10}, {10, 4, 12}, {30, 5, 12}, {100, 6, 12}, {1000, 7, 14}, {10_000, 8, 16}, {1_000_000, 8, 22},
	} {
		if d, h := degree(c.n), treeHops(c.n); d != c.degree || h != c.hops {
			t.Errorf("n %d: got %d links and %d hops, want %d and %d", c.n, d, h, c.degree, c.hops)
		}
	}
}

func TestParentsWanted(t *testing.T) {
	for _, c := range []struct {
		now   int
		share float64
		want  int
	}{
		{1, 0, 1}, {1, 0.009, 1}, {1, 0.011, 2}, {1, 0.16, 3}, {2, 0.009, 2}, {2, 0.002, 1}, {2, 0.1, 2}, {2, 0.16, 3},
		{2, 0.11, 3}, {3, 0.1, 3}, {3, 0.03, 3}, {3, 0.02, 2}, {3, 0.001, 1},
	} {
		if got := parentsWanted(c.now, c.share); got != c.want {
			t.Errorf("%d parents, %.3f missing: got %d wanted, want %d", c.now, c.share, got, c.want)
		}
	}
}

// treeBench is a passive in hybrid mode with links to four passives, all eager.
// The history goes on for long; the member is at index 10.
func treeBench(t *testing.T) (b *bench, parents []protocol.MemberID, h []protocol.Entry) {
	h = chain(400, 10, "h")
	b = newBench(t, protocol.RolePassive, h, 10, 2, 12, Config{Mode: Hybrid})
	b.core.digest.at = never
	for _, e := range only[*protocol.Graft](b.core.Ready().Messages) {
		parents = append(parents, e.To)
	}
	if len(parents) != 4 {
		t.Fatalf("got %d links at the start, want 4, all eager", len(parents))
	}
	return b, parents, h
}

// pushed is a frame with one entry, as a parent pushes it.
func pushed(h []protocol.Entry, i protocol.Index, flags protocol.FrameFlags, hop uint8) *protocol.Frame {
	f := frame(h, activeID(1), i, i)
	f.Flags, f.Hop = flags, hop
	return f
}

// bring steps a frame and takes what comes of it.
func (b *bench) bring(from protocol.MemberID, f *protocol.Frame) Ready {
	b.now = b.now.Add(100 * time.Microsecond)
	rd := b.step(from, f)
	b.take(rd.Runs)
	more := b.core.Ready()
	rd.Messages = append(rd.Messages, more.Messages...)
	return rd
}

func pruned(rd Ready) (out []protocol.MemberID) {
	for _, e := range only[*protocol.Prune](rd.Messages) {
		out = append(out, e.To)
	}
	return out
}

// A duplicate prunes the link that it came on.
func TestDuplicatePrunesItsLink(t *testing.T) {
	b, parents, h := treeBench(t)
	b.bring(parents[0], pushed(h, 11, 0, 3))
	for _, p := range parents[1:] {
		if got := pruned(b.bring(p, pushed(h, 11, 0, 3))); !slices.Equal(got, []protocol.MemberID{p}) {
			t.Errorf("got %v pruned, want %v, which brought a duplicate", got, p)
		}
	}
	if b.core.links.anchor != parents[0] || b.core.links.eagerParents() != 1 {
		t.Errorf("got %d eager parents and the anchor %v, want %v alone", b.core.links.eagerParents(), b.core.links.anchor, parents[0])
	}
	// A PRUNE may have been lost: it is repeated, not for each frame on its way.
	if got := pruned(b.bring(parents[1], pushed(h, 11, 0, 3))); len(got) != 0 {
		t.Errorf("got %v pruned again at once", got)
	}
	b.now = b.now.Add(pruneAgain)
	if got := pruned(b.bring(parents[1], pushed(h, 11, 0, 3))); len(got) != 1 {
		t.Error("a duplicate long after the PRUNE did not repeat it")
	}
}

// [S] taint: a copy that took a random hop says nothing about the link that
// brings the next one. It must not cost the member the link that the tree needs.
func TestTaintedCopyPrunesNothing(t *testing.T) {
	for _, flags := range []protocol.FrameFlags{protocol.FrameTaint, protocol.FrameTaint | protocol.FrameCross} {
		b, parents, h := treeBench(t)
		b.bring(parents[0], pushed(h, 11, flags, 3))
		for _, p := range parents[1:] {
			if got := pruned(b.bring(p, pushed(h, 11, 0, 3))); len(got) != 0 {
				t.Errorf("flags %d: got %v pruned after a tainted copy", flags, got)
			}
		}
		if !b.core.links.anchor.IsZero() {
			t.Errorf("flags %d: a tainted copy made an anchor", flags)
		}
	}
}

// The taint is inherited: whoever passes a tainted copy on says so.
func TestTaintIsInherited(t *testing.T) {
	for _, c := range []struct {
		flags, want protocol.FrameFlags
	}{
		{0, 0}, {protocol.FrameTaint, protocol.FrameTaint}, {protocol.FrameTaint | protocol.FrameCross, protocol.FrameTaint},
	} {
		b, parents, h := treeBench(t)
		child := passiveID(1)
		for slices.Contains(parents, child) {
			child[1]++
		}
		b.step(child, &protocol.Graft{From: 11})
		frames := only[*protocol.Frame](b.bring(parents[0], pushed(h, 11, c.flags, 3)).Messages)
		if len(frames) != 1 || frames[0].To != child {
			t.Fatalf("got %v, want one copy for the child", frames)
		}
		f := frames[0].Message.(*protocol.Frame)
		if f.Flags != c.want || f.Hop != 4 {
			t.Errorf("flags %d: got flags %d, hop %d, want %d, 4", c.flags, f.Flags, f.Hop, c.want)
		}
	}
}

// On a pruned link goes a copy now and then, marked as both.
func TestCrossPushes(t *testing.T) {
	b, parents, h := treeBench(t)
	child := passiveID(1)
	for slices.Contains(parents, child) {
		child[1]++
	}
	b.step(child, &protocol.Prune{})
	const frames = 380
	got := 0
	for i := protocol.Index(11); i < 11+frames; i++ {
		for _, e := range only[*protocol.Frame](b.bring(parents[0], pushed(h, i, 0, 3)).Messages) {
			if f := e.Message.(*protocol.Frame); f.Flags != protocol.FrameTaint|protocol.FrameCross {
				t.Fatalf("got flags %d over a pruned link", f.Flags)
			}
			got++
		}
	}
	if got < frames/50 || got > frames/10 {
		t.Errorf("got %d copies of %d frames over a pruned link, want about 5 %%", got, frames)
	}
}

// [S] anchor: the designated parent is never pruned, or two members that each
// prune the link by which the other gets its frames cut both off. It is replaced
// after another link wins three frames in a row.
func TestAnchorIsReplacedNeverPruned(t *testing.T) {
	b, parents, h := treeBench(t)
	anchor, other := parents[0], parents[1]
	b.bring(anchor, pushed(h, 11, 0, 5))
	for _, p := range parents[1:] {
		b.bring(p, pushed(h, 11, 0, 5))
	}
	next := protocol.Index(12)
	race := func(wins bool) Ready {
		defer func() { next++ }()
		if !wins {
			b.bring(anchor, pushed(h, next, 0, 5))
			return b.bring(other, pushed(h, next, protocol.FrameCross|protocol.FrameTaint, 5))
		}
		b.bring(other, pushed(h, next, protocol.FrameCross|protocol.FrameTaint, 2))
		return b.bring(anchor, pushed(h, next, 0, 5))
	}
	for _, wins := range []bool{true, true, false, true, true} {
		if got := pruned(race(wins)); len(got) != 0 || b.core.links.anchor != anchor {
			t.Fatalf("got %v pruned and the anchor %v, want it to stay", got, b.core.links.anchor)
		}
	}
	rd := race(true)
	grafts := only[*protocol.Graft](rd.Messages)
	if b.core.links.anchor != other || len(grafts) != 1 || grafts[0].To != other {
		t.Fatalf("got the anchor %v and %v, want %v after three wins in a row", b.core.links.anchor, grafts, other)
	}
	// Now the old one is a link like others.
	b.bring(other, pushed(h, next, 0, 2))
	if got := pruned(b.bring(anchor, pushed(h, next, 0, 5))); !slices.Equal(got, []protocol.MemberID{anchor}) {
		t.Errorf("got %v pruned, want the old anchor", got)
	}
}

// A link that is as fast as the anchor is no reason to change: the noise of a
// network would move the tree for ever.
func TestAnchorStaysWhileOthersAreNoFaster(t *testing.T) {
	b, parents, h := treeBench(t)
	b.bring(parents[0], pushed(h, 11, 0, 5))
	for i := protocol.Index(12); i < 40; i++ {
		b.bring(parents[1], pushed(h, i, protocol.FrameCross|protocol.FrameTaint, 5))
		b.bring(parents[0], pushed(h, i, 0, 5))
	}
	if b.core.links.anchor != parents[0] {
		t.Error("the anchor was replaced by a link that is no faster")
	}
}

// A hole grafts a link; three in a row cost the anchor its place.
func TestHoleGraftsALink(t *testing.T) {
	b, parents, h := treeBench(t)
	b.bring(parents[0], pushed(h, 11, 0, 5))
	for _, p := range parents[1:] {
		b.bring(p, pushed(h, 11, 0, 5))
	}
	for k := range protocol.Index(parentMisses) {
		// The frame is heard of, and does not come.
		at := 12 + k
		b.step(passiveID(3), &protocol.Have{First: 1, LastIndex: at})
		rd := b.wait(5 * ms)
		eager := only[*protocol.Graft](rd.Messages)
		for _, e := range only[*protocol.Want](rd.Messages) {
			if e.Message.(*protocol.Want).Eager {
				eager = append(eager, e)
			}
		}
		if k == 0 && len(eager) != 1 {
			t.Fatalf("got %d links grafted for a hole, want 1", len(eager))
		}
		if gone := b.core.links.anchor != parents[0]; gone != (k == parentMisses-1) {
			t.Fatalf("after %d holes: the anchor is given up: %v", k+1, gone)
		}
		b.lastIndex = at
		b.progress()
		b.core.Ready()
	}
}

// A frame that overlaps with what another active's tree brought costs that tree
// its link: else each member would get everything twice, in pieces.
func TestMemberStaysInOneTree(t *testing.T) {
	b, parents, h := treeBench(t)
	b.bring(parents[0], frame(h, activeID(1), 11, 15))
	b.bring(parents[1], frame(h, activeID(2), 16, 18))
	got := pruned(b.bring(parents[0], frame(h, activeID(1), 16, 20)))
	if !slices.Equal(got, []protocol.MemberID{parents[1]}) {
		t.Errorf("got %v pruned, want %v", got, parents[1])
	}
}

// Whoever has children enough says BUSY, and the child looks for another parent.
func TestChildrenAreBounded(t *testing.T) {
	h := chain(20, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 10, 2, 80, Config{Mode: Hybrid})
	b.core.Ready()
	n, _ := b.core.members.flock()
	refused := 0
	for i := range 80 {
		rd := b.step(passiveID(i+1), &protocol.Graft{From: 11})
		refused += len(only[*protocol.Busy](rd.Messages))
	}
	if got, want := 80-refused, eagerChildrenMax*degree(n); got != want {
		t.Errorf("got %d eager children, want %d and BUSY for the others", got, want)
	}
	for i := range 80 {
		b.step(passiveID(i+1), &protocol.Prune{})
	}
	if got, want := len(b.core.links.children), childrenMax*degree(n); got > want {
		t.Errorf("got %d children, want at most %d", got, want)
	}
	c, parents, _ := treeBench(t)
	rd := c.step(parents[0], &protocol.Busy{RetryAfter: int64(time.Second)})
	grafts := only[*protocol.Graft](rd.Messages)
	if len(grafts) != 1 || slices.Contains(parents, grafts[0].To) {
		t.Errorf("got %v, want another link in place of the busy one", grafts)
	}
}

// Children that are not heard of are forgotten, links are asked for again.
func TestLinksAreRefreshed(t *testing.T) {
	b, parents, _ := treeBench(t)
	child := passiveID(1)
	for slices.Contains(parents, child) {
		child[1]++
	}
	b.step(child, &protocol.Graft{From: 11})
	rd := b.wait(linkRefresh + linkRefresh)
	for _, p := range parents {
		if !slices.ContainsFunc(only[*protocol.Graft](rd.Messages), func(e protocol.Envelope) bool { return e.To == p }) {
			t.Errorf("the link to %v was not asked for again", p)
		}
	}
	if b.wait(linkExpiry + linkRefresh); len(b.core.links.children) != 0 {
		t.Error("a child that was silent for long is still one")
	}
}

// All actives deal the passives out in the same way: nobody is fed twice, each
// active feeds three, and every zone is fed.
func TestActivesFeedThreeEach(t *testing.T) {
	for _, zones := range []int{1, 3, 5} {
		for _, passives := range []int{0, 2, 9, 10, 100} {
			var peers []protocol.Peer
			for i := range 3 + passives {
				p := protocol.Peer{ID: memberID(i), Role: protocol.RolePassive, Zone: fmt.Sprint(i % zones)}
				if i < 3 {
					p.Role = protocol.RoleActive
				}
				peers = append(peers, p)
			}
			fed := make(map[protocol.MemberID]int)
			zone := make(map[string]bool)
			for _, p := range peers[:3] {
				c := New(0, Config{ID: p.ID, Mode: Hybrid, Zone: p.Zone}, nil)
				c.SetPeers(0, peers)
				c.Progress(0, Progress{Role: protocol.RoleActive, Source: true})
				if got := len(c.links.children); got > feedsEach {
					t.Errorf("an active feeds %d", got)
				}
				for _, m := range c.links.children {
					fed[m.id]++
					zone[m.peer.Zone] = true
					if fed[m.id] > 1 {
						t.Errorf("%d passives, %d zones: one is fed twice", passives, zones)
					}
				}
			}
			if want := min(passives, 9); len(fed) != want {
				t.Errorf("%d passives, %d zones: %d are fed, want %d", passives, zones, len(fed), want)
			}
			if want := min(passives, zones); len(zone) < want {
				t.Errorf("%d passives: %d zones are fed, want %d", passives, len(zone), want)
			}
		}
	}
}

// Links stay in the zone, one in seven leaves it; a zone of one's own is no
// prison.
func TestLinksStayInTheZone(t *testing.T) {
	near, far := 0, 0
	for i := range 200 {
		var peers []protocol.Peer
		for k := range 100 {
			peers = append(peers, protocol.Peer{ID: memberID(k), Role: protocol.RolePassive, Zone: fmt.Sprint(k % 3)})
		}
		c := New(0, Config{ID: self, Seed: uint64(i), Zone: "1", Mode: Hybrid}, nil)
		c.SetPeers(0, peers)
		c.Progress(0, Progress{Role: protocol.RolePassive})
		for _, m := range c.links.parents {
			if m.peer.Zone == "1" {
				near++
			} else {
				far++
			}
		}
	}
	if share := float64(far) / float64(near+far); near+far != 200*degree(101) || share < 0.1 || share > 0.19 {
		t.Errorf("got %d links in the zone and %d out of it, want one in seven out", near, far)
	}
	c := New(0, Config{ID: self, Zone: "alone", Mode: Hybrid}, nil)
	c.SetPeers(0, []protocol.Peer{{ID: memberID(0), Role: protocol.RolePassive}, {ID: memberID(1), Role: protocol.RolePassive}})
	c.Progress(0, Progress{Role: protocol.RolePassive})
	if len(c.links.parents) != 2 {
		t.Errorf("got %d links of a member that is alone in its zone, want 2", len(c.links.parents))
	}
}

// A new leader feeds again whoever had pruned it.
func TestNewLeaderFeedsAfresh(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(20, 10, "h"), 10, 2, 30, Config{Mode: Hybrid})
	eager := func() (n int) {
		for _, m := range b.core.links.children {
			if m.link.out == linkEager {
				n++
			}
		}
		return n
	}
	for _, m := range b.core.links.children {
		b.step(m.id, &protocol.Prune{})
	}
	if got := eager(); got != 0 {
		t.Fatalf("got %d eager links after PRUNE", got)
	}
	b.core.Progress(b.now, Progress{First: 1, LastIndex: 10, Commit: 10, Term: 2, Leader: self, Role: b.role, Source: true})
	if got := eager(); got != feedsEach {
		t.Errorf("got %d eager links of a new leader, want %d", got, feedsEach)
	}
	// An active feeds whom it chose, and nobody else.
	for i := range 30 {
		b.step(passiveID(i+1), &protocol.Graft{From: 1})
		b.step(passiveID(i+1), &protocol.Prune{})
	}
	if got := len(b.core.links.children); got != feedsEach {
		t.Errorf("got %d links of an active, want %d", got, feedsEach)
	}
}

// Whatever happens to a flock in hybrid mode, every passive gets everything.
func TestHybridWhateverHappens(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 6))
		opt := options{
			seed: seed, actives: 1 + 2*rng.IntN(2), passives: 2 + rng.IntN(60), loss: 0.2 * rng.Float64(), duplicate: 0.1 * rng.Float64(),
			delay: 500 * time.Microsecond, jitter: time.Duration(rng.IntN(5)) * time.Millisecond, zones: 1 + rng.IntN(3),
			drift: 1e-3 * rng.Float64(), config: Config{Mode: Hybrid}, memory: []int{0, 50}[rng.IntN(2)],
		}
		n := newNetwork(t, opt)
		size, count := 100+rng.IntN(1500), 1+rng.IntN(3)*rng.IntN(20)
		for n.now < 3*time.Second {
			n.write(count, size)
			n.run(n.now + time.Duration(2+rng.IntN(10))*time.Millisecond)
			switch d := n.nodes[rng.IntN(len(n.nodes))]; rng.IntN(100) {
			case 0:
				d.paused = n.now + time.Duration(rng.IntN(500))*time.Millisecond
			case 1:
				n.net.Side[d.at] = 1 - n.net.Side[d.at]
			case 2:
				if next := n.nodes[rng.IntN(opt.actives)]; len(next.log) == len(n.history) {
					n.leader = next.at
				}
			case 3:
				if !d.active {
					d.restart()
				}
			}
		}
		clear(n.net.Side)
		for end := n.now + 30*time.Second; n.equal() != nil && n.now < end; {
			n.run(n.now + 20*time.Millisecond)
		}
		if err := n.equal(); err != nil {
			t.Fatal(err)
		}
	}
}

// members tells all nodes who lives.
func (n *network) members(alive func(*node) bool) {
	for _, d := range n.nodes {
		var peers []protocol.Peer
		for i, x := range n.nodes {
			role := protocol.RolePassive
			if i < n.opt.actives {
				role = protocol.RoleActive
			}
			if alive(x) {
				peers = append(peers, protocol.Peer{ID: x.id, Role: role})
			}
		}
		d.core.SetPeers(d.local(n.now), peers)
		d.turn()
	}
}

// A flock shrinks until the actives reach all themselves, and grows again: the
// tree is left and grown anew, and nobody is missed for longer than a moment.
func TestFlockShrinksAndGrows(t *testing.T) {
	for seed := range uint64(3) {
		n := newNetwork(t, options{seed: seed, actives: 3, passives: 30, delay: 500 * time.Microsecond, jitter: 100 * time.Microsecond, config: Config{Mode: Hybrid}})
		load := func(long time.Duration) {
			for end := n.now + long; n.now < end; n.run(n.now + 5*time.Millisecond) {
				n.write(1, 100)
			}
		}
		for round, size := range []int{30, 6, 30, 11, 4, 30} {
			alive := func(d *node) bool { return d.at < 3+size }
			for _, d := range n.nodes {
				n.net.Side[d.at] = 0
				if !alive(d) {
					n.net.Side[d.at] = 1
				}
			}
			n.members(alive)
			load(500 * ms)
			n.frames = 0
			first := len(n.history)
			load(200 * ms)
			n.run(n.now + 20*time.Millisecond)
			for _, d := range n.nodes {
				if alive(d) && len(d.log) != len(n.history) {
					t.Errorf("seed %d, round %d: node %d of %d holds %d of %d", seed, round, d.at, size, len(d.log), len(n.history))
				}
			}
			copies := float64(n.frames) / float64(size*(len(n.history)-first))
			if copies > 1.45 || copies < 0.95 {
				t.Errorf("seed %d, round %d: got %.2f copies among %d passives, want about 1.25, or little more so soon", seed, round, copies, size)
			}
		}
	}
}

// A GRAFT that was lost is repeated with the next hole, or the member would
// count on a parent that knows nothing of it.
func TestLostGraftIsRepeated(t *testing.T) {
	b, parents, h := treeBench(t)
	b.bring(parents[0], pushed(h, 11, 0, 5))
	for _, p := range parents[1:] {
		b.bring(p, pushed(h, 11, 0, 5))
	}
	b.core.links.graft(b.now, b.core.members.get(parents[2])) // and nothing comes of it
	b.core.Ready()
	again := func(at protocol.Index) (n int) {
		b.step(passiveID(3), &protocol.Have{First: 1, LastIndex: at})
		for _, e := range only[*protocol.Graft](b.wait(5 * ms).Messages) {
			if e.To == parents[2] {
				n++
			}
		}
		return n
	}
	if got := again(12); got != 0 {
		t.Errorf("got %d GRAFTs more at once, want none", got)
	}
	b.now = b.now.Add(graftPatience)
	if got := again(13); got != 1 {
		t.Errorf("got %d GRAFTs more after a silence, want 1", got)
	}
}
