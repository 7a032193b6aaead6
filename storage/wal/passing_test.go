package wal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// passes are errors that say nothing about what has been written.
var passes = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EACCES, syscall.EPERM, syscall.EDQUOT, syscall.ENOSPC,
	syscall.EINTR, syscall.EBUSY, syscall.ETIMEDOUT, syscall.EIO, syscall.EFBIG,
}

// stepsOfANewSegment are the calls that a new segment takes, up to its name.
func stepsOfANewSegment(prepared bool) map[string]vfs.Trouble {
	steps := map[string]vfs.Trouble{
		"the folder is opened":   {Op: vfs.OpOpen, Name: "log"},
		"the file is opened":     {Op: vfs.OpOpen, Name: "log/spare-*"},
		"the header is written":  {Op: vfs.OpWrite, Name: "log/spare-*"},
		"the file gets its name": {Op: vfs.OpRename, Name: "log/*.wal"},
	}
	if !prepared {
		steps["the file is made"] = vfs.Trouble{Op: vfs.OpCreate, Name: "log/*"}
		steps["room is reserved"] = vfs.Trouble{Op: vfs.OpAllocate, Name: "log/*"}
	}
	return steps
}

// A member that could not make, open or name a new segment of its log ended, for want
// of a descriptor too, though nothing was in it that anybody waited for. The log takes
// what it has room for, is as it was if the process or the power ends then, and takes
// the rest as soon as the segment can be had.
func TestWhatPassesAtANewSegmentCostsTimeOnly(t *testing.T) {
	for _, prepared := range []bool{false, true} {
		for name, step := range stepsOfANewSegment(prepared) {
			for _, cause := range passes {
				for how, ends := range map[string]func(*lab){"killed": (*lab).kill, "without power": (*lab).crash, "going on": nil} {
					t.Run(fmt.Sprintf("%s/prepared=%t/%v/%s", name, prepared, cause, how), func(t *testing.T) {
						l := atRotation(t, prepared)
						segments := len(l.segments())
						step := step
						step.Err = cause
						for range 3 {
							l.disk.FailCall(step)
							err := l.large()
							if !errors.Is(err, protocol.ErrNoSpace) || !errors.Is(err, cause) || !strings.Contains(err.Error(), "it goes on by itself") {
								t.Fatalf("got %v, want %v of %v", err, protocol.ErrNoSpace, cause)
							}
						}
						if n := len(l.disk.Troubles()); n > 0 {
							t.Fatalf("%d calls were not made", n)
						}
						l.append(protocol.Index(len(l.entries)), 1, 10, 1)
						l.sync()
						if got := len(l.segments()); got != segments {
							t.Fatalf("%d segments after the failures, want %d", got, segments)
						}
						if ends != nil {
							ends(l)
							l.open()
							l.expect(protocol.Index(len(l.entries)))
						}
						l.must(l.large())
						l.sync()
						l.crash()
						l.open()
						l.expect(protocol.Index(len(l.entries)))
						l.log.Close()
					})
				}
			}
		}
	}
}

// [S] A sync that has failed is never made again, of whatever file: neither that of a
// new segment nor, once it has its name, that of the names, whatever the error.
func TestFailedSyncOfANewSegmentIsFinal(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOMEM, syscall.EMFILE} {
		for name, step := range map[string]vfs.Trouble{
			"of the file":  {Op: vfs.OpSync, Name: "log/spare-*"},
			"of the names": {Op: vfs.OpSyncDir, Name: "log"},
		} {
			l := atRotation(t, true)
			step.Err = cause
			l.disk.FailCall(step)
			for range 2 {
				if err := l.large(); !errors.Is(err, protocol.ErrDiskFailed) {
					t.Errorf("%s: %v: got %v, want %v", name, cause, err, protocol.ErrDiskFailed)
				}
			}
			l.crash()
			l.open()
			l.expect(protocol.Index(len(l.entries)))
			l.log.Close()
		}
	}
	l := atRotation(t, false)
	l.disk.FailCall(vfs.Trouble{Op: vfs.OpSync, Name: "log/spare-*", Err: syscall.EIO})
	if err := l.log.Prepare(); !errors.Is(err, protocol.ErrDiskFailed) {
		t.Errorf("preparing: got %v, want %v", err, protocol.ErrDiskFailed)
	}
	l.log.Close()
}

// [S] What nothing says that it passes, ends the log as before: a folder that is gone,
// a file system that is mounted read only, a disk that is not there any more.
func TestWhatDoesNotPassAtANewSegmentIsFinal(t *testing.T) {
	for _, cause := range []error{syscall.EROFS, syscall.ENODEV, syscall.ENXIO, syscall.ENOENT, vfs.ErrInjected} {
		l := atRotation(t, false)
		l.disk.FailCall(vfs.Trouble{Op: vfs.OpCreate, Name: "log/*", Err: cause})
		if err := l.large(); !errors.Is(err, protocol.ErrDiskFailed) {
			t.Errorf("%v: got %v, want %v", cause, err, protocol.ErrDiskFailed)
		}
		l.log.Close()
	}
}

// [S] A rename that a disk fails in the midst of may be on the disk though nobody sees
// it. Before the log goes on without the segment, the names are made durable as they
// are; if that fails, nobody knows, and the log ends.
func TestNameInDoubtIsDecidedBeforeTheLogGoesOn(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ETIMEDOUT, syscall.EINTR} {
		l := atRotation(t, true)
		before := l.disk.Counters().SyncDirs
		l.disk.FailCall(vfs.Trouble{Op: vfs.OpRename, Name: "log/*.wal", Err: cause})
		if err := l.large(); !errors.Is(err, protocol.ErrNoSpace) || l.disk.Counters().SyncDirs != before+1 {
			t.Errorf("%v: got %v and %d syncs of the names, want %v and one", cause, err, l.disk.Counters().SyncDirs-before, protocol.ErrNoSpace)
		}
		l.must(l.large())
		l.log.Close()

		l = atRotation(t, true)
		l.disk.FailCall(vfs.Trouble{Op: vfs.OpRename, Name: "log/*.wal", Err: cause})
		l.disk.FailCall(vfs.Trouble{Op: vfs.OpSyncDir, Name: "log", Err: syscall.EIO})
		if err := l.large(); !errors.Is(err, protocol.ErrDiskFailed) {
			t.Errorf("%v: got %v, want %v", cause, err, protocol.ErrDiskFailed)
		}
		l.log.Close()
	}
}

// Nor does the preparation of a segment stop anybody.
func TestWhatPassesAtAPreparationCostsTimeOnly(t *testing.T) {
	for name, step := range map[string]vfs.Trouble{
		"made": {Op: vfs.OpCreate}, "reserved": {Op: vfs.OpAllocate}, "written": {Op: vfs.OpWrite}, "named": {Op: vfs.OpRename},
	} {
		for _, cause := range passes {
			l := atRotation(t, false)
			step.Name, step.Err = "log/*", cause
			l.disk.FailCall(step)
			if err := l.log.Prepare(); !errors.Is(err, protocol.ErrNoSpace) || !errors.Is(err, cause) {
				t.Fatalf("%s: got %v, want %v of %v", name, err, protocol.ErrNoSpace, cause)
			}
			l.must(l.log.Prepare())
			l.must(l.large())
			l.sync()
			l.crash()
			l.open()
			l.expect(protocol.Index(len(l.entries)))
			l.log.Close()
		}
	}
}

// In the background it is tried again before anybody needs the segment.
func TestPreparationIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1)
		l.append(0, 1, 1000, 1)
		l.log.Close()
		l.options.Background = true
		l.open()
		defer func() { l.log.Close() }()
		synctest.Wait()
		l.disk.FailCall(vfs.Trouble{Op: vfs.OpCreate, Name: "log/*", Err: syscall.EMFILE})
		for len(l.disk.Troubles()) > 0 {
			l.must(l.large())
			synctest.Wait()
		}
		if got := l.spares(); len(got) > 0 {
			t.Fatalf("there is %v, want none", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(l.spares()) == 0 {
			t.Error("no segment was prepared")
		}
	})
}

// preallocated segments lists what lies in the log's folder beside its segments.
func (l *lab) spares() []string {
	var names []string
	all, err := l.disk.ReadDir(labDir + "/log")
	l.must(err)
	for _, name := range all {
		if strings.HasPrefix(name, "spare-") {
			names = append(names, name)
		}
	}
	return names
}

// A segment that could not be removed, or kept for later, ended the member that
// wanted to make room.
func TestRemovalThatFailsIsTriedLater(t *testing.T) {
	for name, steps := range map[string][]vfs.Trouble{
		"the folder cannot be opened": {{Op: vfs.OpOpen, Name: "log"}},
		"not renamed":                 {{Op: vfs.OpRename, Name: "log/*"}},
		"not renamed, not removed":    {{Op: vfs.OpRename, Name: "log/*"}, {Op: vfs.OpRemove, Name: "log/*.wal"}},
		"not removed":                 {{Op: vfs.OpRemove, Name: "log/*"}},
	} {
		for _, cause := range append(passes, syscall.EROFS) {
			l := newLab(t, 1)
			l.configure(0, 3, 1)
			last := func() protocol.Index { return protocol.Index(len(l.entries)) }
			for len(l.segments()) < 6 {
				l.state.Commit = last()
				l.append(last(), 1, 900, 1)
			}
			l.state.Commit = last()
			l.append(last(), 1, 100, 1)
			l.sync()
			had := len(l.segments())
			for _, step := range steps {
				step.Err = cause
				l.disk.FailCall(step)
			}
			begin, err := l.log.DropHead(l.state.Commit)
			if err != nil || begin.Index == 0 {
				t.Fatalf("%s: %v: got %v, the log begins after %d, want no error and a later begin", name, cause, err, begin.Index)
			}
			if n := len(l.disk.Troubles()); n > 0 {
				t.Fatalf("%s: %d calls were not made", name, n)
			}
			l.append(last(), 1, 100, 1) // it goes on
			l.sync()
			if _, err := l.log.DropHead(l.state.Commit); err != nil {
				t.Fatalf("%s: %v: the second time: %v", name, cause, err)
			}
			if got := len(l.segments()); got >= had || got > 2 {
				t.Errorf("%s: %v: %d segments are left of %d, want the room back", name, cause, got, had)
			}
			l.crash()
			l.open()
			if got := l.log.Opened().LogTerms; got.LastIndex() != last() || got.PrevIndex < begin.Index {
				t.Errorf("%s: the log goes from %d to %d, want from %d to %d", name, got.PrevIndex, got.LastIndex(), begin.Index, last())
			}
			l.log.Close()
		}
	}
}

// [S] But a name that has changed is made durable, or the log ends: a segment that
// came back with another's records in it would look damaged.
func TestFailedSyncAfterARemovalIsFinal(t *testing.T) {
	l := newLab(t, 1)
	for len(l.segments()) < 4 {
		l.append(protocol.Index(len(l.entries)), 1, 900, 1)
	}
	l.state.Commit = protocol.Index(len(l.entries))
	l.append(l.state.Commit, 1, 100, 1)
	l.sync()
	l.disk.FailCall(vfs.Trouble{Op: vfs.OpSyncDir, Name: "log", Err: syscall.EMFILE})
	if _, err := l.log.DropHead(l.state.Commit); !errors.Is(err, protocol.ErrDiskFailed) {
		t.Errorf("got %v, want %v", err, protocol.ErrDiskFailed)
	}
	l.log.Close()
}

// clumsy is a file system that for a while neither names nor removes files of the log.
type clumsy struct {
	vfs.FS
	on bool
}

func (c *clumsy) Remove(name string) error {
	if c.on {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.EPERM}
	}
	return c.FS.Remove(name)
}

func (c *clumsy) Rename(from, to string) error {
	if c.on {
		return &fs.PathError{Op: "rename", Path: to, Err: syscall.EPERM}
	}
	return c.FS.Rename(from, to)
}

// Whoever tries again and again must not fill the disk with what can neither be used
// nor removed.
func TestFilesThatCannotBeRemovedStayFew(t *testing.T) {
	l := atRotation(t, false)
	l.log.Close()
	disk := &clumsy{FS: l.disk}
	log, err := wal.Open(disk, labDir, l.options)
	l.must(err)
	l.log = log
	for had := l.disk.Counters().Creates; l.disk.Counters().Creates == had; {
		l.must(l.large())
	}
	disk.on = true
	for range 30 {
		if err := l.large(); !errors.Is(err, protocol.ErrNoSpace) {
			t.Fatalf("got %v, want %v", err, protocol.ErrNoSpace)
		}
		if err := l.log.Prepare(); !errors.Is(err, protocol.ErrNoSpace) {
			t.Fatalf("got %v, want %v", err, protocol.ErrNoSpace)
		}
	}
	if got := l.spares(); len(got) > 6 {
		t.Errorf("%d files lie in the folder, want a few: %v", len(got), got)
	}
	disk.on = false
	l.must(l.large())
	l.must(l.log.Prepare())
	if got := l.spares(); len(got) > 1 {
		t.Errorf("%v is left", got)
	}
	l.crash()
	l.open()
	l.log.Close()
}

// A start does not go on by itself.
func TestStartOnAFullDiskSaysToStartAgain(t *testing.T) {
	for name, step := range map[string]vfs.Trouble{
		"the identity":      {Op: vfs.OpRename, Name: "identity-*"},
		"the first segment": {Op: vfs.OpRename, Name: "log/*.wal"},
	} {
		l := atRotation(t, true)
		l.log.Close()
		step.Err = vfs.ErrNoSpace
		l.disk.FailCall(step)
		l.disk.FailCall(step) // and again, when the log has given back what it can spare
		log, err := wal.Open(l.disk, labDir, l.options)
		if err == nil {
			log.Close()
		}
		if !errors.Is(err, protocol.ErrNoSpace) || strings.Contains(err.Error(), "by itself") || !strings.Contains(err.Error(), "start") {
			t.Errorf("%s: got %v, want the way out of a start", name, err)
		}
		l.open()
		l.expect(protocol.Index(len(l.entries)))
		l.log.Close()
	}
}

// Counterexample (simulated seed 850): a start replaces a segment, and the system does
// not let it be removed. When the head was dropped, the segment in its place went first;
// at the next start the old one counted again, and a sound log was taken for damaged.
func TestReplacedSegmentThatStaysIsGoneBeforeTheHeadIs(t *testing.T) {
	for _, step := range []struct {
		name  string
		calls []vfs.Trouble
	}{
		{"the folder is not opened", []vfs.Trouble{{Op: vfs.OpOpen, Name: "log", N: 3}}},
		{"the file is not removed", []vfs.Trouble{{Op: vfs.OpRename, Name: "log/spare-*"}, {Op: vfs.OpRemove, Name: "log/*.wal"}}},
	} {
		for _, again := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/again=%t", step.name, again), func(t *testing.T) {
				l := newLab(t, 1)
				l.log.Close()
				for _, call := range step.calls {
					call.Err = syscall.ENOMEM
					l.disk.FailCall(call)
				}
				l.open()
				if n := len(l.segments()); n != 2 {
					t.Fatalf("%d segments after the start, want the old one and the one in its place", n)
				}
				l.disk.CallsWork()
				for len(l.segments()) < 5 {
					l.append(protocol.Index(len(l.entries)), 1, 1000, 1)
				}
				l.sync()
				l.state.Commit = protocol.Index(len(l.entries))
				l.append(l.state.Commit, 1, 10, 1)
				l.sync()
				if again { // it still cannot be removed: then everything stays
					l.disk.FailCall(vfs.Trouble{Op: vfs.OpOpen, Name: "log", Err: syscall.ENOMEM})
				}
				before := len(l.segments())
				if _, err := l.log.DropHead(l.state.Commit); err != nil {
					t.Fatal(err)
				}
				if got := len(l.segments()); again != (got == before) {
					t.Errorf("%d segments after the head was dropped, %d before", got, before)
				}
				l.kill()
				l.open()
				l.expect(protocol.Index(len(l.entries)))
				l.log.Close()
			})
		}
	}
}

// A disk that does not answer once, whichever read of a start that is, keeps nobody
// from starting.
func TestReadThatFailsOnceAtAStartIsMadeAgain(t *testing.T) {
	for n := 1; ; n++ {
		l := settledLab(t, 1)
		l.open()
		l.append(protocol.Index(len(l.entries)), 3, 500, 9) // unsynced: a start copies it
		l.kill()
		l.disk.FailCall(vfs.Trouble{Op: vfs.OpRead, N: n, Err: syscall.EIO})
		log, err := wal.Open(l.disk, labDir, l.options)
		if err != nil {
			t.Fatalf("read %d fails once: the start is refused: %v", n, err)
		}
		l.log = log
		met := len(l.disk.Troubles()) == 0
		l.disk.CallsWork()
		l.expectAll()
		l.log.Close()
		if !met {
			if n < 8 {
				t.Errorf("a start makes %d reads: the test fails none", n-1)
			}
			return
		}
	}
}
