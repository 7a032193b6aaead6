package client

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Most voters are frozen: their kernels take connections, and nobody is greeted. The missing
// quorum is told after about two seconds, as where they are dead, and not after two seconds
// for each of them and each round.
func TestFrozenVotersDoNotDelayTheMissingQuorum(t *testing.T) {
	frozen, awake := []string{"a:1", "b:1", "c:1"}, []string{"d:1", "e:1"}
	for name, ask := range map[string]func(context.Context, *Client) error{
		"who has a seat": func(ctx context.Context, c *Client) error { _, err := c.Autopilot(ctx); return err },
		"membership change": func(ctx context.Context, c *Client) error {
			_, err := c.ChangeMembership(ctx, protocol.MembershipChange{Transfer: true})
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, append(frozen, awake...)...)
			for _, address := range frozen {
				f.members[address].slow = true
			}
			for _, address := range awake {
				f.members[address].code = protocol.ErrNoQuorum.Code
			}
			began := time.Now()
			r := newRemote(t, f.config(append(frozen, awake...)...))
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: somebody who answers is found after %v, want a second at most", name, took)
			}
			c := newClient(t, r, Config{})
			began = time.Now()
			err := ask(t.Context(), c)
			if took := time.Since(began); !errors.Is(err, protocol.ErrNoQuorum) || took > 3*time.Second {
				t.Errorf("%s: got %v after %v, want %v after two seconds", name, err, took, protocol.ErrNoQuorum)
			}
		})
	}
}

// One that takes long to be connected, and is alone, has the time of a dial.
func TestSlowConnectionIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "a:1", "b:1")
		f.members["a:1"].slow = true
		cfg := f.config("a:1", "b:1")
		cfg.Dial = func(ctx context.Context, address string, cluster protocol.ClusterID) (Conn, error) {
			if address == "b:1" {
				time.Sleep(DialTimeoutDefault - 100*time.Millisecond)
			}
			return f.dial(ctx, address, cluster)
		}
		r := newRemote(t, cfg)
		if _, err := r.Do(t.Context(), &protocol.Request{Kind: protocol.RequestStatus}); err != nil {
			t.Errorf("got %v from a member that takes 1.9 s to be connected", err)
		}
	})
}
