package client

import (
	"context"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
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

// ChangeMembership asks the leader to change seats, or to hand over. It is tried again
// until ctx ends only while it has not been taken: there is no leader, or
// another change is being completed; where a quorum is missing it ends when nobody has known a
// leader for two seconds, with ErrNoQuorum. After ErrUnknownOutcome the configuration
// says what became of it.
func (c *Client) ChangeMembership(ctx context.Context, change protocol.MembershipChange) (protocol.Index, error) {
	if c == nil {
		return 0, errNone
	}
	if err := change.Validate(); err != nil {
		return 0, err
	}
	if err := tooLate(ctx); err != nil {
		return 0, err
	}
	pause, lacks := c.pause(), attempt.QuorumLack{}
	var attempts attempt.Change
	for {
		news, copied := c.news(), change
		response, err := c.transport.Do(ctx, &protocol.Request{Kind: protocol.RequestMembershipChange, MembershipChange: &copied})
		verdict, err := attempts.Took(response, err, ctx.Err())
		switch {
		case verdict == attempt.Done && err != nil, err != nil && lacks.Lasts(err, time.Now()):
			return 0, err
		case verdict == attempt.Done:
			return response.Result.Index, nil
		case ctx.Err() != nil || c.waitFor(ctx, pause, news, err) != nil:
			return 0, attempt.GaveUp(ctx.Err(), err)
		}
	}
}
