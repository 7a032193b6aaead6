package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A member that is far behind says so in its HAVE: which entry of the log it needs
// next, and which checkpoint it is fetching. Whoever hears of it keeps both for a
// while, or the member would be at its end where it was at its beginning: what it
// has fetched is given up, or the log that goes on from it. And it says if it does
// not get level at the rate that it is given; then it is given more.
//
// All of it is bounded, since anybody can say so: this file bounds the time, with
// progress and without, and how many members are believed; the owner bounds the
// bytes.

const (
	// needsMax is how many members that are behind are remembered.
	needsMax = 32
	// A member that is behind is waited for as long as it comes forward: without
	// it for needIdle, and needIdleChunk for each chunk that was to come, because
	// what it has fetched it has to build into a state. In all it is waited for
	// needMax, and needMaxChunk for each of those chunks (about 1 MiB/s).
	needIdle, needIdleChunk = time.Minute, 50 * time.Millisecond
	needMax, needMaxChunk   = 10 * time.Minute, 250 * time.Millisecond
	// needSilence is how long a member that is behind may be silent.
	needSilence = 30 * time.Second
	// pinsMax is how many checkpoints are kept at a time because somebody fetches
	// them. With so many, whoever comes next is given one of them.
	pinsMax = 2
)

// needs is what members that are behind need.
type needs struct {
	members *members
	pins    pins

	list []need // in the order in which they said so
}

// pins is told when a member does not fetch a checkpoint any more.
type pins interface {
	fetchEnded(now protocol.Instant, i protocol.Index)
}

// need is a member that is behind, and what it needs.
type need struct {
	id protocol.MemberID
	protocol.Behind
	most                 uint32 // chunks that were to come at first
	first, forward, last protocol.Instant
}

// live reports whether the member is waited for.
func (n *need) live(now protocol.Instant) bool {
	chunks := time.Duration(min(n.most, chunksMost))
	return now < n.last.Add(needSilence) && now < n.forward.Add(needIdle+chunks*needIdleChunk) && now < n.first.Add(needMax+chunks*needMaxChunk)
}

// chunksMost bounds what is believed of the size of a checkpoint.
const chunksMost = 1 << 17

// learn takes what a member says of its being behind.
func (ns *needs) learn(now protocol.Instant, m *member, b protocol.Behind) {
	i := slices.IndexFunc(ns.list, func(n need) bool { return n.id == m.id })
	if i >= 0 && now >= ns.list[i].last.Add(needMax) {
		// It died behind, or was cut off; that it is behind again is another need.
		was := ns.list[i].Installing
		ns.list = slices.Delete(ns.list, i, i+1)
		ns.pins.fetchEnded(now, was)
		i = -1
	}
	switch {
	case b.Needs == 0 || b.Needs > protocol.IndexMax:
		if i >= 0 {
			was := ns.list[i].Installing
			ns.list = slices.Delete(ns.list, i, i+1)
			ns.pins.fetchEnded(now, was)
		}
		return
	case i < 0:
		if len(ns.list) == needsMax {
			ns.list = slices.DeleteFunc(ns.list, func(n need) bool { return !n.live(now) })
		}
		if len(ns.list) < needsMax {
			ns.list = append(ns.list, need{id: m.id, Behind: b, most: b.Left, first: now, forward: now, last: now})
		}
		return
	}
	n := &ns.list[i]
	was := *n
	n.Behind, n.last = b, now
	if b.Installing != was.Installing {
		n.most, n.forward = b.Left, now
		ns.pins.fetchEnded(now, was.Installing)
	} else if b.Left < was.Left || b.Needs > was.Needs {
		n.forward = now
	}
	n.most = max(n.most, b.Left)
}

// live returns which entries are needed next, lowest first.
func (ns *needs) live(now protocol.Instant) []protocol.Index {
	var out []protocol.Index
	for i := range ns.list {
		if ns.list[i].live(now) {
			out = append(out, ns.list[i].Needs)
		}
	}
	slices.Sort(out)
	return out
}

// fetched reports whether somebody says that it fetches a checkpoint, and comes
// forward.
func (ns *needs) fetched(now protocol.Instant, i protocol.Index) bool {
	return i != 0 && slices.ContainsFunc(ns.list, func(n need) bool { return n.Installing == i && n.live(now) })
}

// of returns what a member needs, if it is behind and waited for.
func (ns *needs) of(now protocol.Instant, id protocol.MemberID) *need {
	for i := range ns.list {
		if ns.list[i].id == id && ns.list[i].live(now) {
			return &ns.list[i]
		}
	}
	return nil
}

// claim is how much of what a member gives another one may have.
type claim uint8

const (
	claimOrdinary claim = iota
	// claimPressed: it does not get level with an ordinary share.
	claimPressed
	// claimVoter: the cluster has a voter less until it is level.
	claimVoter
)

func (ns *needs) claimOf(now protocol.Instant, id protocol.MemberID) claim {
	if m := ns.members.get(id); m != nil && m.peer.Role == protocol.RoleActive {
		return claimVoter
	}
	if n := ns.of(now, id); n != nil && n.Pressed {
		return claimPressed
	}
	return claimOrdinary
}

// behind is what this member says of its being behind. A log that goes on
// above the checkpoint that is fetched is needed from its own end on only.
func (f *fetching) behind() protocol.Behind {
	b := protocol.Behind{Needs: f.self.Needs, Pressed: f.self.Pressed}
	if f.active {
		b.Installing, b.Left = f.want.Index, uint32(f.left())
		b.Needs = max(f.want.Index, f.self.LastIndex) + 1
	}
	if b.Needs == 0 {
		b.Pressed = false
	}
	return b
}

// left returns how many chunks are still to come.
func (f *fetch) left() int {
	n := len(f.todo) + len(f.again) + len(f.adding)
	for i := range f.out {
		n += len(f.out[i].numbers)
	}
	return n
}
