package client

import (
	"context"
	"crypto/rand"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
)

// OneShot executes a command at most once, as Command does, and opens no session for it:
// it is one entry of the log, where a client that writes once and goes would need three.
// A client that has a session uses that.
//
// The state remembers it for protocol.OneShotKept. If nothing is heard of the cluster for
// longer than that while it goes on, the error is ErrSessionExpired, which wraps
// ErrUnknownOutcome. A cluster that remembers as many one-shots as it may refuses more, and
// they are retried until ctx ends: ErrOverloaded.
func (c *Client) OneShot(ctx context.Context, command protocol.Command) (protocol.Result, error) {
	if c != nil {
		if s, err := c.live(); s != nil || err != nil {
			return c.Command(ctx, command)
		}
	}
	if err := c.enter(ctx, &command); err != nil {
		return protocol.Result{}, err
	}
	defer c.waiting.leave(len(command.Argument))
	return c.sendOneShot(ctx, command)
}

// sendOneShot makes attempts at a one-shot until there is an answer.
func (c *Client) sendOneShot(ctx context.Context, command protocol.Command) (protocol.Result, error) {
	pause := c.pause()
	var attempts attempt.OneShot
	c.meet()
	if err := draw(&attempts, c.seen.index()); err != nil {
		return protocol.Result{}, err
	}
	for {
		news := c.news()
		command.OneShot = attempts.Drawn()
		result, err := c.try(ctx, command)
		verdict, result, err := attempts.Took(result, err, ctx.Err())
		switch verdict {
		case attempt.Done, attempt.Expired:
			return result, err
		case attempt.Anew:
			if err := draw(&attempts, result.Index); err != nil {
				return protocol.Result{}, err
			}
			continue
		}
		if ctx.Err() != nil || c.waitFor(ctx, pause, news, err) != nil {
			return protocol.Result{}, attempts.GaveUp(ctx.Err())
		}
	}
}

// draw gives a one-shot a number.
func draw(attempts *attempt.OneShot, seen protocol.Index) error {
	number, err := protocol.NewOneShotNumber(rand.Reader)
	if err == nil {
		attempts.Draw(number, seen)
	}
	return err
}
