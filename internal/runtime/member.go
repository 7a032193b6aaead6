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
	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Member is a running member. Any goroutine may use it.
type Member struct {
	cfg     Config
	logger  *slog.Logger
	started protocol.Instant
	self
	intake

	log       storage.Log
	machine   *machine.Machine
	replica   *replica.Replica // the loop's
	swim      *swim.Swim
	server    *wire.Server
	transport *transport
	reading
	dirs     *directories
	observer observe.Observer

	care
	applying
	syncs       *syncWatch
	driver      *member.Driver
	writes      chan *replica.Persist
	lanes       [member.Lanes]queue[func() member.Done]
	checkpoints checkpoints
	repairs     repairs
	repairer    repairer
	workers     sync.WaitGroup

	changed *broadcast
	acquaintances
	namedSaid namedSaid
	whereabouts
	display

	lifetime
}

// reading is what queries are answered from: the state, and who waits for it.
type reading struct {
	levels consistentReads
	state  member.Reads
}

// applying is the one writer of the state, what it is given, and what it hangs in.
type applying struct {
	applier applier
	hampers hampers
	applies chan replica.Apply
}

// care watches what the member stands on: the room on its disk, its directory, and what
// it has to write down about others.
type care struct {
	guard      guard
	premises   premises
	remembered remembered
	changes    *changefile.File // nil: none
}

// display is what the loop shows to all who do not ask it.
type display struct {
	published atomic.Pointer[published]
	source    source
	// withheld is what withhold has put into doubted; the loop's.
	withheld *error
	// announcing wakes the goroutine that tells the membership about this
	// member.
	announcing chan struct{}
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

// Dir returns the data directory, empty if the member is in memory only.
func (m *Member) Dir() string { return m.cfg.Dir }

// fail stops the member by itself. The first cause stays.
func (m *Member) fail(cause error) {
	if m.cause.CompareAndSwap(nil, &cause) {
		m.answers.Shut()
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
		m.answers.Shut()
		m.endLife()
		if !within(cmp.Or(m.cfg.endTimeout, endTimeout), func() { m.endAll(graceful) }) {
			m.logger.Error("the member ends while its disk does not answer; what it has promised is safe", "dir", m.cfg.Dir)
			m.answers.Close(m.stopped())
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
	m.answers.Close(m.stopped())
	if err := m.checkpoints.close(&m.lanes[member.Store]); err != nil {
		m.logger.Error("the store of checkpoints has not ended", "err", err)
	}
	m.machine.Close()
	if graceful && m.Err() == nil {
		m.dirs.saveWatermarks()
		if err := m.log.Sync(); err == nil {
			_ = m.log.Settle()
		}
	}
	_ = m.log.Close()
	m.premises.close()
}

// suspendServing stops serving: this member's log is of another history than the actives'.
// What it holds is kept, for it may be all that is left of what was acknowledged.
func (m *Member) suspendServing(d *gossip.Divergence) {
	err := error(&protocol.Error{Code: protocol.ErrNotServing.Code, Text: d.String(), Cause: errDoubted})
	m.suspended.Store(&err)
	m.logger.Error("diverged", "index", d.Index, "mine", d.Mine, "theirs", d.Theirs, "by", m.nameOf(d.By))
}
