package wal_test

import (
	"context"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/wal"
)

// lastRecord returns the newest good record on the disk.
func (l *lab) lastRecord() (last wal.Record) {
	l.t.Helper()
	for _, r := range l.records() {
		if r.Status == wal.StatusGood {
			last = r
		}
	}
	return last
}

// The newest record of a log at rest is a note that everything before it is
// durable. Nothing vouches for the note itself: damaged, it looks torn, and nothing
// is lost. What the member has told the others of its directory must not go back
// then, or they would refuse it as one that was restored from an old copy.
func TestDamagedLastNoteIsNotTakenForAnOldCopy(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(l *lab)
	}{
		{"after a write", func(l *lab) { l.append(10, 3, 100, 2); l.sync(); l.must(l.log.Settle()) }},
		{"after a vote", func(l *lab) { l.vote(9, 3); l.must(l.log.Settle()) }},
		{"after an opening", func(l *lab) { l.append(10, 3, 100, 2); l.sync(); l.kill(); l.open() }},
		{"after two openings", func(l *lab) {
			l.append(10, 3, 100, 2)
			l.sync()
			l.kill()
			l.open()
			l.kill()
			l.open()
		}},
		{"after a power cut", func(l *lab) { l.append(10, 3, 100, 2); l.sync(); l.crash(); l.open() }},
		{"after a new segment", func(l *lab) {
			for n := len(l.segments()); len(l.segments()) == n; {
				l.append(protocol.Index(len(l.entries)), 3, 3000, 2)
				l.sync()
			}
			l.must(l.log.Settle())
		}},
		{"after repairing", func(l *lab) {
			l.append(10, 3, 100, 2)
			l.append(13, 3, 100, 2)
			l.sync()
			l.must(l.log.Settle())
			l.kill()
			l.rot(l.find(11), true)
			l.open()
			l.must(l.log.CountStart())
			plan := planFor(l)
			l.log.Close()
			l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
			l.open()
		}},
	} {
		l := newLab(t, 5)
		l.configure(0, 3, 1)
		l.append(1, 9, 100, 1)
		l.sync()
		c.make(l)
		told, last := l.log.DurableSequence(), protocol.Index(len(l.entries))
		for range 3 {
			l.kill()
			if r := l.lastRecord(); r.Kind == wal.KindEmpty {
				l.rot(r, false)
			} else if r.Sequence > told {
				t.Errorf("%s: record %d is not told of, and no note", c.name, r.Sequence)
			}
			l.open()
			l.expect(last)
			got := l.log.DurableSequence()
			if got < told {
				t.Errorf("%s: the member says %d, it has said %d", c.name, got, told)
			}
			told = got
		}
	}
}

// An acknowledged record that is damaged before any note says that it was
// durable looks torn as well. That is a loss, and the others must see it.
func TestLostAcknowledgedRecordShowsInTheSequence(t *testing.T) {
	l := newLab(t, 6)
	l.append(0, 3, 100, 1)
	l.sync()
	l.must(l.log.Settle())
	l.append(3, 1, 100, 1)
	l.sync()
	told := l.log.DurableSequence()
	l.kill()
	l.rot(l.find(4), true)
	l.open()
	l.expect(3)
	if got := l.log.DurableSequence(); got >= told {
		t.Errorf("the member says %d without what it had when it said %d", got, told)
	}
}

// [S] A log that is found damaged says what was synced although no note says so yet:
// others have seen it, and would take the directory for an older copy.
func TestDamagedLogSaysWhatWasSyncedAndNotNoted(t *testing.T) {
	l := newLab(t, 7)
	l.append(0, 3, 100, 1)
	l.sync()
	l.must(l.log.Settle())
	l.append(3, 2, 100, 1)
	l.sync()
	told := l.log.DurableSequence()
	l.kill()
	l.rot(l.find(2), true)
	l.open()
	if l.log.Opened().Damage == nil {
		t.Fatal("the log is not damaged")
	}
	if got := l.log.Opened().Sequence; got != told {
		t.Errorf("the damaged log says %d, it has said %d", got, told)
	}
}
