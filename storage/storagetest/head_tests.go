package storagetest

import (
	"errors"
	"sync"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// beginAt returns what a log that begins after an index of the image begins
// with.
func (r *run) beginAt(g *image, i protocol.Index) storage.Begin {
	r.t.Helper()
	out := g.begin
	for k := range g.entries {
		e := &g.entries[k]
		if e.Index > i {
			break
		}
		out.Index, out.Term, out.Sum = e.Index, e.Term, e.Sum
		if e.Kind == protocol.EntryConfiguration {
			c, err := protocol.DecodeConfiguration(e.Data)
			r.must(err)
			out.Configuration = protocol.ConfigurationAt{Index: e.Index, Configuration: c}
		}
	}
	if out.Index != i {
		r.t.Fatalf("the log holds %d to %d, not %d", g.begin.Index+1, g.last(), i)
	}
	return out
}

// checkBegin compares what DropHead returned with what the log is there.
func (r *run) checkBegin(got storage.Begin, below protocol.Index) {
	r.t.Helper()
	g := r.now()
	if got.Index >= below && got.Index > g.begin.Index {
		r.t.Fatalf("head dropped below %d: the log begins after %d", below, got.Index)
	}
	want := r.beginAt(g, got.Index)
	if got.Index != want.Index || got.Term != want.Term || got.Sum != want.Sum || got.Configuration.Index != want.Configuration.Index ||
		!got.Configuration.Configuration.Equal(want.Configuration.Configuration) {
		r.t.Fatalf("head dropped below %d: got begin %+v, want %+v", below, got, want)
	}
	if _, err := r.log.Read(got.Index, got.Index+1, 1); !errors.Is(err, protocol.ErrCompacted) {
		r.t.Fatalf("read at the begin: got %v, want ErrCompacted", err)
	}
}

// reset resets the log and notes the image that it leads to.
func (r *run) reset(b storage.Begin, s protocol.HardState) error {
	r.images = append(r.images, image{state: s, begin: b})
	err := r.log.Reset(b, s)
	if err == nil {
		r.synced = len(r.images) - 1
	}
	return err
}

// resetSomewhere does what an install does: to above the end of the log, or to
// an index where the log has another entry than the checkpoint.
func (r *run) resetSomewhere() error {
	r.counts["reset"]++
	g := r.now()
	s := g.state
	b := storage.Begin{Index: g.last() + protocol.Index(r.random.IntN(100)), Sum: protocol.LogSum{r.random.Uint64(), r.random.Uint64()}}
	if g.last() > s.Commit && r.random.IntN(2) == 0 {
		r.counts["reset in conflict"]++
		b.Index = s.Commit + 1 + protocol.Index(r.random.IntN(int(g.last()-s.Commit)))
	}
	if b.Index == 0 {
		return nil
	}
	b.Term = g.term() + 1
	b.Configuration = protocol.ConfigurationAt{Index: b.Index, Configuration: configuration(byte(1 + r.random.IntN(200)))}
	s.Commit = max(s.Commit, b.Index)
	if s.Term < b.Term {
		s.Term, s.Vote = b.Term, protocol.MemberID{}
	}
	return r.reset(b, s)
}

func testReset(t *testing.T, factory Factory) {
	conf := protocol.ConfigurationAt{Index: 9, Configuration: configuration(9)}
	for _, c := range []struct {
		name string
		at   protocol.Index
	}{{"above the end", 1000}, {"at the end", 300}, {"in conflict", 120}, {"in conflict at the commit index", 8}, {"in conflict at the begin", 7}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRun(t, factory, 6)
			for i := range protocol.Index(10) {
				r.must(r.append(i*30, 30, 300, state(1, 7)))
			}
			r.must(r.sync())
			b := storage.Begin{Index: c.at, Term: 4, Sum: protocol.LogSum{1, 2}, Configuration: conf}
			b.Configuration.Index = min(b.Configuration.Index, c.at)
			r.must(r.reset(b, state(5, max(7, c.at))))
			if _, err := r.log.Read(c.at, c.at, 1); !errors.Is(err, protocol.ErrCompacted) {
				t.Fatalf("got %v, want ErrCompacted", err)
			}
			if _, err := r.log.Read(c.at+1, c.at+1, 1); !errors.Is(err, protocol.ErrNotFound) {
				t.Fatalf("got %v, want ErrNotFound", err)
			}
			for range 3 { // begun by the reset, and nothing else
				r.reopen(end, r.synced)
			}
			begin, err := r.log.DropHead(c.at + 1)
			r.must(err)
			r.checkBegin(begin, c.at+1)
			r.reopen(end, r.synced)
			r.must(r.append(c.at, 3, 100, state(5, max(7, c.at))))
			r.must(r.sync())
			r.reopen(r.store.Kill, r.synced)
			if begin, err = r.log.DropHead(c.at + 1); err != nil || begin.Index != c.at {
				t.Fatalf("got %+v, %v", begin, err)
			}
			r.reopen(end, r.synced)
		})
	}
}

// testResetKeepsHardState: term and vote survive a reset and the loss of all
// segments before it.
func testResetKeepsHardState(t *testing.T, factory Factory) {
	r := newRun(t, factory, 6)
	r.must(r.append(0, 30, 500, state(3, 7)))
	r.must(r.sync())
	voted := protocol.HardState{Term: 9, Vote: protocol.MemberID{77}, Commit: 500}
	r.must(r.reset(storage.Begin{Index: 500, Term: 2, Sum: protocol.LogSum{1, 2},
		Configuration: protocol.ConfigurationAt{Index: 3, Configuration: configuration(9)}}, voted))
	_, err := r.log.DropHead(501)
	r.must(err)
	for _, ending := range []func(storage.Log){end, r.store.Kill, r.store.Crash, r.store.Crash} {
		if ending != nil {
			r.reopen(ending, r.synced)
		}
		if got := r.log.Opened().State; ending != nil && got != voted {
			t.Fatalf("got %+v, want %+v", got, voted)
		}
	}
}

func testDropHead(t *testing.T, factory Factory) {
	r := newRun(t, factory, 7)
	for i := range 200 {
		r.must(r.append(r.now().last(), 5, 200, state(1+protocol.Term(i)/20, r.now().last())))
		if i%20 == 0 {
			r.must(r.sync())
		}
		if i == 120 || i == 180 {
			below := r.now().last() - 100
			begin, err := r.log.DropHead(below)
			r.must(err)
			r.checkBegin(begin, below)
			if begin.Index == 0 {
				t.Fatal("nothing was dropped")
			}
			r.now().head = below
			r.checkEntries("read", r.readAll(begin.Index+1, r.now().last()), r.now().entries[begin.Index:])
		}
	}
	r.must(r.sync())
	r.reopen(end, r.synced)
	if rec := r.log.Opened(); rec.LogTerms.FirstIndex() == 1 {
		t.Fatal("the head is back")
	}
}

// testDropHeadRecent drops the head again and again, up to the last entry: what
// a log that can only give up whole segments does not give up, it still serves.
func testDropHeadRecent(t *testing.T, factory Factory) {
	r := newRun(t, factory, 11)
	for i := range 60 {
		last := r.now().last()
		r.must(r.append(last, 3, 900, state(1, last+3)))
		r.must(r.sync())
		below := last + 4 - protocol.Index(i%4)
		r.now().head = below
		begin, err := r.log.DropHead(below)
		r.must(err)
		r.checkBegin(begin, below)
		if begin.Index < last+3 {
			r.checkEntries("read", r.readAll(begin.Index+1, last+3), r.now().entries[begin.Index:])
		}
		if i%10 == 9 {
			r.reopen(r.store.Kill, r.synced)
		}
	}
}

// testDropHeadAfterReset: what a log held before it was reset to a lower index
// must not be taken for its begin.
func testDropHeadAfterReset(t *testing.T, factory Factory) {
	for _, at := range []protocol.Index{100, 130, 700} {
		r := newRun(t, factory, 12)
		for i := range protocol.Index(30) { // over several segments
			r.must(r.append(i*5, 5, 800, state(1, 90)))
		}
		b := storage.Begin{Index: at, Term: 4, Sum: protocol.LogSum{1, 2},
			Configuration: protocol.ConfigurationAt{Index: 3, Configuration: configuration(9)}}
		r.must(r.reset(b, state(5, at)))
		r.must(r.append(at, 5, 100, state(5, at+5)))
		r.must(r.sync())
		for range 2 {
			begin, err := r.log.DropHead(at + 3)
			r.must(err)
			if begin.Index < at {
				t.Fatalf("reset to %d: the log begins after %d", at, begin.Index)
			}
			r.checkBegin(begin, at+3)
			r.now().head = at + 3
			r.reopen(end, r.synced)
		}
	}
}

// testDropHeadWhileReading: a reader gets what was written, or hears that it is
// gone.
func testDropHeadWhileReading(t *testing.T, factory Factory) {
	r := newRun(t, factory, 13)
	for i := range protocol.Index(80) {
		r.must(r.append(i*5, 5, 300, state(1, i*5+5)))
	}
	r.must(r.sync())
	want := append([]protocol.Entry(nil), r.now().entries...)
	var group sync.WaitGroup
	done := make(chan struct{})
	for g := range 3 {
		group.Go(func() {
			for i := g; ; i += 7 {
				select {
				case <-done:
					return
				default:
				}
				first := protocol.Index(1 + i%400)
				got, err := r.log.Read(first, 400, 2000)
				if errors.Is(err, protocol.ErrCompacted) {
					continue
				}
				if err != nil || got[len(got)-1].Sum != want[got[len(got)-1].Index-1].Sum {
					t.Errorf("read %d: %v", first, err)
					return
				}
			}
		})
	}
	for below := protocol.Index(1); below <= 401; below += 4 {
		begin, err := r.log.DropHead(below)
		r.must(err)
		r.checkBegin(begin, below)
		r.now().head = below
		// Goes on writing, so that given up segments are used again.
		s := state(1, 400)
		r.must(r.append(r.now().last(), 4, 400, s))
		r.must(r.sync())
	}
	close(done)
	group.Wait()
	r.reopen(end, r.synced)
}

// testFullDiskReset: a reset that finds no room for its record has no effect;
// one that finds none for a new segment has all of it.
func testFullDiskReset(t *testing.T, factory Factory) {
	refused, done := 0, 0
	for n := range 60 {
		r := newRun(t, factory, uint64(n))
		disk := r.store.Disk
		free, err := disk.FreeSpace(r.store.Dir)
		r.must(err)
		disk.SetCapacity(0)
		for range n {
			entries := r.entries(r.now().last(), 2, 400, 1)
			err := r.log.Write(protocol.Write{State: state(1, 0), First: entries[0].Index, Last: entries[1].Index}, entries)
			if errors.Is(err, protocol.ErrNoSpace) {
				break
			}
			r.must(err)
			g := *r.now()
			g.state, g.entries = state(1, 0), append(g.entries[:len(g.entries):len(g.entries)], entries...)
			r.images = append(r.images, g)
		}
		r.must(r.sync())
		b := storage.Begin{Index: 1000, Term: 1, Sum: protocol.LogSum{1, 2},
			Configuration: protocol.ConfigurationAt{Index: 3, Configuration: configuration(9)}}
		err = r.log.Reset(b, state(2, 1000))
		if errors.Is(err, protocol.ErrNoSpace) {
			refused++
			r.checkEntries("read", r.readAll(1, r.now().last()), r.now().entries)
			disk.SetCapacity(int64(free))
			err = r.log.Reset(b, state(2, 1000))
		} else {
			done++
			disk.SetCapacity(int64(free))
		}
		r.must(err)
		r.images = append(r.images, image{state: state(2, 1000), begin: b})
		r.synced = len(r.images) - 1
		r.reopen(r.store.Crash, r.synced)
	}
	if refused == 0 || done == 0 {
		t.Errorf("%d resets were refused, %d succeeded on a full disk", refused, done)
	}
}
