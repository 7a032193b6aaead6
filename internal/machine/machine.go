package machine

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// What a machine takes from and gives to its state goes by these names, too.
type (
	// Snapshot is the whole state as it was at one index: what a checkpoint writes.
	Snapshot = state.Snapshot
	// CheckpointItem is one key of a state, or that it is gone.
	CheckpointItem = state.Item
	// Digest is a sum over all keys of a state: members that applied the same index
	// have the same one.
	Digest = state.Digest
)

// DigestFrom reads what Digest.Bytes returned.
func DigestFrom(b [16]byte) Digest { return state.DigestFrom(b) }

// Machine is the replicated state machine of one member: state, sessions and
// the catalogue of instances. One goroutine applies; Query, View, Watch,
// WaitApplied and the figures may be asked from any.
type Machine struct {
	registry *resources.Registry
	engine   *resources.Engine
	log      *slog.Logger
	clock    func() protocol.Instant
	refuse   []protocol.Index
	track    bool

	// current is the state in force, for everybody else: Install replaces it.
	current atomic.Pointer[state.State]

	// The applying goroutine's.
	state    *state.State
	sessions *sessions
	oneShots *oneShots
	used     map[protocol.TypeVersion]struct{} // that the state notes; see note
	commands protocol.CommandDecoder
	now      protocol.ClusterTime
	limit    int64 // of what all resources hold, 0: none; see limit.go
	full     bool  // that it was met has been said
	batch    batch
	call     call

	running  running
	hub      *hub
	waiters  waiters
	stopped  atomic.Pointer[error]
	deadline atomic.Int64
	count    atomic.Int64 // sessions
}

// Config is what a machine is made of. None of it may be visible to a command.
type Config struct {
	Registry *resources.Registry
	// Logger hears of panics and of a stop, loudly. nil: slog.Default().
	Logger *slog.Logger
	// Clock is read once per batch to find views that are too old. nil: the
	// time since the machine was made.
	Clock func() protocol.Instant
	// RingChanges and RingBytes bound the recent changes that are kept for
	// watchers. Zero: 65,536 entries and 32 MiB.
	RingChanges int
	RingBytes   int
	// Behind keeps what those bounds have no room for. nil: nothing does.
	Behind *changefile.File
	// Track has the machine remember which keys are written between one
	// Snapshot and the next, so that Snapshot.Changed need not tell all of
	// them. It costs 16 bytes for each such key.
	Track bool
	// Refuse are the indexes of entries that have no effect, whatever they are,
	// and are answered by ErrRefusedEntry, as is each repetition of a command
	// among them; no code of types sees them. It is for
	// entries that kill, or hold up, every member that applies them, and only for
	// the one machine, offline, whose state a cluster is recovered from: members
	// of a running cluster that refuse other entries have other states.
	Refuse []protocol.Index
	// Encoded, for tests of types, is told of every value that an operation
	// encodes for a table, a cell or its answer.
	Encoded EncodedFunc
}

// EncodedFunc is told a value's type and how its encoding ended. Again encodes
// the same value again, which must end alike whatever was encoded in between.
type EncodedFunc func(t reflect.Type, data []byte, err error, again func() ([]byte, error))

// New returns a machine that has applied nothing.
func New(cfg Config) *Machine {
	if cfg.Registry == nil {
		cfg.Registry = &resources.Registry{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Clock == nil {
		start := time.Now()
		cfg.Clock = func() protocol.Instant { return protocol.Instant(time.Since(start)) }
	}
	m := &Machine{
		registry: cfg.Registry, engine: resources.NewEngine(cfg.Registry, cfg.Encoded),
		log: cfg.Logger, clock: cfg.Clock, refuse: cfg.Refuse, track: cfg.Track, hub: newHub(cfg),
	}
	m.use(state.New(cfg.Track))
	m.sessions, m.oneShots = newSessions(m.state), newOneShots(m.state)
	m.current.Store(m.state)
	return m
}

// use makes a state the one that entries are applied to.
func (m *Machine) use(s *state.State) {
	m.state, m.used = s, map[protocol.TypeVersion]struct{}{}
	m.limit, m.full = limitOf(s), false
}

// Close ends all watchers and waiters with ErrClosed. The state stays readable.
func (m *Machine) Close() {
	m.hub.close()
	m.waiters.close()
}

// Registry returns the types that the machine knows.
func (m *Machine) Registry() *resources.Registry { return m.registry }

// Check reports whether the machine could apply a command; see [resources.Registry.Check].
func (m *Machine) Check(c *protocol.Command) error { return m.registry.Check(c) }

// Applied returns the index of the last entry that was applied.
func (m *Machine) Applied() protocol.Index { return m.current.Load().Published() }

// Digest returns the last applied index and the digest of the state there.
func (m *Machine) Digest() (protocol.Index, Digest) { return m.current.Load().PublishedDigest() }

// DigestAt returns the digest at one of the last 1,024 applied indexes, if it is
// not below that of a state taken over since.
func (m *Machine) DigestAt(i protocol.Index) (Digest, bool) {
	return m.current.Load().DigestAt(i)
}

// Verify counts the digest again over all that the state holds, and returns it
// with the one that was kept along the way. They differ only if memory was
// damaged, or if somebody wrote to bytes that a Reader handed out. The applying
// goroutine calls it; it takes time in proportion to the state.
func (m *Machine) Verify() (counted, kept Digest) { return m.state.Recount(), m.state.Digest() }

// Snapshot takes a snapshot of the state at the applied index, which must not
// be 0, and, with Config.Track, makes it the base of the next one. The applying
// goroutine calls it, between calls of Apply. It takes constant time.
func (m *Machine) Snapshot() *Snapshot { return m.state.Snapshot() }

// Stopped returns why the machine applies no more, or nil. It says what is
// needed.
func (m *Machine) Stopped() error {
	if err := m.stopped.Load(); err != nil {
		return *err
	}
	return nil
}

// NextDeadline returns when the next session ends, in cluster time, 0 for
// never. If it is not after the last entry's time, another entry is needed to
// go on. Somebody has to propose an EntryTick then.
func (m *Machine) NextDeadline() protocol.ClusterTime {
	return protocol.ClusterTime(m.deadline.Load())
}

// Stats are figures about a machine.
type Stats struct {
	Applied protocol.Index
	Digest  Digest
	Keys    int // of all resources and the system
	Bytes   int // keys and values, without overhead
	// Held is what all resources hold, as the limit of the state counts it, and Limit
	// that limit, in bytes; 0: there is none.
	Held, Limit int64
	Sessions    int
	Watchers    int
}

// Stats returns the figures of now.
func (m *Machine) Stats() Stats {
	s := m.current.Load()
	i, digest := s.PublishedDigest()
	keys, bytes := s.Size()
	return Stats{
		Applied: i, Digest: digest, Keys: keys, Bytes: bytes, Held: s.Holds(), Limit: limitOf(s),
		Sessions: int(m.count.Load()), Watchers: m.hub.watchers(),
	}
}

// View opens a view of an instance at the applied index; it must be closed.
// An instance that does not exist is empty. ErrWrongType, ErrUnknownType,
// ErrInvalid and ErrTooLarge for a name that no instance can have.
func (m *Machine) View(resource, kind string) (*resources.View, error) {
	if err := protocol.CheckName("the name of a resource", resource); err != nil {
		return nil, err
	}
	v := new(resources.View)
	if err := m.engine.Open(m.current.Load(), v, resource, kind); err != nil {
		return nil, err
	}
	return v, nil
}

// Query runs a query at the applied index. Level is the caller's affair. When ctx
// ends, the query's reads fail, and so does the query, whatever it makes of that.
func (m *Machine) Query(ctx context.Context, q *protocol.Query) protocol.Result {
	if err := q.Validate(); err != nil {
		return protocol.Failed(err)
	}
	op, err := m.engine.Query(q)
	if err != nil {
		return protocol.Failed(err)
	}
	resource := q.Resource
	if q.Type == protocol.CatalogueType {
		resource = ""
	}
	var v resources.View
	if err := m.engine.Open(m.current.Load(), &v, resource, q.Type); err != nil {
		return protocol.Failed(err)
	}
	defer v.Close()
	data, err := m.guard(op, q.Type, q.Resource, v.Index(), func() ([]byte, error) { return m.engine.Ask(ctx, op, &v, q.Argument) })
	if ctx.Err() != nil {
		return protocol.Failed(protocol.ErrUnavailable.With("the query was stopped: nobody waits for its answer any more"))
	}
	result := resultOf(data, err)
	result.Index = v.Index()
	return result
}

// guard turns a panic of a type's code into ErrPanicked. A violated invariant
// is not the type's fault and goes on.
func (m *Machine) guard(op resources.Operation, kind, resource string, i protocol.Index, run func() ([]byte, error)) (data []byte, err error) {
	returned := false
	defer func() {
		cause := recover()
		switch {
		case returned:
			return
		case cause == nil:
			m.exited(op, kind, resource, i)
			return
		}
		if violation, ok := cause.(invariant.Violation); ok {
			panic(violation)
		}
		m.log.Error("an operation panicked and had no effect: a bug in the resource type",
			"type", kind, "operation", op.Describe().Name, "resource", resource, "index", i,
			"panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
		data, err = nil, protocol.ErrPanicked
	}()
	data, err = run()
	returned = true
	return data, err
}

// resultOf is what an operation answers. A code that is too long for a message
// would cost its reader the connection.
func resultOf(data []byte, err error) protocol.Result {
	result := protocol.Result{Data: data}
	if err != nil {
		result.Code, result.Text = protocol.CodeOf(err)
		if n := len(result.Code); n > protocol.NameBytesMax {
			result.Text = fmt.Sprintf("%s (its code %s has %d bytes, the limit is %d)", result.Text, protocol.Quoted(string(result.Code)), n, protocol.NameBytesMax)
			result.Code = protocol.ErrInvalid.Code
		}
		if len(result.Text) > protocol.TextBytesMax {
			result.Text = result.Text[:protocol.TextBytesMax]
		}
	}
	return result
}

// Watch follows the changes of a resource from now on, or after w.From.
// ErrCompacted: the changes after w.From are no longer held. ErrWrongType,
// ErrUnknownType, and what w.Validate says.
func (m *Machine) Watch(w *protocol.Watch) (*Watcher, error) { return m.WatchWithin(w, 0) }

// WatchWithin is Watch for one who can be told at most so many bytes at once,
// keys and values with 16 more for each change; 0 is no limit. What an entry changed
// comes in parts then, of at least one change: see protocol.Changes. None of it is
// held for a watcher that does not ask.
func (m *Machine) WatchWithin(w *protocol.Watch, bytesMax int) (*Watcher, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	var v resources.View
	if err := m.engine.Open(m.current.Load(), &v, w.Resource, w.Type); err != nil {
		return nil, err
	}
	v.Close()
	out, err := m.hub.watch(w, v.Index(), m.Applied)
	if err == nil {
		out.bytesMax = bytesMax
		if w.Latest {
			resource, kind := w.Resource, w.Type
			out.view = func() (*resources.View, error) { return m.View(resource, kind) }
		}
	}
	return out, err
}

// WaitApplied waits until index i is applied. It returns the machine's reason
// if it has stopped, ErrClosed, or the context's error.
func (m *Machine) WaitApplied(ctx context.Context, i protocol.Index) error {
	return m.waiters.wait(ctx, i, m.Applied, m.Stopped)
}
