package machine

import (
	"cmp"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

const (
	ringChangesDefault = 1 << 16
	ringBytesDefault   = 32 << 20
	// changeOverhead is what a change costs beside its key and value, and
	// nodeOverhead what those of one entry cost together, with a list of their
	// own.
	changeOverhead = 160
	nodeOverhead   = 256
	// versionOverhead is what a previous value costs beside its bytes.
	versionOverhead = 64
	// previousFraction is the part of the ring that the previous values of one entry may
	// take. To delete a resource must not keep all of it.
	previousFraction = 8
)

// hub keeps the recent changes of all resources, and wakes who watches them.
//
// The changes of one resource form a list that watchers walk by themselves,
// each from its own place, and without a buffer. Who has come to the end waits with
// those of the same prefix, and hears of the first entry that concerns it: all others
// cost it nothing, and leave it where it is. The ring bounds all lists together. What leaves
// it cuts its list behind the last place that has gone: a watcher that still
// stands there finds the cut, and is told that it was too slow.
type hub struct {
	limitChanges, limitBytes int
	// file keeps what has left the ring; nil: nothing does. It is put under the lock.
	file *changefile.File
	// turns has an element for each watcher that reads it now.
	turns chan struct{}

	// Of the entries that are being applied; the applying goroutine's.
	noted   []notedChange
	scratch [1]recordChange
	pending []*changesNode
	leaving []protocol.Change // room for those of a node that leaves the ring
	nodes   []changesNode     // room for the next ones

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

	// upTo is where the lists have come to. It is raised after they are, and read under
	// the lock.
	upTo atomic.Uint64
}

// stream is the list of one resource.
type stream struct {
	first, last *changesNode // first has left the ring, or never had changes
	gone        protocol.Index
	watchers    int
	audience    audience
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
	before  atomic.Pointer[state.Version]
	many    atomic.Pointer[[]recordChange]
	next    atomic.Pointer[changesNode]
}

// recordChange is what an entry made of a key, and what that was before; nil if it is not kept.
type recordChange struct {
	record          *state.Record
	version, before *state.Version
}

// tell sets what the node tells.
func (n *changesNode) tell(changes []recordChange) {
	if len(changes) == 1 {
		n.before.Store(changes[0].before)
		n.version.Store(changes[0].version)
		n.record.Store(changes[0].record)
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
	// [S] In the opposite order of forget: with a record all of it is there, and a previous value
	// that is nil was never kept.
	before, version := n.before.Load(), n.version.Load()
	room[0] = recordChange{n.record.Load(), version, before}
	return room[:], room[0].record != nil
}

// forget lets go of what the node tells.
func (n *changesNode) forget() {
	if n.many.Load() != nil {
		n.many.Store(nil)
		return
	}
	n.record.Store(nil)
	n.version.Store(nil)
	n.before.Store(nil)
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
		file:         cfg.Behind,
		turns:        make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)),
	}
}

// note hears of one change of the current entry. The system's space is nobody's
// to watch.
func (h *hub) note(sp *state.Space, r *state.Record, before, v *state.Version) {
	if sp.Name() != "" {
		h.noted = append(h.noted, notedChange{sp, recordChange{r, v, before}})
	}
}

// entryEnds makes one node per resource of what was noted.
func (h *hub) entryEnds(i protocol.Index) {
	for len(h.noted) > 0 {
		sp, rest := h.noted[0].space, []notedChange(nil) // not a slice of these, which would hold them
		n := h.node()
		n.index, n.resource, n.kind, n.size = i, sp.Name(), sp.Kind(), nodeOverhead
		changes, previous := h.scratch[:0], 0
		if len(h.noted) > 1 {
			changes = make([]recordChange, 0, len(h.noted))
		}
		for _, c := range h.noted {
			if c.space != sp {
				rest = append(rest, c)
				continue
			}
			if !c.before.Gone() { // nothing but the ring needs it any more
				weight := len(c.before.Value()) + versionOverhead
				if previous += weight; previous > h.limitBytes/previousFraction {
					c.before = nil
				} else {
					n.size += weight
				}
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

// node makes a node. Nodes come many at a time, which costs less, and a watcher that hangs
// at one holds their empty room.
func (h *hub) node() *changesNode {
	if len(h.nodes) == 0 {
		h.nodes = make([]changesNode, nodesTogether)
	}
	n := &h.nodes[0]
	h.nodes = h.nodes[1:]
	return n
}

const nodesTogether = 32

// notedKept is the room for the changes of one entry that is not given back.
const notedKept = 1 << 12

// publish shows the changes of a batch up to an index to the watchers, after the state
// has published them.
func (h *hub) publish(upTo protocol.Index) {
	if len(h.pending) > 0 {
		h.list()
	}
	h.upTo.Store(uint64(upTo))
}

// list appends what is pending to the lists.
func (h *hub) list() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.pending {
		s := h.stream(n.resource)
		other := s.last.kind != n.kind
		s.last.next.Store(n)
		s.last = n
		h.ring = append(h.ring, n)
		h.changes += n.count()
		h.bytes += n.size
		if other { // it is new, or was deleted and made anew: all see of which type
			s.audience.wakeAll(n)
		} else {
			s.audience.wake(n)
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
	h.keep(n)
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
	h.resetFile(i)
	h.upTo.Store(uint64(i))
	for name, s := range h.streams { // order does not matter: each by itself
		n := &changesNode{index: i, resource: name, skipped: true}
		s.last.next.Store(n)
		s.first, s.last, s.gone = n, n, i
		s.audience.wakeAll(n)
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
	h.resetFile(i)
	h.upTo.Store(uint64(i))
	for _, s := range h.streams { // order does not matter: each by itself
		s.last.next.Store(replaced)
		s.audience.wakeAll(replaced)
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
			copied[k] = recordChange{c.record.Copy(), c.version.Copy(), c.before.Copy()}
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
