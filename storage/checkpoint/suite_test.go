package checkpoint_test

import (
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/engine/standin"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// small leaves the machine's disk alone.
func small() checkpoint.Options { return checkpoint.Options{SpaceReserve: 1 << 20} }

// onBadger keeps Badger's files small.
func onBadger() engine.Engine {
	return badgerengine.New(badgerengine.Options{MemTableBytes: 8 << 20, BlockCacheBytes: 1 << 20})
}

func open(fsys vfs.FS, dir string, e engine.Engine) (storage.CheckpointStore, error) {
	s, err := checkpoint.Open(fsys, dir, e, small())
	if err != nil {
		return nil, err
	}
	return s, nil
}

func TestSuiteOnBadger(t *testing.T) {
	t.Parallel()
	storagetest.RunCheckpoints(t, func(t *testing.T, _ uint64) *storagetest.CheckpointStore {
		dir := filepath.Join(t.TempDir(), "checkpoints")
		return &storagetest.CheckpointStore{
			Open: func() (storage.CheckpointStore, error) { return open(vfs.OS(), dir, onBadger()) },
			// Badger locks its directory for the life of the process: real
			// deaths are in kill_test.go.
			Kill: func(s storage.CheckpointStore) { s.Close() },
			Slow: true,
		}
	})
}

func TestSuiteInMemory(t *testing.T) { suiteOn(t, flat.New) }

func TestSuiteOnTheStandIn(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: what stands for Badger starts no goroutine")
	}
	suiteOn(t, func(fsys vfs.FS) engine.Engine { return standin.New(fsys, 0) })
}

func suiteOn(t *testing.T, on func(vfs.FS) engine.Engine) {
	t.Parallel()
	storagetest.RunCheckpoints(t, func(t *testing.T, seed uint64) *storagetest.CheckpointStore {
		disk := vfs.NewMemory(seed)
		disk.SetCapacity(1 << 40)
		return &storagetest.CheckpointStore{
			Disk: disk,
			Open: func() (storage.CheckpointStore, error) {
				return open(disk, "/d/checkpoints", on(disk))
			},
			Kill:  func(s storage.CheckpointStore) { disk.Kill(); s.Close() },
			Crash: func(s storage.CheckpointStore) { disk.Crash(); s.Close() },
		}
	})
}
