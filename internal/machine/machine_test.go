package machine_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// local is a caller over one machine: every command is an entry at once.
type local struct {
	mu       sync.Mutex
	m        *machine.Machine
	time     protocol.ClusterTime
	session  protocol.SessionID
	sequence uint64
	other    *machine.Machine // applies the same; nil: none
}

func newLocal(t testing.TB, types ...*resources.Type) *local {
	t.Helper()
	reg, err := resources.NewRegistry(types...)
	if err != nil {
		t.Fatal(err)
	}
	return &local{m: machine.New(machine.Config{Registry: reg})}
}

func (l *local) entry(kind protocol.EntryKind, data []byte) protocol.Entry {
	return protocol.Entry{Index: l.m.Applied() + 1, Term: 1, Time: l.time, Kind: kind, Data: data}
}

// send applies a command as it is.
func (l *local) send(c protocol.Command) protocol.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	entries := []protocol.Entry{l.entry(protocol.EntryCommand, protocol.EncodeCommand(&c))}
	results := l.m.Apply(entries, nil)
	if l.other != nil {
		l.other.Apply(entries, nil)
	}
	if len(results) == 0 {
		return protocol.Failed(l.m.Stopped())
	}
	return results[0]
}

func (l *local) noop() {
	l.m.Apply([]protocol.Entry{l.entry(protocol.EntryNoop, nil)}, nil)
}

func (l *local) Command(_ context.Context, c protocol.Command) (protocol.Result, error) {
	if l.session == 0 {
		r := l.send(sessionop.Open(0))
		id, err := sessionop.Opened(&r)
		if err != nil {
			return r, err
		}
		l.session = id
	}
	l.sequence++
	c.Session, c.Sequence, c.Floor = l.session, l.sequence, l.sequence
	return l.send(c), nil
}

func (l *local) Query(ctx context.Context, q protocol.Query) (protocol.Result, error) {
	return l.m.Query(ctx, &q), nil
}

func (l *local) Watch(_ context.Context, w protocol.Watch) (resources.WatchStream, error) {
	watcher, err := l.m.Watch(&w)
	if err != nil {
		return nil, err
	}
	return watcher, nil
}

func newRandom(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// noopAt applies an entry of a kind that has no data.
func (l *local) noopAt(kind protocol.EntryKind) {
	l.m.Apply([]protocol.Entry{l.entry(kind, nil)}, nil)
}
