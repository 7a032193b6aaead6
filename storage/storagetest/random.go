package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// step does one random thing to the log. An error is the log's.
func (r *run) step() error {
	g := r.now()
	s := g.state
	switch k := r.random.IntN(21); {
	case k < 8:
		r.counts["append"]++
		if s.Term == 0 || r.random.IntN(5) == 0 {
			s.Term++
			s.Vote = protocol.MemberID{byte(r.random.Uint32())}
		}
		n, size := 1+r.random.IntN(8), 300
		if r.random.IntN(30) == 0 {
			size = 40 << 10 // more than a segment of the tests
		}
		s.Commit = max(s.Commit, g.last()-min(g.last(), protocol.Index(r.random.IntN(5))))
		return r.append(g.last(), n, size, s)
	case k < 10 && g.last() > s.Commit:
		r.counts["replace"]++
		s.Term = max(s.Term, g.term()) + 1
		after := s.Commit + protocol.Index(r.random.IntN(int(g.last()-s.Commit)))
		return r.append(after, 1+r.random.IntN(4), 200, s)
	case k < 11 && g.last() > s.Commit:
		r.counts["truncate"]++
		s.Term++
		after := s.Commit + protocol.Index(r.random.IntN(int(g.last()-s.Commit)))
		return r.write(protocol.Write{State: s, Truncate: true, After: after, First: 1}, nil)
	case k < 12:
		r.counts["state"]++
		s.Term++
		s.Vote = protocol.MemberID{byte(r.random.Uint32())}
		return r.write(protocol.Write{State: s, First: 1}, nil)
	case k < 16:
		r.counts["sync"]++
		return r.sync()
	case k < 17:
		return r.log.Idle()
	case k < 18:
		return r.log.Settle()
	case k < 19:
		if s.Commit == 0 || r.random.IntN(4) > 0 {
			return nil
		}
		r.counts["drop head"]++
		below := max(g.head, 1+protocol.Index(r.random.IntN(int(s.Commit))))
		for i := range r.images { // it counts for what a crash may bring back too
			r.images[i].head = max(r.images[i].head, below)
		}
		begin, err := r.log.DropHead(below)
		if err == nil {
			r.checkBegin(begin, below)
		}
		return err
	case k < 20:
		if r.random.IntN(4) > 0 {
			return nil
		}
		return r.resetSomewhere()
	default:
		return r.readSome()
	}
}

// readSome reads a random range and compares it.
func (r *run) readSome() error {
	g := r.now()
	low := max(g.head, g.begin.Index+1)
	if g.last() < low {
		return nil
	}
	first := low + protocol.Index(r.random.IntN(int(g.last()+1-low)))
	got, err := r.log.Read(first, g.last(), r.random.IntN(5000))
	if err == nil {
		from := first - g.begin.Index - 1
		r.checkEntries("read", got, g.entries[from:int(from)+len(got)])
	}
	return err
}

func testRandom(t *testing.T, factory Factory) {
	seeds := 60
	if testing.Short() || factory(t, 0).Disk == nil { // real syncs take their time
		seeds = 6
	}
	for i := range seeds {
		seed := uint64(1000 + i)
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			r := newRun(t, factory, seed)
			for range 300 {
				r.must(r.step())
				if r.random.IntN(25) > 0 {
					continue
				}
				switch k := r.random.IntN(3); {
				case k == 0 && r.store.Crash != nil:
					r.counts["crash"]++
					r.reopen(r.store.Crash, r.synced)
				case k == 1:
					r.counts["kill"]++
					r.reopen(r.store.Kill, len(r.images)-1)
				default:
					r.reopen(end, len(r.images)-1)
				}
			}
		})
	}
}

// testCrashAtEveryStep runs the same history again and again, stops the machine
// one operation later each time, and once more while it recovers.
func testCrashAtEveryStep(t *testing.T, factory Factory) {
	const stepsMax = 100000
	stride := 1
	if testing.Short() {
		stride = 7
	}
	steps := 0
	defer func() { t.Logf("stopped %d times", steps) }()
	for _, power := range []bool{false, true} {
		done := false
		for n := 0; n < stepsMax && !done; n += stride {
			seed := uint64(n % 3)
			r := newRun(t, factory, seed)
			steps++
			r.store.Disk.StopAfter(n)
			done = r.history()
			r.stop(power)
			// Stopped again while it recovers, at a random step.
			r.store.Disk.StopAfter(rand.New(rand.NewPCG(uint64(n), 2)).IntN(25))
			l, err := r.store.Open()
			if err == nil {
				l.Close()
			} else if !r.store.Disk.Stopped() {
				t.Fatalf("stopped at step %d, power=%v: open: %v", n, power, err)
			}
			r.end(power)
			r.open()
			r.check(r.synced)
			r.log.Close()
		}
	}
}

// history is what is interrupted. It reports true if it came to its end.
func (r *run) history() bool {
	for range 150 {
		if err := r.step(); err != nil {
			if !r.store.Disk.Stopped() {
				r.t.Fatal(err)
			}
			return false
		}
	}
	return true
}

// stop ends the machine's life.
func (r *run) stop(power bool) {
	r.log.Close()
	r.end(power)
}

func (r *run) end(power bool) {
	if power {
		r.store.Disk.Crash()
	} else {
		r.store.Disk.Kill()
	}
}

func testFailedSync(t *testing.T, factory Factory) {
	for seed := range uint64(20) {
		r := newRun(t, factory, seed)
		r.must(r.append(0, 5, 100, state(1, 0)))
		r.must(r.sync())
		r.must(r.append(5, 5, 100, state(1, 5)))
		r.store.Disk.Fail(vfs.OpSync, 1, nil)
		for range 3 {
			if err := r.sync(); !errors.Is(err, protocol.ErrDiskFailed) {
				t.Fatalf("seed %d: got %v, want ErrDiskFailed", seed, err)
			}
		}
		r.refuses()
		r.reopen(r.store.Crash, r.synced)
		r.must(r.append(r.now().last(), 1, 100, state(2, 5)))
		r.must(r.sync())
	}
}

func testFailedWrite(t *testing.T, factory Factory) {
	r := newRun(t, factory, 1)
	r.must(r.append(0, 5, 100, state(1, 0)))
	r.must(r.sync())
	r.store.Disk.Fail(vfs.OpWrite, 1, nil)
	if err := r.append(5, 5, 100, state(1, 5)); !errors.Is(err, protocol.ErrDiskFailed) {
		t.Fatalf("got %v, want ErrDiskFailed", err)
	}
	r.refuses()
	r.reopen(r.store.Kill, r.synced)
}

// refuses checks that a log that has failed does nothing any more.
func (r *run) refuses() {
	r.t.Helper()
	_, readErr := r.log.Read(1, 1, 1)
	_, dropErr := r.log.DropHead(1)
	for _, err := range []error{r.log.Write(protocol.Write{First: 1}, nil), r.log.Sync(), r.log.Idle(), r.log.Settle(),
		r.log.Reset(storage.Begin{}, protocol.HardState{}), readErr, dropErr} {
		if !errors.Is(err, protocol.ErrDiskFailed) {
			r.t.Fatalf("a call after the failure: got %v, want ErrDiskFailed", err)
		}
	}
}

// testFullDisk: the write that finds no space has no effect, and the same one
// succeeds when there is space again.
func testFullDisk(t *testing.T, factory Factory) {
	r := newRun(t, factory, 1)
	disk := r.store.Disk
	free, err := disk.FreeSpace(r.store.Dir)
	r.must(err)
	disk.SetCapacity(0)
	full := false
	for range 1000 {
		entries := r.entries(r.now().last(), 3, 300, 1)
		w := protocol.Write{State: state(1, 0), First: entries[0].Index, Last: entries[2].Index}
		err := r.log.Write(w, entries)
		if errors.Is(err, protocol.ErrNoSpace) {
			if !full {
				full = true
				if is, err := r.log.Space(); err != nil || !is.Full {
					t.Fatalf("space: got %+v, %v", is, err)
				}
				r.must(r.sync())
				r.checkEntries("read", r.readAll(1, r.now().last()), r.now().entries)
				disk.SetCapacity(int64(free))
			}
			err = r.write(w, entries)
		} else if err == nil {
			g := *r.now()
			g.state, g.entries = w.State, append(g.entries[:len(g.entries):len(g.entries)], entries...)
			r.images = append(r.images, g)
		}
		r.must(err)
		if full && len(r.images)%50 == 0 {
			break
		}
	}
	if !full {
		t.Fatal("the disk never was full")
	}
	if is, err := r.log.Space(); err != nil || is.Full {
		t.Fatalf("space: got %+v, %v", is, err)
	}
	r.must(r.sync())
	r.reopen(end, r.synced)
}

// testFlippedBits flips bits all over the files of a settled log: each is
// detected, or changes nothing that the log says; never is there wrong data or
// an older hard state.
func testFlippedBits(t *testing.T, factory Factory) {
	r := newRun(t, factory, 1)
	for range 60 {
		r.must(r.append(r.now().last(), 3, 200, state(1, r.now().last())))
		r.must(r.sync())
	}
	r.must(r.write(protocol.Write{State: state(9, 100), First: 1}, nil))
	r.must(r.sync())
	r.must(r.log.Settle())
	r.log.Close()
	disk := r.store.Disk
	names, err := disk.ReadDir(r.store.Dir)
	r.must(err)
	counts := map[string]int{}
	before := disk.Snapshot(r.store.Dir)
	want := r.images
	for range 1000 {
		name := filepath.Join(r.store.Dir, names[r.random.IntN(len(names))])
		info, err := disk.Stat(name)
		r.must(err)
		if info.Size == 0 || strings.HasSuffix(name, vfs.TemporarySuffix) {
			continue
		}
		bit := int64(r.random.Uint64N(uint64(info.Size) * 8))
		r.must(disk.FlipBit(name, bit))
		l, err := r.store.Open()
		switch {
		case errors.Is(err, protocol.ErrCorrupt):
			counts["refused"]++
		case err != nil:
			t.Fatalf("%s, bit %d: %v", name, bit, err)
		case l.Opened().Damage != nil:
			counts["damage"]++
			r.checkDamaged(l, &want[len(want)-1], name, bit)
			l.Close()
		default:
			counts["harmless"]++
			r.log, r.images = l, want
			r.check(len(want) - 1)
			l.Close()
		}
		disk.Rollback(before)
	}
	t.Logf("flipped bits: %v", counts)
	if counts["damage"] < 100 {
		t.Errorf("only %v were found as damage", counts)
	}
}

// checkDamaged: what can be read is right, the hard state is the newest, and
// nothing can be written.
func (r *run) checkDamaged(l storage.Log, g *image, name string, bit int64) {
	r.t.Helper()
	rec := l.Opened()
	if rec.State != g.state {
		r.t.Fatalf("%s, bit %d: state %+v, want %+v", name, bit, rec.State, g.state)
	}
	unread := 0
	for i := range g.entries {
		e := &g.entries[i]
		got, err := l.Read(e.Index, e.Index, 0)
		switch {
		case errors.Is(err, protocol.ErrCorrupt) || errors.Is(err, protocol.ErrCompacted):
			if unread++; e.Index < rec.Damage.First || e.Index > rec.Damage.Last {
				r.t.Fatalf("%s, bit %d: entry %d: %v, damage says %d to %d", name, bit, e.Index, err, rec.Damage.First, rec.Damage.Last)
			}
		case err != nil:
			r.t.Fatalf("%s, bit %d: entry %d: %v", name, bit, e.Index, err)
		default:
			r.checkEntries("read", got, g.entries[i:i+1])
		}
	}
	if unread == 0 && rec.Damage.Last > 0 {
		r.t.Fatalf("%s, bit %d: damage without a damaged entry: %v", name, bit, rec.Damage)
	}
	if err := l.Write(protocol.Write{State: rec.State, First: 1}, nil); !errors.Is(err, protocol.ErrCorrupt) {
		r.t.Fatalf("%s, bit %d: write to a damaged log: got %v", name, bit, err)
	}
}
