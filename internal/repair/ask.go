package repair

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// peer is a member that can be asked.
type peer struct {
	id protocol.MemberID
	// asked says that its answer is awaited until an instant, and tried that it
	// was asked in this round.
	asked bool
	until protocol.Instant
	tried bool
	// first is the lowest index that it holds, once it has said so.
	first    protocol.Index
	answered bool
	// gave says that it sent entries of the open patch without an active's word
	// for them, refuted that such entries led nowhere.
	gave, refuted bool
}

// SetPeers says who is alive besides this member, passives included.
func (c *Core) SetPeers(now protocol.Instant, peers []protocol.Peer) {
	var out []peer
	for _, p := range peers {
		if p.ID == c.cfg.ID || slices.ContainsFunc(out, func(q peer) bool { return q.id == p.ID }) {
			continue
		}
		next := peer{id: p.ID}
		if i := c.find(p.ID); i >= 0 {
			next = c.peers[i]
		}
		out = append(out, next)
	}
	slices.SortFunc(out, func(a, b peer) int { return a.id.Compare(b.id) })
	if n := len(out); n > 0 { // not everybody asks the same member first
		k := int(c.cfg.Seed % uint64(n))
		out = append(out[k:], out[:k]...)
	}
	c.peers = out
	if slices.ContainsFunc(out, func(p peer) bool { return !p.tried }) {
		c.idle = false
	}
	c.advance(now)
}

func (c *Core) find(id protocol.MemberID) int {
	return slices.IndexFunc(c.peers, func(p peer) bool { return p.id == id })
}

// ask sends requests for what the chain needs next, to those that were not
// asked in this round. It sets idle if there is nobody left to ask.
func (c *Core) ask(now protocol.Instant) {
	asked := 0
	for i := range c.peers {
		if c.peers[i].asked {
			asked++
		}
	}
	if c.chain.bytes > c.cfg.PatchBytesMax { // only a checkpoint helps
		if !c.idle {
			c.idle, c.resume = true, now.Add(c.cfg.Pause)
		}
		return
	}
	first, last := c.want()
	for i := range c.peers {
		p := &c.peers[i]
		if asked >= c.cfg.Parallel {
			break
		}
		if p.asked || p.tried {
			continue
		}
		p.asked, p.until = true, now.Add(c.cfg.Timeout)
		asked++
		c.send(p.id, &protocol.RepairWant{First: first, Last: last})
	}
	if asked == 0 && !c.idle {
		c.idle, c.resume = true, now.Add(c.cfg.Pause)
	}
}

// nextRound lets everybody be asked again. What led nowhere may be what is
// committed by now.
func (c *Core) nextRound() {
	c.idle = false
	for i := range c.peers {
		c.peers[i].tried, c.peers[i].refuted = false, false
	}
}

// progressed begins a new round because the chain has grown.
func (c *Core) progressed() {
	c.idle = false
	c.verdict.Checkpoint = 0
	for i := range c.peers {
		c.peers[i].tried = false
	}
}

// checkpointWanted returns the lowest index at which a checkpoint would help: if
// somebody holds the entries above, one just below those, and otherwise one at
// the end of the damage. Nobody has answered: none is wanted yet.
func (c *Core) checkpointWanted() protocol.Index {
	first, last := c.want()
	if c.chain.bytes > c.cfg.PatchBytesMax {
		return c.chain.at.index
	}
	var wanted protocol.Index
	for i := range c.peers {
		p := &c.peers[i]
		if !p.answered {
			continue
		}
		at := last
		if p.first > first {
			at = min(last, p.first-1)
		}
		if wanted == 0 || at < wanted {
			wanted = at
		}
	}
	return wanted
}

// onRepair takes an answer.
func (c *Core) onRepair(from protocol.MemberID, m *protocol.Repair) {
	i := c.find(from)
	if i < 0 || !c.peers[i].asked {
		return
	}
	p := &c.peers[i]
	p.asked, p.tried, p.answered, p.first = false, true, true, m.First
	entries := slices.Clone(m.Entries)
	if !follow(entries) {
		return
	}
	protocol.SumEntries(m.Before, entries)
	at := c.chain.at
	first := entries[0].Index
	if first > at.index+1 || entries[len(entries)-1].Index < at.index {
		return
	}
	vouched := protocol.Index(0)
	if m.Active {
		vouched = m.Commit
	}
	before := m.Before
	if first <= at.index {
		before = entries[at.index-first].Sum
		entries = entries[at.index+1-first:]
	}
	if before != at.sum {
		c.conflict(from, at.index <= vouched)
		return
	}
	if c.chain.open && at.index <= vouched {
		c.chain.vouched = at
	}
	c.take(p, entries, vouched)
}

// conflict is called for an answer that does not continue the chain.
func (c *Core) conflict(from protocol.MemberID, vouched bool) {
	switch {
	case !vouched:
	case c.chain.open && c.chain.vouched != c.chain.at:
		c.takeBack()
		c.progressed()
	default:
		c.differs(from)
		c.progressed()
	}
}

// take adds the entries of an answer that continue the chain, up to where it has
// to lead. Those beyond an active's word are taken only while they may be what
// was damaged.
func (c *Core) take(p *peer, entries []protocol.Entry, vouched protocol.Index) {
	first, last := c.want()
	if n := int(last + 1 - first); len(entries) > n {
		entries = entries[:n]
	}
	if c.chain.target > 0 || p.refuted {
		entries = entries[:min(len(entries), int(max(vouched+1, first)-first))]
	}
	if len(entries) == 0 {
		return
	}
	if entries[len(entries)-1].Index > vouched {
		p.gave = true
	}
	c.extend(p.id, entries, vouched)
	c.progressed()
}

// follow reports whether the entries are a run.
func follow(entries []protocol.Entry) bool {
	for i := 1; i < len(entries); i++ {
		if entries[i].Index != entries[i-1].Index+1 || entries[i].Term < entries[i-1].Term {
			return false
		}
	}
	return len(entries) > 0
}
