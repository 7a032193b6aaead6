package starling

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/logqueue"
	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/internal/runtime"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/web"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Version is the version of this module.
const Version = "0.1.0-dev"

// closeTime bounds how long Close waits for work in flight.
const closeTime = 10 * time.Second

// flushTime bounds how long the end of a member waits for whoever writes its log.
const flushTime = time.Second

// Node is a member that runs in this process. It is a Caller: handles and
// operations work over it, in one session of its own, and local reads cost no
// network. All methods may be called from any goroutine.
type Node struct {
	member  *runtime.Member
	caller  *client.Client
	http    *web.Server // nil without HTTP
	started atomic.Bool // member and caller are set
	waits   atomic.Pointer[string]
	// opening is the member as soon as it runs, before it is ready.
	opening atomic.Pointer[runtime.Member]
	logger  *slog.Logger
	// security is what the member listens and dials with, HTTP too.
	security *security.Security
	logs     *logqueue.Queue

	// replacing is the work of taking over a seat.
	replacing sync.WaitGroup
	endWork   context.CancelFunc

	stop sync.Once
	err  error // of the stop
}

var _ resources.Caller = (*Node)(nil)

// errNotOpened is what a Node says that did not come from Open.
var errNotOpened = protocol.ErrInvalid.With("the node is nil or a zero value: make it with Open")

// opened reports whether there is a member behind the node.
func (n *Node) opened() bool { return n != nil && n.started.Load() }

// half is the client half of a node: nil, which answers with ErrInvalid, for one
// that was not opened.
func (n *Node) half() *client.Client {
	if n == nil {
		return nil
	}
	return n.caller
}

// Open starts a member. It returns when the member has joined, recovered and
// knows a leader, or, as a reserve, when it has joined; ctx bounds that, not the life of the node. The error says
// what is wrong and the way out; see the sentinels under "Starting a member".
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.Filled()
	n := &Node{security: security.Plaintext(), logs: logqueue.New(cfg.Logger.Handler())}
	cfg.Logger = n.logs.Logger()
	n.logger = cfg.Logger
	if cfg.HTTP != "" {
		// First, so that whoever watches the start hears why it takes time.
		var err error
		if n.http, err = web.Serve(ctx, n.security, cfg.HTTP, web.Handler(n.source()), cfg.Logger); err != nil {
			return nil, err
		}
	}
	if err := n.open(ctx, cfg); err != nil {
		err = errors.Join(err, n.closeHTTP(ctx))
		n.logs.Flush(flushTime)
		return nil, err
	}
	return n, nil
}

// open starts the member and the client half over it.
func (n *Node) open(ctx context.Context, cfg Config) error {
	member, err := runtime.Open(ctx, runtime.Config{
		Config: cfg, HTTPAddress: n.HTTPAddr(), Security: n.security, Version: Version, LogLost: n.logs.Lost,
		Waits: func(why string) { n.waits.Store(&why) }, Opening: n.opening.Store,
	})
	if err != nil {
		return err
	}
	if n.caller, err = client.New(member, client.Config{}); err != nil {
		return errors.Join(err, member.Shutdown(ctx))
	}
	n.member = member
	work, cancel := context.WithCancel(context.Background())
	n.endWork = cancel
	n.started.Store(true)
	if cfg.Replace {
		n.replacing.Go(func() { n.replace(work) })
	}
	return nil
}

// waitsFor is what a start waits for, as far as others can help; empty: nothing.
func (n *Node) waitsFor() string {
	if why := n.waits.Load(); why != nil {
		return *why
	}
	return ""
}

// source answers HTTP, from the moment at which the port is open.
func (n *Node) source() web.Source {
	starting := func() error {
		switch member := n.opening.Load(); {
		case n.started.Load():
			return nil
		case n.waitsFor() != "":
			return protocol.ErrUnavailable.With("the member is starting, and waits: " + n.waitsFor())
		case member == nil:
			return protocol.ErrUnavailable.With("the member is starting: it has not found its cluster so far")
		default:
			if err := member.Ready(); err != nil {
				return protocol.ErrUnavailable.With("the member is starting").Because(err)
			}
			return nil
		}
	}
	return web.Source{
		Alive: func() error {
			if !n.started.Load() {
				return nil // a start that fails ends the program, and says why
			}
			return n.Err()
		},
		Ready: func() error {
			if err := starting(); err != nil || !n.started.Load() {
				return err
			}
			return n.Ready()
		},
		Note: func() string {
			if !n.started.Load() {
				return ""
			}
			return n.member.Note()
		},
		Status: func() (any, error) {
			if member := n.opening.Load(); member != nil {
				return statusOf(member.Status()), nil
			}
			return nil, starting()
		},
	}
}

func (n *Node) closeHTTP(ctx context.Context) error {
	if n.http == nil {
		return nil
	}
	return n.http.Close(ctx)
}

// Name returns the member's label.
func (n *Node) Name() string {
	if !n.opened() {
		return ""
	}
	return n.member.Name()
}

// Addr returns the host:port for members and clients.
func (n *Node) Addr() string {
	if !n.opened() {
		return ""
	}
	return n.member.Addr()
}

// HTTPAddr returns the host:port of HTTP, "" without it.
func (n *Node) HTTPAddr() string {
	if n == nil || n.http == nil {
		return ""
	}
	return n.http.Addr()
}

// Status returns what the member says of itself and of the cluster.
func (n *Node) Status() Status {
	if !n.opened() {
		return Status{}
	}
	return statusOf(n.member.Status())
}

// Ready returns nil while the member serves and knows a leader, otherwise why
// it does not.
func (n *Node) Ready() error {
	if !n.opened() {
		return errNotOpened
	}
	select {
	case <-n.Done():
		return errors.Join(ErrClosed, n.Err())
	default:
		return n.member.Ready()
	}
}

// Traffic is what a member has sent to other members since it started, in bytes
// on its sockets: with the heads of its own framing, without those of TCP, UDP
// and IP. What its clients get is not in it.
type Traffic struct {
	// Raft went to other actives: entries, heartbeats, answers, forwarded
	// commands.
	Raft uint64 `json:"raft"`
	// Frames are committed entries for members that follow by gossip, pushed,
	// passed on and pulled; Copies counts the entries in them.
	Frames uint64 `json:"frames"`
	Copies uint64 `json:"copies"`
	// Control is what else gossip says: digests, their answers, links, pulls.
	Control uint64 `json:"control"`
	// Checkpoints are pieces of checkpoints and repairs, and what asks for them.
	Checkpoints uint64 `json:"checkpoints"`
	// Membership is what it takes to know who is alive.
	Membership uint64 `json:"membership"`
}

// Traffic returns what this member has sent so far.
func (n *Node) Traffic() Traffic {
	if !n.opened() {
		return Traffic{}
	}
	count := n.member.Count
	return Traffic{
		Raft: count(observe.SentRaft), Frames: count(observe.SentFrames), Copies: count(observe.SentCopies), Control: count(observe.SentControl),
		Checkpoints: count(observe.SentCheckpoints), Membership: count(observe.SentMembership),
	}
}

// Done is closed when the member has stopped, by Close or by itself.
func (n *Node) Done() <-chan struct{} {
	if !n.opened() {
		never := make(chan struct{})
		close(never)
		return never
	}
	return n.member.Done()
}

// Err returns why the member has stopped by itself: a failed disk, a command
// of a type that it lacks. It is nil while the member runs.
func (n *Node) Err() error {
	if !n.opened() {
		return errNotOpened
	}
	return n.member.Err()
}

// Seen returns the highest index that the node's own calls have seen: in an answer to a write
// or a read of whatever level, in a watch or a status. Another process that reads with
// [AtLeast] of it reads what this one has written, and nothing older than it has read. 0 of a
// Node that was not opened.
func (n *Node) Seen() Index { return n.half().Seen() }

// Command runs one command in the node's session. Handles call it.
func (n *Node) Command(ctx context.Context, c protocol.Command) (protocol.Result, error) {
	return n.half().Command(ctx, c)
}

// Query runs one query at this member. Handles call it.
func (n *Node) Query(ctx context.Context, q protocol.Query) (protocol.Result, error) {
	return n.half().Query(ctx, q)
}

// Watch follows the changes of a resource at this member. Handles call it.
func (n *Node) Watch(ctx context.Context, w protocol.Watch) (resources.WatchStream, error) {
	return n.half().Watch(ctx, w)
}

// Shutdown stops the member gracefully: it refuses new requests, ends those in
// flight and flushes its log. When ctx ends it stops at once. The member keeps
// its place in the cluster. Later calls return what the first one did.
func (n *Node) Shutdown(ctx context.Context) error {
	if !n.opened() {
		return errNotOpened
	}
	n.stop.Do(func() {
		runtime.Leave(n.member)
		n.endWork()
		n.replacing.Wait()
		n.err = errors.Join(n.closeHTTP(ctx), n.caller.Close())
		if err := n.member.Shutdown(ctx); err != nil && ctx.Err() != nil {
			n.err = errors.Join(n.err, err)
		} else if err != nil {
			// It has stopped, and nobody heard its goodbye: when a whole
			// cluster stops, nobody is left to hear it.
			n.logger.Debug("stopped", "member", n.Name(), "err", err)
		}
		n.logs.Flush(flushTime)
	})
	return n.err
}

// Close is Shutdown with ten seconds of patience.
func (n *Node) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	return n.Shutdown(ctx)
}
