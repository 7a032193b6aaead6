package wal_test

import (
	"testing"
	"testing/synctest"

	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// A hundred members that started at once read 64 MiB each, of which a few were written.
func TestStartReadsNoFurtherThanWasWritten(t *testing.T) {
	l := newLab(t, 1)
	l.options.SegmentBytes = 16 << 20
	l.log.Close()
	l.open()
	l.append(0, 3, 100, 1)
	l.sync()
	l.kill()
	before := l.disk.Counters().Reads
	l.open()
	l.expect(3)
	if got := l.disk.Counters().Reads - before; got > 12 {
		t.Errorf("a start made %d reads; the segment alone has 16 windows", got)
	}
}

// unwritten is a file system that says of each file that nothing was written.
type unwritten struct{ vfs.FS }

type unwrittenFile struct{ vfs.File }

func (u unwritten) Open(name string) (vfs.File, error) {
	f, err := u.FS.Open(name)
	return unwrittenFile{f}, err
}

func (unwrittenFile) Written() (int64, bool) { return 0, true }

// A file system that was wrong about what was written would have taken acknowledged records
// with it.
func TestRecordsAreReadWhateverIsSaidToBeWritten(t *testing.T) {
	l := newLab(t, 1)
	l.append(0, 3, 100, 1)
	l.sync()
	l.must(l.log.Settle())
	l.kill()
	var err error
	l.log, err = wal.Open(unwritten{l.disk}, labDir, l.options)
	l.must(err)
	l.expect(3)
}

// A member that writes little needs no second segment, and at its start it would have written 64 MiB
// of zeros for one.
func TestNextSegmentIsMadeWhenAQuarterIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 1)
		l.log.Close()
		l.options.SegmentBytes, l.options.Background = 256<<10, true
		l.open()
		defer func() { l.log.Close() }()
		synctest.Wait()
		l.append(0, 1, 100, 1)
		synctest.Wait()
		if got := l.spares(); len(got) > 0 {
			t.Fatalf("there is %v after one small entry", got)
		}
		l.append(1, 1, 100<<10, 1)
		synctest.Wait()
		if len(l.spares()) == 0 {
			t.Error("no segment was prepared")
		}
	})
}
