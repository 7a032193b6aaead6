package starling

import (
	"context"
	"errors"
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// Impose makes the state of one voter everybody's. It is for where the states of the actives differ
// and no majority has one (ErrDisputed), which nothing else ends by itself: an operator has looked, as with Verify, and says
// whose is right. The voter is given the lead first, and an entry of the log says what
// its state was at its newest checkpoint: every other member that had something else there, or does not know, now or when it
// starts, gives its state up, serves nobody, and comes to that one. What only the others had is lost.
//
// It returns, with who has a seat, when that entry is committed; the others may take longer, and Status says what they are
// at. ErrInvalid: nothing is in dispute, the member is no voter, or its own state has diverged. ErrNoTransferee: it cannot
// lead, and why. ErrUnavailable, when ctx ends: it is not known so far who has what, or the member keeps no checkpoint
// that others could begin from, and why. After ErrUnknownOutcome ask Verify, and do it again.
func (c *Client) Impose(ctx context.Context, name string) (Actives, error) {
	fail := func(err error) (Actives, error) {
		return Actives{}, fmt.Errorf("making the state of %s everybody's: %w", name, err)
	}
	if name == "" {
		return fail(protocol.ErrInvalid.With("whose state? A name is needed"))
	}
	seats, err := c.Transfer(ctx, name)
	if err != nil {
		return fail(err)
	}
	now, err := c.activesNow(ctx)
	if err != nil {
		return fail(err)
	}
	id, err := memberNamed(now.Names, name)
	if err != nil {
		return fail(err)
	}
	if _, err := c.half().ChangeMembership(ctx, protocol.MembershipChange{Impose: id}); err != nil {
		if errors.Is(err, protocol.ErrMalformed) {
			err = protocol.ErrUnsupported.With(name + " is of a release that does not know this: upgrade it first")
		}
		return fail(err)
	}
	seats.Changed = true
	return seats, nil
}
