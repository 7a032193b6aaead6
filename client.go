package starling

import (
	"context"
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// ClientConfig says which cluster is dialled. The zero value of a field means
// the default that its comment names.
type ClientConfig struct {
	// Addresses are host:port of members, at least one. Linearizable reads go
	// to the first that answers and stay there; commands go to the leader, once
	// it is known. Watches and reads at the levels Session and MaxStale go to a
	// member that does not lead, if there is one: one of these addresses or else
	// one learned from the cluster, a passive rather than a voter, one of several
	// at random. Local reads go to these addresses only. The others are for when
	// these fail, beside the members that are learned from the cluster.
	Addresses []string
	// Cluster is the id of the only cluster that will do, 32 hexadecimal digits, as
	// Status has it: members of another one are refused, with ErrWrongCluster, which
	// names both. Default "": that of the first member that answers, from then on.
	Cluster string
	// SessionTimeout is how long the cluster remembers this client without
	// hearing of it. Default: 30 s.
	SessionTimeout time.Duration
	// DialTimeout is how long one member may take to accept a connection before
	// the next one is tried. Default: 2 s, so that a lost packet, which is sent
	// again after a second, costs no member its turn.
	DialTimeout time.Duration
	// PingTimeout is how long a member that something is asked of may leave a
	// ping unanswered before it counts as lost, with all that it was asked: what
	// may have happened there is asked again elsewhere, and takes effect once all
	// the same; watches go on at another member. It is pinged a quarter to a half
	// of PingTimeout after a request, and then four times in each; once in each
	// for a watch alone. Default: 1 s, longer than a healthy member stands still.
	// Give more where links carry less than about 4 Mbit/s, or members share a
	// machine that is overloaded. While a member answers pings, nothing but a
	// call's context bounds how long it is waited for.
	PingTimeout time.Duration
}

// Defaults of ClientConfig.
const (
	DialTimeoutDefault = client.DialTimeoutDefault
	PingTimeoutDefault = client.PingTimeoutDefault
	// Times of a client that are outside of these would find every member lost, or none.
	clientTimeMin = time.Millisecond
	clientTimeMax = time.Hour
)

// Validate reports all mistakes at once.
func (c ClientConfig) Validate() error {
	const addresses = naming.Field("Addresses")
	var wrong naming.Faults
	if len(c.Addresses) == 0 {
		wrong.Addf("%s has no address of a member", addresses)
	}
	for _, a := range c.Addresses {
		wrong.Add(config.CheckAddress(addresses, a, false))
	}
	_, err := c.cluster()
	wrong.Add(err)
	config.CheckTime(&wrong, "DialTimeout", c.DialTimeout, clientTimeMin, clientTimeMax)
	config.CheckTime(&wrong, "PingTimeout", c.PingTimeout, clientTimeMin, clientTimeMax)
	config.CheckTime(&wrong, "SessionTimeout", c.SessionTimeout, protocol.SessionTimeoutMin, protocol.SessionTimeoutMax)
	return config.Invalid(wrong)
}

// cluster returns the id that is demanded, zero for any.
func (c ClientConfig) cluster() (id protocol.ClusterID, err error) {
	if c.Cluster == "" {
		return id, nil
	}
	if id, err = protocol.ParseClusterID(c.Cluster); err != nil || id.IsZero() {
		return id, naming.Faultf("%s is %q, not the id of a cluster: want the 32 hexadecimal digits that status shows", naming.Field("Cluster"), config.Shortened(c.Cluster))
	}
	return id, nil
}

// Client talks to a cluster from outside, in one session. It is a Caller. It
// remembers the highest index that it has seen, which reads at the level Session
// carry to whichever member they go to. All methods may be called from any
// goroutine.
type Client struct {
	caller   *client.Client
	security *security.Security
}

var _ resources.Caller = (*Client)(nil)

// half is the client half of a client: nil, which answers with ErrInvalid, for
// one that was not dialled.
func (c *Client) half() *client.Client {
	if c == nil {
		return nil
	}
	return c.caller
}

// Dial returns a client when a member has answered; ctx bounds that. It fails
// at once, with ErrUnavailable and what went wrong at each address, if none
// does; when ctx has ended, its error is wrapped, too. ErrWrongCluster: all that
// answer belong to another cluster than cfg.Cluster. ErrOverloaded: all have as many
// clients as they take, none of them idle.
func Dial(ctx context.Context, cfg ClientConfig) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cluster, err := cfg.cluster()
	if err != nil {
		return nil, err
	}
	secure := security.Plaintext()
	remote, err := client.NewRemote(ctx, client.RemoteConfig{
		Security: secure, Addresses: cfg.Addresses, Cluster: cluster, DialTimeout: cfg.DialTimeout, PingTimeout: cfg.PingTimeout,
	})
	if err != nil {
		return nil, err
	}
	caller, err := client.New(remote, client.Config{SessionTimeout: cfg.SessionTimeout})
	if err != nil {
		return nil, errors.Join(err, remote.Close())
	}
	return &Client{caller, secure}, nil
}

// Seen returns the highest index that the client has seen: in an answer to a write or a read
// of whatever level, in a watch or a status, and what the member had that answered [Dial].
// Another process that reads with [AtLeast] of it reads what this one has written, and
// nothing older than it has read. 0 of a Client that was not dialled.
func (c *Client) Seen() Index { return c.half().Seen() }

// Status returns what the member at hand says of itself and of the cluster.
func (c *Client) Status(ctx context.Context) (Status, error) {
	s, err := c.half().Status(ctx)
	if err != nil {
		return Status{}, err
	}
	return statusOf(*s), nil
}

// Command runs one command in the client's session. Handles call it.
func (c *Client) Command(ctx context.Context, command protocol.Command) (protocol.Result, error) {
	return c.half().Command(ctx, command)
}

// Query runs one query at the member at hand. Handles call it.
func (c *Client) Query(ctx context.Context, q protocol.Query) (protocol.Result, error) {
	return c.half().Query(ctx, q)
}

// Watch follows the changes of a resource. Handles call it.
func (c *Client) Watch(ctx context.Context, w protocol.Watch) (resources.WatchStream, error) {
	return c.half().Watch(ctx, w)
}

// Close ends the session and the connections. What is in flight ends with
// ErrClosed or ErrUnknownOutcome.
func (c *Client) Close() error { return c.half().Close() }
