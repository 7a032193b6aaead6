package wal_test

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

func first() []protocol.Entry {
	c := protocol.Configuration{Target: 3, Members: []protocol.ActiveMember{{ID: id.Member, Name: "a1", Address: "127.0.0.1:1", Suffrage: protocol.SuffrageVoter}}}
	entries := []protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(c)}}
	protocol.EncodeEntries(entries)
	protocol.SumEntries(protocol.LogSum{}, entries)
	return entries
}

func expect(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %v, want %v with %q", err, want, text)
	}
}

func TestBootstrap(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	_, err := wal.Open(vfs.OS(), dir, wal.Options{})
	expect(t, err, protocol.ErrNotFound, dir)
	if err := wal.Init(vfs.OS(), dir, id, first(), wal.Options{}); err != nil {
		t.Fatal(err)
	}
	expect(t, wal.Init(vfs.OS(), dir, id, nil, wal.Options{}), protocol.ErrDirectory, "already belongs")
	for starts := range uint64(3) {
		l, err := wal.Open(vfs.OS(), dir, wal.Options{Cluster: id.Cluster})
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Identity(); got.Starts != starts+1 || got.Member != id.Member || got.Name != "a1" {
			t.Fatalf("got %+v", got)
		}
		rec := l.Opened()
		if c, ok := rec.Configurations.At(1); rec.LogTerms.LastIndex() != 1 || rec.State.Commit != 1 || !ok || !c.Configuration.IsVoter(id.Member) {
			t.Fatalf("got %+v", rec)
		}
		l.Close()
	}
}

func TestDirectoryInUse(t *testing.T) {
	dir := t.TempDir()
	if err := wal.Init(vfs.OS(), dir, id, nil, wal.Options{SegmentBytes: smallSegment}); err != nil {
		t.Fatal(err)
	}
	l, err := wal.Open(vfs.OS(), dir, wal.Options{SegmentBytes: smallSegment})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = wal.Open(vfs.OS(), dir, wal.Options{})
	expect(t, err, protocol.ErrDirectory, "in use by another process")
}

func put(t *testing.T, fsys vfs.FS, name string, content string) {
	t.Helper()
	if err := fsys.MkdirAll(filepath.Dir(name)); err != nil {
		t.Fatal(err)
	}
	if err := vfs.WriteFile(fsys, name, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func TestForeignDirectory(t *testing.T) {
	m := vfs.NewMemory(1)
	put(t, m, "/home/notes.txt", "mine")
	_, err := wal.Open(m, "/home", wal.Options{})
	expect(t, err, protocol.ErrDirectory, "notes.txt")
	expect(t, wal.Init(m, "/home", id, nil, wal.Options{}), protocol.ErrDirectory, "notes.txt")
	if names, _ := m.ReadDir("/home"); len(names) != 1 {
		t.Fatalf("a foreign directory was changed: %v", names)
	}
	// A log without an identity is somebody's.
	put(t, m, "/lost/log/00000001-0000000000000001-0000000000000001.wal", "x")
	expect(t, wal.Init(m, "/lost", id, nil, wal.Options{}), protocol.ErrDirectory, "no identity")
}

func TestOtherClusterIsRefused(t *testing.T) {
	l := newLab(t, 1)
	l.log.Close()
	_, err := wal.Open(l.disk, labDir, wal.Options{Cluster: protocol.ClusterID{9}})
	expect(t, err, protocol.ErrDirectory, protocol.ClusterID{9}.String())
}

func TestIdentityWithoutLogIsRefused(t *testing.T) {
	l := newLab(t, 1)
	l.log.Close()
	for _, name := range l.segments() {
		l.must(l.disk.Remove(filepath.Join(labDir, "log", name)))
	}
	_, err := wal.Open(l.disk, labDir, l.options)
	expect(t, err, protocol.ErrCorrupt, "no log")
}

func TestIdentityHasTwoCopies(t *testing.T) {
	for _, name := range []string{"identity-1", "identity-2"} {
		l := newLab(t, 1)
		l.log.Close()
		for bit := int64(0); bit < 68*8; bit += 5 {
			l.must(l.disk.FlipBit(filepath.Join(labDir, name), bit))
			l.open()
			l.log.Close()
		}
		l.must(l.disk.FlipBit(filepath.Join(labDir, "identity-1"), 100))
		l.must(l.disk.FlipBit(filepath.Join(labDir, "identity-2"), 100))
		_, err := wal.Open(l.disk, labDir, l.options)
		expect(t, err, protocol.ErrCorrupt, "both copies")
	}
}

// TestBootstrapCutShort stops a bootstrap at every step: the directory is then
// either begun anew or complete, never refused and never half.
func TestBootstrapCutShort(t *testing.T) {
	o := wal.Options{SegmentBytes: smallSegment}
	begun, complete := 0, 0
	for n := 0; ; n++ {
		for seed := range uint64(10) {
			m := vfs.NewMemory(seed)
			m.StopAfter(n)
			err := wal.Init(m, "/d", id, first(), o)
			if err == nil {
				if begun == 0 || complete == 0 {
					t.Fatalf("begun anew %d times, complete %d times", begun, complete)
				}
				return
			}
			if seed%2 == 0 {
				m.Crash()
			} else {
				m.Kill()
			}
			_, err = wal.ReadIdentity(m, "/d")
			if errors.Is(err, protocol.ErrNotFound) {
				begun++
				err = wal.Init(m, "/d", id, first(), o)
			} else {
				complete++
			}
			if err != nil {
				t.Fatalf("step %d, seed %d: %v", n, seed, err)
			}
			l, err := wal.Open(m, "/d", o)
			if err != nil {
				t.Fatalf("step %d, seed %d: %v", n, seed, err)
			}
			if rec := l.Opened(); rec.LogTerms.LastIndex() != 1 || rec.State.Term != 1 {
				t.Fatalf("step %d, seed %d: %+v", n, seed, rec)
			}
			l.Close()
		}
	}
}

func TestGuardHasTwoMarks(t *testing.T) {
	m := vfs.NewMemory(1)
	o := wal.Options{SegmentBytes: smallSegment, PreallocatedMax: -1, SpaceLow: 1000, SpaceHigh: 3000}
	if err := wal.Init(m, "/d", id, nil, o); err != nil {
		t.Fatal(err)
	}
	l, err := wal.Open(m, "/d", o)
	if err != nil {
		t.Fatal(err)
	}
	free, _ := m.FreeSpace("/d")
	used := math.MaxInt64 - int64(free)
	for i, c := range []struct {
		free int64
		want bool
	}{{5000, false}, {1001, false}, {999, true}, {2999, true}, {3000, false}, {1000, false}} {
		m.SetCapacity(used + c.free)
		if got, err := l.Space(); err != nil || got.Full != c.want || got.Free != uint64(c.free) || got.Low != 1000 || got.High != 3000 {
			t.Errorf("%d: with %d bytes free: got %+v, %v, want %v", i, c.free, got, err, c.want)
		}
	}
}

// TestRestartsTakeNoSpace: a member that is restarted again and again does not
// leave a segment behind each time.
func TestRestartsTakeNoSpace(t *testing.T) {
	l := newLab(t, 1)
	l.append(0, 3, 100, 1)
	l.sync()
	l.must(l.log.Settle())
	for range 20 {
		l.kill()
		l.open()
		l.expect(3)
	}
	if got := len(l.segments()); got > 3 {
		t.Fatalf("%d segments after 20 restarts: %v", got, l.segments())
	}
}

// TestPreparedSegmentsAreUsed: with a preallocated segment at hand a rotation allocates
// nothing.
func TestPreparedSegmentsAreUsed(t *testing.T) {
	l := newLab(t, 1)
	for range 100 {
		l.must(l.log.Prepare())
		before := l.disk.Counters().Creates
		l.append(protocol.Index(len(l.entries)), 1, 1000, 1)
		if got := l.disk.Counters().Creates - before; got > 0 {
			t.Fatalf("a write created %d files", got)
		}
	}
	l.sync()
	l.crash()
	l.open()
	l.expect(100)
}

// TestBackground: the goroutine that prepares segments ends with the log.
func TestBackground(t *testing.T) {
	dir := t.TempDir()
	o := wal.Options{SegmentBytes: smallSegment, Background: true}
	if err := wal.Init(vfs.OS(), dir, id, nil, o); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l, err := wal.Open(vfs.OS(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		var sum protocol.LogSum
		rec := l.Opened()
		if n := rec.LogTerms.LastIndex(); n > 0 {
			sum = rec.LastSum
		}
		for range 100 {
			e := []protocol.Entry{{Index: rec.LogTerms.LastIndex() + 1, Term: 1, Kind: protocol.EntryCommand, Data: make([]byte, 1000)}}
			protocol.EncodeEntries(e)
			sum = protocol.SumEntries(sum, e)
			rec.LogTerms.Append(1)
			if err := l.Write(protocol.Write{State: protocol.HardState{Term: 1}, First: e[0].Index, Last: e[0].Index}, e); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
