package wal_test

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// A member whose log is damaged says how far it had come before it is repaired. What a
// failed sync had left in memory it said, too: after a power cut it was gone, and the
// others refused the directory as an old copy.
func TestDamagedLogDoesNotSayWhatAFailedSyncHasLeft(t *testing.T) {
	for seed := range uint64(50) {
		l := newLab(t, seed)
		l.append(0, 10, 100, 1)
		l.sync()
		l.append(10, 10, 100, 1)
		l.sync()
		l.must(l.log.Settle())
		l.append(20, 10, 3000, 1)
		l.disk.Fail(vfs.OpSync, 1, nil)
		if err := l.log.Sync(); !errors.Is(err, protocol.ErrDiskFailed) {
			t.Fatal(err)
		}
		before := l.log.DurableSequence()
		l.kill()
		l.rot(l.find(5), true)
		l.open()
		if l.log.Opened().Damage == nil {
			t.Fatal("the log is not damaged")
		}
		l.must(l.log.CountStart())
		said := l.log.DurableSequence()
		if said < before {
			t.Errorf("seed %d: it says %d, the run before said %d", seed, said, before)
		}
		l.crash()
		l.open()
		l.must(l.log.CountStart())
		if now := l.log.DurableSequence(); now < said {
			t.Fatalf("seed %d: the log says that it had come to %d, and said %d before", seed, now, said)
		}
		l.log.Close()
	}
}
