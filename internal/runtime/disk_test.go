package runtime

import (
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
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
func (l *fullLog) Full() (bool, error) {
	if l.mute {
		return false, errors.New("statfs: function not implemented")
	}
	return l.refusals > 0, nil
}
func (l *fullLog) Write(protocol.Write, []protocol.Entry) error { l.wrote++; return nil }

// A note that the full disk has no room for ended the log writer, and with it a
// member that would have waited for room.
func TestLogWriterOutlivesAFullDiskWhenItNotes(t *testing.T) {
	for refusals := range 8 {
		synctest.Test(t, func(t *testing.T) {
			log := &fullLog{refusals: refusals / 2, mute: refusals%2 == 0}
			m := &Member{log: log, logger: slog.New(slog.DiscardHandler), mailbox: newMailbox(), writes: make(chan *replica.Persist)}
			m.workers.Go(m.writeLog)
			m.writes <- &replica.Persist{ID: 1, Write: protocol.Write{First: 1, Sync: true}}
			time.Sleep(10 * roomPause)
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
