package runtime

import (
	"fmt"
	"sync"
	"time"
)

const (
	// slowSync is how long a write or a sync of the log takes, at least, so that the
	// member's log says so; an election timeout, if that is longer.
	slowSync = time.Second
	// slowSaid is between two times that it is said.
	slowSaid = 30 * time.Second
)

// newSyncWatch returns a watch for a member with an election timeout.
func newSyncWatch(election time.Duration) *syncWatch {
	return &syncWatch{limit: max(slowSync, election)}
}

// syncWatch knows how long the log's disk takes. A disk that is slow breaks no
// promise, and is the reason for all that users see of it: it is said.
type syncWatch struct {
	mu      sync.Mutex
	began   time.Time     // the call under way; zero: none is
	longest time.Duration // since it was said last
	slow    int           // calls over the limit, since then
	limit   time.Duration
	said    time.Time
}

// during makes a call of the log and takes note of how long it took.
func (w *syncWatch) during(call func() error) error {
	w.mu.Lock()
	w.began = time.Now()
	w.mu.Unlock()
	err := call()
	w.mu.Lock()
	defer w.mu.Unlock()
	took := time.Since(w.began)
	w.began = time.Time{}
	w.longest = max(w.longest, took)
	if took >= w.limit {
		w.slow++
	}
	return err
}

// underWay is how long the call takes that is under way, 0 if none is.
func (w *syncWatch) underWay() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.began.IsZero() {
		return 0
	}
	return time.Since(w.began)
}

// hangs says that the disk does not answer, or is empty: that a call takes as long as a
// command that is said to hang. With what is quicker all goes on, slowly.
func (w *syncWatch) hangs(m *Member) string {
	took := w.underWay()
	if took < stuckTime(m) {
		return ""
	}
	return fmt.Sprintf("this member stores nothing now: the disk of %s, which holds %s, has not answered a write, or a sync, of the log for %v; "+
		"the kernel's log may say more, and it goes on by itself if the disk does", m.cfg.Name, m.cfg.Dir, took.Round(time.Second))
}

// look says that the disk is slow, if it is and that was not said just now.
func (w *syncWatch) look(m *Member) {
	hangs := w.underWay()
	w.mu.Lock()
	defer w.mu.Unlock()
	if max(w.longest, hangs) < w.limit || !w.said.IsZero() && time.Since(w.said) < slowSaid {
		return
	}
	m.logger.Warn("the disk is slow: whatever is acknowledged waits for it, and so do elections",
		"dir", m.cfg.Dir, "longest", w.longest.Round(time.Millisecond), "slow", w.slow, "limit", w.limit, "under_way", hangs.Round(time.Millisecond))
	w.said, w.longest, w.slow = time.Now(), 0, 0
}

// remembered are the small files in which a member remembers others. They are written by a
// goroutine of their own, at each pulse of lookAround: whatever else a member does now
// and then must not wait for a disk.
type remembered struct {
	wake chan struct{}
	complaints
}

// open wakes the goroutine.
func (r *remembered) open() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// kept says in the log that one of the files cannot be written, and that it can again.
func (r *remembered) kept(m *Member, what string, err error) {
	cannot := "cannot remember " + what
	if err != nil {
		r.fails(m.logger, m.clock.Now(), cannot, "err", err)
	} else {
		r.works(m.logger, m.clock.Now(), cannot, "can remember "+what+" again")
	}
}

// keep is the goroutine.
func (r *remembered) keep(m *Member) {
	for {
		select {
		case <-r.wake:
		case <-m.stop:
			return
		}
		if err := m.premises.look(); err != nil {
			m.fail(err)
			return
		}
		m.remember(m.swim.Remembered(), m.cfg.logDisk, m.cfg.Dir, func(err error) { r.kept(m, "the addresses of the others", err) })
		m.dirs.noteWatermarks()
		m.guard.look(m)
	}
}
