package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// fullLog is a log whose disk has no room for notes for a while.
type fullLog struct {
	storage.Log
	refusals int  // that are still to come
	mute     bool // it does not say how full its disk is
	noted    bool
	wrote    int
}

func (l *fullLog) note() error {
	if l.refusals > 0 {
		l.refusals--
		return protocol.ErrNoSpace
	}
	l.noted = true
	return nil
}

func (l *fullLog) Idle() error   { return l.note() }
func (l *fullLog) Settle() error { return l.note() }
func (l *fullLog) Sync() error   { return nil }
func (l *fullLog) Space() (storage.Space, error) {
	if l.mute {
		return storage.Space{}, errors.New("statfs: function not implemented")
	}
	return storage.Space{Full: l.refusals > 0}, nil
}
func (l *fullLog) Write(protocol.Write, []protocol.Entry) error { l.wrote++; return nil }

// A note that the full disk has no room for ended the log writer, and with it a
// member that would have waited for room.
func TestLogWriterOutlivesAFullDiskWhenItNotes(t *testing.T) {
	for refusals := range 8 {
		synctest.Test(t, func(t *testing.T) {
			log := &fullLog{refusals: refusals / 2, mute: refusals%2 == 0}
			m := &Member{log: log, logger: slog.New(slog.DiscardHandler), syncs: newSyncWatch(0), intake: intake{mailbox: newMailbox()}, writes: make(chan *replica.Persist)}
			m.workers.Go(m.writeLog)
			m.writes <- &replica.Persist{ID: 1, Write: protocol.Write{First: 1, Sync: true}}
			time.Sleep(10 * member.RoomPause)
			synctest.Wait()
			if cause := m.cause.Load(); cause != nil {
				t.Fatalf("%d refusals: the member stops: %v", refusals, *cause)
			}
			if !log.noted {
				t.Errorf("%d refusals: the note was not made when there was room again", refusals)
			}
			m.writes <- &replica.Persist{ID: 2, Write: protocol.Write{First: 1}}
			synctest.Wait()
			if log.wrote != 2 {
				t.Errorf("%d refusals: %d writes, want 2", refusals, log.wrote)
			}
			if m.guard.full.Load() {
				t.Errorf("%d refusals: writes are still refused", refusals)
			}
			close(m.writes)
			m.workers.Wait()
		})
	}
}

// A log whose note finds room again waits no longer, though nobody writes.
func TestAnIdleLogWaitsNoLongerWhenItsNoteFindsRoom(t *testing.T) {
	for refusals := 1; refusals < 4; refusals++ {
		synctest.Test(t, func(t *testing.T) {
			var said bytes.Buffer
			log := &fullLog{refusals: refusals}
			m := &Member{log: log, logger: slog.New(slog.NewTextHandler(&said, nil)), syncs: newSyncWatch(0), intake: intake{mailbox: newMailbox()}, writes: make(chan *replica.Persist)}
			m.workers.Go(m.writeLog)
			m.writes <- &replica.Persist{ID: 1, Write: protocol.Write{First: 1, Sync: true}}
			synctest.Wait()
			if why, _ := m.guard.waiting(); why == "" {
				t.Fatalf("%d refusals: it does not say that it waits", refusals)
			}
			time.Sleep(10 * member.RoomPause)
			synctest.Wait()
			if why, _ := m.guard.waiting(); why != "" || !log.noted {
				t.Errorf("%d refusals: it still waits: %s; noted %t", refusals, why, log.noted)
			}
			close(m.writes)
			m.workers.Wait()
			if n := strings.Count(said.String(), "the log goes on"); n != 1 {
				t.Errorf("%d refusals: said %d times that it goes on:\n%s", refusals, n, said.String())
			}
		})
	}
}

// needy is a log that gets no new file for a while.
type needy struct {
	fullLog
	refusals int
	err      error
}

func (l *needy) Write(w protocol.Write, e []protocol.Entry) error {
	if l.refusals > 0 {
		l.refusals--
		return vfs.Waits(l.err)
	}
	return l.fullLog.Write(w, e)
}

// A member whose log lacks something goes on when that comes. Meanwhile it says what
// it is: once in its log, in its status, to who asks whether it is ready, and to who
// wants to write. Its disk is not full, and what it keeps for others stays.
func TestWhatTheLogLacksIsSaidAndNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := &needy{refusals: 10, err: &os.PathError{Op: "open", Path: "/d/log/spare-1", Err: syscall.EMFILE}}
		m := &Member{log: log, logger: slog.New(slog.NewTextHandler(&said, nil)), syncs: newSyncWatch(0), intake: intake{mailbox: newMailbox()}, writes: make(chan *replica.Persist)}
		registry, err := resources.NewRegistry(kvmap.Type)
		if err != nil {
			t.Fatal(err)
		}
		m.cfg.Name, m.cfg.Registry = "a1", registry
		m.workers.Go(m.writeLog)
		m.writes <- &replica.Persist{ID: 1, Write: protocol.Write{First: 1, Sync: true}}
		time.Sleep(4 * member.RoomPause)
		synctest.Wait()
		for what, err := range map[string]error{"readiness": m.readyNow(&replica.Situation{}, &replica.Position{}), "a write": m.takes(&protocol.Command{Type: "t"})} {
			if !errors.Is(err, protocol.ErrNoSpace) || !strings.Contains(err.Error(), "too many open files") || !strings.Contains(err.Error(), "ulimit") {
				t.Errorf("%s: got %v, want the cause", what, err)
			}
		}
		if m.guard.full.Load() {
			t.Error("the disk counts as full")
		}
		time.Sleep(10 * member.RoomPause)
		synctest.Wait()
		if cause := m.cause.Load(); cause != nil || log.wrote != 1 {
			t.Fatalf("%d writes, want one; it ends for %v", log.wrote, cause)
		}
		if why, _ := m.guard.waiting(); why != "" {
			t.Errorf("it still waits: %s", why)
		}
		close(m.writes)
		m.workers.Wait()
		if n := strings.Count(said.String(), "level=WARN"); n != 1 || strings.Count(said.String(), "the log goes on") != 1 {
			t.Errorf("said %d times:\n%s", n, said.String())
		}
	})
}

// A disk that gives no room although it says that it has some, as with a quota, is full
// until a write finds room, however often it is looked at. That is said once.
func TestAQuotaIsAFullDiskUntilAWriteFindsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		log := &needy{refusals: 6, err: fmt.Errorf("disk quota exceeded: %w", vfs.ErrNoSpace)}
		m := &Member{log: log, logger: slog.New(slog.NewTextHandler(&said, nil)), syncs: newSyncWatch(0), intake: intake{mailbox: newMailbox()}, writes: make(chan *replica.Persist)}
		m.cfg.Name, m.clock = "a1", newClock(bootTime, awakeAndWall)
		m.workers.Go(m.writeLog)
		m.writes <- &replica.Persist{ID: 1, Write: protocol.Write{First: 1, Sync: true}}
		for range 4 {
			time.Sleep(member.RoomPause)
			synctest.Wait()
			m.guard.last.Store(0)
			m.guard.look(m)
			if !m.guard.full.Load() {
				t.Error("it is full no longer, and nothing was written")
			}
		}
		time.Sleep(10 * member.RoomPause)
		synctest.Wait()
		if m.guard.full.Load() || log.wrote != 1 {
			t.Errorf("full %t after %d writes, want one", m.guard.full.Load(), log.wrote)
		}
		close(m.writes)
		m.workers.Wait()
		for what, want := range map[string]int{"the log waits": 1, "the disk is nearly full": 1, "has room again": 1, "the log goes on": 1} {
			if n := strings.Count(said.String(), what); n != want {
				t.Errorf("%q is said %d times, want %d:\n%s", what, n, want, said.String())
			}
		}
	})
}
