package machine

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/starlinghq/starling/internal/changefile"
	"github.com/starlinghq/starling/protocol"
)

// recalled is a place in the file of a watcher that the ring has left behind.
type recalled struct {
	reader *changefile.Reader
	entry  changefile.Entry // that is being told; without changes: none is
	next   int              // of its changes
}

// reads reports whether a block is read before anything is told.
func (r *recalled) reads() bool { return r.next == len(r.entry.Changes) && r.reader.Loads() }

// keep puts what leaves the ring into the file. The lock is held.
func (h *hub) keep(n *changesNode) {
	if h.file == nil {
		return
	}
	var room [1]recordChange
	changes, _ := n.told(&room)
	h.leaving = h.leaving[:0]
	for _, c := range changes {
		h.leaving = append(h.leaving, changeOf(c, true))
	}
	h.file.Put(&changefile.Entry{Index: n.index, Resource: n.resource, Kind: n.kind.String(), Changes: h.leaving})
	if clear(h.leaving); cap(h.leaving) > notedKept {
		h.leaving = nil
	}
}

func (h *hub) resetFile(i protocol.Index) {
	if h.file != nil {
		h.file.Reset(i)
	}
}

// recall has a watcher that the ring has left behind go on in the file, if everything is there. The
// lock is held.
func (w *Watcher) recall() bool {
	if w.hub.file == nil {
		return false
	}
	r, ok := w.hub.file.Read(w.resource, w.from)
	if ok {
		w.at, w.ahead, w.recalled = nil, nil, &recalled{reader: r}
	}
	return ok
}

// fallBack is recall for a watcher that was in the ring.
//
// [S] Not after the state was given up for another one: what the file has now is of that one, and
// the indexes are the same.
func (w *Watcher) fallBack() error {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if err := w.orphaned(); err != nil {
		return err
	}
	if !w.recall() {
		return protocol.ErrSlowWatcher
	}
	return nil
}

// passedOver returns why what comes next is not in the file any more.
func (w *Watcher) passedOver() error {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if err := w.orphaned(); err != nil {
		return err
	}
	return protocol.ErrSlowWatcher
}

// orphaned returns why the ring that the watcher was in tells it nothing any more. The lock is held.
func (w *Watcher) orphaned() error {
	switch {
	case w.hub.closed:
		return protocol.ErrClosed
	case w.hub.streams[w.resource] != w.stream:
		return protocol.ErrCompacted
	}
	return nil
}

// rejoin has a watcher that has read the file go on in the ring, if nothing lies between.
func (w *Watcher) rejoin() error {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	s := w.stream
	if err := w.orphaned(); err != nil {
		return err
	}
	if w.from >= s.gone || w.recalled.reader.AtEnd() {
		w.at, w.from, w.recalled = s.first, max(w.from, s.gone), nil
	}
	return nil
}

// turn waits until the watcher may read a block of the file, which it has until it has told of it or come to its
// end. A watch of few keys that begins far back reads all of it and tells nothing, so nothing holds it back: forty had
// every processor of a member for many seconds, and a leader lost its term. So half of the processors read. A turn that
// is free is taken also by who has no time to wait.
func (w *Watcher) turn(ctx context.Context) error {
	if w.hasTurn {
		return nil
	}
	select {
	case w.hub.turns <- struct{}{}:
	default:
		select {
		case w.hub.turns <- struct{}{}:
		case <-w.done:
			return protocol.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.hasTurn = true
	return nil
}

// pass ends the turn, if it has one. Whatever else waits for this processor comes before that: whoever is next would
// have it at once, and those that read would pass it on among themselves.
func (w *Watcher) pass() {
	if w.hasTurn {
		runtime.Gosched()
		w.hasTurn = false
		<-w.hub.turns
	}
}

// mayRead waits for a turn, if a block is to be read, and returns why nothing may be told.
//
// [S] In this order: what is found out about the state meanwhile ends the watch before it is told more.
func (w *Watcher) mayRead(ctx context.Context, reads bool) error {
	if reads {
		if err := w.turn(ctx); err != nil {
			return err
		}
	}
	if w.withheld != nil {
		return w.withheld()
	}
	return nil
}

// fromFile returns what comes next in the file, and reports whether it is to be told.
func (w *Watcher) fromFile(ctx context.Context) (out protocol.Changes, ok bool, err error) {
	select {
	case <-w.done:
		return out, false, protocol.ErrClosed
	default:
	}
	if err := w.mayRead(ctx, w.recalled.reads()); err != nil {
		return out, false, err
	}
	obsolete, done := w.obsolete(true)
	defer done()
	size := 0
	for {
		r := w.recalled
		if r.next == len(r.entry.Changes) {
			ends, err := w.nextRecalled()
			if err != nil || ends {
				out.Index = w.from
				return out, err == nil && (len(out.Changes) > 0 || w.midway), err
			}
			continue
		}
		c := r.entry.Changes[r.next]
		if !w.previous {
			c.PreviousKind, c.Previous = protocol.PreviousUnknown, nil
		}
		if len(c.Key) < len(w.prefix) || string(c.Key[:len(w.prefix)]) != w.prefix || obsolete(&c, r.entry.Index) {
			r.next++
			continue
		}
		if size += w.sizeOf(&c); w.full(size, &out) {
			out.Index, out.More = r.entry.Index, true
			return out, true, nil
		}
		out.Changes = append(out.Changes, c)
		r.next++
	}
}

// nextRecalled goes on behind what was read of the file, and reports whether an entry ends there.
func (w *Watcher) nextRecalled() (ends bool, err error) {
	r := w.recalled
	if len(r.entry.Changes) > 0 && !r.entry.More {
		w.from, r.entry, r.next = max(w.from, r.entry.Index), changefile.Entry{}, 0
		if r.reader.Loads() {
			w.pass()
		}
		return true, nil
	}
	if r.reader.Loads() && !w.hasTurn { // in the middle of an entry, which a context does not cut
		if err := w.mayRead(context.Background(), true); err != nil {
			return true, err
		}
	}
	e, err := r.reader.Next()
	switch {
	case errors.Is(err, io.EOF):
		w.pass() // it may wait in the ring
		return true, w.rejoin()
	case errors.Is(err, changefile.ErrGone):
		return true, w.passedOver()
	case err != nil:
		return true, protocol.ErrCompacted.Because(err)
	case len(e.Changes) == 0:
		w.from = max(w.from, e.Index)
		if w.midway { // [S] a part follows that belongs to what was told of its entry
			return false, nil
		}
		w.pass() // at the end of a block
		return true, nil
	case e.Index <= w.from:
		return false, nil
	}
	ours, err := w.ofType(e.Kind, e.Index)
	if err != nil {
		return true, err
	}
	r.entry, r.next = e, len(e.Changes)
	if ours {
		r.next = min(w.part, len(e.Changes))
		w.part -= r.next
	}
	return false, nil
}

// changeOf returns what is told of a change, with what is known of the key before if previous says so.
func changeOf(c recordChange, previous bool) protocol.Change {
	change := protocol.Change{Kind: protocol.ChangePut, Key: c.record.KeyBytes(), Value: c.version.Value()}
	if c.version.Gone() {
		change.Kind = protocol.ChangeDelete
	}
	switch {
	case !previous || c.before == nil:
	case c.before.Gone():
		change.PreviousKind = protocol.PreviousNone
	default:
		change.PreviousKind, change.Previous = protocol.PreviousValue, c.before.Value()
	}
	return change
}
