package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/engine"
)

// session is the writing of one store. What the engine does may take as long as the
// disk does, for ever if that never answers, or if Badger tries again what never
// works. So a goroutine of its own does it, and is left behind when something has
// gone wrong or the caller is to end. A store about which anything was
// said is never pointed at: it is removed when its session has ended.
type session struct {
	s    *Store
	h    *home
	work chan func()     // nil: the engine does not hang, and the caller does it
	db   engine.Database // the goroutine's; the caller's between two calls of do
	// flushed says that all is written: only then is the store complete at its end.
	flushed bool
	// endless says that the engine is at it for ever: the session never ends.
	endless bool

	mu      sync.Mutex
	err     error         // the first fault
	faulted chan struct{} // closed then
}

// leftMax is how many sessions may be left behind before no more are begun.
const leftMax = 3

// begin makes a new store, which begins as the one at from does, for a checkpoint
// at an index: a full one if from is nil. bytes is about what will be written.
func (s *Store) begin(ctx context.Context, from *home, at protocol.Index, bytes uint64) (*session, error) {
	s.mu.Lock()
	if s.left >= leftMax {
		s.mu.Unlock()
		return nil, protocol.ErrDirectory.With(fmt.Sprintf(
			"%d stores of checkpoints have not ended: the disk below %s does not answer; no more checkpoints are taken until it does, or the member is started again", leftMax, s.dir))
	}
	x := &session{s: s, h: s.hold(s.next, at), faulted: make(chan struct{})}
	s.next++
	s.mu.Unlock()
	if s.engine.Hangs() {
		x.work = make(chan func(), 2)
		go x.run()
	}
	err := x.do(ctx, func() error { return x.create(from, bytes) })
	if err != nil {
		x.leave()
		return nil, err
	}
	return x, nil
}

// create makes the store.
func (x *session) create(from *home, bytes uint64) (err error) {
	s := x.s
	n := engine.New{Folder: s.path(storeName(x.h.number)), At: x.h.at, Bytes: bytes, Fault: x.fault}
	if err := s.fsys.MkdirAll(n.Folder); err != nil {
		return err
	}
	if from != nil {
		if n.Base, err = clone(s.fsys, s.engine, s.path(storeName(from.number)), n.Folder); err != nil {
			return err
		}
	}
	x.db, err = s.engine.Create(n)
	return err
}

// run is the goroutine. A fault in a mapped file is a panic in it.
func (x *session) run() {
	debug.SetPanicOnFault(true)
	for f := range x.work {
		f()
	}
}

// fault notes that something has gone wrong.
func (x *session) fault(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = err
		close(x.faulted)
	}
}

// sound returns the first fault.
func (x *session) sound() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		return nil
	}
	return unusable("the store of a checkpoint cannot be written and is given up", x.err)
}

// do has the goroutine do something, and returns with its end, with the first fault
// or with the context, whatever comes first. After an error nothing else is done.
func (x *session) do(ctx context.Context, f func() error) error {
	if err := x.sound(); err != nil {
		return err
	}
	if x.work == nil {
		if err := f(); err != nil {
			x.fault(err)
		}
		return x.sound()
	}
	done := make(chan error, 1)
	x.work <- func() { done <- f() }
	select {
	case err := <-done:
		if err != nil {
			x.fault(err)
		}
	case <-x.faulted:
	case <-ctx.Done():
		x.fault(ctx.Err())
	}
	return x.sound()
}

// close ends the store, so that all of it is on the disk.
func (x *session) close(ctx context.Context) error {
	return x.do(ctx, func() error { return x.end() })
}

// flush makes what was written durable.
func (x *session) flush(ctx context.Context) error {
	return x.do(ctx, func() error {
		err := x.db.Flush()
		x.flushed = err == nil
		return err
	})
}

// end ends the store. If all of it was written the sums of its files are, too: only
// then can it be viewed.
func (x *session) end() error {
	db := x.db
	x.db = nil
	err := db.Close()
	x.endless = errors.Is(err, engine.ErrEndless)
	if err == nil && x.flushed {
		err = seal(x.s.fsys, x.s.engine, x.s.path(storeName(x.h.number)))
	}
	return err
}

// leave ends the session, and removes the store unless a pointer names it by then.
// It waits for neither, but where nothing can hang.
func (x *session) leave() {
	s := x.s
	end := func() {
		if x.db != nil {
			if err := x.end(); err != nil {
				s.o.Logger.Debug("the end of a store that nobody wants", "store", storeName(x.h.number), "error", err)
			}
		}
		if x.endless {
			return
		}
		s.release(x.h)
		s.mu.Lock()
		s.left--
		s.settled.Broadcast()
		s.mu.Unlock()
	}
	s.mu.Lock()
	s.left++
	s.mu.Unlock()
	switch {
	case x.work == nil:
		end()
		return
	case x.sound() == nil && x.db == nil: // it is closed, and nothing is under way
		end()
	default:
		x.work <- end
	}
	close(x.work)
}

// lookAgain opens the store anew, as who starts from it will, and compares all that
// is there with the table of what was written. [S] No pointer is written before.
func (x *session) lookAgain(ctx context.Context, want *table) error {
	s := x.s
	v, err := s.openView(ctx, x.h)
	if err != nil {
		return err
	}
	p := Progress{Work: WorkVerify, Index: x.h.at, Total: want.items()}
	err = compare(ctx, v, s.o.ChunkBytes, want, func(items uint64) {
		p.Done += items
		s.o.OnProgress(p)
	})
	if err == nil {
		err = x.sound()
	}
	if err != nil {
		_ = v.Close()
		return err
	}
	x.h.mu.Lock()
	defer x.h.mu.Unlock()
	x.h.view = v
	return nil
}

// compare compares what a view has with a table.
func compare(ctx context.Context, v engine.View, least int, want *table, progress func(items uint64)) error {
	cur := v.Cursor()
	defer cur.Close()
	got, err := tabulate(ctx, cur, least, progress)
	if err == nil && !got.equal(want) {
		err = corrupt("a store that was opened again does not hold what was written")
	}
	return err
}
