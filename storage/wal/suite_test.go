package wal_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// smallSegment is a segment with 12 KiB for entries.
const smallSegment = 20 << 10

// seeded is a source of nonces.
type seeded struct{ r *rand.Rand }

func newSeeded(seed uint64) seeded { return seeded{rand.New(rand.NewPCG(seed, 3))} }

func (s seeded) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s.r.Uint32())
	}
	return len(p), nil
}

var id = wal.Identity{Cluster: protocol.ClusterID{1}, Member: protocol.MemberID{2}, Name: "a1"}

func fileStore(t *testing.T, fsys vfs.FS, dir string, seed uint64) *storagetest.Store {
	t.Helper()
	o := wal.Options{SegmentBytes: smallSegment, Random: newSeeded(seed)}
	if err := wal.Init(fsys, dir, id, nil, o); err != nil {
		t.Fatal(err)
	}
	return &storagetest.Store{
		Open: func() (storage.Log, error) { return open(fsys, dir, o) },
		Kill: func(l storage.Log) { l.Close() },
		Dir:  filepath.Join(dir, "log"),
	}
}

func open(fsys vfs.FS, dir string, o wal.Options) (storage.Log, error) {
	l, err := wal.Open(fsys, dir, o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func TestSuiteOnTheOS(t *testing.T) {
	storagetest.Run(t, func(t *testing.T, seed uint64) *storagetest.Store {
		return fileStore(t, vfs.OS(), filepath.Join(t.TempDir(), "d"), seed)
	})
}

func TestSuiteOnABreakingDisk(t *testing.T) {
	storagetest.Run(t, func(t *testing.T, seed uint64) *storagetest.Store {
		disk := vfs.NewMemory(seed)
		disk.SetCapacity(64 << 20)
		s := fileStore(t, disk, "/d", seed)
		s.Disk = disk
		s.Kill = func(l storage.Log) { disk.Kill(); l.Close() }
		s.Crash = func(l storage.Log) { disk.Crash(); l.Close() }
		return s
	})
}

func TestSuiteInMemory(t *testing.T) {
	storagetest.Run(t, func(t *testing.T, seed uint64) *storagetest.Store {
		r := rand.New(rand.NewPCG(seed, 4))
		var m *wal.Memory
		return &storagetest.Store{
			Open: func() (storage.Log, error) {
				if m == nil {
					m = wal.NewMemory()
				} else {
					m = m.Reopen()
				}
				return m, nil
			},
			Kill:  func(l storage.Log) { l.Close() },
			Crash: func(l storage.Log) { m = m.Crash(r.IntN(100)) },
		}
	})
}
