package machine

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

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
	out := &Watcher{hub: h, stream: s, resource: w.Resource, kind: w.Type, checked: checked, prefix: string(w.Prefix), done: make(chan struct{}), wake: make(chan struct{}, 1), slot: -1}
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
	out.group = s.audience.join(out.prefix)
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
		s.audience.wakeAll(nil)
	}
}

// Watcher is a place in the changes of one resource. It implements
// [resources.WatchStream]. Next is for one goroutine at a time; Close may come from any.
type Watcher struct {
	hub      *hub
	stream   *stream
	group    *group
	resource string
	kind     string
	checked  protocol.Index
	prefix   string
	bytesMax int // of one Changes; 0: no limit

	// at is what was looked at last; nil: the watcher waits, or has waited, and ahead is
	// what comes next, if that is known.
	at, ahead *changesNode
	part      int            // of the node ahead: how many of its changes have been looked at
	from      protocol.Index // all up to it was told, or is not to be
	told      protocol.Index // the last index that was said
	begun     bool
	rested    bool // it has come to the end of its list once
	tells     bool // how far it is
	tick      <-chan time.Time
	withheld  func() error

	slot  int // in the group's list of those that wait; guarded by the hub's lock
	first atomic.Pointer[changesNode]
	wake  chan struct{} // first is set, or the hub is closed

	once sync.Once
	done chan struct{}
}

var _ resources.WatchStream = (*Watcher)(nil)

// TellProgress has Next say up to where everything was told: when the watcher has come to the
// end of the changes for the first time, and at each tick at which nothing is to be told, also
// where that is no further than before; with nil at none. It is called before the first Next.
func (w *Watcher) TellProgress(tick <-chan time.Time) { w.tells, w.tick = true, tick }

// EndWith has an error of why end the watch. It is asked at each tick, and before anything is told.
// EndWith is called before the first Next.
func (w *Watcher) EndWith(why func() error) { w.withheld = why }

// Next waits for the next changes; see [resources.WatchStream]. ErrWrongType: the resource
// was deleted, and is of another type now.
func (w *Watcher) Next(ctx context.Context) (protocol.Changes, error) {
	if !w.begun {
		w.begun, w.told = true, w.from
		return protocol.Changes{Index: w.from}, nil
	}
	for {
		n, err := w.following(ctx)
		if err == nil && w.withheld != nil {
			err = w.withheld()
		}
		switch {
		case err != nil:
			return protocol.Changes{}, err
		case n == nil:
			return protocol.Changes{Index: w.told}, nil
		case n == cut:
			return protocol.Changes{}, protocol.ErrSlowWatcher
		case n == replaced || n.skipped && w.from < n.index:
			return protocol.Changes{}, protocol.ErrCompacted
		}
		c, err := w.changes(n)
		if err != nil {
			return protocol.Changes{}, err
		}
		if !c.More {
			w.at, w.ahead, w.from = n, nil, max(w.from, n.index)
		}
		if len(c.Changes) > 0 {
			w.told = n.index
			return c, nil
		}
		if err := ctx.Err(); err != nil {
			return protocol.Changes{}, err
		}
	}
}

// following waits for the node that comes next. Nil: there is none so far.
func (w *Watcher) following(ctx context.Context) (*changesNode, error) {
	for w.ahead == nil {
		if w.at != nil {
			if w.ahead = w.at.next.Load(); w.ahead != nil {
				break
			}
		}
		if err := w.enlist(); err != nil {
			return nil, err
		}
		if w.at != nil {
			continue // something has come meanwhile
		}
		if !w.rested {
			w.rested = true
			if w.progress() {
				return nil, nil
			}
		}
		select {
		case <-w.wake:
			w.ahead = w.first.Swap(nil)
		case <-w.tick:
			w.progress()
			return nil, nil
		case <-w.done:
			return nil, protocol.ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return w.ahead, nil
}

// enlist has a watcher that has come to the end of its list wait with its group, if it
// does not.
func (w *Watcher) enlist() error {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.hub.closed {
		return protocol.ErrClosed
	}
	select {
	case <-w.done: // it has left its group
		return protocol.ErrClosed
	default:
	}
	if w.at != nil && w.at.next.Load() == nil {
		w.at = nil
		w.group.enlist(w)
	}
	return nil
}

// progress moves on to where the lists have come to, if nothing in them is this
// watcher's, and reports whether it has moved.
//
// [S] Only who waits is told so: it has come to the end of its list, and of what was
// listed since nothing concerns it.
func (w *Watcher) progress() bool {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	upTo := protocol.Index(w.hub.upTo.Load())
	if w.slot < 0 || upTo <= w.told || !w.tells {
		return false
	}
	w.from, w.told = max(w.from, upTo), upTo
	return true
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

// Close ends the watcher. Closing it twice is harmless.
func (w *Watcher) Close() {
	w.once.Do(func() {
		close(w.done)
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		w.hub.open--
		w.stream.watchers--
		w.stream.audience.leave(w)
		w.hub.forget(w.resource, w.stream)
	})
}
