package active

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// What a cluster of cores needs for compaction and for catch-up below a log's
// beginning: the owner's part, in short.

// offer is a checkpoint to be fetched: of index, from a member; state is its
// content, all entries up to index.
type offer struct {
	from  protocol.MemberID
	index protocol.Index
	state []protocol.Entry
}

func offerOf(o *protocol.ManifestOffer) *offer {
	i, err := strconv.Atoi(string(o.Manifest))
	invariant.Check(err == nil, "offer of %q", o.Manifest)
	return &offer{from: o.From, index: protocol.Index(i)}
}

// shapeOf is the shape of a log that begins after an index.
func shapeOf(log []protocol.Entry, begin protocol.Index) protocol.LogTerms {
	var s protocol.LogTerms
	if begin > 0 {
		s.PrevIndex, s.PrevTerm, s.PrevSum = begin, log[begin-1].Term, sumOf(log[:begin])
	}
	for _, e := range log[begin:] {
		s.Append(e.Term)
	}
	return s
}

func sumOf(log []protocol.Entry) protocol.LogSum {
	return protocol.SumEntries(protocol.LogSum{}, slices.Clone(log))
}

// gives returns after which index a node has entries for others.
func (n *node) gives() protocol.Index {
	if n.m == nil {
		return n.begin
	}
	return max(n.begin, n.m.unreadable)
}

// compact makes a checkpoint at an index and drops the log below, if the disk
// has all of that.
func (c *cluster) compact(n *node, at protocol.Index) bool {
	if at <= n.begin || at > n.commit() || int(at) > len(n.durable.log) || !sameEntries(n.log[:at], n.durable.log[:at]) {
		return false
	}
	n.begin, n.durable.begin = at, at
	c.trace("%s's log begins at %d", n.name, at+1)
	if n.m != nil {
		n.m.DropHead(at, sumOf(n.log[:at]))
		c.settle(n)
	}
	return true
}

// fetch begins to install a checkpoint that somebody has.
func (c *cluster) fetch(n *node, o *offer) string {
	if n.down || o == nil {
		return n.name + " is offered nothing"
	}
	from := c.byID(o.from)
	if from.down || from.commit() < o.index || o.index == 0 {
		return fmt.Sprintf("%s cannot fetch %d from %s", n.name, o.index, from.name)
	}
	n.offered, n.installing = nil, &offer{from: o.from, index: o.index, state: slices.Clone(from.log[:o.index])}
	if n.m != nil {
		n.m.SetInstalling(c.now, true)
		c.settle(n)
	}
	return fmt.Sprintf("%s fetches %d from %s", n.name, o.index, from.name)
}

// giveUp ends an install that came to nothing.
func (c *cluster) giveUp(n *node) {
	n.installing = nil
	if n.m != nil {
		n.m.SetInstalling(c.now, false)
		c.settle(n)
	}
}

// install puts a fetched checkpoint in place, durably, in the order of
// storage's rule: a log that has its last entry is kept, one that begins above
// it too, any other is reset to begin after it. It waits for a write under way.
func (c *cluster) install(n *node) string {
	o := n.installing
	switch {
	case n.down || o == nil:
		return n.name + " installs nothing"
	case n.write != nil:
		return n.name + " waits for its disk"
	}
	last := o.state[o.index-1]
	before := len(n.log)
	configs := configurationsOf(c.base, o.state)
	at, _ := configs.At(o.index)
	kept := int(o.index) <= len(n.log) && sameEntries(n.log[o.index-1:o.index], o.state[o.index-1:])
	if !kept && o.index > n.begin {
		invariant.Check(o.index > n.commit(), "%s, which has committed %d, has another entry at %d", n.name, n.commit(), o.index)
		n.durable = image{state: n.durable.state, log: o.state, begin: o.index}
		n.durable.state.Commit = o.index
		n.log, n.begin = slices.Clone(o.state), o.index
	}
	n.installing = nil
	if n.m == nil { // the passive role in short
		if last.Term > n.state.Term {
			n.state.Term, n.state.Vote = last.Term, protocol.MemberID{}
		}
		n.state.Commit = max(n.state.Commit, o.index)
	} else {
		n.m.Install(c.now, protocol.Begin{
			Index: o.index, Term: last.Term, Sum: sumOf(o.state), Configuration: at, Time: last.Time,
		})
		invariant.Check(!n.m.installing, "still installing")
		c.check.committed(c, n, n.commit())
	}
	c.check.counts.installs++
	c.settle(n)
	if kept {
		return fmt.Sprintf("%s keeps its log, which has %d", n.name, o.index)
	}
	return fmt.Sprintf("%s had %d entries, its log begins at %d", n.name, before, n.begin+1)
}

func sameEntries(a, b []protocol.Entry) bool {
	return slices.EqualFunc(a, b, func(a, b protocol.Entry) bool { return bytes.Equal(a.Raw, b.Raw) })
}
