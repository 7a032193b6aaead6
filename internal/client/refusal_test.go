package client

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Of the refusals that come by turns the one is told that says why: nobody leads. A
// member that has only heard of a leader sends everybody there.
func TestRefusalThatSaysWhyIsTold(t *testing.T) {
	calls := map[string]func(context.Context, *Client) error{
		"a question": func(ctx context.Context, c *Client) error { _, err := c.Autopilot(ctx); return err },
		"a change": func(ctx context.Context, c *Client) error {
			_, err := c.ChangeMembership(ctx, protocol.MembershipChange{Version: 1, Target: 3})
			return err
		},
		"a command": func(ctx context.Context, c *Client) error { _, err := c.Command(ctx, count("x")); return err },
	}
	for name, call := range calls {
		for _, last := range []fate{{answer: protocol.ErrNotLeader.Code}, {hang: true}} {
			if last.hang && name != "a question" {
				continue // its outcome is open then
			}
			synctest.Test(t, func(t *testing.T) {
				s := newServer(t)
				c := newClient(t, s, Config{})
				mustCommand(t, c, "first")
				before := s.requests
				s.setFate(func(n int, _ *protocol.Request) fate {
					if n == before+1 {
						return fate{answer: protocol.ErrNoLeader.Code}
					}
					return last
				})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				err := call(ctx, c)
				wantIs(t, err, []error{protocol.ErrNoLeader, context.DeadlineExceeded}, []error{protocol.ErrNotLeader})
				if s.requests < before+2 {
					t.Errorf("%s: %d attempts, want two at least", name, s.requests-before)
				}
			})
		}
	}
}
