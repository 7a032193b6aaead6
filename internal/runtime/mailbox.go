package runtime

import (
	"sync"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// Bounds of what may wait for the loop.
const (
	mailMessagesMax    = 8192     // beyond: connections wait, datagrams are dropped
	mailBytesMax       = 64 << 20 // that they hold
	mailSubmissionsMax = 16384    // beyond: ErrOverloaded
)

// mail is everything that waits for the loop.
type mail struct {
	messages    []received
	submissions []replica.Submission
	reads       []uint64
	// done is what has come of steps, in their order.
	done    []member.Done
	applied []replica.Applied
	// completions tell the replica of what it did not ask for, and of what was repaired.
	completions []func(now protocol.Instant)
	peers       []protocol.Peer
	peersSet    bool
	calls       []func()
}

type received struct {
	from    protocol.MemberID
	message protocol.Message
}

// mailbox hands mail to the loop. One lock, no allocation in the steady state.
type mailbox struct {
	mu     sync.Mutex
	room   sync.Cond
	mail   mail
	bytes  int
	waits  int // connections that wait for room
	closed bool
	deaf   func(from protocol.MemberID) bool // whose messages are lost; for tests, else nil
	wake   chan struct{}
}

func newMailbox() *mailbox {
	b := &mailbox{wake: make(chan struct{}, 1)}
	b.room.L = &b.mu
	return b
}

// take swaps the mail for an empty one and lets those who wait go on.
func (b *mailbox) take(into *mail) {
	b.mu.Lock()
	*into, b.mail = b.mail, mail{
		messages: into.messages[:0], submissions: into.submissions[:0], reads: into.reads[:0],
		done: into.done[:0], applied: into.applied[:0], calls: into.calls[:0], completions: into.completions[:0],
	}
	b.bytes = 0
	b.mu.Unlock()
	b.room.Broadcast()
}

func (b *mailbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// put changes the mail under the lock and wakes the loop. It reports false if
// the member has stopped.
func (b *mailbox) put(change func(*mail)) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	change(&b.mail)
	b.mu.Unlock()
	b.signal()
	return true
}

// complete has the loop tell the replica something.
func (b *mailbox) complete(tell func(now protocol.Instant)) bool {
	return b.put(func(in *mail) { in.completions = append(in.completions, tell) })
}

// message takes a message that came over a connection, and waits while there
// is no room: the connection is the back-pressure. A datagram is dropped.
func (b *mailbox) message(from protocol.MemberID, m protocol.Message, datagram bool) bool {
	size := protocol.HeldBytes(m)
	b.mu.Lock()
	if b.deaf != nil && b.deaf(from) {
		b.mu.Unlock()
		return true
	}
	for !b.closed && (len(b.mail.messages) >= mailMessagesMax || b.bytes > mailBytesMax) {
		if datagram {
			b.mu.Unlock()
			return false
		}
		b.waits++
		b.room.Wait()
		b.waits--
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	b.mail.messages = append(b.mail.messages, received{from, m})
	b.bytes += size
	b.mu.Unlock()
	b.signal()
	return true
}

// submit takes a command.
func (b *mailbox) submit(s replica.Submission) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return protocol.ErrClosed
	}
	if len(b.mail.submissions) >= mailSubmissionsMax {
		b.mu.Unlock()
		return protocol.ErrOverloaded
	}
	b.mail.submissions = append(b.mail.submissions, s)
	b.mu.Unlock()
	b.signal()
	return nil
}

// close refuses everything from now on and lets those who wait go.
func (b *mailbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.room.Broadcast()
	b.signal()
}
