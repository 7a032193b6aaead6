package gossip

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// smallAsker is a passive that lacks the entries from 101 on, and asks a passive for them in
// datagrams, for it has been silent.
func smallAsker(t *testing.T, h []protocol.Entry, who protocol.MemberID) (b *bench, asked *protocol.Want) {
	t.Helper()
	b = newBench(t, protocol.RolePassive, h, 100, 3, 3, Config{})
	for range 20 {
		b.core.Step(b.now, who, &protocol.Have{First: 1, LastIndex: 120})
		for _, e := range only[*protocol.Want](b.wait(20 * ms).Messages) {
			if w := e.Message.(*protocol.Want); e.To == who && w.Small {
				return b, w
			}
		}
	}
	t.Fatal("nobody was asked for datagrams")
	return nil, nil
}

// One passive that gave a part of a large frame, and the same one each time that it was asked
// for the rest, was asked for it for ever, and nobody else was.
func TestWhoeverGivesPartsForEverIsNotAskedForEver(t *testing.T) {
	h := chain(120, 2000, "h")
	liar, honest := passiveID(3), passiveID(2)
	kilobyte := make([]byte, partBytesMin)
	cases := []struct {
		name  string
		part  func(k int, from uint32) *protocol.FramePart
		asked int // at most
	}{
		{"the same part", func(int, uint32) *protocol.FramePart {
			return &protocol.FramePart{Index: 101, Size: 1 << 20, Data: kilobyte}
		}, 12},
		{"a byte", func(int, uint32) *protocol.FramePart {
			return &protocol.FramePart{Index: 101, Size: 1 << 20, Data: kilobyte[:1]}
		}, 12},
		{"a byte more", func(_ int, from uint32) *protocol.FramePart {
			return &protocol.FramePart{Index: 101, Size: 1 << 20, From: from, Data: kilobyte[:1]}
		}, 12},
		{"a part more", func(_ int, from uint32) *protocol.FramePart {
			return &protocol.FramePart{Index: 101, Size: 1 << 20, From: from, Data: kilobyte}
		}, 24},
		{"another frame", func(k int, _ uint32) *protocol.FramePart {
			return &protocol.FramePart{Index: 101, Size: 1 << 20, Sum: uint64(k), Data: kilobyte}
		}, 12},
		{"a frame that is none", func(k int, _ uint32) *protocol.FramePart {
			return &protocol.FramePart{Index: 101, Size: 1 << 10, Sum: uint64(k), Data: kilobyte}
		}, 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b, w := smallAsker(t, h, liar)
			b.step(liar, c.part(0, w.From))
			for n := 1; n <= 200; {
				b.core.Step(b.now, honest, &protocol.Have{First: 1, LastIndex: 120})
				b.core.Step(b.now, liar, &protocol.Have{First: 1, LastIndex: 120})
				for _, e := range only[*protocol.Want](b.wait(ms).Messages) {
					w := e.Message.(*protocol.Want)
					if e.To == honest && w.Ranges[0].First == 101 {
						t.Logf("asked %d times", n)
						if n > c.asked {
							t.Errorf("the member was asked %d times before another one, want at most %d", n, c.asked)
						}
						return
					}
					switch {
					case e.To == honest:
						b.core.Step(b.now, honest, frame(h, honest, w.Ranges[0].First, w.Ranges[0].Last))
					case e.To == liar && w.Small:
						n++
						b.core.Step(b.now, liar, c.part(n, w.From))
					}
				}
			}
			t.Error("nobody else was asked for the first entry that is missing")
		})
	}
}

// Parts of a frame after the one that is wanted first, which was lost, had the next answer begin
// in the middle of that one.
func TestPartsOfALaterFrameAreNotOfTheFirst(t *testing.T) {
	h := chain(120, 2000, "h")
	who := passiveID(3)
	b, w := smallAsker(t, h, who)
	if w.Ranges[0].Last < 102 {
		t.Fatalf("asks for %v, want more", w.Ranges)
	}
	parts := protocol.FrameParts(frame(h, who, 102, 102), 0, 1<<20)
	b.step(who, parts[0])
	for range 100 {
		b.core.Step(b.now, who, &protocol.Have{First: 1, LastIndex: 120})
		for _, e := range only[*protocol.Want](b.wait(10 * ms).Messages) {
			w := e.Message.(*protocol.Want)
			if e.To != who || !w.Small || w.Ranges[0].First != 101 {
				continue
			}
			if w.From != 0 {
				t.Errorf("asks for %v from byte %d on, want all of it", w.Ranges[0], w.From)
			}
			return
		}
	}
	t.Error("it was not asked again")
}

// [S] Who has begun a frame is asked for the rest under the same conditions as whoever is asked first.
func TestTheRestIsAskedOfWhoeverMayBeAsked(t *testing.T) {
	h := chain(120, 2000, "h")
	who := passiveID(3)
	b, _ := smallAsker(t, h, who)
	b.step(who, protocol.FrameParts(frame(h, who, 101, 101), 0, 1<<20)[0])
	p, m := &b.core.pulling, b.core.members.get(who)
	p.out = nil
	if p.unfinished(b.now, 101) != m {
		t.Fatal("it is not asked for the rest")
	}
	for name, x := range map[string]*protocol.Instant{"silent": &m.skipUntil, "avoided": &m.avoidUntil, "distrusted": &m.distrustUntil} {
		was := *x
		if *x = b.now.Add(ms); p.unfinished(b.now, 101) != nil {
			t.Errorf("%s, it is asked for the rest", name)
		}
		*x = was
	}
	p.heed.self.Role, p.heed.named = protocol.RoleActive, []protocol.MemberID{activeID(1)}
	if p.unfinished(b.now, 101) != nil {
		t.Error("an active asks one that its log does not name")
	}
}
