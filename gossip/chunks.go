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
	holdingsMax = 4
	// A checkpoint is pinned while it was asked for within pinIdle, but for
	// pinMax at most.
	pinIdle, pinMax = 30 * time.Second, 10 * time.Minute
)

// Holding is a checkpoint whose chunks this member has.
type Holding struct {
	Index       protocol.Index
	Sum         protocol.LogSum // of the log at Index
	Chunks      int             // how many it has
	Description []byte          // encoded, for those who ask
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
	holds []holding // newest first
	total bucket    // bytes
	reads []chunkReading
}

// holding is a checkpoint, and when it was asked for, first and last.
type holding struct {
	Holding
	asked       bool
	first, last protocol.Instant
}

type chunkReading struct {
	ChunkRead
	sum   protocol.LogSum
	until protocol.Instant
}

// Holds tells the core which checkpoints this member has: it tells others of
// them, describes them and gives their chunks. The two newest are announced;
// one that is older only while it is pinned, instead of the second.
func (c *Core) Holds(now protocol.Instant, list []Holding) {
	g := &c.giving
	var holds []holding
	for _, h := range list[:min(len(list), holdingsMax)] {
		x := holding{Holding: h}
		if i := g.find(h.Index, h.Sum); i >= 0 {
			x.asked, x.first, x.last = g.holds[i].asked, g.holds[i].first, g.holds[i].last
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

// Pinned returns the checkpoints that are being sent, newest first. The owner
// should keep them: whoever is in the middle of one would have to begin anew.
// None is pinned for longer than ten minutes.
func (c *Core) Pinned(now protocol.Instant) []protocol.Index {
	var out []protocol.Index
	for i := range c.giving.holds {
		if c.giving.holds[i].pinned(now) {
			out = append(out, c.giving.holds[i].Index)
		}
	}
	return out
}

func (h *holding) pinned(now protocol.Instant) bool {
	return h.asked && now < h.last.Add(pinIdle) && now < h.first.Add(pinMax)
}

// wantedNow notes that the checkpoint was asked for. Its ten minutes begin anew
// only after it was left alone for as long.
func (h *holding) wantedNow(now protocol.Instant) {
	if !h.asked || now >= h.last.Add(pinMax) {
		h.asked, h.first = true, now
	}
	h.last = now
}

func (g *giving) find(i protocol.Index, sum protocol.LogSum) int {
	return slices.IndexFunc(g.holds, func(h holding) bool { return h.Index == i && h.Sum == sum })
}

// announced returns what the digest says of checkpoints.
func (g *giving) announced(now protocol.Instant) []protocol.Index {
	var out []protocol.Index
	for i := range g.holds {
		out = append(out, g.holds[i].Index)
	}
	for i := protocol.CheckpointsMax; i < len(out); i++ {
		if g.holds[i].pinned(now) {
			out[protocol.CheckpointsMax-1] = out[i]
			break
		}
	}
	return out[:min(len(out), protocol.CheckpointsMax)]
}

// chunkBudget is how many bytes per second chunks may take: less at an active,
// whose egress belongs to the log.
func (c *Core) chunkBudget() int64 {
	if c.self.Role == protocol.RoleActive {
		return max(int64(c.cfg.ChunkServeBytes)/4, 1)
	}
	return int64(c.cfg.ChunkServeBytes)
}

// mayGive charges bytes of checkpoints to a member, before they are known
// exactly. A quarter of a second's worth may go at once; beyond it the debt has
// to be paid off first.
func (c *Core) mayGive(now protocol.Instant, to protocol.MemberID, bytes int) bool {
	total := c.chunkBudget()
	burst := max(total/4, 1)
	b := c.members.budget(to)
	if !b.given.take(now, 0, total, burst) || !c.giving.total.take(now, 0, total, burst) {
		return false
	}
	b.given.take(now, int64(bytes), total, burst)
	c.giving.total.take(now, int64(bytes), total, burst)
	return true
}

// onDescribe describes the newest checkpoint, if it is above the index.
func (c *Core) onDescribe(now protocol.Instant, from protocol.MemberID, q *protocol.Describe) {
	if !c.mayAnswer(now, from) {
		return
	}
	d := &protocol.Description{}
	if holds := c.giving.holds; c.source() && len(holds) > 0 && holds[0].Index > q.Above {
		if !c.mayGive(now, from, len(holds[0].Description)) {
			c.refuseChunks(now, from, holds[0].Index)
			return
		}
		d.Description = holds[0].Description
		if c.signs() {
			d.Seal = c.cfg.Sign(protocol.DescriptionStatement(d.Description))
		}
	}
	c.send(from, d)
}

// onChunkWant has chunks read, or says BUSY.
func (c *Core) onChunkWant(now protocol.Instant, from protocol.MemberID, w *protocol.ChunkWant) {
	g := &c.giving
	b := c.members.budget(from)
	if len(w.Numbers) == 0 || !b.wants.take(now, 1, wantsPerSecond, wantsBurst) {
		return
	}
	i := g.find(w.Index, w.Sum)
	if !c.source() || i < 0 {
		if c.mayAnswer(now, from) {
			c.send(from, &protocol.Chunk{Index: w.Index, Sum: w.Sum, Number: w.Numbers[0]})
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
	if len(g.reads)+len(numbers) > chunkReadsMax || each+len(numbers) > chunkReadsEach || !c.mayGive(now, from, len(numbers)*chunkBytes) {
		c.refuseChunks(now, from, w.Index)
		return
	}
	g.holds[i].wantedNow(now)
	for _, n := range numbers {
		read := ChunkRead{To: from, Index: w.Index, Number: n}
		g.reads = append(g.reads, chunkReading{ChunkRead: read, sum: w.Sum, until: now.Add(chunkReadPatience)})
		c.ready.ChunkReads = append(c.ready.ChunkReads, read)
	}
}

// fresh returns the numbers, each once, that exist and that are not being read
// for the member; chunkReadsEach at most.
func (g *giving) fresh(to protocol.MemberID, index protocol.Index, wanted []uint32, chunks int) []int {
	var out []int
	for _, w := range wanted {
		n := int(w)
		if n >= chunks || slices.Contains(out, n) || len(out) == chunkReadsEach {
			continue
		}
		if !slices.ContainsFunc(g.reads, func(x chunkReading) bool { return x.ChunkRead == ChunkRead{To: to, Index: index, Number: n} }) {
			out = append(out, n)
		}
	}
	return out
}

// ChunkIs answers a ChunkRead. Nil data means that the chunk is not there (any
// more).
func (c *Core) ChunkIs(now protocol.Instant, read ChunkRead, data []byte) {
	g := &c.giving
	i := slices.IndexFunc(g.reads, func(x chunkReading) bool { return x.ChunkRead == read })
	if i < 0 {
		return // too late: whoever asked has asked elsewhere
	}
	k := &protocol.Chunk{Index: read.Index, Sum: g.reads[i].sum, Number: uint32(read.Number), Data: data}
	g.reads = slices.Delete(g.reads, i, i+1)
	total := c.chunkBudget()
	more := int64(len(data) - chunkBytes) // than was charged: may be less
	c.members.budget(read.To).given.take(now, more, total, 1<<62)
	g.total.take(now, more, total, 1<<62)
	c.send(read.To, k)
}

// refuseChunks says BUSY, for as long as the debt takes to pay off, and which
// passives hold the checkpoint too.
func (c *Core) refuseChunks(now protocol.Instant, to protocol.MemberID, index protocol.Index) {
	if !c.mayAnswer(now, to) {
		return
	}
	total := c.chunkBudget()
	debt := max(c.giving.total.used, c.members.budget(to).given.used, 0)
	wait := time.Duration(float64(debt) / float64(total) * float64(time.Second))
	busy := &protocol.Busy{RetryAfter: int64(min(max(wait, busyPause), busyMax))}
	var others []*member
	for _, m := range c.members.passives {
		if m.holdsCheckpoint(index) {
			others = append(others, m)
		}
	}
	for _, m := range c.pick(nil, others, othersMax, to) {
		busy.Others = append(busy.Others, m.id)
	}
	c.send(to, busy)
}
