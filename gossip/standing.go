package gossip

import (
	"math/rand/v2"

	"github.com/starlinghq/starling/protocol"
)

// standing is where this member stands: what its owner says of it, and whether its log
// is of the actives' history. The core writes it; its parts read it.
type standing struct {
	Progress
	started  bool // Progress was called
	wrong    bool // the log is of another history than the actives', since index diverged
	diverged protocol.Index
}

// follows reports whether this member gets its entries from the flock. An
// active gets them from its leader, as long as it hears one. [S] One that does
// not may have been removed while it was away, and hears of it nowhere else.
func (s *standing) follows() bool { return s.Role != protocol.RoleActive || s.Leaderless }

// takes reports whether this member takes entries from the flock now.
func (s *standing) takes() bool { return s.follows() && !s.wrong }

// source reports whether others may be fed from this member's log.
func (s *standing) source() bool { return s.Source && !s.wrong }

// urgent reports whether this member asks actives for what it lacks as it asks
// passives. The leader is spared all the same: see rank in fetch.go.
func (s *standing) urgent() bool { return s.Role == protocol.RoleActive || s.Pressed }

// outbox gathers what the parts say, until the owner takes it.
type outbox struct {
	from    protocol.MemberID
	self    *standing
	members *members
	ready   Ready
}

func (o *outbox) send(to protocol.MemberID, msg protocol.Message) {
	e := protocol.Envelope{From: o.from, To: to, Message: msg}
	if o.streams(to, msg) {
		o.members.get(to).carrier.used = true
		o.ready.Streamed = append(o.ready.Streamed, e)
		return
	}
	o.ready.Messages = append(o.ready.Messages, e)
}

// streams reports whether a message that could be a datagram goes over the stream. Echoes
// never do: they find out whether they need to.
func (o *outbox) streams(to protocol.MemberID, msg protocol.Message) bool {
	k := msg.Kind()
	m := o.members.get(to)
	return m != nil && m.carrier.streams() && k.Datagram() && !k.NeverByStream()
}

func (o *outbox) event(kind protocol.EventKind, who protocol.MemberID, at protocol.Index, text string) {
	o.ready.Events = append(o.ready.Events, protocol.Event{
		Kind: kind, Term: o.self.Term, Index: at, Member: who, Text: text,
	})
}

// base is what every part may read and draw from, and where it speaks. Whatever else a
// part needs of others is in fields of its own.
type base struct {
	cfg     *Config
	rng     *rand.Rand
	self    *standing
	members *members
	outbox  *outbox
}
