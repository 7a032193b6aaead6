package gossip

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// hostile returns a core in the middle of its work.
func hostile(t *testing.T, role protocol.Role, mode Mode) *bench {
	b := newBench(t, role, chain(200, 50, "h"), 100, 2, 10, Config{Have: 50 * ms, Mode: mode})
	b.cold = 40
	b.core.Holds(b.now, []Holding{
		{Index: 90, Sum: b.log[89].Sum, Chunks: 50, Manifest: []byte("new")},
		{Index: 60, Sum: b.log[59].Sum, Chunks: 50, Manifest: []byte("old")},
	})
	var missing []int
	for i := range 40 {
		missing = append(missing, i)
	}
	b.core.Fetch(b.now, Fetching{Index: 150, Sum: b.log[149].Sum, Missing: missing})
	return b
}

// soundSwarm checks what must hold of checkpoints: every missing chunk is on
// exactly one list, and nothing is over its bound.
func (b *bench) soundSwarm(rd Ready, missing map[int]bool) {
	b.t.Helper()
	c := b.core
	for i, m := range c.links.parents {
		if m.link.in == linkNone || slices.Contains(c.links.parents[:i], m) || i >= 2*linksMax+feedsEach || c.members.get(m.id) != m {
			b.t.Fatalf("parent %d of %d: %+v", i, len(c.links.parents), m.link)
		}
	}
	for i, m := range c.links.children {
		if m.link.out == linkNone || slices.Contains(c.links.children[:i], m) || i >= childrenMax*linksMax || c.members.get(m.id) != m {
			b.t.Fatalf("child %d of %d: %+v", i, len(c.links.children), m.link)
		}
	}
	f := &c.fetching
	seen := make(map[int]int)
	for _, n := range slices.Concat(f.todo, f.again) {
		seen[n]++
	}
	for _, x := range f.out {
		if len(x.numbers) == 0 || len(x.numbers) > askChunks {
			b.t.Fatalf("asked %s for %v", x.to.Short(), x.numbers)
		}
		for _, n := range x.numbers {
			seen[n]++
		}
	}
	for _, x := range f.adding {
		seen[x.number]++
	}
	for n, times := range seen {
		if times != 1 || missing != nil && !missing[n] {
			b.t.Fatalf("chunk %d is on %d lists, missing: %v", n, times, missing[n])
		}
	}
	if missing != nil && f.active && len(seen) != len(missing) {
		b.t.Fatalf("%d chunks on the lists, %d missing", len(seen), len(missing))
	}
	if len(f.adding) > c.cfg.FetchChunksMax || len(f.out) > holdersMax || len(c.giving.reads) > chunkReadsMax ||
		len(c.seek.asked) > askedMax || len(c.seek.heard) > manifestsSeenMax {
		b.t.Fatalf("over a bound: %d chunks wait, %d are asked, %d reads, %d may describe, %d manifests",
			len(f.adding), len(f.out), len(c.giving.reads), len(c.seek.asked), len(c.seek.heard))
	}
	for _, r := range rd.ChunkReads {
		if r.Index != 90 && r.Index != 60 || r.Number < 0 || r.Number >= 50 {
			b.t.Fatalf("read %+v", r)
		}
	}
	for _, k := range rd.Chunks {
		if k.Index != f.want.Index || len(k.Data) == 0 {
			b.t.Fatalf("chunk %d of %d with %d bytes", k.Number, k.Index, len(k.Data))
		}
	}
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
			if m.Origin == self && m.Flags&protocol.FramePulled != 0 && m.Range().Last > b.lastIndex {
				b.t.Fatalf("frame %v above the last index %d", m.Range(), b.lastIndex)
			}
		case *protocol.FramePart:
			if m.Index > b.lastIndex || protocol.MessageSize(m) > protocol.DatagramBytesMax {
				b.t.Fatalf("part of a frame from %d on, above the last index %d or too large", m.Index, b.lastIndex)
			}
		case *protocol.Have:
			if m.LastIndex > b.lastIndex {
				b.t.Fatalf("digest %+v above the last index %d", m, b.lastIndex)
			}
		case *protocol.Want:
			if len(m.Ranges) == 0 || len(m.Ranges) > protocol.RangesMax || m.Ranges[0].First <= b.lastIndex && b.core.intake.given == b.lastIndex {
				b.t.Fatalf("want %+v at last index %d", m, b.lastIndex)
			}
		}
	}
	for _, r := range rd.Reads {
		if r.Range.First == 0 || r.Range.Last > b.lastIndex || r.Range.Last < r.Range.First {
			b.t.Fatalf("read %+v", r)
		}
	}
	next := b.lastIndex + 1
	for _, r := range rd.Runs {
		last := r.Entries[len(r.Entries)-1].Index
		if r.Entries[0].Index > next || last < next || last > r.Commit {
			b.t.Fatalf("run %d..%d of commit %d after %d", r.Entries[0].Index, last, r.Commit, next-1)
		}
		next = last + 1
	}
	c := b.core
	for _, x := range c.pulling.parts {
		if len(x.bytes) > partedBytesMax {
			b.t.Fatalf("a frame of %d bytes in parts", len(x.bytes))
		}
	}
	if len(c.pulling.parts) > partsMax || len(c.intake.buffer.frames) > bufferFramesMax || len(c.intake.seen.list) > rangesMax || len(c.pulling.out) > pullsMax || len(c.serving.reads) > readsMax {
		b.t.Fatalf("over a bound: %d frames, %d seen, %d pulls, %d reads", len(c.intake.buffer.frames), len(c.intake.seen.list), len(c.pulling.out), len(c.serving.reads))
	}
}

// FuzzStep feeds decoded messages, whatever they say, to a core in each role.
func FuzzStep(f *testing.F) {
	h := chain(120, 20, "h")
	for _, m := range []protocol.Message{
		frame(h, activeID(1), 101, 103), frame(h, activeID(1), 105, 105),
		&protocol.Have{LastIndex: 120, First: 1, Nonce: 7, FreshKnown: true, FreshIndex: 9, FreshSum: h[8].Sum.Head(), FreshAge: 5},
		&protocol.Have{Applied: 120, Diverged: 100},
		&protocol.Want{Ranges: []protocol.Range{{First: 1, Last: 50}, {First: 3, Last: 200}}, Bytes: 1 << 30},
		&protocol.Want{Ranges: []protocol.Range{{First: 1, Last: 50}, {First: 90, Last: 200}}, Bytes: 1 << 30, Small: true, From: 1},
		&protocol.FramePart{Index: 101, Size: 1 << 31, From: 5, Data: []byte("part")},
		&protocol.SumQuestion{Index: 50}, &protocol.SumAnswer{Index: 100, Known: true},
		&protocol.Busy{RetryAfter: 5}, &protocol.Prune{}, &protocol.Graft{From: 3},
		&protocol.Have{LastIndex: 190, First: 180, Checkpoints: []protocol.Index{170, 150}},
		&protocol.ManifestWant{Above: 3}, &protocol.Manifest{Manifest: []byte("d")},
		&protocol.ChunkWant{Index: 90, Sum: chain(90, 50, "h")[89].Sum, Numbers: []uint32{1, 1, 49, 50, 1 << 31}},
		&protocol.Chunk{Index: 150, Sum: chain(150, 50, "h")[149].Sum, Number: 0, Data: []byte("c")},
	} {
		f.Add(protocol.AppendMessage(nil, m), byte(1), uint16(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, who byte, wait uint16) {
		msg, err := protocol.DecodeMessage(data)
		if err != nil {
			return
		}
		for _, role := range []protocol.Role{protocol.RoleActive, protocol.RolePassive, protocol.RoleNone} {
			b := hostile(t, role, Mode(1+wait%2))
			for range 3 {
				from := passiveID(int(who % 8))
				if who >= 128 {
					from = activeID(int(who % 4))
				}
				rd := b.step(from, msg)
				b.sound(rd)
				b.soundSwarm(rd, nil)
				for _, r := range rd.Runs {
					b.core.Refused(b.now, r)
				}
				for _, r := range rd.ChunkReads {
					b.core.ChunkIs(b.now, r, data)
				}
				for i, k := range rd.Chunks {
					b.core.ChunkAdded(b.now, k.Number, i%2 == 0)
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
	for seed := range uint64(36) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := hostile(t, protocol.Role(seed%3), Mode(1+seed/3%2))
		number := func() uint64 {
			switch rng.IntN(6) {
			case 0:
				return math.MaxUint64 - uint64(rng.IntN(3))
			case 1:
				return 1<<62 + uint64(rng.IntN(3)) - 1
			case 2:
				return uint64(rng.IntN(3))
			case 3:
				return uint64(b.lastIndex) + uint64(rng.IntN(5)) - 2
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
			switch rng.IntN(16) {
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
					Applied: index(), LastIndex: index(), First: index(), Commit: index(), Holes: []protocol.Range{{First: index(), Last: index()}},
					Nonce: number(), FreshKnown: true, FreshIndex: index(), FreshSum: number(), FreshAge: int64(number()),
				}
				if i := rng.IntN(200); rng.IntN(2) == 0 { // a claim of this history
					m.FreshIndex, m.FreshSum = protocol.Index(i+1), h[i].Sum.Head()
				}
				if rng.IntN(4) == 0 {
					m.Diverged = index()
				}
				for range rng.IntN(4) {
					m.Checkpoints = append(m.Checkpoints, []protocol.Index{150, 170, index()}[rng.IntN(3)])
				}
				if rng.IntN(2) == 0 {
					m.AnswerTo = b.core.digest.asks[rng.IntN(asksMax)].nonce
				}
				return m
			case 5:
				w := &protocol.Want{Bytes: number(), Eager: rng.IntN(2) == 0, Small: rng.IntN(2) == 0, From: uint32(number())}
				for range rng.IntN(10) {
					w.Ranges = append(w.Ranges, protocol.Range{First: index(), Last: index()})
				}
				return w
			case 6:
				return &protocol.Busy{RetryAfter: int64(number())}
			case 7:
				return &protocol.SumQuestion{Index: index()}
			case 13:
				return &protocol.Prune{Index: index()}
			case 14:
				return &protocol.Graft{From: index()}
			case 15:
				parts := protocol.FrameParts(frame(h, activeID(1), 101, 120), 0, 1<<20)
				k := parts[rng.IntN(len(parts))]
				if rng.IntN(4) == 0 {
					k.Size, k.From, k.Index = uint32(number()), uint32(number()), index()
				}
				return k
			case 8:
				return &protocol.ManifestWant{Above: index()}
			case 9:
				return &protocol.Manifest{Manifest: [][]byte{nil, []byte("a"), []byte("b")}[rng.IntN(3)]}
			case 10:
				at := []protocol.Index{60, 90, 150}[rng.IntN(3)]
				w := &protocol.ChunkWant{Index: at, Sum: h[at-1].Sum}
				for range rng.IntN(70) {
					w.Numbers = append(w.Numbers, uint32(number()))
				}
				return w
			case 11:
				k := &protocol.Chunk{Index: 150, Sum: h[149].Sum, Number: uint32(rng.IntN(45)), Data: make([]byte, rng.IntN(3)*100)}
				if x := b.core.fetching.out; len(x) > 0 && rng.IntN(2) == 0 {
					k.Number = uint32(x[0].numbers[0])
				}
				return k
			}
			return &protocol.SumAnswer{Index: index(), Known: rng.IntN(2) == 0}
		}
		missing := make(map[int]bool)
		for i := range 40 {
			missing[i] = true
		}
		for range 2000 {
			rd := b.step(who(), message())
			b.sound(rd)
			b.soundSwarm(rd, missing)
			for _, r := range rd.ChunkReads {
				if rng.IntN(10) > 0 {
					b.core.ChunkIs(b.now, r, make([]byte, rng.IntN(1000)))
				}
			}
			for _, k := range rd.Chunks {
				ok := rng.IntN(4) > 0
				if ok {
					delete(missing, k.Number)
				}
				b.core.ChunkAdded(b.now, k.Number, ok)
			}
			for _, r := range rd.Reads {
				b.core.Answer(b.now, r.To, h[r.Range.First-1:r.Range.Last])
			}
			for _, r := range rd.Runs {
				if rng.IntN(2) == 0 {
					b.core.Refused(b.now, r)
				} else if last := r.Entries[len(r.Entries)-1].Index; last <= 200 && r.Entries[0].Index <= b.lastIndex+1 {
					b.lastIndex = max(b.lastIndex, last)
				}
			}
			b.progress()
			b.sound(b.core.Ready())
			b.sound(b.wait(time.Duration(rng.IntN(3000)) * time.Microsecond))
			if rng.IntN(100) == 0 {
				b.lastIndex = protocol.Index(rng.IntN(150))
				b.core.self.wrong = false // the member was started with another directory
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
		entry.Index = c.lastIndex + 1
		next := *f
		next.Entries, next.Commit = []protocol.Entry{entry}, entry.Index
		c.core.Step(c.now, memberID(1), &next)
		c.core.Ready()
		c.lastIndex++
		c.progress()
	}
}

func BenchmarkStepDuplicateFrame(b *testing.B) {
	c, h := benchmarkCore(b, 100)
	c.lastIndex = 10
	c.progress()
	f := frame(h, activeID(1), 5, 5)
	for b.Loop() {
		c.core.Step(c.now, memberID(1), f)
	}
}

func BenchmarkStepDigest(b *testing.B) {
	c, _ := benchmarkCore(b, 100)
	h := &protocol.Have{First: 1, LastIndex: 0, Nonce: 1}
	for b.Loop() {
		c.now = c.now.Add(5 * ms)
		c.core.Step(c.now, memberID(1), h)
		c.core.Ready()
	}
}
