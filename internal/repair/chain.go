package repair

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// point is an index and the log sum after it.
type point struct {
	index protocol.Index
	sum   protocol.LogSum
}

// chain is the log as far as it is put together.
type chain struct {
	// from is the checkpoint that it begins after; nil: where the log begins.
	from *storage.Begin
	at   point
	// next is the range that it has to reach.
	next int
	// patches are the entries from others below at. The last one is open while
	// at is above the range before.
	patches [][]protocol.Entry
	givers  []giver // of the entries in patches, in order
	open    bool
	bytes   int
	// vouched is how far its entries are known to be committed by an active's
	// word, within the open patch.
	vouched point
	// target, if not 0, says that an active's committed log is another one than
	// ours there: the chain takes only its entries, and ends there.
	target protocol.Index
}

// giver has given the entries from first on, up to the next giver's.
type giver struct {
	id    protocol.MemberID
	first protocol.Index
}

// Givers returns whose entries the plan has, or would have by now: each once, in order.
func (c *Core) Givers() []protocol.MemberID {
	var out []protocol.MemberID
	for _, g := range c.chain.givers {
		if !slices.Contains(out, g.id) {
			out = append(out, g.id)
		}
	}
	return out
}

// forgetAbove forgets who has given what is above an index, and was taken back.
func (h *chain) forgetAbove(i protocol.Index) {
	h.givers = slices.DeleteFunc(h.givers, func(g giver) bool { return g.first > i })
}

// begin begins the chain anew, after a checkpoint or where the log does.
func (c *Core) begin(from *storage.Begin) {
	c.chain = chain{from: from}
	c.verdict.Checkpoint = 0
	if from == nil {
		c.chain.at = point{c.own.Index, c.own.Sum}
		return
	}
	at := point{from.Index, from.Sum}
	c.chain.at = at
	for k, s := range c.good {
		if at.index < s.After {
			break
		}
		c.chain.next = k
		if at.index > s.Last {
			c.chain.next = k + 1
			continue
		}
		sum, err := c.ownSum(&s, at.index)
		switch {
		case err != nil: // it cannot be read after all
			c.dropRange(k)
			c.begin(from)
			return
		case sum == at.sum:
			c.pass(s)
		default:
			// The checkpoint is of committed entries: what the log holds there and
			// above was never committed.
			c.chain.target = at.index
		}
		return
	}
}

// ownSum returns the log's sum after an index of a good range.
func (c *Core) ownSum(s *storage.Range, i protocol.Index) (protocol.LogSum, error) {
	switch i {
	case s.After:
		return s.Sum, nil
	case s.Last:
		return s.LastSum, nil
	}
	entries, err := c.log.Read(i, i, 0)
	if err != nil {
		return protocol.LogSum{}, err
	}
	return entries[0].Sum, nil
}

// dropRange leaves of a range only its end, as a point to lead through.
func (c *Core) dropRange(k int) {
	s := &c.good[k]
	s.After, s.Sum = s.Last, s.LastSum
}

// pass takes a good range, which the chain has reached.
func (c *Core) pass(s storage.Range) {
	c.chain.at = point{s.Last, s.LastSum}
	c.chain.open = false
	c.chain.next++
	for i := range c.peers {
		c.peers[i].gave = false
	}
}

// want returns the entries that the chain needs next.
func (c *Core) want() (first, last protocol.Index) {
	first = c.chain.at.index + 1
	if c.chain.target > 0 {
		return first, c.chain.target
	}
	return first, c.good[c.chain.next].After
}

// advance goes on until something is missing, and asks for it.
func (c *Core) advance(now protocol.Instant) {
	for !c.done() {
		if !c.startable() {
			if b := c.useful(); b != nil {
				c.begin(b)
				continue
			}
			c.verdict.Checkpoint = max(1, c.lowest())
			return
		}
		if c.step() {
			continue
		}
		c.ask(now)
		if !c.idle {
			return
		}
		if b := c.useful(); b != nil && c.mayGiveUp(now) {
			c.tell(b.Index, c.cfg.ID, "begins after the checkpoint at %d", b.Index)
			c.begin(b)
			c.nextRound()
			continue
		}
		c.verdict.Checkpoint = c.checkpointWanted()
		return
	}
}

// mayGiveUp reports whether entries may be given up for a checkpoint: everybody
// has said that they do not have them, or enough time has passed.
func (c *Core) mayGiveUp(now protocol.Instant) bool {
	waiting := slices.ContainsFunc(c.peers, func(p peer) bool { return !p.answered })
	return now >= c.patient || len(c.peers) > 0 && !waiting
}

// startable reports whether the chain has a begin.
func (c *Core) startable() bool { return c.chain.from != nil || c.usable }

// useful returns the lowest checkpoint that brings the chain further: the more of
// the log is kept, the better.
func (c *Core) useful() *storage.Begin {
	for i := range c.checkpoints {
		b := c.checkpoints[i]
		if b.Index >= c.lowest() && (b.Index > c.chain.at.index || !c.startable()) {
			return &b
		}
	}
	return nil
}

// lowest returns the lowest index that the chain may begin after. A log whose
// beginning is damaged may have begun lower than what is left of it.
func (c *Core) lowest() protocol.Index { return min(c.own.Index, c.state.Commit) }

// step passes what the chain has reached, and reports whether it did, or came to
// its end.
func (c *Core) step() bool {
	h := &c.chain
	if h.target > 0 {
		if h.at.index < h.target {
			return false
		}
		c.finish()
		return true
	}
	if h.next == len(c.good) {
		c.finish()
		return true
	}
	s := c.good[h.next]
	switch {
	case h.at.index < s.After:
		return false
	case h.at.sum == s.Sum:
		c.pass(s)
	case h.vouched == h.at:
		// An active has committed something else than what was damaged.
		c.tell(h.at.index, protocol.MemberID{}, "what was damaged had never been committed: an active has committed other entries up to %d", h.at.index)
		h.target = h.at.index
	default:
		c.takeBack()
	}
	return true
}

// takeBack drops what was taken without an active's word: it does not lead where
// the log was.
func (c *Core) takeBack() {
	h := &c.chain
	if !h.open {
		c.lose(fmt.Sprintf("it contradicts itself at %d", h.at.index))
		return
	}
	last := len(h.patches) - 1
	patch := h.patches[last]
	keep := 0
	if h.vouched.index >= patch[0].Index {
		keep = int(h.vouched.index - patch[0].Index + 1)
		h.at = h.vouched
	} else {
		h.at = c.before(h.next)
	}
	h.bytes -= protocol.RawSize(patch[keep:])
	if h.patches[last] = patch[:keep:keep]; keep == 0 {
		h.patches, h.open = h.patches[:last], false
	}
	h.forgetAbove(h.at.index)
	for i := range c.peers {
		p := &c.peers[i]
		p.refuted = p.refuted || p.gave
		p.gave = false
	}
}

// before returns the point from which the chain leads to a range.
func (c *Core) before(k int) point {
	if from := c.chain.from; from != nil && (k == 0 || from.Index > c.good[k-1].Last) {
		return point{from.Index, from.Sum}
	}
	if k == 0 {
		return point{c.own.Index, c.own.Sum}
	}
	return point{c.good[k-1].Last, c.good[k-1].LastSum}
}

// extend adds entries of a member that continue the chain.
func (c *Core) extend(from protocol.MemberID, entries []protocol.Entry, vouched protocol.Index) {
	h := &c.chain
	h.givers = append(h.givers, giver{from, entries[0].Index})
	if !h.open {
		h.patches, h.open = append(h.patches, nil), true
		h.vouched = h.at
	}
	for i := range entries {
		e := &entries[i]
		h.at = point{e.Index, e.Sum}
		if e.Index <= vouched {
			h.vouched = h.at
		}
		h.bytes += len(e.Raw)
	}
	last := len(h.patches) - 1
	h.patches[last] = append(h.patches[last], entries...)
}

// differs is called when an active's committed log has another sum than the
// chain, at the chain's end, and nothing in the chain is in doubt: this log left
// the committed one before that. The chain goes back to what is known to be
// committed, and takes the active's entries from there.
func (c *Core) differs(from protocol.MemberID) {
	h := &c.chain
	base := max(c.state.Commit, c.own.Index)
	if h.from != nil {
		base = max(base, h.from.Index)
	}
	if h.target > 0 || base >= h.at.index {
		c.lose(fmt.Sprintf("it holds another entry up to %d than what %s has committed, and both say that it is committed", h.at.index, from.Short()))
		return
	}
	target := h.at.index
	c.tell(target, from, "the log left the committed one between %d and %d", base, target)
	at, ok := c.backTo(base)
	if !ok {
		c.lose(fmt.Sprintf("entry %d cannot be read", base))
		return
	}
	h.at, h.target, h.open, h.vouched = at, target, false, at
}

// backTo drops what the chain has above an index, and returns the point there.
func (c *Core) backTo(i protocol.Index) (point, bool) {
	h := &c.chain
	h.forgetAbove(i)
	for n := len(h.patches); n > 0 && h.patches[n-1][0].Index > i; n-- {
		h.bytes -= protocol.RawSize(h.patches[n-1])
		h.patches = h.patches[:n-1]
	}
	if n := len(h.patches); n > 0 {
		patch := h.patches[n-1]
		if keep := int(i - patch[0].Index + 1); keep <= len(patch) {
			h.bytes -= protocol.RawSize(patch[keep:])
			h.patches[n-1] = patch[:keep:keep]
			return point{i, patch[keep-1].Sum}, true
		}
	}
	if from := h.from; from != nil && from.Index == i {
		return point{i, from.Sum}, true
	}
	for k := range c.good {
		if s := &c.good[k]; s.After <= i && i <= s.Last {
			sum, err := c.ownSum(s, i)
			return point{i, sum}, err == nil
		}
	}
	return point{}, false
}

// finish makes the plan.
func (c *Core) finish() {
	h := &c.chain
	from, n, after := h.from, 0, ""
	if from == nil && c.headLost {
		from = &c.own
	}
	if from != nil && from.Index > 0 {
		after = fmt.Sprintf(", after the checkpoint at %d", from.Index)
	}
	for _, patch := range h.patches {
		n += len(patch)
	}
	c.tell(h.at.index, protocol.MemberID{}, "the log can be repaired: %d entries from others, %d bytes%s", n, h.bytes, after)
	c.verdict = Verdict{Plan: &storage.RepairPlan{Begin: from, Patches: h.patches, Last: h.at.index, Sum: h.at.sum}}
}
