package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
)

// each runs a test on the operating system's file system and on the one in
// memory: what the log relies on is the same on both.
func each(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("memory", func(t *testing.T) {
		m := NewMemory(1)
		if err := m.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		test(t, m, "/data")
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		sub := filepath.Join(dir, "a", "b")
		must(t, fsys.MkdirAll(sub))
		name := filepath.Join(sub, "f")
		_, err := fsys.Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("open of an absent file: got %v, want ErrNotExist", err)
		}
		f, err := fsys.Create(name)
		must(t, err)
		must(t, f.Allocate(10000))
		_, err = f.WriteAt([]byte("hello"), 8000)
		must(t, err)
		must(t, f.Sync())
		must(t, f.Close())
		must(t, fsys.Rename(name, name+"2"))
		must(t, fsys.SyncDir(sub))
		got, err := ReadFile(fsys, name+"2", 1<<20)
		must(t, err)
		if len(got) != 10000 || string(got[8000:8005]) != "hello" || got[0] != 0 {
			t.Fatalf("got %d bytes, %q at 8000", len(got), got[8000:8005])
		}
		must(t, WriteFile(fsys, filepath.Join(sub, "g"), []byte("x")))
		names, err := fsys.ReadDir(sub)
		must(t, err)
		if want := []string{"f2", "g"}; !slices.Equal(names, want) {
			t.Fatalf("got %v, want %v", names, want)
		}
		names, err = fsys.ReadDir(filepath.Join(dir, "a"))
		must(t, err)
		if want := []string{"b"}; !slices.Equal(names, want) {
			t.Fatalf("got %v, want %v", names, want)
		}
		must(t, fsys.Remove(name+"2"))
		if ok, err := Exists(fsys, name+"2"); ok || err != nil {
			t.Fatalf("removed file: got %v, %v", ok, err)
		}
		if free, err := fsys.FreeSpace(dir); err != nil || free == 0 {
			t.Fatalf("free space: got %d, %v", free, err)
		}
	})
}

func TestLockExcludes(t *testing.T) {
	each(t, func(t *testing.T, fsys FS, dir string) {
		name := filepath.Join(dir, "lock")
		l, err := fsys.Lock(name)
		must(t, err)
		if _, err := fsys.Lock(name); !errors.Is(err, ErrLocked) {
			t.Fatalf("second lock: got %v, want ErrLocked", err)
		}
		must(t, l.Close())
		l, err = fsys.Lock(name)
		must(t, err)
		must(t, l.Close())
	})
}

func write(t *testing.T, f File, b byte, at, n int64) {
	t.Helper()
	_, err := f.WriteAt(bytes.Repeat([]byte{b}, int(n)), at)
	must(t, err)
}

// TestPowerCut: what was synced is there, what was not may be in any state, and
// over many seeds it is in every one.
func TestPowerCut(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(200) {
		m := NewMemory(seed)
		f, err := m.Create("/f")
		must(t, err)
		write(t, f, 1, 0, 3*pageBytes)
		must(t, f.Sync())
		must(t, m.SyncDir("/"))
		write(t, f, 2, pageBytes, pageBytes)
		_, err = m.Create("/new")
		must(t, err)
		m.Crash()
		if _, err := f.WriteAt([]byte{1}, 0); !errors.Is(err, ErrStopped) {
			t.Fatalf("seed %d: write through an old file: got %v, want ErrStopped", seed, err)
		}
		got, err := ReadFile(m, "/f", 1<<20)
		must(t, err)
		if len(got) != 3*pageBytes || bytes.IndexByte(got[:pageBytes], 2) >= 0 || bytes.IndexByte(got[2*pageBytes:], 2) >= 0 {
			t.Fatalf("seed %d: synced pages changed", seed)
		}
		switch n := bytes.Count(got, []byte{2}); {
		case n == 0:
			seen["lost"]++
		case n == pageBytes:
			seen["kept"]++
		default:
			if n%sectorBytes != 0 {
				t.Fatalf("seed %d: torn inside a sector: %d bytes", seed, n)
			}
			seen["torn"]++
		}
		if ok, _ := Exists(m, "/new"); ok {
			seen["name kept"]++
		} else {
			seen["name lost"]++
		}
	}
	for _, what := range []string{"lost", "kept", "torn", "name kept", "name lost"} {
		if seen[what] < 20 {
			t.Errorf("%s: seen %d times in 200 seeds", what, seen[what])
		}
	}
}

func TestKillKeepsThePageCache(t *testing.T) {
	m := NewMemory(1)
	f, err := m.Create("/f")
	must(t, err)
	_, err = m.Lock("/lock")
	must(t, err)
	write(t, f, 7, 0, 100)
	m.Kill()
	got, err := ReadFile(m, "/f", 1000)
	must(t, err)
	if len(got) != 100 || got[99] != 7 {
		t.Fatalf("got %d bytes", len(got))
	}
	_, err = m.Lock("/lock")
	must(t, err)
}

// TestFailedSyncLies: after a failed sync a second one succeeds and the pages
// are still not on the disk.
func TestFailedSyncLies(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		m := NewMemory(seed)
		f, err := m.Create("/f")
		must(t, err)
		must(t, f.Allocate(pageBytes))
		must(t, f.Sync())
		must(t, m.SyncDir("/"))
		write(t, f, 5, 0, pageBytes)
		m.Fail(OpSync, 1, nil)
		if err := f.Sync(); !errors.Is(err, ErrInjected) {
			t.Fatalf("got %v, want ErrInjected", err)
		}
		must(t, f.Sync())
		m.Crash()
		got, err := ReadFile(m, "/f", 1<<20)
		must(t, err)
		if bytes.Count(got, []byte{5}) < pageBytes {
			lost++
		}
	}
	if lost == 0 {
		t.Fatal("no seed lost what a failed sync left")
	}
}

func TestFullDisk(t *testing.T) {
	m := NewMemory(1)
	m.SetCapacity(10000)
	f, err := m.Create("/f")
	must(t, err)
	must(t, f.Allocate(8000))
	if err := f.Allocate(12000); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	write(t, f, 1, 0, 8000) // what is allocated can be written
	if _, err := f.WriteAt(make([]byte, 3000), 8000); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	if free, _ := m.FreeSpace("/"); free != 2000 {
		t.Fatalf("got %d free, want 2000", free)
	}
}

func TestSnapshotRollsBack(t *testing.T) {
	m := NewMemory(1)
	must(t, m.MkdirAll("/d/e"))
	must(t, WriteFile(m, "/d/e/f", []byte("old")))
	s := m.Snapshot("/d")
	must(t, WriteFile(m, "/d/e/f", []byte("new")))
	must(t, WriteFile(m, "/d/e/g", []byte("new")))
	m.Rollback(s)
	m.Crash()
	got, err := ReadFile(m, "/d/e/f", 10)
	must(t, err)
	if string(got) != "old" {
		t.Fatalf("got %q, want old", got)
	}
	if ok, _ := Exists(m, "/d/e/g"); ok {
		t.Fatal("a later file survived the roll-back")
	}
}

func TestStopAfter(t *testing.T) {
	m := NewMemory(1)
	f, err := m.Create("/f")
	must(t, err)
	m.StopAfter(1)
	write(t, f, 1, 0, 10)
	if err := f.Sync(); !errors.Is(err, ErrStopped) || !m.Stopped() {
		t.Fatalf("got %v, stopped %v", err, m.Stopped())
	}
	if _, err := m.Open("/f"); !errors.Is(err, ErrStopped) {
		t.Fatalf("got %v, want ErrStopped", err)
	}
	m.Kill()
	must(t, m.FlipBit("/f", 3))
	got, err := ReadFile(m, "/f", 100)
	must(t, err)
	if want := []byte{9, 1, 1, 1, 1, 1, 1, 1, 1, 1}; !bytes.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}
