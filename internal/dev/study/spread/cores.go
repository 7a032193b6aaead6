package spread

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// readTime is how long entries that are read for others take.
const readTime = time.Millisecond

// member is a core and what its owner does for it. The log is a prefix of the
// history that all members share.
type member struct {
	n         *net
	at        int
	core      *gossip.Core
	lastIndex int // length of the log
	told      gossip.Progress
}

// newCores makes a flock of cores that have just started.
func newCores(n *net, norepair bool) {
	set := n.set
	peers := make([]protocol.Peer, len(n.ids))
	for i, id := range n.ids {
		peers[i] = protocol.Peer{ID: id, Role: protocol.RolePassive}
		if i < Actives {
			peers[i].Role = protocol.RoleActive
		}
		if set.Zones > 1 {
			peers[i].Zone = fmt.Sprintf("zone%d", n.zone(i))
		}
	}
	knows := n.acquaint()
	for i := range n.ids {
		cfg := gossip.Config{
			ID: n.ids[i], Run: protocol.RunID(n.rng.Uint64()), Seed: n.rng.Uint64(), Zone: peers[i].Zone,
			Mode: gossip.Hybrid, Fanout: set.Fanout, Probability: set.Probability, NoRepair: norepair,
		}
		if set.Mode == Flood {
			cfg.Mode = gossip.Flood
		}
		known := peers
		if knows != nil && i >= Actives {
			cfg.Flock = set.Members
			known = append([]protocol.Peer{}, peers[:Actives]...)
			for _, k := range knows[i] {
				known = append(known, peers[k])
			}
		}
		d := &member{n: n, at: i}
		d.core = gossip.New(n.now, cfg, d)
		d.core.SetPeers(n.now, known)
		n.actors = append(n.actors, d)
	}
	for _, a := range n.actors {
		a.(*member).turn()
	}
	n.heartbeat()
}

// acquaint draws whom each passive of a large flock knows; whoever knows
// somebody is known to it.
func (n *net) acquaint() [][]int32 {
	if n.set.Members <= knownAllTo {
		return nil
	}
	knows := make([][]int32, len(n.ids))
	for i := Actives; i < len(knows); i++ {
		for range knownMax / 2 {
			k := Actives + n.rng.IntN(n.set.Members)
			knows[i], knows[k] = append(knows[i], int32(k)), append(knows[k], int32(i))
		}
	}
	return knows
}

// heartbeat is the leader's round: it claims its commit index for the moment of
// sending, once a follower has answered.
func (n *net) heartbeat() {
	leader := n.actors[0].(*member)
	commit, at := protocol.Index(leader.lastIndex), n.now
	if commit > 0 {
		n.after(2*n.set.Delay, func() {
			leader.core.Confirmed(protocol.Fresh{Index: commit, Sum: n.sum(int(commit)), At: at})
			leader.turn()
			n.wake(0)
		})
	}
	n.after(heartbeat, n.heartbeat)
}

// Entries implements gossip.Log.
func (d *member) Entries(first, last protocol.Index, bytes int) []protocol.Entry {
	check(int(last) <= d.lastIndex && first >= 1, "entries %d..%d asked of a log that ends at %d", first, last, d.lastIndex)
	k := int(first) - 1
	end := k + d.n.fit(k, int(last), bytes)
	return d.n.history[k:end:end]
}

// SumBefore implements gossip.Log.
func (d *member) SumBefore(first protocol.Index) (protocol.LogSum, bool) {
	if int(first) > d.lastIndex+1 || first == 0 {
		return protocol.LogSum{}, false
	}
	return d.n.sum(int(first) - 1), true
}

func (d *member) committed(lastIndex int) {
	d.lastIndex = max(d.lastIndex, lastIndex)
	d.turn()
}

func (d *member) held() int { return d.lastIndex }

func (d *member) deadline() protocol.Instant { return d.core.Deadline() }

func (d *member) tick() {
	d.core.Tick(d.n.now)
	d.turn()
}

func (d *member) receive(from int, message any) {
	if f, ok := message.(*protocol.Frame); ok {
		r := f.Range()
		d.n.tally.received(d.at, r.First, r.Last, f.Flags&protocol.FramePulled != 0)
	}
	d.core.Step(d.n.now, d.n.ids[from], message.(protocol.Message))
	d.turn()
}

// turn serves the core until it has nothing more to say.
func (d *member) turn() {
	now := d.n.now
	for {
		lastIndex := protocol.Index(d.lastIndex)
		p := gossip.Progress{
			First: 1, LastIndex: lastIndex, Applied: lastIndex, Commit: lastIndex, Term: 1, Leader: d.n.ids[0],
			Role: protocol.RolePassive, Source: true,
		}
		if d.at < Actives {
			p.Role = protocol.RoleActive
		}
		if p != d.told {
			d.told = p
			d.core.Progress(now, p)
		}
		if !d.core.HasReady() {
			return
		}
		ready := d.core.Ready()
		check(ready.Diverged == nil, "member %d: a log that diverges", d.at)
		for _, e := range ready.Messages {
			d.send(e)
		}
		for _, r := range ready.Runs {
			d.take(r)
		}
		for _, r := range ready.Reads {
			d.n.after(readTime, func() {
				d.core.Answer(d.n.now, r.To, d.Entries(r.Range.First, r.Range.Last, r.Bytes))
				d.turn()
				d.n.wake(d.at)
			})
		}
	}
}

// take is the passive role in a few lines.
func (d *member) take(r gossip.Run) {
	first, last := int(r.Entries[0].Index), int(r.Entries[len(r.Entries)-1].Index)
	if first > d.lastIndex+1 || last <= d.lastIndex {
		return
	}
	check(r.Before == d.n.sum(first-1), "member %d: a run at %d that does not fit", d.at, first)
	check(last <= len(d.n.history), "member %d: entry %d of %d", d.at, last, len(d.n.history))
	d.n.tally.holds(d.at, d.lastIndex, last)
	d.lastIndex = last
}

// send puts a message of the core on its way. Its size is that of its encoding;
// the message itself is handed over as it is, for nobody changes one.
func (d *member) send(e protocol.Envelope) {
	n := d.n
	to, known := n.byID[e.To]
	check(known, "member %d: a message to a stranger", d.at)
	n.scratch = protocol.AppendMessage(n.scratch[:0], e.Message)
	bytes := len(n.scratch)
	if f, ok := e.Message.(*protocol.Frame); ok {
		r := f.Range()
		n.tally.payloadSent(d.at, int(to), r.First, r.Last, f.Flags&protocol.FramePulled != 0, bytes)
	} else {
		n.tally.controlSent(d.at, bytes)
	}
	n.send(d.at, int(to), e.Message, bytes, bytes > protocol.DatagramBytesMax)
}
