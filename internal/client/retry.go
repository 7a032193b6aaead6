package client

import (
	"context"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
)

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

// pause returns the time between the attempts at one request.
func (c *Client) pause() *attempt.Pause {
	p := attempt.NewPause(c.cfg.RetryMin, c.cfg.RetryMax)
	return &p
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
func (c *Client) waitFor(ctx context.Context, p *attempt.Pause, news <-chan struct{}, failed error) error {
	s, ok := c.transport.(scout)
	if !ok || !attempt.LacksLeader(failed) {
		return c.wait(ctx, p.Next(nil))
	}
	defer s.Seek()()
	until, cancel := context.WithTimeout(ctx, p.Next(nil))
	defer cancel()
	select {
	case <-news:
		p.Reset()
		return nil
	case <-until.Done():
		return ctx.Err()
	case <-c.closing:
		return protocol.ErrClosed
	}
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
