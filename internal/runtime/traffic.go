package runtime

import (
	"sync/atomic"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/protocol"
)

// Traffic is what a member has sent to other members since it started, in bytes
// on its sockets: with the heads of our own framing, without those of TCP, UDP
// and IP. What its clients get is not in it.
type Traffic struct {
	// Raft went to other actives: entries, heartbeats, answers, forwarded
	// commands.
	Raft uint64
	// Frames are committed entries for those who follow by gossip, pushed,
	// passed on and pulled; Copies counts the entries in them.
	Frames, Copies uint64
	// Control is what else gossip says: digests, their answers, links, pulls.
	Control uint64
	// Checkpoints are pieces of checkpoints and repairs, and what asks for them.
	Checkpoints uint64
	// Membership is what memberlist says: probes, news, exchanges of the list.
	Membership uint64
}

// trafficCounters count by kind. Any goroutine may add.
type trafficCounters struct {
	raft, frames, copies, control, checkpoints atomic.Uint64
}

// sent counts a message with the bytes that it takes.
func (c *trafficCounters) sent(m protocol.Message, bytes int) {
	n := uint64(bytes)
	switch m.Kind().Class() {
	case protocol.ClassFrames:
		c.frames.Add(n)
		if f, ok := m.(*protocol.Frame); ok {
			c.copies.Add(uint64(len(f.Entries)))
		}
	case protocol.ClassControl:
		c.control.Add(n)
	case protocol.ClassCheckpoints:
		c.checkpoints.Add(n)
	case protocol.ClassRaft:
		c.raft.Add(n)
	}
}

// Traffic returns what this member has sent.
func (m *Member) Traffic() Traffic {
	c := &m.traffic
	return Traffic{
		Raft: c.raft.Load(), Frames: c.frames.Load(), Copies: c.copies.Load(), Control: c.control.Load(),
		Checkpoints: c.checkpoints.Load(), Membership: m.swim.Sent(),
	}
}

// datagramBytes is what a datagram of ours takes.
func datagramBytes(packet []byte) int { return len(packet) + swim.DatagramHead }
