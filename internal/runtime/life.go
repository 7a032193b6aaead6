package runtime

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/wal"
)

// self is who a member is. It does not change once the member runs.
type self struct {
	identity  wal.Identity
	run       protocol.RunID
	advertise string
	http      string // where HTTP is served; empty: nowhere
}

// Name returns the member's label.
func (s *self) Name() string { return s.identity.Name }

// ID returns the member's id.
func (s *self) ID() protocol.MemberID { return s.identity.Member }

// Cluster returns the cluster's id.
func (s *self) Cluster() protocol.ClusterID { return s.identity.Cluster }

// Addr returns host:port at which members and clients reach this one.
func (s *self) Addr() string { return s.advertise }

// meta is what the membership tells the others about this member.
func (s *self) meta(c *Config, role protocol.Role) swim.Meta {
	return swim.Meta{
		Name: s.identity.Name, Zone: c.Zone, HTTP: s.http, Role: role,
		Eligible: c.eligible(), Wishes: c.Role == protocol.RoleActive, Signs: c.SigningKey != nil,
		Level: protocol.FormatKnown,
	}
}

// lifetime is how long a member runs, and why it has ended. Any goroutine may ask.
type lifetime struct {
	life     context.Context // ends with the member
	endLife  context.CancelFunc
	stop     chan struct{} // closed when the loop must end
	stopOnce sync.Once
	stopping atomic.Bool
	loopDone chan struct{}
	done     chan struct{} // closed when everything has ended
	cause    atomic.Pointer[error]
	leaving  atomic.Bool // it will stop gracefully, others perhaps with it: see Leave
	wasReady atomic.Bool // it was ready, once: others may choose their names by it
}

func (l *lifetime) begin() {
	l.stop, l.loopDone, l.done = make(chan struct{}), make(chan struct{}), make(chan struct{})
	l.life, l.endLife = context.WithCancel(context.Background())
}

// Done is closed when the member has stopped, by itself or by Shutdown.
func (l *lifetime) Done() <-chan struct{} { return l.done }

// Err says why the member has stopped by itself; nil otherwise.
func (l *lifetime) Err() error {
	if p := l.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// stopped is the error of a member that no longer serves.
func (l *lifetime) stopped() error {
	if err := l.Err(); err != nil {
		return err
	}
	return protocol.ErrClosed.With("the member has stopped")
}
