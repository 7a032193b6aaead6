package wire

import (
	"container/list"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/starlinghq/starling/protocol"
)

// budget bounds the memory of frames that have begun to arrive and are not whole
// yet, over all streams of a server: limits of each stream alone add up to more
// than a machine has. Frames that need more than is left have the oldest given
// up, because an honest one is soon whole, and never the newest.
//
// Those whom the server favours have a half of it that nobody else gets. Ids are
// claimed, so one of them gets no more than two of the largest frames.
type budget struct {
	limit   int
	favours func(protocol.MemberID) bool
	dropped atomic.Uint64

	mu     sync.Mutex
	bytes  [2]int       // of others, and of those favoured
	oldest [2]list.List // of *claim; the one that began first is in front
}

// claimBytesMax bounds what one id holds of the favoured half.
const claimBytesMax = 2 * protocol.FrameBytesMax

// claim is what one stream holds of a budget for the frame that it reads. All
// but the first three is guarded by the budget's lock. The zero value, of
// streams that were dialled, is bounded by nothing.
type claim struct {
	of     *budget
	conn   *Conn
	member protocol.MemberID

	at       *list.Element // in the list of its kind, while it holds anything
	favoured bool
	bytes    int
}

func (b *budget) init(limit int, favours func(protocol.MemberID) bool) {
	b.limit, b.favours = limit, favours
}

// need takes note that the frame needs so many bytes in all. What was given up
// for it, and that can be itself, has ended when it returns.
func (c *claim) need(bytes int) {
	if c.of == nil {
		return
	}
	for _, victim := range c.of.take(c, bytes) {
		victim.conn.fail(protocol.ErrOverloaded.With(fmt.Sprintf(
			"this member holds %d bytes of frames that have not arrived as a whole, its limit, and gives up the oldest", c.of.limit)))
	}
}

// done gives everything back: the frame is whole, or lost.
func (c *claim) done() {
	if c.of == nil {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.release(c)
}

// take raises a claim and returns those that were given up.
func (b *budget) take(c *claim, bytes int) (victims []*claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.at == nil {
		c.favoured = b.favours(c.member)
		c.at = b.oldest[kindOf(c)].PushBack(c)
	}
	b.bytes[kindOf(c)] += bytes - c.bytes
	c.bytes = bytes
	for victim := b.victim(c); victim != nil; victim = b.victim(c) {
		b.release(victim)
		b.dropped.Add(1)
		victims = append(victims, victim)
	}
	return victims
}

// victim returns the next claim to be given up so that c fits; nil if all is
// within bounds.
func (b *budget) victim(c *claim) *claim {
	others, favoured := &b.oldest[0], &b.oldest[1]
	if c.favoured && c.at != nil {
		same, first := 0, (*claim)(nil)
		for e := favoured.Front(); e != nil; e = e.Next() {
			if one := e.Value.(*claim); one.member == c.member {
				same += one.bytes
				if first == nil {
					first = one
				}
			}
		}
		if same > claimBytesMax {
			return first
		}
	}
	full := b.bytes[0]+b.bytes[1] > b.limit
	switch {
	case others.Len() > 0 && (full || b.bytes[0] > b.limit/2):
		return others.Front().Value.(*claim)
	case full:
		return favoured.Front().Value.(*claim)
	}
	return nil
}

func (b *budget) release(c *claim) {
	if c.at == nil {
		return
	}
	b.oldest[kindOf(c)].Remove(c.at)
	b.bytes[kindOf(c)] -= c.bytes
	c.at, c.bytes = nil, 0
}

func kindOf(c *claim) int {
	if c.favoured {
		return 1
	}
	return 0
}
