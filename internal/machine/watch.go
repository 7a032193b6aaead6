package machine

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

const (
	ringChangesDefault = 1 << 16
	ringBytesDefault   = 32 << 20
	// changeOverhead is what a change costs beside its key and value, and
	// nodeOverhead what those of one entry cost together, with a list of their
	// own.
	changeOverhead = 160
	nodeOverhead   = 256
)

// hub keeps the recent changes of all resources, and wakes who watches them.
//
// The changes of one resource form a list that watchers walk by themselves,
// each from its own place, so a watcher costs the writer nothing but a wake-up
// and has no buffer. The ring bounds all lists together. What leaves it cuts
// its list behind the last place that has gone: a watcher that still stands
// there finds the cut, and is told that it was too slow.
type hub struct {
	limitChanges, limitBytes int

	// Of the entries that are being applied; the applying goroutine's.
	noted   []notedChange
	scratch [1]recordChange
	pending []*changesNode

	mu      sync.Mutex
	streams map[string]*stream
	most    int            // see state.Fit
	ring    []*changesNode // oldest first, from head on
	head    int
	changes int
	bytes   int
	gone    protocol.Index // nothing at or below it is in the ring for sure
	open    int            // watchers
	closed  bool
}

// stream is the list of one resource.
type stream struct {
	first, last *changesNode // first has left the ring, or never had changes
	gone        protocol.Index
	watchers    int
	wake        chan struct{} // nil: nobody waits
}

// changesNode is what one entry changed in one resource. What it tells goes when
// it leaves the ring, because a watcher that hangs holds on to the node that it
// has come to; nothing else but next ever changes.
type changesNode struct {
	index    protocol.Index
	resource string
	kind     state.Kind // that the resource was of
	size     int
	skipped  bool // the state went on to index without telling the changes
	// What it tells is one change, the usual case, or many.
	record  atomic.Pointer[state.Record]
	version atomic.Pointer[state.Version]
	many    atomic.Pointer[[]recordChange]
	next    atomic.Pointer[changesNode]
}

type recordChange struct {
	record  *state.Record
	version *state.Version
}

// tell sets what the node tells.
func (n *changesNode) tell(changes []recordChange) {
	if len(changes) == 1 {
		n.record.Store(changes[0].record)
		n.version.Store(changes[0].version)
		return
	}
	many := changes // not the parameter, which would be allocated in any case
	n.many.Store(&many)
}

// count returns how many changes the node tells.
func (n *changesNode) count() int {
	if many := n.many.Load(); many != nil {
		return len(*many)
	}
	return 1
}

// told returns what the node tells, in room if there is enough; ok is false if
// it has left the ring.
func (n *changesNode) told(room *[1]recordChange) (changes []recordChange, ok bool) {
	if many := n.many.Load(); many != nil {
		return *many, true
	}
	room[0] = recordChange{n.record.Load(), n.version.Load()}
	return room[:], room[0].record != nil && room[0].version != nil
}

// forget lets go of what the node tells.
func (n *changesNode) forget() {
	if n.many.Load() != nil {
		n.many.Store(nil)
		return
	}
	n.record.Store(nil)
	n.version.Store(nil)
}

type notedChange struct {
	space *state.Space
	recordChange
}

// cut stands behind a place that has left the ring, replaced behind the last of
// a state that was given up.
var cut, replaced = new(changesNode), new(changesNode)

func newHub(cfg Config) *hub {
	return &hub{
		streams:      map[string]*stream{},
		limitChanges: cmp.Or(cfg.RingChanges, ringChangesDefault),
		limitBytes:   cmp.Or(cfg.RingBytes, ringBytesDefault),
	}
}

// note hears of one change of the current entry. The system's space is nobody's
// to watch.
func (h *hub) note(sp *state.Space, r *state.Record, v *state.Version) {
	if sp.Name() != "" {
		h.noted = append(h.noted, notedChange{sp, recordChange{r, v}})
	}
}

// entryEnds makes one node per resource of what was noted.
func (h *hub) entryEnds(i protocol.Index) {
	for len(h.noted) > 0 {
		sp, rest := h.noted[0].space, h.noted[:0:0]
		n := &changesNode{index: i, resource: sp.Name(), kind: sp.Kind(), size: nodeOverhead}
		changes := h.scratch[:0]
		if len(h.noted) > 1 {
			changes = make([]recordChange, 0, len(h.noted))
		}
		for _, c := range h.noted {
			if c.space != sp {
				rest = append(rest, c)
				continue
			}
			changes = append(changes, c.recordChange)
			n.size += len(c.record.Key()) + len(c.version.Value()) + changeOverhead
		}
		n.tell(changes)
		h.scratch[0] = recordChange{}
		h.pending = append(h.pending, n)
		if len(rest) == 0 && cap(h.noted) <= notedKept {
			clear(h.noted)
			rest = h.noted[:0]
		}
		h.noted = rest
	}
}

// notedKept is the room for the changes of one entry that is not given back.
const notedKept = 1 << 12

// publish shows the changes of a batch to the watchers, after the state has
// published them.
func (h *hub) publish() {
	if len(h.pending) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.pending {
		s := h.stream(n.resource)
		s.last.next.Store(n)
		s.last = n
		h.ring = append(h.ring, n)
		h.changes += n.count()
		h.bytes += n.size
		if s.wake != nil {
			close(s.wake)
			s.wake = nil
		}
	}
	clear(h.pending)
	h.pending = h.pending[:0]
	for h.changes > h.limitChanges || h.bytes > h.limitBytes {
		if h.head == len(h.ring)-1 {
			break // the newest stays, however large
		}
		h.evict()
	}
}

func (h *hub) stream(resource string) *stream {
	s := h.streams[resource]
	if s == nil {
		start := new(changesNode)
		s = &stream{first: start, last: start, gone: h.gone}
		h.streams[resource] = s
	}
	return s
}

func (h *hub) evict() {
	n := h.ring[h.head]
	h.ring[h.head] = nil
	h.head++
	if h.head > 1024 && h.head*2 > len(h.ring) {
		m := copy(h.ring, h.ring[h.head:])
		clear(h.ring[m:])
		h.ring, h.head = h.ring[:m], 0
	}
	h.changes -= n.count()
	h.bytes -= n.size
	h.gone = max(h.gone, n.index)
	n.forget()
	s := h.streams[n.resource]
	s.first.next.Store(cut)
	s.first, s.gone = n, n.index
	h.forget(n.resource, s)
}

// skip begins anew at index i, to which the state has come without telling what
// changed. The lists stay, so that who was told everything, or begins above i,
// reads on; a place in each says what is missing.
func (h *hub) skip(i protocol.Index) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring, h.head, h.changes, h.bytes = nil, 0, 0, 0
	h.gone = max(h.gone, i)
	for name, s := range h.streams { // order does not matter: each by itself
		n := &changesNode{index: i, resource: name, skipped: true}
		s.last.next.Store(n)
		s.first, s.last, s.gone = n, n, i
		if s.wake != nil {
			close(s.wake)
			s.wake = nil
		}
		h.forget(name, s)
	}
}

// restart begins anew at index i, which may be below what was told: that was of
// a state that has been given up, so all watchers are told.
func (h *hub) restart(i protocol.Index) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ring, h.head, h.changes, h.bytes = nil, 0, 0, 0
	h.gone = i
	for _, s := range h.streams { // order does not matter: each by itself
		s.last.next.Store(replaced)
		if s.wake != nil {
			close(s.wake)
			s.wake = nil
		}
	}
	h.streams = map[string]*stream{}
}

// detach copies what the ring tells, before the state is given up that it is
// part of: a watcher that hangs, or a ring that nothing moves, would hold all of
// that by one key.
func (h *hub) detach() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.ring[h.head:] {
		var room [1]recordChange
		changes, _ := n.told(&room)
		copied := make([]recordChange, len(changes))
		for k, c := range changes {
			copied[k] = recordChange{c.record.Copy(), c.version.Copy()}
		}
		n.tell(copied)
	}
}

// forget drops a stream without changes and watchers; h.gone speaks for it. The
// stream of a watcher may be one that restart has given up.
func (h *hub) forget(resource string, s *stream) {
	if s.watchers == 0 && s.first == s.last && h.streams[resource] == s {
		h.streams, h.most = state.Fit(h.streams, h.most)
		delete(h.streams, resource)
	}
}

// watch returns a watcher. checked is an index at which the resource was of the
// type that is asked for, or not there. applied is asked under the lock, so that
// no batch falls between the index and the place in the list.
func (h *hub) watch(w *protocol.Watch, checked protocol.Index, applied func() protocol.Index) (*Watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, protocol.ErrClosed
	}
	s := h.stream(w.Resource)
	out := &Watcher{hub: h, stream: s, resource: w.Resource, kind: w.Type, checked: checked, prefix: string(w.Prefix), done: make(chan struct{})}
	if w.From == 0 {
		// The state publishes before the list does: what is applied but not
		// yet listed is passed over by its index.
		out.at, out.from = s.last, max(applied(), s.last.index)
	} else {
		if w.From < s.gone {
			h.forget(w.Resource, s)
			return nil, protocol.ErrCompacted
		}
		out.at, out.from = s.first, w.From
	}
	s.watchers++
	h.open++
	return out, nil
}

func (h *hub) watchers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.streams { // order does not matter: all are woken
		if s.wake != nil {
			close(s.wake)
			s.wake = nil
		}
	}
}

// Watcher is a place in the changes of one resource. It implements
// [resources.WatchStream]. Next is for one goroutine at a time; Close may come from any.
type Watcher struct {
	hub      *hub
	stream   *stream
	resource string
	kind     string
	checked  protocol.Index
	prefix   string
	bytesMax int // of one Changes; 0: no limit
	at       *changesNode
	part     int // of the node behind at: how many of its changes have been looked at
	from     protocol.Index
	begun    bool
	once     sync.Once
	done     chan struct{}
}

var _ resources.WatchStream = (*Watcher)(nil)

// Next waits for the next changes; see [resources.WatchStream]. ErrWrongType: the resource
// was deleted, and is of another type now.
func (w *Watcher) Next(ctx context.Context) (protocol.Changes, error) {
	if !w.begun {
		w.begun = true
		return protocol.Changes{Index: w.from}, nil
	}
	for {
		n := w.at.next.Load()
		if n == cut {
			return protocol.Changes{}, protocol.ErrSlowWatcher
		}
		if n == nil {
			if err := w.wait(ctx); err != nil {
				return protocol.Changes{}, err
			}
			continue
		}
		if n == replaced || n.skipped && w.from < n.index {
			return protocol.Changes{}, protocol.ErrCompacted
		}
		c, err := w.changes(n)
		if err != nil {
			return protocol.Changes{}, err
		}
		if !c.More {
			w.at = n
		}
		if len(c.Changes) > 0 {
			return c, nil
		}
		if err := ctx.Err(); err != nil {
			return protocol.Changes{}, err
		}
	}
}

// changes returns what a node tells this watcher.
func (w *Watcher) changes(n *changesNode) (protocol.Changes, error) {
	out := protocol.Changes{Index: n.index}
	if n.index <= w.from {
		return out, nil
	}
	var room [1]recordChange
	changes, ok := n.told(&room)
	switch {
	case !ok: // it has left the ring under our eyes
		return out, protocol.ErrSlowWatcher
	case n.kind.String() == w.kind:
	case n.index <= w.checked:
		return out, nil // of another resource of this name, that was deleted
	default:
		return out, state.WrongType(w.resource, n.kind.String(), w.kind)
	}
	part, count := w.fitting(changes[w.part:])
	rest := changes[w.part:][:part]
	w.part += part
	out.More = w.part < len(changes)
	if !out.More {
		w.part = 0
	}
	out.Changes = make([]protocol.Change, 0, count)
	for _, c := range rest {
		if !strings.HasPrefix(c.record.Key(), w.prefix) {
			continue
		}
		change := protocol.Change{Kind: protocol.ChangePut, Key: c.record.KeyBytes(), Value: c.version.Value()}
		if c.version.Gone() {
			change.Kind = protocol.ChangeDelete
		}
		out.Changes = append(out.Changes, change)
	}
	return out, nil
}

// fitting returns how many of the changes are told at once, and how many of those are
// this watcher's. What follows them is never only other watchers'.
func (w *Watcher) fitting(changes []recordChange) (part, count int) {
	size := 0
	for i, c := range changes {
		if !strings.HasPrefix(c.record.Key(), w.prefix) {
			continue
		}
		size += len(c.record.Key()) + len(c.version.Value()) + 16
		if size > w.bytesMax && w.bytesMax > 0 && count > 0 {
			return i, count
		}
		count++
	}
	return len(changes), count
}

func (w *Watcher) wait(ctx context.Context) error {
	w.hub.mu.Lock()
	if w.hub.closed {
		w.hub.mu.Unlock()
		return protocol.ErrClosed
	}
	if w.at.next.Load() != nil {
		w.hub.mu.Unlock()
		return nil
	}
	if w.stream.wake == nil {
		w.stream.wake = make(chan struct{})
	}
	wake := w.stream.wake
	w.hub.mu.Unlock()
	select {
	case <-wake:
		return nil
	case <-w.done:
		return protocol.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the watcher. Closing it twice is harmless.
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.done)
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		w.hub.open--
		w.stream.watchers--
		w.hub.forget(w.resource, w.stream)
	})
}
