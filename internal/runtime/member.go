package runtime

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// Member is a running member. Any goroutine may use it.
type Member struct {
	cfg      Config
	logger   *slog.Logger
	clock    *clock
	started  protocol.Instant
	identity wal.Identity
	run      protocol.RunID

	advertise string
	http      atomic.Pointer[string]

	log       storage.Log
	machine   *machine.Machine
	replica   *replica.Replica // the loop's
	swim      *swim.Swim
	server    *wire.Server
	transport *transport
	mailbox   *mailbox
	waiters   *waiters
	gate      *gate
	levels    levels
	state     member.Reads
	dirs      *directories
	observer  observe.Observer

	guard       guard
	premises    premises
	applier     applier
	hampers     hampers
	syncs       *syncWatch
	books       books
	driver      *member.Driver
	writes      chan *replica.Persist
	applies     chan replica.Apply
	lanes       [member.Lanes]queue[func() member.Done]
	checkpoints checkpoints
	repairs     repairs
	repairer    repairer
	workers     sync.WaitGroup

	published atomic.Pointer[published]
	turned    atomic.Int64 // the clock at the loop's last turn
	changed   *broadcast
	known     []swim.Known                                 // from an earlier start; read only
	given     []string                                     // addresses to look at; read only
	seated    *protocol.Configuration                      // that the membership was told; the loop's
	addresses atomic.Pointer[map[protocol.MemberID]string] // read only
	favours   favours
	// configured is the latest configuration in the log; read only.
	configured atomic.Pointer[protocol.Configuration]
	led        atomic.Int64          // when a leader was last known here, at the youngest, on the member's clock; the loop writes it
	orphan     atomic.Bool           // that was long ago
	doubted    atomic.Pointer[error] // why the state must not be served
	// withheld is what withhold has put into doubted; the loop's.
	withheld *error
	// announcing wakes the goroutine that tells the membership about this
	// member.
	announcing chan struct{}

	life     context.Context // ends with the member
	endLife  context.CancelFunc
	stop     chan struct{} // closed when the loop must end
	stopOnce sync.Once
	stopping atomic.Bool
	leaving  atomic.Bool // it will stop gracefully, others perhaps with it: see Leave
	reached  atomic.Bool // a member has sent this one something
	wasReady atomic.Bool // it was, once: others may choose their names by it
	loopDone chan struct{}
	done     chan struct{} // closed when everything has ended
	cause    atomic.Pointer[error]
}

// broadcast lets many goroutines wait for the next change of something.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

func newBroadcast() *broadcast { return &broadcast{ch: make(chan struct{})} }

// wait returns a channel that is closed by the next change.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ch
}

func (b *broadcast) tell() {
	b.mu.Lock()
	close(b.ch)
	b.ch = make(chan struct{})
	b.mu.Unlock()
}

// Name returns the member's label.
func (m *Member) Name() string { return m.identity.Name }

// ID returns the member's id.
func (m *Member) ID() protocol.MemberID { return m.identity.Member }

// Cluster returns the cluster's id.
func (m *Member) Cluster() protocol.ClusterID { return m.identity.Cluster }

// Addr returns host:port at which members and clients reach this one.
func (m *Member) Addr() string { return m.advertise }

// Dir returns the data directory, empty if the member is in memory only.
func (m *Member) Dir() string { return m.cfg.Dir }

// SetHTTP says where this member serves HTTP, for status displays.
func (m *Member) SetHTTP(address string) {
	m.http.Store(&address)
	m.announce()
}

func (m *Member) httpAddr() string {
	if p := m.http.Load(); p != nil {
		return *p
	}
	return ""
}

// Done is closed when the member has stopped, by itself or by Shutdown.
func (m *Member) Done() <-chan struct{} { return m.done }

// Err says why the member has stopped by itself; nil otherwise.
func (m *Member) Err() error {
	if p := m.cause.Load(); p != nil {
		return *p
	}
	return nil
}

// fail stops the member by itself. The first cause stays.
func (m *Member) fail(cause error) {
	if m.cause.CompareAndSwap(nil, &cause) {
		m.logger.Error("the member has stopped", "err", cause)
		go m.Kill()
	}
}

// Shutdown stops gracefully: a leader hands over, requests in flight are
// answered, the log is synced, the others are told. The seat in the
// configuration stays. ctx bounds how long it waits for requests.
func (m *Member) Shutdown(ctx context.Context) error {
	if m.stopping.Load() {
		<-m.done
		return nil
	}
	Leave(m)
	handOver(ctx, m)
	waits, cancel := m.applier.unlessStuck(ctx, m)
	defer cancel()
	err := m.server.Shutdown(waits)
	if e := m.swim.Leave(time.Second); e != nil {
		m.logger.Debug("nobody heard that this member leaves", "err", e) // they find out by themselves
	}
	m.end(true)
	return err
}

// Leave says that a member is about to stop: whom it does not hear any more from now on
// is nothing to warn of, because a whole cluster may be stopped.
func Leave(m *Member) { m.leaving.Store(true) }

// Kill stops at once, as a crash would: nothing is flushed and nobody is told.
func (m *Member) Kill() { m.end(false) }

// endTimeout is how long the end of a member waits for its disk.
const endTimeout = 10 * time.Second

// end ends all goroutines. Only the first call does anything; all wait. A disk that
// does not answer does not hold it for ever: what was promised is on the disk
// already, and the rest is as after a crash.
func (m *Member) end(graceful bool) {
	m.stopOnce.Do(func() {
		m.stopping.Store(true)
		m.endLife()
		if !within(cmp.Or(m.cfg.endTimeout, endTimeout), func() { m.endAll(graceful) }) {
			m.logger.Error("the member ends while its disk does not answer; what it has promised is safe", "dir", m.cfg.Dir)
			m.waiters.close(m.ended())
		}
		m.changed.tell()
		close(m.done)
	})
	<-m.done
}

// within reports whether something ends in time. Otherwise it is left behind.
func within(d time.Duration, f func()) bool {
	over := make(chan struct{})
	go func() {
		defer close(over)
		f()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-over:
		return true
	case <-timer.C:
		return false
	}
}

// ended says why requests are not answered any more.
func (m *Member) ended() error {
	if why := m.Err(); why != nil {
		return why
	}
	return protocol.ErrClosed.With("the member has stopped")
}

func (m *Member) endAll(graceful bool) {
	m.mailbox.close() // first: who waits for room in it is waited for below, and the loop takes nothing more
	_ = m.server.Close()
	_ = m.swim.Shutdown()
	close(m.stop)
	<-m.loopDone
	close(m.writes)
	close(m.applies)
	m.workers.Wait()
	m.applier.end(m)
	m.transport.close()
	m.waiters.close(m.ended())
	if err := m.checkpoints.close(&m.lanes[member.Store]); err != nil {
		m.logger.Error("the store of checkpoints has not ended", "err", err)
	}
	m.machine.Close()
	if graceful && m.Err() == nil {
		m.dirs.keepSightings()
		if err := m.log.Sync(); err == nil {
			_ = m.log.Settle()
		}
	}
	_ = m.log.Close()
	m.premises.close()
}

// doubt stops serving: this member's log is of another history than the actives'.
// What it holds is kept, for it may be all that is left of what was acknowledged.
func (m *Member) doubt(d *gossip.Divergence) {
	err := error(protocol.ErrNotServing.With(d.String()))
	m.doubted.Store(&err)
	m.logger.Error("diverged", "index", d.Index, "mine", d.Mine, "theirs", d.Theirs, "by", m.nameOf(d.By))
}
