package resourcetest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Caller is a cluster of one machine without a log or a network: each command
// is applied at once, in a session of the caller. It implements
// [resources.Caller] and is safe for use by many goroutines.
type Caller struct {
	mu       sync.Mutex
	machine  *machine.Machine
	log      *slog.Logger
	now      protocol.ClusterTime
	session  protocol.SessionID
	sequence uint64
	history  []protocol.Entry
	encoded  machine.EncodedFunc
}

var _ resources.Caller = (*Caller)(nil)

// NewCaller returns a cluster that knows the given types. It ends with the test.
func NewCaller(t testing.TB, types ...*resources.Type) *Caller {
	t.Helper()
	registry, err := resources.NewRegistry(types...)
	if err != nil {
		t.Fatal(err)
	}
	c := newCaller(registry, slog.Default(), nil)
	t.Cleanup(c.machine.Close)
	return c
}

func newCaller(registry *resources.Registry, log *slog.Logger, encoded machine.EncodedFunc) *Caller {
	c := &Caller{log: log, encoded: encoded}
	c.machine = c.newMachine(registry)
	c.machine.Apply([]protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryNoop}}, nil)
	return c
}

func (c *Caller) newMachine(registry *resources.Registry) *machine.Machine {
	return machine.New(machine.Config{Registry: registry, Logger: c.log, Track: true, Encoded: c.encoded})
}

// Advance lets cluster time pass.
func (c *Caller) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += protocol.ClusterTime(d)
}

// Command applies a command.
func (c *Caller) Command(_ context.Context, command protocol.Command) (protocol.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.machine.Check(&command); err != nil {
		return protocol.Result{}, err
	}
	if c.session == 0 {
		r := c.apply(sessionop.Open(protocol.SessionTimeoutMax))
		id, err := sessionop.Opened(&r)
		if err != nil {
			return r, err
		}
		c.session = id
	}
	c.sequence++
	command.Session, command.Sequence, command.Floor = c.session, c.sequence, c.sequence
	return c.apply(command), nil
}

func (c *Caller) apply(command protocol.Command) protocol.Result {
	e := protocol.Entry{
		Index: c.machine.Applied() + 1, Term: 1, Time: c.now,
		Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&command),
	}
	c.history = append(c.history, e)
	results := c.machine.Apply([]protocol.Entry{e}, nil)
	if len(results) == 0 {
		return protocol.Failed(c.machine.Stopped())
	}
	return results[0]
}

// Query asks the machine.
func (c *Caller) Query(ctx context.Context, q protocol.Query) (protocol.Result, error) {
	r := c.machine.Query(ctx, &q)
	r.AgeKnown = true
	return r, nil
}

// Watch follows the machine.
func (c *Caller) Watch(_ context.Context, w protocol.Watch) (resources.WatchStream, error) {
	watcher, err := c.machine.Watch(&w)
	if err != nil {
		return nil, err
	}
	watcher.TellProgress(nil)
	return watcher, nil
}
