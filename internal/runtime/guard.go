package runtime

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// guardInterval is how often the disk's free space is looked at, at most, unless
// guardBytes have been written meanwhile: a fast writer must not be past the
// limit, and the space that is set aside, before anybody looks.
const (
	guardInterval = 100 * time.Millisecond
	guardBytes    = 128 << 10
)

// guard knows whether the disk is nearly full, without asking each time.
type guard struct {
	full  atomic.Bool
	space atomic.Pointer[storage.Space] // as it was looked at last
	last  atomic.Int64                  // when that was, by awake; 0: it is to be done
	// waits is why the log cannot go on, while it cannot.
	waits atomic.Pointer[want]
	// written counts the bytes since then, and lacked is since when no write has found
	// room, if none has; the log writer's.
	written int
	lacked  time.Time
}

// want is what the log waits for: room, or something else.
type want struct {
	text string
	room bool
}

// hasNone says that a write has found no room for the log, or that something else was
// lacking for a new file of it. It is said once.
func (g *guard) hasNone(m *Member, err error) {
	w := &want{text: err.Error(), room: errors.Is(err, vfs.ErrNoSpace)}
	g.waits.Store(w)
	if g.lacked.IsZero() {
		g.lacked = time.Now()
		m.logger.Warn("the log waits", "err", err, "dir", m.cfg.Dir)
	}
	if w.room {
		g.set(m, true)
	}
}

// hasRoom says that a write was made. After one that found no room, a disk that does
// not say how full it is is full no longer: it may never say.
func (g *guard) hasRoom(m *Member) {
	if g.lacked.IsZero() {
		return
	}
	g.waits.Store(nil)
	m.logger.Info("the log goes on", "after", time.Since(g.lacked).Round(time.Millisecond), "dir", m.cfg.Dir)
	g.lacked = time.Time{}
	space, err := m.log.Space()
	g.take(&space, err)
	g.set(m, space.Full && err == nil)
}

// waiting says why the log cannot go on, or is empty, and whether it is for want of room.
func (g *guard) waiting() (why string, room bool) {
	if w := g.waits.Load(); w != nil {
		return w.text, w.room
	}
	return "", false
}

// take takes note of what the disk says.
func (g *guard) take(space *storage.Space, err error) {
	if err == nil && space.High > 0 {
		g.space.Store(space)
	}
}

func (g *guard) set(m *Member, full bool) {
	if g.full.Swap(full) == full {
		return
	}
	var free, low, high uint64
	if s := g.space.Load(); s != nil {
		free, low, high = s.Free, s.Low, s.High
	}
	args := []any{"dir", m.cfg.Dir, "free", free, "low", low, "high", high}
	if full {
		m.logger.Warn("the disk is nearly full: "+g.text(m)+"; as a leader this member takes no writes, and hands over to one that has room", args...)
	} else {
		m.logger.Info("the disk has room again", args...)
	}
	m.hampers.change(m, func(h *replica.Hampered) { h.Full = full })
}

// text says how full the disk is, and the way out.
func (g *guard) text(m *Member) string {
	s := g.space.Load()
	if s == nil || s.Free >= s.High {
		return fmt.Sprintf("the disk of %s, which holds %s, gives no more room, whatever it says of free space (a quota, or less than the log's next file takes?): make room, or raise the quota; writes resume by themselves", m.cfg.Name, m.cfg.Dir)
	}
	return fmt.Sprintf("the disk of %s has %s free, and writes are refused below %s (--disk-low) until there is %s (--disk-high): make room beside %s, or lower the two limits; writes resume by themselves, and deletes are taken",
		m.cfg.Name, size(s.Free), size(s.Low), size(s.High), m.cfg.Dir)
}

// note says what the full disk means for the member, or is empty.
func (g *guard) note(m *Member, leads bool) string {
	switch why, room := g.waiting(); {
	case room && leads:
		return "writes are refused, and this member stores nothing now: " + why
	case room:
		return "this member stores nothing now: " + why
	case !g.full.Load():
		return ""
	case leads:
		return "writes are refused: " + g.text(m)
	}
	return "it would take no writes if it led: " + g.text(m)
}

// size is a number of bytes for people.
func size(bytes uint64) string {
	if bytes < 10<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// wrote takes note of bytes that go to the disk, and looks if it is time.
func (g *guard) wrote(m *Member, bytes int) {
	if g.written += bytes; g.written >= guardBytes {
		g.written = 0
		g.last.Store(0)
	}
	g.look(m)
}

// look asks the disk, unless that was done just now. While the log waits for room the
// disk is full, whatever it says: with a quota it says that it has some.
func (g *guard) look(m *Member) {
	now := int64(awake())
	last := g.last.Load()
	if (last != 0 && now-last < int64(guardInterval)) || !g.last.CompareAndSwap(last, now) {
		return
	}
	space, err := m.log.Space()
	if err != nil {
		return // a disk that fails says so in a write
	}
	g.take(&space, nil)
	_, none := g.waiting()
	g.set(m, space.Full || none)
}
