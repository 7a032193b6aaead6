package vfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/storage/vfs"
)

// calls makes one call of each kind, and returns the errors of those that failed.
func calls(m *vfs.Memory) map[vfs.Op]error {
	out := map[vfs.Op]error{}
	note := func(op vfs.Op, err error) {
		if err != nil {
			out[op] = err
		}
	}
	note(vfs.OpMkdir, m.MkdirAll("/d/new"))
	_, err := m.Create("/d/made")
	note(vfs.OpCreate, err)
	f, err := m.OpenWrite("/d/file")
	note(vfs.OpOpen, err)
	if err == nil {
		_, err = f.WriteAt([]byte("x"), 0)
		note(vfs.OpWrite, err)
		_, err = f.ReadAt(make([]byte, 1), 0)
		note(vfs.OpRead, err)
		note(vfs.OpSync, f.Sync())
		note(vfs.OpAllocate, f.Allocate(10))
		note(vfs.OpTruncate, f.Truncate(10))
	}
	note(vfs.OpLink, m.Link("/d/file", "/d/second"))
	note(vfs.OpRename, m.Rename("/d/from", "/d/to"))
	note(vfs.OpRemove, m.Remove("/d/gone"))
	note(vfs.OpSyncDir, m.SyncDir("/d"))
	_, err = m.ReadDir("/d")
	note(vfs.OpReadDir, err)
	_, err = m.Stat("/d/file")
	note(vfs.OpStat, err)
	_, err = m.FreeSpace("/d")
	note(vfs.OpFreeSpace, err)
	return out
}

// One call of each kind fails, and no other one; again it does not.
func TestOneCallFails(t *testing.T) {
	for op := vfs.OpCreate; op <= vfs.OpFreeSpace; op++ {
		m := vfs.NewMemory(1)
		if err := m.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"/d/file", "/d/from", "/d/gone"} {
			if err := vfs.WriteFile(m, name, []byte("content")); err != nil {
				t.Fatal(err)
			}
		}
		var heard error
		m.OnTrouble(func(err error) { heard = err })
		m.FailCall(vfs.Trouble{Op: op, Err: syscall.EIO})
		m.Kill() // it outlives that
		failed := calls(m)
		var where *fs.PathError
		if err := failed[op]; len(failed) != 1 || !errors.Is(err, syscall.EIO) || !errors.As(err, &where) || heard != err {
			t.Errorf("%s: %v failed, and heard was %v", op, failed, heard)
		}
		if n := len(m.Troubles()); n != 0 {
			t.Errorf("%s: %d calls are still to fail", op, n)
		}
	}
}

func TestCallsFailByNameAndNumber(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "/a/b", true}, {"b", "/a/b", true}, {"*/b", "/a/b", true}, {"a/*", "/a/b", true}, {"a", "/a/b", false},
		{"store-*/MANIFEST", "/m/store-1/MANIFEST", true}, {"store-*/*", "/m/view-1/MANIFEST", false}, {"x/y/b", "b", false},
	} {
		m := vfs.NewMemory(1)
		if err := m.MkdirAll(c.name[:max(0, strings.LastIndex(c.name, "/"))]); err != nil {
			t.Fatal(err)
		}
		m.FailCall(vfs.Trouble{Op: vfs.OpCreate, Name: c.pattern, N: 2})
		for n := 1; n <= 3; n++ {
			_, err := m.Create(c.name)
			if got := errors.Is(err, vfs.ErrInjected); got != (c.want && n == 2) {
				t.Errorf("%q, call %d of %s: got error %v", c.pattern, n, c.name, err)
			}
		}
		m.CallsWork()
		if n := len(m.Troubles()); n != 0 {
			t.Errorf("%d calls are still to fail", n)
		}
	}
}

// Two names are one file, for writing, damage, space and power cuts.
func TestLinkIsASecondName(t *testing.T) {
	m := vfs.NewMemory(1)
	m.MkdirAll("/a")
	m.MkdirAll("/b")
	if err := vfs.WriteFile(m, "/a/f", make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	m.SyncDir("/a")
	m.SetCapacity(1000)
	if err := m.Link("/a/f", "/b/g"); err != nil {
		t.Fatal(err)
	}
	if free, _ := m.FreeSpace("/"); free != 0 {
		t.Errorf("%d bytes are free, want none: one file is counted twice", free)
	}
	if err := m.Link("/a/f", "/b/g"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrExist)
	}
	if err := m.Link("/a/none", "/b/h"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got error %v, want %v", err, fs.ErrNotExist)
	}
	if err := m.FlipBit("/b/g", 0); err != nil {
		t.Fatal(err)
	}
	m.SyncDir("/b")
	m.Rollback(m.Snapshot("/"))
	m.Crash()
	for _, name := range []string{"/a/f", "/b/g"} {
		if b, err := vfs.ReadFile(m, name, 1000); err != nil || len(b) != 1000 || b[0] != 1 {
			t.Errorf("%s: got %d bytes, error %v", name, len(b), err)
		}
	}
	if err := m.Remove("/a/f"); err != nil {
		t.Fatal(err)
	}
	if b, err := vfs.ReadFile(m, "/b/g", 1000); err != nil || len(b) != 1000 {
		t.Errorf("without its first name: got %d bytes, error %v", len(b), err)
	}
}

// After a failed sync the file looks as if it had been written, until it is read from
// the disk.
func TestUncachedIsWhatTheDiskHas(t *testing.T) {
	m := vfs.NewMemory(1)
	f, err := m.Create("/f")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt(bytes.Repeat([]byte("a"), 5000), 0)
	f.Sync()
	f.WriteAt(bytes.Repeat([]byte("b"), 5000), 5000)
	m.FailCall(vfs.Trouble{Op: vfs.OpSync})
	if err := f.Sync(); err == nil {
		t.Fatal("the sync went well")
	}
	got := make([]byte, 10_000)
	f.ReadAt(got, 0)
	if got[9000] != 'b' {
		t.Errorf("got %q before, want what was written", got[9000])
	}
	vfs.Uncached(f)
	f.ReadAt(got, 0)
	if got[4000] != 'a' || got[9000] == 'b' {
		t.Errorf("got %q and %q, want what was synced and nothing else", got[4000], got[9000])
	}
}

// Where a disk puts other sectors in the place of bad ones, they can be read.
func TestWriteMakesReadable(t *testing.T) {
	m := vfs.NewMemory(1)
	f, err := m.Create("/f")
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt(make([]byte, 100), 0)
	m.FailReads("/f", 10, 20, nil)
	f.WriteAt(make([]byte, 10), 15)
	for at := range int64(100) {
		_, err := f.ReadAt(make([]byte, 1), at)
		if bad := at >= 10 && at < 15 || at >= 25 && at < 30; bad != (err != nil) {
			t.Errorf("byte %d: got error %v", at, err)
		}
	}
}

// A directory that is open is synced without being opened again, and the opening fails
// as a call of its own. Of another life of the machine it is of no use.
func TestOpenDirectoryCannotWantForItsSync(t *testing.T) {
	m := vfs.NewMemory(1)
	if err := m.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	d, err := m.OpenDir("/d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Create("/d/f"); err != nil {
		t.Fatal(err)
	}
	m.FailCall(vfs.Trouble{Op: vfs.OpOpen, Name: "d", Err: syscall.EMFILE})
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := m.SyncDir("/d"); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("got %v, want %v", err, syscall.EMFILE)
	}
	m.Crash()
	if there, err := vfs.Exists(m, "/d/f"); err != nil || !there {
		t.Errorf("the name is there: %t, %v", there, err)
	}
	if err := d.Sync(); err == nil {
		t.Error("a directory of another life is synced")
	}
}
