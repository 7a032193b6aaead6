package storagetest

import (
	"errors"
	"maps"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/vfs"
)

// written are two stores, the second of them on top of the first. It returns what they
// must hold, and nil for one of which the engine said that something went wrong.
func (b *bench) written() (want [2]map[string][]byte, told [2]error) {
	first, changes := some(0, 120), some(100, 140)
	second := maps.Clone(first)
	maps.Copy(second, changes)
	if told[0] = b.write(1, 0, first); told[0] == nil {
		want[0] = first
		if told[1] = b.write(2, 1, changes); told[1] == nil {
			want[1] = second
		}
	}
	return want, told
}

// Whatever call fails, an engine says so or nothing is lost: it may tell it when the
// store is written, in the background, or at the next opening. And it never touches the
// store that another one begins as.
func testEngineFailedCalls(t *testing.T, factory EngineFactory) {
	told, silent := 0, 0
	for _, op := range []vfs.Op{vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename, vfs.OpRemove, vfs.OpLink} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			for n := 1; ; n++ {
				b := newBench(t, factory, uint64(n))
				b.Disk.FailCall(vfs.Trouble{Op: op, N: n, Err: cause})
				want, said := b.written()
				met := len(b.Disk.Troubles()) == 0
				b.Disk.CallsWork()
				if said[0] != nil || said[1] != nil {
					told++
					if errors.Is(errors.Join(said[:]...), engine.ErrEndless) {
						t.Errorf("call %v number %d fails once: %v", op, n, engine.ErrEndless)
					}
				} else if met {
					silent++
				}
				for i, content := range want {
					if content == nil {
						continue
					}
					if got, err := b.read(i + 1); err == nil {
						sameContent(t, got, content)
					} else if said[1] == nil && i == 0 {
						t.Errorf("call %v number %d fails: the first store, which was complete, cannot be read: %v", op, n, err)
					}
				}
				if !met {
					break
				}
			}
		}
	}
	t.Logf("%d failed calls were told, %d did no harm", told, silent)
	if told == 0 {
		t.Error("no failed call was told: the test tests nothing")
	}
}

// What a power cut leaves of a store that was closed without an error or a fault is all
// of it.
func testEngineDurable(t *testing.T, factory EngineFactory) {
	for seed := range uint64(20) {
		b := newBench(t, factory, seed)
		want, said := b.written()
		b.must(errors.Join(said[:]...))
		for i := range want {
			b.must(b.FS.SyncDir(b.path(i + 1)))
		}
		b.must(b.FS.SyncDir(b.Folder))
		b.Disk.Crash()
		for i, content := range want {
			b.want(i+1, content)
		}
	}
}
