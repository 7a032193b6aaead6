package wal

import (
	"slices"
	"sync"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// unsyncedMax bounds how many writes the log in memory can still lose: like a
// kernel, it makes older ones durable by itself.
const unsyncedMax = 64

// Memory is the twin of Log without a disk: for members without a directory,
// and for tests. What a crash loses is chosen by the caller of Crash.
type Memory struct {
	mu       sync.RWMutex
	opened   storage.Opened
	now      image   // what was written
	durable  image   // what is synced
	unsynced []image // after each write since
	closed   bool
}

var _ storage.Log = (*Memory)(nil)

// image is a log's whole content. Images share entries: those are never
// overwritten in place.
type image struct {
	state          protocol.HardState
	begin          point
	entries        []protocol.Entry
	configurations protocol.Configurations
	sequence       protocol.Sequence
}

func (g *image) last() point {
	if len(g.entries) == 0 {
		return g.begin
	}
	return after(g.entries)
}

// NewMemory returns an empty log.
func NewMemory() *Memory { return &Memory{} }

// Reopen closes the log and returns it as the next process finds it after a
// clean end: with everything that was written.
func (m *Memory) Reopen() *Memory { return m.Crash(len(m.unsynced)) }

// Crash closes the log and returns it as the next process finds it after a
// power cut: with what was synced and the first keep of the later writes.
func (m *Memory) Crash(keep int) *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	found := m.durable
	if keep = min(keep, len(m.unsynced)); keep > 0 {
		found = m.unsynced[keep-1]
	}
	return &Memory{opened: openedFrom(found), now: found, durable: found}
}

func openedFrom(g image) storage.Opened {
	r := storage.Opened{
		State:          g.state,
		LogTerms:       protocol.LogTerms{PrevIndex: g.begin.index, PrevTerm: g.begin.term, PrevSum: g.begin.sum},
		Configurations: g.configurations.Clone(),
		LastSum:        g.last().sum,
		Tail:           slices.Clone(clipTail(g.entries, g.state.Commit)),
		Sequence:       g.sequence,
	}
	for i := range g.entries {
		r.LogTerms.Append(g.entries[i].Term)
	}
	if n := len(g.entries); n > 0 {
		r.LastTime = g.entries[n-1].Time
	}
	return r
}

// Opened implements storage.Log.
func (m *Memory) Opened() storage.Opened { return m.opened }

// Write implements storage.Log.
func (m *Memory) Write(w protocol.Write, entries []protocol.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return protocol.ErrClosed
	}
	g := &m.now
	checkWrite(&w, entries, g.state, g.begin.index, g.last())
	if w.Truncate && w.After < g.last().index {
		// The next append must not overwrite what other images share.
		n := w.After - g.begin.index
		g.entries = g.entries[:n:n]
		g.configurations = g.configurations.Clone()
		g.configurations.TruncateAfter(w.After)
	}
	if len(entries) > 0 {
		checkJoin(g.last().sum, &entries[0])
		configurations := g.configurations.Clone()
		if err := addConfigurations(&configurations, entries); err != nil {
			return err
		}
		g.configurations = configurations
		g.entries = append(g.entries, entries...)
	}
	m.step(w.State)
	return nil
}

// WriteVote implements storage.Log.
func (m *Memory) WriteVote(term protocol.Term, vote protocol.MemberID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return protocol.ErrClosed
	}
	if state := m.now.state.Noting(term, vote); state != m.now.state {
		m.step(state)
	}
	return nil
}

// step ends a change of m.now.
func (m *Memory) step(s protocol.HardState) {
	m.now.state = s
	m.now.sequence++
	m.unsynced = append(m.unsynced, m.now)
	if len(m.unsynced) > unsyncedMax {
		m.durable = m.unsynced[0]
		m.unsynced = slices.Delete(m.unsynced, 0, 1)
	}
}

// Sync implements storage.Log.
func (m *Memory) Sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return protocol.ErrClosed
	}
	m.durable = m.now
	clear(m.unsynced)
	m.unsynced = m.unsynced[:0]
	return nil
}

// Idle implements storage.Log. Nothing here can be torn.
func (m *Memory) Idle() error { return nil }

// Settle implements storage.Log.
func (m *Memory) Settle() error { return nil }

// Read implements storage.Log.
func (m *Memory) Read(first, last protocol.Index, bytes int) ([]protocol.Entry, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, protocol.ErrClosed
	}
	begin, end := m.now.begin.index, m.now.last().index
	if first <= begin {
		return nil, below(first, begin)
	}
	if first > end || last < first {
		return nil, above(max(first, last+1), end)
	}
	held := m.now.entries[first-begin-1 : min(last, end)-begin]
	n := 1
	for size := len(held[0].Raw); n < len(held); n++ {
		if size += len(held[n].Raw); size > bytes {
			break
		}
	}
	return slices.Clone(held[:n]), nil
}

// DropHead implements storage.Log. It drops exactly what it may.
func (m *Memory) DropHead(below protocol.Index) (storage.Begin, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return storage.Begin{}, protocol.ErrClosed
	}
	g := &m.now
	checkDropHead(below, g.begin.index, g.last().index, g.state.Commit)
	if below <= g.begin.index+1 {
		return beginOf(g.begin, &g.configurations), nil
	}
	n := below - 1 - g.begin.index
	g.begin = after(g.entries[:n])
	g.entries = slices.Clone(g.entries[n:])
	dropConfigurations(&g.configurations, g.begin.index)
	m.step(g.state)
	return beginOf(g.begin, &g.configurations), nil
}

// Reset implements storage.Log.
func (m *Memory) Reset(b storage.Begin, state protocol.HardState) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return protocol.ErrClosed
	}
	checkReset(&b, m.now.begin.index, state, m.now.state)
	m.now.begin = point{b.Index, b.Term, b.Sum}
	m.now.entries = nil
	m.now.configurations = protocol.NewConfigurations(b.Configuration)
	m.step(state)
	m.durable, m.unsynced = m.now, nil
	return nil
}

// DurableSequence implements storage.Log.
func (m *Memory) DurableSequence() protocol.Sequence {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.durable.sequence
}

// Space implements storage.Log: memory is not watched.
func (m *Memory) Space() (storage.Space, error) { return storage.Space{}, nil }

// Close implements storage.Log.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}
