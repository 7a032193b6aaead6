package storagetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

func end(l storage.Log) { l.Close() }

func state(term protocol.Term, commit protocol.Index) protocol.HardState {
	return protocol.HardState{Term: term, Vote: protocol.MemberID{byte(term)}, Commit: commit}
}

func testAppend(t *testing.T, factory Factory) {
	r := newRun(t, factory, 1)
	for i := range 50 {
		r.must(r.append(r.now().last(), 1+i%7, 300, state(protocol.Term(1+i/10), protocol.Index(i))))
		r.must(r.sync())
	}
	before := r.log.DurableSequence()
	if before == 0 {
		t.Fatal("nothing is durable after a sync")
	}
	r.reopen(end, r.synced)
	if got := r.log.DurableSequence(); got < before {
		t.Fatalf("the durable sequence number went back from %d to %d", before, got)
	}
	r.reopen(r.store.Kill, r.synced)
}

func testTruncate(t *testing.T, factory Factory) {
	r := newRun(t, factory, 2)
	r.must(r.append(0, 20, 100, state(1, 0)))
	r.must(r.append(20, 5, 100, state(1, 3)))
	r.must(r.sync())
	// Replaced in one step.
	r.must(r.append(10, 4, 100, state(2, 3)))
	r.must(r.sync())
	r.checkEntries("read", r.readAll(1, r.now().last()), r.now().entries)
	// A suffix dropped, then one more entry.
	r.must(r.write(protocol.Write{State: state(3, 5), Truncate: true, After: 12, First: 1}, nil))
	if _, err := r.log.Read(13, 14, 100); !errors.Is(err, protocol.ErrNotFound) {
		t.Fatalf("read of what was truncated: got %v, want ErrNotFound", err)
	}
	r.must(r.append(12, 1, 100, state(3, 5)))
	r.must(r.sync())
	r.reopen(end, r.synced)
	// Everything.
	r2 := newRun(t, factory, 3)
	r2.must(r2.append(0, 5, 100, state(1, 0)))
	r2.must(r2.write(protocol.Write{State: state(2, 0), Truncate: true, First: 1}, nil))
	r2.must(r2.sync())
	r2.reopen(end, r2.synced)
	r2.must(r2.append(0, 3, 100, state(2, 0)))
	r2.must(r2.sync())
	r2.reopen(end, r2.synced)
}

func testReadLimits(t *testing.T, factory Factory) {
	r := newRun(t, factory, 4)
	for range 10 {
		r.must(r.append(r.now().last(), 10, 0, state(1, 0)))
	}
	size := len(r.now().entries[50].Raw)
	for _, c := range []struct {
		first, last protocol.Index
		bytes, want int
	}{
		{1, 100, 0, 1}, {51, 51, 1 << 20, 1}, {51, 60, -1, 1}, {55, 75, 1 << 20, 21}, {95, 1000, 1 << 20, 6}, {51, 90, size, 1},
	} {
		got, err := r.log.Read(c.first, c.last, c.bytes)
		if err != nil {
			t.Fatal(err)
		}
		if c.bytes < 0 || c.bytes == size {
			got = got[:1]
		}
		if len(got) != c.want || got[0].Index != c.first {
			t.Errorf("read %d to %d, %d bytes: got %d entries from %d, want %d", c.first, c.last, c.bytes, len(got), got[0].Index, c.want)
		}
	}
	for _, c := range []struct {
		first, last protocol.Index
		want        error
	}{{0, 5, protocol.ErrCompacted}, {101, 101, protocol.ErrNotFound}, {5, 4, protocol.ErrNotFound}} {
		if _, err := r.log.Read(c.first, c.last, 100); !errors.Is(err, c.want) {
			t.Errorf("read %d to %d: got %v, want %v", c.first, c.last, err, c.want)
		}
	}
}

func testState(t *testing.T, factory Factory) {
	r := newRun(t, factory, 5)
	for i := range 100 {
		if i%3 == 1 {
			r.must(r.vote(protocol.Term(i+1), protocol.MemberID{7}))
			r.must(r.vote(protocol.Term(i), protocol.MemberID{8})) // it is over
		} else {
			r.must(r.write(protocol.Write{State: state(protocol.Term(i+1), 0), First: 1}, nil))
		}
		r.must(r.sync())
		r.must(r.log.Idle())
		if i%10 == 0 {
			r.must(r.log.Settle())
			r.reopen(end, r.synced)
		}
	}
	r.reopen(end, r.synced)
}

func testConcurrentRead(t *testing.T, factory Factory) {
	r := newRun(t, factory, 8)
	r.must(r.append(0, 50, 200, state(1, 0)))
	want := append([]protocol.Entry(nil), r.now().entries...)
	var group sync.WaitGroup
	done := make(chan struct{})
	for g := range 2 {
		group.Go(func() {
			for i := g; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				first := protocol.Index(1 + i%50)
				got, err := r.log.Read(first, 50, 4000)
				if err != nil || got[0].Sum != want[first-1].Sum {
					t.Errorf("read %d: %v", first, err)
					return
				}
			}
		})
	}
	for i := range 200 {
		r.must(r.append(r.now().last()-protocol.Index(i%2), 3, 200, state(1, 50)))
		r.must(r.sync())
	}
	close(done)
	group.Wait()
}

func testClosed(t *testing.T, factory Factory) {
	r := newRun(t, factory, 9)
	r.must(r.append(0, 1, 10, state(1, 0)))
	r.must(r.log.Close())
	r.must(r.log.Close())
	if err := r.log.Write(protocol.Write{First: 1}, nil); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("write: got %v, want ErrClosed", err)
	}
	if err := r.log.Sync(); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("sync: got %v, want ErrClosed", err)
	}
	if _, err := r.log.Read(1, 1, 1); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("read: got %v, want ErrClosed", err)
	}
}
