package gossip

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// hostile returns a core in the middle of its work.
func hostile(t *testing.T, role protocol.Role) *bench {
	b := newBench(t, role, chain(200, 50, "h"), 100, 2, 6, Config{Have: 50 * ms})
	b.cold = 40
	return b
}

// sound checks what must hold whatever came in.
func (b *bench) sound(rd Ready) {
	b.t.Helper()
	for _, e := range rd.Messages {
		if e.From != self || e.To == self {
			b.t.Fatalf("message %+v", e)
		}
		switch m := e.Message.(type) {
		case *protocol.Frame:
			if m.Origin == self && m.Flags&protocol.FramePulled != 0 && m.Range().Last > b.tip {
				b.t.Fatalf("frame %v above the tip %d", m.Range(), b.tip)
			}
		case *protocol.Have:
			if m.Tip > b.tip {
				b.t.Fatalf("digest %+v above the tip %d", m, b.tip)
			}
		case *protocol.Want:
			if len(m.Ranges) == 0 || len(m.Ranges) > protocol.RangesMax || m.Ranges[0].First <= b.tip && b.core.given == b.tip {
				b.t.Fatalf("want %+v at tip %d", m, b.tip)
			}
		}
	}
	for _, r := range rd.Reads {
		if r.Range.First == 0 || r.Range.Last > b.tip || r.Range.Last < r.Range.First {
			b.t.Fatalf("read %+v", r)
		}
	}
	next := b.tip + 1
	for _, r := range rd.Runs {
		last := r.Entries[len(r.Entries)-1].Index
		if r.Entries[0].Index > next || last < next || last > r.Commit {
			b.t.Fatalf("run %d..%d of commit %d after %d", r.Entries[0].Index, last, r.Commit, next-1)
		}
		next = last + 1
	}
	c := b.core
	if len(c.buffer.frames) > bufferFramesMax || len(c.seen.list) > rangesMax || len(c.pulling.out) > pullsMax || len(c.serving.reads) > readsMax {
		b.t.Fatalf("over a bound: %d frames, %d seen, %d pulls, %d reads", len(c.buffer.frames), len(c.seen.list), len(c.pulling.out), len(c.serving.reads))
	}
}

// FuzzStep feeds decoded messages, whatever they say, to a core in each role.
func FuzzStep(f *testing.F) {
	h := chain(120, 20, "h")
	for _, m := range []protocol.Message{
		frame(h, activeID(1), 101, 103), frame(h, activeID(1), 105, 105),
		&protocol.Have{Tip: 120, First: 1, Nonce: 7, FreshKnown: true, FreshIndex: 9, FreshAge: 5},
		&protocol.Want{Ranges: []protocol.Range{{First: 1, Last: 50}, {First: 3, Last: 200}}, Bytes: 1 << 30},
		&protocol.SumQuestion{Index: 50}, &protocol.SumAnswer{Index: 100, Known: true},
		&protocol.Busy{RetryAfter: 5}, &protocol.Prune{}, &protocol.Graft{From: 3},
	} {
		f.Add(protocol.AppendMessage(nil, m), byte(1), uint16(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, who byte, wait uint16) {
		msg, err := protocol.DecodeMessage(data)
		if err != nil {
			return
		}
		for _, role := range []protocol.Role{protocol.RoleActive, protocol.RolePassive, protocol.RoleNone} {
			b := hostile(t, role)
			for range 3 {
				from := passiveID(int(who % 8))
				if who >= 128 {
					from = activeID(int(who % 4))
				}
				rd := b.step(from, msg)
				b.sound(rd)
				for _, r := range rd.Runs {
					b.core.Refused(b.now, r)
				}
				b.sound(b.core.Ready())
				b.sound(b.wait(time.Duration(wait) * ms / 16))
			}
		}
	})
}

// Random messages with extreme values, in long conversations.
func TestRandomMessagesNeverPanic(t *testing.T) {
	h := chain(200, 50, "h")
	forged := chain(200, 50, "forged")
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := hostile(t, protocol.Role(seed%3))
		number := func() uint64 {
			switch rng.IntN(6) {
			case 0:
				return math.MaxUint64 - uint64(rng.IntN(3))
			case 1:
				return 1<<62 + uint64(rng.IntN(3)) - 1
			case 2:
				return uint64(rng.IntN(3))
			case 3:
				return uint64(b.tip) + uint64(rng.IntN(5)) - 2
			case 4:
				return rng.Uint64()
			}
			return uint64(rng.IntN(220))
		}
		index := func() protocol.Index { return protocol.Index(number()) }
		who := func() protocol.MemberID {
			switch rng.IntN(4) {
			case 0:
				return activeID(1 + rng.IntN(3))
			case 1:
				return protocol.MemberID{byte(rng.IntN(256))}
			}
			return passiveID(1 + rng.IntN(7))
		}
		message := func() protocol.Message {
			switch rng.IntN(9) {
			case 0, 1, 2:
				src := h
				if rng.IntN(4) == 0 {
					src = forged
				}
				first := protocol.Index(1 + rng.IntN(195))
				f := frame(src, who(), first, first+protocol.Index(rng.IntN(5)))
				f.Flags, f.Hop = protocol.FrameFlags(rng.IntN(8)), uint8(rng.IntN(256))
				if rng.IntN(4) == 0 {
					f.Commit = index()
				}
				if rng.IntN(8) == 0 {
					f.Entries[len(f.Entries)-1].Index = index()
				}
				if rng.IntN(8) == 0 {
					at := index()
					for i := range f.Entries {
						f.Entries[i].Index = at + protocol.Index(i)
					}
					f.Commit = math.MaxUint64
				}
				return f
			case 3, 4:
				m := &protocol.Have{
					Applied: index(), Tip: index(), First: index(), Commit: index(), Holes: []protocol.Range{{First: index(), Last: index()}},
					Nonce: number(), FreshKnown: true, FreshIndex: index(), FreshAge: int64(number()),
				}
				if rng.IntN(2) == 0 {
					m.AnswerTo = b.core.digest.asks[rng.IntN(asksMax)].nonce
				}
				return m
			case 5:
				w := &protocol.Want{Bytes: number()}
				for range rng.IntN(10) {
					w.Ranges = append(w.Ranges, protocol.Range{First: index(), Last: index()})
				}
				return w
			case 6:
				return &protocol.Busy{RetryAfter: int64(number())}
			case 7:
				return &protocol.SumQuestion{Index: index()}
			}
			return &protocol.SumAnswer{Index: index(), Known: rng.IntN(2) == 0}
		}
		for range 2000 {
			rd := b.step(who(), message())
			b.sound(rd)
			for _, r := range rd.Reads {
				b.core.Answer(b.now, r.To, h[r.Range.First-1:r.Range.Last])
			}
			for _, r := range rd.Runs {
				if rng.IntN(2) == 0 {
					b.core.Refused(b.now, r)
				} else if last := r.Entries[len(r.Entries)-1].Index; last <= 200 && r.Entries[0].Index <= b.tip+1 {
					b.tip = max(b.tip, last)
				}
			}
			b.progress()
			b.sound(b.core.Ready())
			b.sound(b.wait(time.Duration(rng.IntN(3000)) * time.Microsecond))
			if rng.IntN(100) == 0 {
				b.tip = protocol.Index(rng.IntN(150))
				b.core.Ready()
				b.progress()
				b.core.Ready()
			}
			if rng.IntN(300) == 0 {
				b.role = protocol.Role(rng.IntN(3))
			}
			_, _ = b.core.Age(b.now, index())
		}
	}
}

func benchmarkCore(b *testing.B, n int) (*bench, []protocol.Entry) {
	h := chain(10, 200, "h")
	c := newBench(nil, protocol.RolePassive, h, 0, 3, 0, Config{})
	var peers []protocol.Peer
	for i := range n {
		peers = append(peers, protocol.Peer{ID: memberID(i), Role: protocol.RolePassive})
	}
	c.core.SetPeers(c.now, peers)
	b.ReportAllocs()
	return c, h
}

func BenchmarkStepNewFrame(b *testing.B) {
	c, h := benchmarkCore(b, 100)
	f := frame(h, activeID(1), 1, 1)
	for b.Loop() {
		entry := f.Entries[0]
		entry.Index = c.tip + 1
		next := *f
		next.Entries, next.Commit = []protocol.Entry{entry}, entry.Index
		c.core.Step(c.now, memberID(1), &next)
		c.core.Ready()
		c.tip++
		c.progress()
	}
}

func BenchmarkStepDuplicateFrame(b *testing.B) {
	c, h := benchmarkCore(b, 100)
	c.tip = 10
	c.progress()
	f := frame(h, activeID(1), 5, 5)
	for b.Loop() {
		c.core.Step(c.now, memberID(1), f)
	}
}

func BenchmarkStepDigest(b *testing.B) {
	c, _ := benchmarkCore(b, 100)
	h := &protocol.Have{First: 1, Tip: 0, Nonce: 1}
	for b.Loop() {
		c.now = c.now.Add(5 * ms)
		c.core.Step(c.now, memberID(1), h)
		c.core.Ready()
	}
}
