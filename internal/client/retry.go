package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// codeOf returns the code of an error, or "" for one without.
func codeOf(err error) protocol.Code {
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return protocol.OK
}

// retryable reports whether the same request may work later.
func retryable(err error) bool {
	return codeOf(err).Meaning().MayRetry(protocol.Later)
}

// behind reports whether a member has answered that it has not caught up with
// what the session has seen. It, or another one, will. So it is with an age that
// was not waited for as long as it might have been, because ctx is about to end.
func behind(ctx context.Context, q *protocol.Request, began time.Time, err error) bool {
	if q.Query == nil || codeOf(err) != protocol.ErrTooStale.Code {
		return false
	}
	return q.Query.Level == protocol.Session || cutShort(ctx, began)
}

// cutShort reports whether what began then was answered because ctx ends, or was
// about to; see protocol.Request.Wait.
func cutShort(ctx context.Context, began time.Time) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) <= protocol.WaitMargin(deadline.Sub(began))
}

// neverReached is the error of a read from an index that no member is known to
// have reached; err is what came instead of an answer when ctx ended.
func neverReached(ctx context.Context, q *protocol.Query, had protocol.Index, err error) error {
	if ctx.Err() == nil || q.Seen <= had || errors.Is(err, protocol.ErrTooStale) {
		return err
	}
	return protocol.ErrTooStale.With(fmt.Sprintf(
		"index %d was asked for, and the highest that this client has heard of is %d", q.Seen, had)).Because(err)
}

// refused reports whether an error says that the command has not happened,
// and will not unless it is sent again.
func refused(err error) bool {
	code := codeOf(err)
	m := code.Meaning()
	return m.Outcome == protocol.DidNotHappen && (m.MayRetry(protocol.Later) || code == protocol.ErrClosed.Code)
}

// saysMore reports whether what was heard before is worth more to people than what came
// then: a member that leads no more knows why nobody does, and one that has heard of it
// once sends everybody there.
func saysMore(before, then error) bool {
	return codeOf(before) == protocol.ErrNoLeader.Code && codeOf(then) == protocol.ErrNotLeader.Code
}

// permanent reports whether an error that came instead of a response will come
// again. One without a code is a broken connection of some kind.
func permanent(err error) bool {
	return dismissed(err) || codeOf(err) != protocol.OK && !retryable(err)
}

// dismissed reports whether the request may be why a member has ended the
// connection: sent again, it would end the next one. What never left, or was
// taken before, cannot be why, and is unavailable.
func dismissed(err error) bool {
	is := (*wire.DismissedError)(nil)
	return errors.As(err, &is) && codeOf(err) != protocol.ErrUnavailable.Code
}

// decided reports whether an error is the command's own: made when it was
// applied, or the same for every copy. The others say only that this copy was
// not let in, and nothing of an earlier one.
func decided(err error) bool {
	return codeOf(err).Meaning().Outcome == protocol.Settled
}

// tooLate is the error of a call whose context has ended before it began, or nil:
// nothing is sent then.
func tooLate(ctx context.Context) error {
	if ended := ctx.Err(); ended != nil {
		return protocol.ErrUnavailable.With("nothing was sent, because the call's context had ended before").Because(ended)
	}
	return nil
}

// errFull is why a command was not sent that got no place in the window.
var errFull = protocol.ErrOverloaded.With(fmt.Sprintf(
	"%d commands of this client's session wait for their answers already", protocol.SessionWindow))

// unknownOutcome returns the error of a command that may have happened.
func unknownOutcome(ctx context.Context, last error) error {
	cause := because(ctx, last)
	if codeOf(cause) == protocol.ErrUnknownOutcome.Code {
		return cause
	}
	return protocol.ErrUnknownOutcome.Because(cause)
}

// gaveUp returns the error of a request that has not happened, or that has no
// outcome: the last refusal, and why there was no other attempt. Its code is
// the refusal's, or that of ErrUnavailable; a leader without room, with others that may
// have some, is ErrNoSpace in the end.
func gaveUp(ctx context.Context, last error) error {
	switch codeOf(last) {
	case protocol.ErrNoSpaceHere.Code:
		last = protocol.ErrNoSpace.With(last.Error() + "; another voter may have room, and does not lead yet")
	case protocol.OK, protocol.ErrUnknownOutcome.Code:
		unavailable := &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: last.Error()}
		if ended := ctx.Err(); ended != nil && errors.Is(last, ended) {
			unavailable.Cause = ended // and its text is there already
		}
		last = unavailable
	}
	return because(ctx, last)
}

// because adds why there was no other attempt: the context has ended, or the
// client was closed.
func because(ctx context.Context, last error) error {
	ended := ctx.Err()
	if ended == nil {
		return fmt.Errorf("%w: %w", protocol.ErrClosed, last)
	}
	if errors.Is(last, ended) {
		return last
	}
	return fmt.Errorf("%w (%w)", last, ended)
}

// pause is the time before the next attempt. The zero value is not usable.
type pause struct{ now, min, max time.Duration }

func (c *Client) pause() *pause { return &pause{c.cfg.RetryMin, c.cfg.RetryMin, c.cfg.RetryMax} }

// next returns how long to wait now: a random time, so that clients that were
// refused together do not come back together.
func (p *pause) next() time.Duration {
	d := p.now
	p.now = min(2*p.now, p.max)
	return d - rand.N(d/2+1)
}

// scout is a Transport that knows when it is worth to try again.
type scout interface {
	// News returns a channel that is closed when a leader is known that was not.
	News() <-chan struct{}
	// Seek has the transport look for one until stop is called.
	Seek() (stop func())
}

// news returns what ends a pause early. It is asked for before an attempt, so that
// nothing that is heard meanwhile is missed. Nil: nothing.
func (c *Client) news() <-chan struct{} {
	if s, ok := c.transport.(scout); ok {
		return s.News()
	}
	return nil
}

// waitFor is wait for the next pause after a failed attempt, or until there is
// news, if it failed for the lack of a leader.
func (c *Client) waitFor(ctx context.Context, p *pause, news <-chan struct{}, failed error) error {
	s, ok := c.transport.(scout)
	if !ok || !lacksLeader(failed) {
		return c.wait(ctx, p.next())
	}
	defer s.Seek()()
	until, cancel := context.WithTimeout(ctx, p.next())
	defer cancel()
	select {
	case <-news:
		p.now = p.min
		return nil
	case <-until.Done():
		return ctx.Err()
	case <-c.closing:
		return protocol.ErrClosed
	}
}

// lacksLeader reports whether an attempt failed because it did not reach a leader, or
// may have lost it, or because another one is to lead.
func lacksLeader(err error) bool {
	return codeOf(err).Meaning().MayRetry(protocol.WithALeader)
}

// wait returns nil after d, or an error if the context ends or the client is
// closed before.
func (c *Client) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closing:
		return protocol.ErrClosed
	}
}
