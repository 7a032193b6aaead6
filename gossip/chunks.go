package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// chunkReadsMax is how many reads of chunks are under way, chunkReadsEach
	// for one member. One that is not answered within chunkReadPatience is
	// forgotten.
	chunkReadsMax, chunkReadsEach = 32, 2 * askChunks
	chunkReadPatience             = 10 * time.Second
	// holdingsMax is how many checkpoints a member may hold: the two that it
	// keeps, and others only because they are being sent.
	holdingsMax = protocol.CheckpointsMax
	// A checkpoint is pinned while somebody says that it fetches it and comes
	// forward, or was given chunks of it within pinIdle: but for needMax at most,
	// and needMaxChunk for each of its chunks.
	pinIdle = 30 * time.Second
)

// Holding is a checkpoint whose chunks this member has.
type Holding struct {
	Index    protocol.Index
	Sum      protocol.LogSum // of the log at Index
	Chunks   int             // how many it has
	Manifest []byte          // encoded, for those who ask
}

// ChunkRead asks the owner to read a chunk for a member, and to answer with
// ChunkIs.
type ChunkRead struct {
	To     protocol.MemberID
	Index  protocol.Index
	Number int
}

// giving is what this member gives of its checkpoints.
type giving struct {
	base
	needs *needs
	trust *trust

	holds    []holding // newest first
	total    bucket    // bytes
	ordinary bucket    // those of them that an active gives to members of ordinary claim
	reads    []chunkReading
}

// holding is a checkpoint, and who is at it: it was asked for at asked, if that has
// not ended, because all who said that they fetch it have said that they do not any
// more; it has been pinned from begun to pinned.
type holding struct {
	Holding
	asked, begun, pinned protocol.Instant
}

type chunkReading struct {
	ChunkRead
	sum   protocol.LogSum
	until protocol.Instant
}

// hold takes note of which checkpoints this member has.
func (g *giving) hold(list []Holding) {
	var holds []holding
	for _, h := range list[:min(len(list), holdingsMax)] {
		x := holding{Holding: h, asked: longAgo, begun: longAgo, pinned: longAgo}
		if i := g.find(h.Index, h.Sum); i >= 0 {
			x = g.holds[i]
			x.Holding = h
		}
		holds = append(holds, x)
	}
	slices.SortFunc(holds, func(a, b holding) int {
		switch {
		case a.Index > b.Index:
			return -1
		case a.Index < b.Index:
			return 1
		}
		return 0
	})
	g.holds = holds
}

// pinned returns the checkpoints that are being sent, newest first.
func (g *giving) pinned(now protocol.Instant) []protocol.Index {
	var out []protocol.Index
	for i := range g.holds {
		if g.pin(now, &g.holds[i]) {
			out = append(out, g.holds[i].Index)
		}
	}
	return out
}

// pin reports whether a checkpoint is pinned. Its time begins anew only after it
// was left alone for as long as it may take at least.
func (g *giving) pin(now protocol.Instant, h *holding) bool {
	asked := h.asked != longAgo && now < h.asked.Add(pinIdle)
	if !asked && !g.needs.fetched(now, h.Index) {
		return false
	}
	if h.pinned == longAgo || now >= h.pinned.Add(needMax) {
		h.begun = now
	}
	h.pinned = now
	return now < h.begun.Add(needMax+time.Duration(h.Chunks)*needMaxChunk)
}

// fetchEnded notes that a member does not fetch a checkpoint any more.
func (g *giving) fetchEnded(now protocol.Instant, i protocol.Index) {
	for k := range g.holds {
		if h := &g.holds[k]; h.Index == i && !g.needs.fetched(now, i) {
			h.asked = longAgo
		}
	}
}

// hasManifest returns which checkpoint whoever needs one above an index is to fetch.
func (g *giving) hasManifest(now protocol.Instant, above protocol.Index) protocol.Index {
	if pinned := g.pinned(now); len(pinned) >= pinsMax && pinned[0] > above {
		return pinned[0]
	}
	if holds := g.holds; len(holds) > 0 && holds[0].Index > above {
		return holds[0].Index
	}
	return 0
}

func (g *giving) find(i protocol.Index, sum protocol.LogSum) int {
	return slices.IndexFunc(g.holds, func(h holding) bool { return h.Index == i && h.Sum == sum })
}

// announced returns what the digest says of checkpoints.
func (g *giving) announced() []protocol.Index {
	var out []protocol.Index
	for i := range g.holds {
		out = append(out, g.holds[i].Index)
	}
	return out
}

// chunkRate is how many bytes of checkpoints per second a member may have of this
// one: of an active's egress, which belongs to the log, a quarter, unless it is a
// voter itself or does not get level.
func (g *giving) chunkRate(who claim) int64 {
	full := int64(g.cfg.ChunkServeBytes)
	if g.self.Role == protocol.RoleActive && who == claimOrdinary {
		full /= 4
	}
	return max(full, 1)
}

// mayGive charges bytes of checkpoints to a member, before they are known
// exactly. A quarter of a second's worth may go at once; beyond it the debt has
// to be paid off first. Members of a higher claim may have more of that debt: so
// they come first.
func (g *giving) mayGive(now protocol.Instant, to protocol.MemberID, bytes int) bool {
	who := g.needs.claimOf(now, to)
	full, rate := g.chunkRate(claimVoter), g.chunkRate(who)
	burst := max(full*int64(who+2)/16, 1) // from an eighth to a quarter of a second's worth
	b := g.members.budget(to)
	if !b.given.take(now, 0, rate, max(rate/4, 1)) || !g.total.take(now, 0, full, burst) ||
		rate < full && !g.ordinary.take(now, 0, rate, max(rate/4, 1)) {
		return false
	}
	g.charge(now, to, int64(bytes))
	return true
}

// charge counts bytes of checkpoints that go to a member.
func (g *giving) charge(now protocol.Instant, to protocol.MemberID, bytes int64) {
	full, rate := g.chunkRate(claimVoter), g.chunkRate(g.needs.claimOf(now, to))
	const any = 1 << 62
	g.members.budget(to).given.take(now, bytes, rate, any)
	g.total.take(now, bytes, full, any)
	if rate < full {
		g.ordinary.take(now, bytes, rate, any)
	}
}

// debt is how long a member has to wait until everything that it may have of this
// one is paid off.
func (g *giving) debt(now protocol.Instant, to protocol.MemberID) time.Duration {
	full, rate := g.chunkRate(claimVoter), g.chunkRate(g.needs.claimOf(now, to))
	seconds := max(float64(g.total.used)/float64(full), float64(g.members.budget(to).given.used)/float64(rate))
	if rate < full {
		seconds = max(seconds, float64(g.ordinary.used)/float64(rate))
	}
	return time.Duration(seconds * float64(time.Second))
}

// onManifestWant describes a checkpoint above the index.
func (g *giving) onManifestWant(now protocol.Instant, from protocol.MemberID, q *protocol.ManifestWant) {
	if !g.members.mayAnswer(now, from) {
		return
	}
	d := &protocol.Manifest{}
	if index := g.hasManifest(now, q.Above); g.self.source() && index != 0 {
		i := slices.IndexFunc(g.holds, func(h holding) bool { return h.Index == index })
		h := &g.holds[i]
		if !g.mayGive(now, from, len(h.Manifest)) {
			g.refuseChunks(now, from, index)
			return
		}
		d.Manifest = h.Manifest
		if g.trust.signs() {
			d.Signature = g.cfg.Sign(protocol.ManifestStatement(d.Manifest))
		}
	}
	g.outbox.send(from, d)
}

// onChunkWant has chunks read, or says BUSY.
func (g *giving) onChunkWant(now protocol.Instant, from protocol.MemberID, w *protocol.ChunkWant) {
	b := g.members.budget(from)
	if len(w.Numbers) == 0 || !b.wants.take(now, 1, wantsPerSecond, wantsBurst) {
		return
	}
	i := g.find(w.Index, w.Sum)
	if !g.self.source() || i < 0 {
		if g.members.mayAnswer(now, from) {
			g.outbox.send(from, &protocol.Chunk{Index: w.Index, Sum: w.Sum, Number: w.Numbers[0]})
		}
		return
	}
	g.reads = slices.DeleteFunc(g.reads, func(x chunkReading) bool { return now >= x.until })
	numbers := g.fresh(from, w.Index, w.Numbers, g.holds[i].Chunks)
	if len(numbers) == 0 {
		return // asked for already, or no chunks of it
	}
	each := 0
	for k := range g.reads {
		if g.reads[k].To == from {
			each++
		}
	}
	if len(g.reads)+len(numbers) > chunkReadsMax || each+len(numbers) > chunkReadsEach || !g.mayGive(now, from, len(numbers)*chunkBytes) {
		g.refuseChunks(now, from, w.Index)
		return
	}
	g.holds[i].asked = now
	for _, n := range numbers {
		read := ChunkRead{To: from, Index: w.Index, Number: n}
		g.reads = append(g.reads, chunkReading{ChunkRead: read, sum: w.Sum, until: now.Add(chunkReadPatience)})
		g.outbox.ready.ChunkReads = append(g.outbox.ready.ChunkReads, read)
	}
}

// fresh returns the numbers, each once, that exist and that are not being read
// for the member; chunkReadsEach at most.
func (g *giving) fresh(to protocol.MemberID, index protocol.Index, wanted []uint32, chunks int) []int {
	var out []int
	for _, w := range wanted {
		if uint64(w) >= uint64(chunks) { // before it is an int
			continue
		}
		n := int(w)
		if slices.Contains(out, n) || len(out) == chunkReadsEach {
			continue
		}
		if !slices.ContainsFunc(g.reads, func(x chunkReading) bool { return x.ChunkRead == ChunkRead{To: to, Index: index, Number: n} }) {
			out = append(out, n)
		}
	}
	return out
}

// chunkIs gives a chunk that was read to who wants it.
func (g *giving) chunkIs(now protocol.Instant, read ChunkRead, data []byte) {
	i := slices.IndexFunc(g.reads, func(x chunkReading) bool { return x.ChunkRead == read })
	if i < 0 {
		return // too late: whoever asked has asked elsewhere
	}
	k := &protocol.Chunk{Index: read.Index, Sum: g.reads[i].sum, Number: uint32(read.Number), Data: data}
	g.reads = slices.Delete(g.reads, i, i+1)
	g.charge(now, read.To, int64(len(data)-chunkBytes)) // besides what was charged: may be less
	g.outbox.send(read.To, k)
}

// refuseChunks says BUSY, for as long as the debt takes to pay off, and which
// passives hold the checkpoint too.
func (g *giving) refuseChunks(now protocol.Instant, to protocol.MemberID, index protocol.Index) {
	if !g.members.mayAnswer(now, to) {
		return
	}
	busy := &protocol.Busy{RetryAfter: int64(min(max(g.debt(now, to), busyPause), busyMax))}
	var others []*member
	for _, m := range g.members.passives {
		if m.holdsCheckpoint(index) {
			others = append(others, m)
		}
	}
	for _, m := range g.members.pick(nil, others, othersMax, to) {
		busy.Others = append(busy.Others, m.id)
	}
	g.outbox.send(to, busy)
}
