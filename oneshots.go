package starling

import (
	"context"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// oneShots is a client whose commands open no session.
type oneShots struct{ *client.Client }

var _ resources.Caller = oneShots{}

// Command runs one command. Handles call it.
func (o oneShots) Command(ctx context.Context, c protocol.Command) (protocol.Result, error) {
	return o.OneShot(ctx, c)
}

// OneShots returns the client as a Caller for writes that stand alone: each is one entry
// of the log, and takes effect at most once, whatever is retried, as in the client's
// session, which it does without. A session is two entries more, one to open it and one
// to close it, and keep-alives in between: it pays from a few writes on, and where many
// are in flight. Once the client has a session, its one-shots use that.
//
// The cluster knows for 30 s of its time that a one-shot was executed, and its answer. A
// call that hears nothing of the cluster for longer, while that goes on, ends with
// ErrSessionExpired, which wraps ErrUnknownOutcome. A cluster knows 32,768 one-shots at a
// time, and 32 MiB of answers: beyond that it takes no more until it has forgotten some,
// and calls whose context ends before are ErrOverloaded. It is safe for use from any
// number of goroutines.
func (c *Client) OneShots() Caller { return oneShots{c.half()} }

// OneShots returns the node as a Caller for writes that stand alone; see
// [Client.OneShots].
func (n *Node) OneShots() Caller { return oneShots{n.half()} }
