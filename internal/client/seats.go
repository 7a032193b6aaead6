package client

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/protocol"
)

// Join asks a member for the cluster's id and configuration.
func (c *Client) Join(ctx context.Context) (*protocol.JoinInfo, error) {
	response, err := c.ask(ctx, protocol.Request{Kind: protocol.RequestJoin})
	if err == nil {
		err = response.Result.Err()
	}
	if err != nil {
		return nil, err
	}
	if response.Join == nil {
		return nil, protocol.ErrMalformed.With("the configuration was asked for and not given")
	}
	return response.Join, nil
}

// Autopilot asks the leader what its policy goes by and said last.
func (c *Client) Autopilot(ctx context.Context) (*protocol.AutopilotReport, error) {
	response, err := c.ask(ctx, protocol.Request{Kind: protocol.RequestAutopilot})
	if err == nil {
		err = response.Result.Err()
	}
	if err != nil {
		return nil, err
	}
	if response.Autopilot == nil {
		return nil, protocol.ErrMalformed.With("the policy's settings were asked for and not given")
	}
	return response.Autopilot, nil
}

// Seats asks the leader to change seats, or to hand over. It is tried again
// until ctx ends only while it has not been taken: there is no leader, or
// another change is being completed. After ErrUnknownOutcome the configuration
// says what became of it.
func (c *Client) Seats(ctx context.Context, change protocol.SeatChange) (protocol.Index, error) {
	if c == nil {
		return 0, errNone
	}
	if err := change.Validate(); err != nil {
		return 0, err
	}
	if err := tooLate(ctx); err != nil {
		return 0, err
	}
	pause := c.pause()
	var refusal error // the last one that a member has sent
	for {
		news, attempt := c.news(), change
		response, err := c.transport.Do(ctx, &protocol.Request{Kind: protocol.RequestSeats, Seats: &attempt})
		if err == nil {
			err = response.Result.Err()
		}
		switch {
		case refusal != nil && (saysMore(refusal, err) || response == nil && ctx.Err() != nil && refused(err)):
			err = refusal // it says more than that there was no time for another
		case response != nil:
			refusal = err
		}
		switch {
		case err == nil:
			return response.Result.Index, nil
		case !refused(err) && !errors.Is(err, protocol.ErrChangeInFlight):
			return 0, err
		case ctx.Err() != nil || c.waitFor(ctx, pause, news, err) != nil:
			return 0, gaveUp(ctx, err)
		}
	}
}
