package vfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/storage/vfs"
)

// What lies beside bad sectors is read, whatever the sectors and the range that is
// wanted; the sectors are told, and no others.
func TestReadsGoAroundBadSectors(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 60 {
		disk := vfs.NewMemory(uint64(round))
		content := make([]byte, 1<<20+r.IntN(2<<20))
		for i := range content {
			content[i] = byte(i*7) | 1
		}
		f, err := disk.Create("/f")
		if err != nil {
			t.Fatal(err)
		}
		f.WriteAt(content, 0)
		bad := map[int64]bool{}
		for range r.IntN(6) {
			at, n := r.Int64N(int64(len(content))), 1+r.Int64N(20_000)
			for b := at / 4096; b <= min(at+n-1, int64(len(content))-1)/4096; b++ {
				bad[b] = true
			}
			disk.FailReads("/f", at, n, syscall.EIO)
		}
		at := r.Int64N(int64(len(content)))
		buf := make([]byte, 1+r.Int64N(int64(len(content))-at))
		if round%3 == 0 {
			at, buf = 0, make([]byte, len(content)+5000)
		}
		told, err := vfs.NewPatience(disk).ReadAround(f, buf, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range told {
			if i > 0 && told[i].From <= told[i-1].To {
				t.Fatalf("round %d: %v overlap, or touch", round, told)
			}
		}
		for i := range buf {
			where := at + int64(i)
			var want byte
			if where < int64(len(content)) && !bad[where/4096] {
				want = content[where]
			}
			within := false
			for _, b := range told {
				within = within || b.From <= where && where < b.To && errors.Is(b.Err, syscall.EIO)
			}
			if buf[i] != want || within != (want == 0 && where < int64(len(content)+4096)) && where < int64(len(content)) {
				t.Fatalf("round %d: byte %d is %d, told to be bad: %v; want %d", round, where, buf[i], within, want)
			}
		}
	}
}

// What passes while it is waited for is no damage, and no other error is waited for.
func TestWhatPassesIsWaitedFor(t *testing.T) {
	for pauses, fails := range map[int]bool{1: false, 5: false, 6: true} {
		disk := vfs.NewMemory(1)
		vfs.WriteFile(disk, "/f", []byte("content"))
		disk.FailReads("/f", 0, 1, fmt.Errorf("read /f: %w", syscall.EIO))
		disk.ReadsWorkAfter(pauses)
		f, _ := disk.Open("/f")
		buf := make([]byte, 7)
		bad, err := vfs.NewPatience(disk).ReadAround(f, buf, 0, nil)
		if err != nil || (len(bad) > 0) != fails || bytes.Equal(buf, []byte("content")) == fails {
			t.Errorf("works after %d pauses: %q, bad %v, %v", pauses, buf, bad, err)
		}
	}
	for _, cause := range []error{syscall.ENOMEM, syscall.EINTR, syscall.EACCES, syscall.EMFILE, vfs.ErrInjected} {
		disk := vfs.NewMemory(1)
		vfs.WriteFile(disk, "/f", []byte("content"))
		disk.FailReads("/f", 0, 1, cause)
		f, _ := disk.Open("/f")
		if bad, err := vfs.NewPatience(disk).ReadAround(f, make([]byte, 7), 0, nil); !errors.Is(err, cause) || len(bad) > 0 || disk.Counters().Sleeps > 0 {
			t.Errorf("%v: bad %v, %v, waited %d times; want the error at once", cause, bad, err, disk.Counters().Sleeps)
		}
	}
	disk := vfs.NewMemory(1)
	if _, err := vfs.NewPatience(disk).ReadFile("/f", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
}

// A disk that gives nothing of a file costs a bounded number of reads: each may take it
// seconds.
func TestFileThatIsAllBadCostsFewReads(t *testing.T) {
	disk := vfs.NewMemory(1)
	f, err := disk.Create("/f")
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("x"), 20<<20)
	f.WriteAt(content, 0)
	disk.FailReads("/f", 0, 19<<20, syscall.EIO)
	buf := make([]byte, len(content))
	bad, err := vfs.NewPatience(disk).ReadAround(f, buf, 0, nil)
	if err != nil || len(bad) != 1 || bad[0].To != 19<<20 || !bytes.Equal(buf[19<<20:], content[19<<20:]) {
		t.Errorf("bad are %v, %v", bad, err)
	}
	if n := disk.Counters().Reads; n > 6*1100 {
		t.Errorf("%d reads", n)
	}
}
