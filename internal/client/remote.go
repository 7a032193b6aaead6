package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Conn is a connection to one member. It may be used from any number of
// goroutines. The errors of Do say the same as those of a Transport's; after
// its end a connection does not say ErrClosed, but whether the request may have
// been received.
type Conn interface {
	Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error)
	Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error)
	// Done is closed when the connection is broken or closed; Err then says why.
	Done() <-chan struct{}
	Err() error
	Close() error
}

// RemoteConfig says where a cluster is. A zero field means its default.
type RemoteConfig struct {
	// Addresses are host:port of members, one at least. Others are learned
	// from the members.
	Addresses []string
	// Cluster, if not zero, is the only cluster that will do. Otherwise it is
	// the one that answers first.
	Cluster protocol.ClusterID
	// Security makes the connections; required without Dial.
	Security *security.Security
	// Dial connects to a member. A zero cluster means any. Default: through Security, in
	// the name Name.
	Dial func(ctx context.Context, address string, cluster protocol.ClusterID) (Conn, error)
	Name string
	// DialTimeout bounds one attempt to connect: TCP and the handshake. Default
	// 2 s, so that one lost packet, which is sent again after a second, costs no
	// member its turn.
	DialTimeout time.Duration
	// PingTimeout is how long a member that something is asked of may leave a
	// ping unanswered; see wire.ClientConfig, which has the default. There is no
	// other bound but the caller's context on the time that an answer takes.
	PingTimeout time.Duration
	// BackOff is how long a member that could not help is asked last. Default 1 s.
	BackOff time.Duration
	// Follow is the time between questions who the members are. Default 10 s.
	Follow time.Duration
	// WatchAge is how old the state of a member may become at which there are watches, before a
	// younger one is looked for. Default 5 s.
	WatchAge time.Duration
	// Turn chooses among members that suit a read alike; see attempt.NewEndpoints. Default: at
	// random.
	Turn uint64
}

// Defaults of a RemoteConfig.
const (
	DialTimeoutDefault = 2 * time.Second
	PingTimeoutDefault = wire.PingTimeoutDefault
	BackOffDefault     = time.Second
	FollowDefault      = 10 * time.Second
	WatchAgeDefault    = 5 * time.Second
)

func (cfg *RemoteConfig) setDefaults() error {
	if len(cfg.Addresses) == 0 {
		return protocol.ErrInvalid.With("no address of a member is given")
	}
	cfg.Addresses = slices.Clone(cfg.Addresses)
	if cfg.Turn == 0 {
		cfg.Turn = rand.Uint64()
	}
	for _, field := range []struct {
		value  *time.Duration
		preset time.Duration
	}{
		{&cfg.DialTimeout, DialTimeoutDefault}, {&cfg.PingTimeout, PingTimeoutDefault},
		{&cfg.BackOff, BackOffDefault}, {&cfg.Follow, FollowDefault}, {&cfg.WatchAge, WatchAgeDefault},
	} {
		if *field.value == 0 {
			*field.value = field.preset
		}
		if *field.value < 0 {
			return protocol.ErrInvalid.With(fmt.Sprintf("a time of a client is negative: %v", *field.value))
		}
	}
	if cfg.Dial == nil && cfg.Security == nil {
		return protocol.ErrInvalid.With("a client needs what makes its connections")
	}
	if cfg.Dial == nil {
		cfg.Dial = wireDial(cfg)
	}
	return nil
}

// Remote is a Transport to a cluster elsewhere. It sends commands to the leader
// once it knows it, and everything else to the first member that it reached,
// so that local reads of one client do not jump between members. But for watches
// and for reads at the levels Session and MaxStale, which any member can serve,
// it chooses one that has less to do than the leader, a passive if there is one.
// When a member cannot help, it goes on to the others, and it follows the
// membership.
type Remote struct {
	cfg       RemoteConfig
	endpoints *attempt.Endpoints
	sources   *attempt.Sources
	seen      protocol.Index // what the member that answered first had applied

	guide guide

	alive context.Context // ends with Close
	stop  context.CancelFunc
	done  sync.WaitGroup // of the goroutines that follow the membership, and the leader

	mu      sync.Mutex
	links   map[string]*link
	madeOne chan struct{} // closed, and another one, when something has come of a link
	closed  bool
}

// NewRemote finds the cluster: it returns when a member has answered, or fails
// when none of the addresses does. Errors: protocol.ErrUnavailable names the
// addresses and what went wrong at each, and wraps the context's error if that
// has ended; protocol.ErrWrongCluster and protocol.ErrWrongVersion if that is
// what all of them say.
func NewRemote(ctx context.Context, cfg RemoteConfig) (*Remote, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	r := &Remote{cfg: cfg, endpoints: attempt.NewEndpoints(cfg.Addresses, cfg.Cluster, cfg.Turn), links: map[string]*link{}, madeOne: make(chan struct{})}
	r.sources = attempt.NewSources(r.endpoints, cfg.BackOff, cfg.WatchAge)
	r.alive, r.stop = context.WithCancel(context.Background())
	met, err := r.Do(ctx, &protocol.Request{Kind: protocol.RequestStatus})
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	if met.Status != nil {
		r.seen = met.Status.Applied
	}
	r.done.Add(1)
	go r.follow()
	return r, nil
}

// Seen is what the member that was found had applied then: a session that begins
// with this transport reads nothing older.
func (r *Remote) Seen() protocol.Index { return r.seen }

// Do sends a request to the member that suits it best and returns its answer.
// A command goes to one member only; the caller decides whether to try again.
//
// The age in an answer has what the answer took on its way in it. Where that
// makes it older than a read at the level MaxStale allows, as when this process
// stood still meanwhile, the read is made again.
func (r *Remote) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	return r.do(ctx, q, attempt.RouteOf(q))
}

func (r *Remote) do(ctx context.Context, q *protocol.Request, suits attempt.Route) (*protocol.Response, error) {
	round := attempt.NewRound(r.endpoints, q, suits, time.Now(), r.cfg.BackOff)
	var dials dials
	for {
		address, l, err := dials.next(ctx, r, round)
		switch {
		case err != nil && r.isClosed():
			return nil, protocol.ErrClosed
		case err != nil:
			round.NotReached(address, err)
		case l == nil:
			if over, response, err := round.End(time.Now(), ctx.Err()); over {
				return response, err
			}
		case l.err != nil:
			round.NotReached(address, l.err)
		default:
			response, err := r.attempt(ctx, l.conn, address, round.Request())
			if over, response, err := round.Took(time.Now(), address, response, err, ctx.Err(), r.learn); over {
				return response, err
			}
		}
	}
}

// dials are the connections that are being made for a round. A member that takes none at
// once does not hold up the round: the next one is dialled beside it after a while, and who
// is connected first is asked first. Where members are frozen, whose kernels take connections,
// a round would take two seconds for each.
type dials struct {
	waiting []reached
	ended   bool // no more is waited for
}

type reached struct {
	address string
	*link
}

// next returns the next member of a round that is connected, or why one is not; without
// either the round is over. When a member has answered that it cannot help, the others get
// attempt.SearchPatience to be connected: the next round finds them.
func (d *dials) next(ctx context.Context, r *Remote, round *attempt.Round) (address string, _ *link, _ error) {
	for {
		news := r.newsOfLinks()
		if i := slices.IndexFunc(d.waiting, func(x reached) bool { return x.made() }); i >= 0 {
			x := d.waiting[i]
			d.waiting = slices.Delete(d.waiting, i, i+1)
			return x.address, x.link, nil
		}
		if d.ended || ctx.Err() != nil {
			d.ended = true
			if len(d.waiting) == 0 {
				d.ended = false // the round may begin anew
				return "", nil, nil
			}
			x := d.waiting[0]
			d.waiting = d.waiting[1:]
			return x.address, nil, unmade(x.address, ctx.Err())
		}
		address, left := round.Next()
		patience := attempt.SearchPatience
		if left {
			l, err := r.link(address)
			if err != nil {
				return address, nil, err
			}
			d.waiting = append(d.waiting, reached{address, l})
			if l.made() {
				continue
			}
			patience -= time.Since(l.began) // for whom an earlier round has waited, too
		} else if len(d.waiting) == 0 {
			return "", nil, nil
		}
		var late <-chan time.Time // without others, and without an answer, each has its full time
		if left || round.Answered() {
			late = time.After(patience)
		}
		select {
		case <-news:
		case <-late:
			d.ended = !left
		case <-ctx.Done():
		}
	}
}

// attempt asks one member, for as long as ctx and the connection last, and a
// command no longer than until another leader is known.
func (r *Remote) attempt(ctx context.Context, conn Conn, address string, q *protocol.Request) (*protocol.Response, error) {
	if attempt.IsCommand(q) {
		bounded, comeBack := r.setOut(ctx, address)
		defer comeBack()
		response, err := conn.Do(bounded, q)
		if err != nil && !attempt.NotSent(err) && ctx.Err() == nil && bounded.Err() != nil {
			err = context.Cause(bounded)
		}
		return response, err
	}
	began := time.Now()
	response, err := conn.Do(ctx, q)
	if err == nil && response.Result.AgeKnown {
		response.Result.Age += int64(attempt.Elapsed(began, time.Now()))
	}
	return response, err
}

// Close closes all connections. What is in flight ends with an error.
func (r *Remote) Close() error {
	r.mu.Lock()
	r.closed = true
	links := r.links
	r.links = nil
	r.mu.Unlock()
	r.stop()
	r.guide.finish()
	for _, l := range links {
		l.close()
	}
	r.done.Wait()
	return nil
}

// newsOfLinks returns what is closed when something has come of a link.
func (r *Remote) newsOfLinks() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.madeOne
}

func (r *Remote) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}
