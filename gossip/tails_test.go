package gossip

import (
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Parents that bring nothing are given up, also those that are not the anchor, and do not
// keep others from being asked. Two that died together were parents for ever: as many as
// are wanted, and more, and neither was the anchor.
func TestSilentParentsAreGivenUp(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 12, Config{}), protocol.Instant(5000)
	r := &records{holes: []protocol.Range{{First: 30, Last: 30}}}
	l := links{base: b, intake: r, neighbors: neighbors{refreshAt: never}}
	tr := tree{members: b.members, links: &l, intake: r, lessons: lessons{wanted: 1}}
	l.relink(now)
	for _, m := range l.parents[2:] {
		l.prune(now, m)
	}
	silent := []*member{l.parents[0], l.parents[1]}
	for k := range protocol.Index(parentMisses) {
		tr.holed(now, 30+k)
		if k == 1 && !tr.lack {
			t.Error("after two holes: no other link is asked for")
		}
	}
	tr.graftFor(now)
	for _, m := range silent {
		if m.link.in != linkPruned {
			t.Errorf("a parent left %d holes in a row, and is one still", parentMisses)
		}
	}
	if n := l.eagerParents(); n != 1 {
		t.Errorf("got %d eager parents, want one that has left no hole", n)
	}
}

// A parent that is slow brings what was pulled meanwhile. That is no proof of its worth:
// only a frame counts that came before, or after one that was pushed.
func TestLateCopyOfAPulledFrameCountsForNothing(t *testing.T) {
	for _, anchor := range []bool{true, false} {
		b, parents, h := treeBench(t)
		b.bring(parents[0], pushed(h, 11, 0, 3))
		slow := b.core.members.get(parents[0])
		slow.link.missed = 1
		b.step(passiveID(3), &protocol.Have{First: 1, LastIndex: 12})
		want := only[*protocol.Want](b.wait(5 * ms).Messages)
		if len(want) != 1 || slow.link.missed != 2 {
			t.Fatalf("got %d pulls and %d holes in a row, want 1 and 2", len(want), slow.link.missed)
		}
		if !anchor {
			b.core.links.anchor = parents[1]
		}
		b.bring(want[0].To, pushed(h, 12, protocol.FramePulled, 0))
		b.bring(parents[0], pushed(h, 12, 0, 3))
		if slow.link.missed != 2 {
			t.Errorf("anchor %v: got %d holes in a row after a late copy, want 2", anchor, slow.link.missed)
		}
	}
}

// What was pulled goes on to the children, which lack it as well, and is marked: it says
// nothing of the link. In bulk it does not, and what nobody asked for does not.
func TestPulledFrameGoesOnToChildren(t *testing.T) {
	for _, c := range []struct {
		name   string
		asked  bool
		needs  protocol.Index
		copies int
	}{{"asked for", true, 0, 1}, {"not asked for", false, 0, 0}, {"far behind", true, 1, 0}} {
		b, parents, h := treeBench(t)
		child := passiveID(1)
		for slices.Contains(parents, child) || child == passiveID(3) {
			child[1]++
		}
		b.step(child, &protocol.Graft{From: 11})
		from := passiveID(3)
		if c.asked {
			b.step(from, &protocol.Have{First: 1, LastIndex: 11})
			from = only[*protocol.Want](b.wait(5 * ms).Messages)[0].To
		}
		b.core.self.Needs = c.needs
		frames := only[*protocol.Frame](b.step(from, pushed(h, 11, protocol.FramePulled, 0)).Messages)
		if len(frames) != c.copies {
			t.Errorf("%s: got %d copies passed on, want %d", c.name, len(frames), c.copies)
			continue
		}
		if c.copies > 0 {
			if f := frames[0].Message.(*protocol.Frame); frames[0].To != child || f.Flags != protocol.FrameTaint {
				t.Errorf("%s: got flags %d for %v, want the mark, for the child", c.name, f.Flags, frames[0].To)
			}
		}
	}
}

// Where holes are common the pruned children hear of a frame, as soon as this member can
// give it; elsewhere they do not.
func TestPrunedChildrenHearWhereHolesAreCommon(t *testing.T) {
	for _, lossy := range []bool{false, true} {
		b, parents, h := treeBench(t)
		child := passiveID(1)
		for slices.Contains(parents, child) {
			child[1]++
		}
		b.step(child, &protocol.Prune{})
		b.core.links.lossy = lossy
		const frames = 40
		told := 0
		for i := protocol.Index(11); i < 11+frames; i++ {
			for _, e := range only[*protocol.Have](b.bring(parents[0], pushed(h, i, 0, 3)).Messages) {
				told++
				if have := e.Message.(*protocol.Have); e.To != child || have.LastIndex != i || have.Nonce != 0 {
					t.Fatalf("told %v of %d, want the child of %d", e.To, have.LastIndex, i)
				}
			}
		}
		if lossy && (told < frames/3 || told > frames) || !lossy && told > 0 {
			t.Errorf("lossy %v: told of %d of %d frames", lossy, told, frames)
		}
	}
}

// What is on its way on a stream is not pulled, as long as it is not later than streams
// have been.
func TestStreamsAreWaitedFor(t *testing.T) {
	b, parents, h := treeBench(t)
	large := func(i protocol.Index) *protocol.Frame {
		f := pushed(h, i, 0, 3)
		f.Body = make([]byte, protocol.DatagramBytesMax+1)
		return f
	}
	const late = 20 * ms
	pulls := 0
	for i := protocol.Index(11); i < 61; i++ {
		b.step(passiveID(3), &protocol.Have{First: 1, LastIndex: i})
		wants := only[*protocol.Want](b.wait(late).Messages)
		if i > 20 {
			pulls += len(wants)
		}
		b.bring(parents[0], large(i))
	}
	if pulls > 0 {
		t.Errorf("got %d pulls of what came %v after it was heard of, each time", pulls, late)
	}
	// It does not come: it is pulled after all, and so is a datagram, at once.
	b.step(passiveID(3), &protocol.Have{First: 1, LastIndex: 61})
	if wants := only[*protocol.Want](b.wait(latenessMax + late).Messages); len(wants) == 0 {
		t.Error("what does not come by stream is not pulled")
	}
	b.bring(parents[0], pushed(h, 61, 0, 3))
	b.bring(parents[0], pushed(h, 62, 0, 3))
	b.step(passiveID(5), &protocol.Have{First: 1, LastIndex: 63})
	if wants := only[*protocol.Want](b.wait(10 * ms).Messages); len(wants) == 0 {
		t.Error("a datagram that does not come is waited for like a stream")
	}
}

// The estimate follows what is measured, bounded, and forgets what is not to come.
func TestLateness(t *testing.T) {
	h := chain(400, 10, "h")
	frameOf := func(i protocol.Index, bytes int) *protocol.Frame {
		f := pushed(h, i, 0, 3)
		f.Body = make([]byte, bytes)
		return f
	}
	var l lateness
	now := protocol.Instant(5000)
	if l.wait() != 0 {
		t.Error("a wait before anything was late")
	}
	const stream = protocol.DatagramBytesMax + 1
	l.heard(now, 1)
	l.heard(now.Add(ms), 2) // the first counts
	l.came(now.Add(10*ms), frameOf(1, stream), false)
	if got := l.wait(); got != 30*ms {
		t.Errorf("got %v after a frame that was 10 ms late, want 30 ms", got)
	}
	l.heard(now, 2)
	l.came(now.Add(time.Second), frameOf(3, stream), false) // 2 was passed over
	l.heard(now, 4)
	l.came(now.Add(time.Second), frameOf(4, 100), false) // a datagram
	if got := l.wait(); got != 30*ms || l.heardOf != 0 {
		t.Errorf("got %v after what says nothing, want 30 ms", got)
	}
	for i := range protocol.Index(100) {
		l.heard(now, i+5)
		l.came(now.Add(time.Minute), frameOf(i+5, stream), false)
	}
	if got := l.wait(); got != latenessMax {
		t.Errorf("got %v, want the bound of %v", got, latenessMax)
	}
	for i := range protocol.Index(100) {
		l.came(now, frameOf(i+5, stream), true)
	}
	if got := l.wait(); got > ms {
		t.Errorf("got %v after frames that came before any word of them", got)
	}
}

// A parent that was given up and is asked again begins anew: what it left before is forgiven. One large
// frame among small ones does not say that nothing can be lost.
func TestWhatIsLearnedIsOfNow(t *testing.T) {
	b, now := aside(protocol.RolePassive, 1, 12, Config{}), protocol.Instant(5000)
	l := links{base: b, intake: &records{}, neighbors: neighbors{refreshAt: never}}
	tr := tree{members: b.members, links: &l, intake: &records{}, lessons: lessons{wanted: 1, lack: true}}
	l.relink(now)
	m := l.parents[0]
	m.link.in, m.link.missed = linkPruned, parentMisses
	if !tr.eagerToo(now, m) || m.link.in != linkEager || m.link.missed != 0 {
		t.Errorf("asked again, a parent has left %d holes already", m.link.missed)
	}
	for _, test := range []struct{ large, wanted int }{{1, 2}, {shareWindow - 1, 1}} {
		tr.lessons = lessons{wanted: 2, fresh: shareWindow, holes: 4, large: test.large, share: 0.05, streamed: true}
		if tr.reckonShares(now); tr.wanted != test.wanted {
			t.Errorf("%d of %d frames came by stream: %d parents are wanted, want %d", test.large, shareWindow, tr.wanted, test.wanted)
		}
	}
}
