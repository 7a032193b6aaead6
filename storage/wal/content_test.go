package wal

import (
	"bytes"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/storage/vfs"
)

// Whatever is asked for in whatever order, a window shows what the file has, zeros
// where the disk gives nothing, and zeros there for good once they were shown.
func TestWindowShowsWhatTheSegmentHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 20 {
		disk := vfs.NewMemory(uint64(round))
		want := make([]byte, 4<<20+r.IntN(1<<20))
		for i := range want {
			want[i] = byte(i*7) | 1
		}
		f, err := disk.Create("/f")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
		var bad []int64
		for range r.IntN(4) {
			page := r.Int64N(int64(len(want))/segmentAlign) * segmentAlign
			bad = append(bad, page)
			disk.FailReads("/f", page, segmentAlign, syscall.EIO)
			clear(want[page : page+segmentAlign])
		}
		var c content
		s := &segment{name: "f", file: f, size: int64(len(want))}
		c.reset(s, vfs.NewPatience(disk))
		ask := func() {
			at := r.Int64N(s.size)
			n := min(1+r.Int64N([]int64{200, 200_000, 3 << 20}[r.IntN(3)]), s.size-at)
			if got := c.bytes(at, n); !bytes.Equal(got, want[at:at+n]) {
				t.Fatalf("round %d: bytes %d to %d are not those of the file", round, at, at+n)
			}
		}
		for range 50 {
			ask()
		}
		c.finish()
		disk.ReadsWork()
		for range 50 {
			ask()
		}
		if c.err != nil || c.bytes(s.size-1, 2) != nil {
			t.Errorf("round %d: %v, or bytes behind the end", round, c.err)
		}
		for _, page := range bad {
			told := false
			for _, b := range c.bad {
				told = told || b.From <= page && page+segmentAlign <= b.To
			}
			if !told {
				t.Errorf("round %d: the bad page at %d is not told: %v", round, page, c.bad)
			}
		}
	}
}
