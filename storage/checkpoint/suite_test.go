package checkpoint_test

import (
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// small keeps Badger's files small, and leaves the machine's disk alone.
func small() checkpoint.Options {
	return checkpoint.Options{MemTableBytes: 8 << 20, BlockCacheBytes: 1 << 20, SpaceReserve: 1 << 20}
}

func open(s *checkpoint.Store, err error) (storage.CheckpointStore, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

func TestSuiteOnBadger(t *testing.T) {
	storagetest.RunCheckpoints(t, func(t *testing.T, _ uint64) *storagetest.CheckpointStore {
		dir := filepath.Join(t.TempDir(), "checkpoints")
		return &storagetest.CheckpointStore{
			Open: func() (storage.CheckpointStore, error) { return open(checkpoint.Open(vfs.OS(), dir, small())) },
			// Badger locks its directory for the life of the process: real
			// deaths are in kill_test.go.
			Kill: func(s storage.CheckpointStore) { s.Close() },
		}
	})
}

func TestSuiteInMemory(t *testing.T) { suiteOn(t, checkpoint.OpenFlat) }

func TestSuiteOnTheStandIn(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: what stands for Badger starts no goroutine")
	}
	suiteOn(t, checkpoint.OpenStandIn)
}

func suiteOn(t *testing.T, on func(vfs.FS, string, checkpoint.Options) (*checkpoint.Store, error)) {
	storagetest.RunCheckpoints(t, func(t *testing.T, seed uint64) *storagetest.CheckpointStore {
		disk := vfs.NewMemory(seed)
		disk.SetCapacity(1 << 40)
		return &storagetest.CheckpointStore{
			Disk: disk,
			Open: func() (storage.CheckpointStore, error) {
				return open(on(disk, "/d/checkpoints", small()))
			},
			Kill:  func(s storage.CheckpointStore) { disk.Kill(); s.Close() },
			Crash: func(s storage.CheckpointStore) { disk.Crash(); s.Close() },
		}
	})
}
