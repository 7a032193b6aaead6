package engine_test

import (
	"testing"

	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/engine/standin"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

func TestBadger(t *testing.T) {
	t.Parallel()
	storagetest.RunEngine(t, func(t *testing.T, _ uint64) *storagetest.Engine {
		e := badgerengine.New(badgerengine.Options{MemTableBytes: 8 << 20, BlockCacheBytes: 1 << 20})
		return &storagetest.Engine{Engine: e, Folder: t.TempDir(), FS: vfs.OS(), LayersMax: 32}
	})
}

func TestFlat(t *testing.T) { inMemory(t, flat.New) }

func TestStandIn(t *testing.T) {
	inMemory(t, func(fsys vfs.FS) engine.Engine { return standin.New(fsys, 64) })
}

func inMemory(t *testing.T, on func(vfs.FS) engine.Engine) {
	t.Parallel()
	storagetest.RunEngine(t, func(t *testing.T, seed uint64) *storagetest.Engine {
		disk := vfs.NewMemory(seed)
		disk.SetCapacity(1 << 40)
		if err := disk.MkdirAll("/stores"); err != nil {
			t.Fatal(err)
		}
		return &storagetest.Engine{Engine: on(disk), Folder: "/stores", FS: disk, Disk: disk}
	})
}
