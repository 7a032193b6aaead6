// Package logqueue keeps whoever logs from waiting for whoever writes the log: a pipe
// that nobody reads, a disk, a handler that asks the one who logs.
package logqueue

import (
	"context"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recordsMax is how many records wait; what comes above is lost, and counted.
	recordsMax = 1024
	// levelsAge is how old the knowledge of the handler's level may be.
	levelsAge = time.Second
)

// Queue hands records to a handler in their order, in a goroutine of its own, which is
// there while there is something to hand over. Any goroutine may use it.
//
// Who logs waits for nothing, and runs nothing of the handler. What does not fit, and
// what the handler fails to write, is counted, and said when it writes again. A handler
// that panics, or ends its goroutine, loses that record.
type Queue struct {
	handler slog.Handler
	level   atomic.Int64 // the lowest that the handler takes
	asked   atomic.Int64 // when it was asked, in ns since the queue was made
	began   time.Time
	lost    atomic.Uint64

	mu      sync.Mutex
	list    []waiting
	working bool
	idle    chan struct{} // closed when the list is empty and nothing is under way
	told    uint64        // of lost, how many the handler has been told of
}

// waiting is a record and what is to handle it.
type waiting struct {
	to     *handler
	record slog.Record
}

// New returns a queue before a handler.
func New(h slog.Handler) *Queue {
	q := &Queue{handler: h, began: time.Now()}
	q.askLevel()
	return q
}

// Logger returns a logger whose records go through the queue.
func (q *Queue) Logger() *slog.Logger {
	if q.handler == slog.DiscardHandler {
		return slog.New(q.handler) // nothing to wait for
	}
	return slog.New(&handler{queue: q, resolve: func() slog.Handler { return q.handler }})
}

// Lost returns how many records were lost.
func (q *Queue) Lost() uint64 { return q.lost.Load() }

// Flush waits until everything that was logged before is written, and reports whether
// that was so in time.
func (q *Queue) Flush(patience time.Duration) bool {
	q.mu.Lock()
	idle := q.idle
	working := q.working
	q.mu.Unlock()
	if !working {
		return true
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-idle:
		return true
	case <-timer.C:
		return false
	}
}

// add takes a record, or loses it.
func (q *Queue) add(w waiting) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) >= recordsMax {
		if w.to != nil {
			q.lost.Add(1)
		}
		return
	}
	q.list = append(q.list, w)
	q.begin()
}

// begin sees to it that somebody hands over. The lock is held.
func (q *Queue) begin() {
	if !q.working {
		q.working, q.idle = true, make(chan struct{})
		go q.work()
	}
}

// work hands over until nothing waits. If the handler ends the goroutine another one
// goes on.
func (q *Queue) work() {
	whole := false
	defer func() {
		if !whole {
			go q.work()
		}
	}()
	for w, ok := q.next(); ok; w, ok = q.next() {
		q.hand(w)
	}
	whole = true
}

// next returns the oldest record that waits; false: there is none, and the goroutine
// is not counted on any more.
func (q *Queue) next() (waiting, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		q.working = false
		close(q.idle)
		return waiting{}, false
	}
	w := q.list[0]
	q.list[0] = waiting{}
	if q.list = q.list[1:]; len(q.list) == 0 {
		q.list = nil
	}
	return w, true
}

// hand hands a record over; one without a handler only asks for the level.
func (q *Queue) hand(w waiting) {
	done := false
	defer func() {
		cause := recover()
		if !done && w.to != nil {
			q.lost.Add(1)
		}
		if cause != nil {
			q.panicked(cause)
		}
	}()
	q.askLevel()
	if w.to != nil {
		h := w.to.resolve()
		if h.Enabled(context.Background(), w.record.Level) {
			if err := h.Handle(context.Background(), w.record); err != nil {
				return
			}
		}
	}
	done = true
	q.tellLost()
}

// panicked says that the handler has panicked, as far as it can be said to it.
func (q *Queue) panicked(cause any) {
	defer func() { _ = recover() }()
	r := slog.NewRecord(time.Now(), slog.LevelError, "the handler of the log panicked, and a line is lost", 0)
	r.AddAttrs(slog.Any("panic", cause), slog.String("stack", string(debug.Stack())))
	_ = q.handler.Handle(context.Background(), r)
}

// tellLost says how many records were lost, when there is room again.
func (q *Queue) tellLost() {
	q.mu.Lock()
	lost, room := q.lost.Load(), len(q.list) < recordsMax/2
	news := lost - q.told
	q.mu.Unlock()
	if news == 0 || !room {
		return
	}
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "lines of this log are lost: whoever writes it was slow, or failed", 0)
	r.AddAttrs(slog.Uint64("lost", news), slog.Uint64("since_the_start", lost))
	if q.handler.Enabled(context.Background(), slog.LevelWarn) && q.handler.Handle(context.Background(), r) != nil {
		return
	}
	q.mu.Lock()
	q.told = lost
	q.mu.Unlock()
}

// enabled reports whether records of a level are taken, by what the handler said
// within about a second: to ask it now could take as long as to write.
func (q *Queue) enabled(l slog.Level) bool {
	now, asked := int64(time.Since(q.began)), q.asked.Load()
	if now-asked > int64(levelsAge) && q.asked.CompareAndSwap(asked, now) {
		q.add(waiting{})
	}
	return int64(l) >= q.level.Load()
}

// askLevel asks the handler for the lowest level that it takes.
func (q *Queue) askLevel() {
	lowest := int64(math.MaxInt64)
	for _, l := range []slog.Level{slog.LevelError, slog.LevelWarn, slog.LevelInfo, slog.LevelDebug} {
		if q.handler.Enabled(context.Background(), l) {
			lowest = int64(l)
		}
	}
	q.level.Store(lowest)
	q.asked.Store(int64(time.Since(q.began)))
}

// handler is the slog.Handler of those who log. What it adds to a record is added
// when that is handed over.
type handler struct {
	queue   *Queue
	resolve func() slog.Handler // only in the queue's goroutine
}

// Enabled reports whether a level is taken.
func (h *handler) Enabled(_ context.Context, l slog.Level) bool { return h.queue.enabled(l) }

// Handle takes a record. It never fails.
func (h *handler) Handle(_ context.Context, r slog.Record) error {
	h.queue.add(waiting{to: h, record: r.Clone()})
	return nil
}

// WithAttrs returns a handler that adds attributes.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup returns a handler that opens a group.
func (h *handler) WithGroup(name string) slog.Handler {
	return h.with(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *handler) with(change func(slog.Handler) slog.Handler) slog.Handler {
	return &handler{queue: h.queue, resolve: sync.OnceValue(func() slog.Handler { return change(h.resolve()) })}
}
