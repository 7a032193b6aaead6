package wal_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// found returns what the lab has written of lost entries.
func (l *lab) found(lost []storage.Lost) (runs [][]protocol.Entry) {
	for _, x := range lost {
		runs = append(runs, l.entries[x.After:x.Last])
	}
	return runs
}

// repairWhileOpen repairs the segment with an entry as a running member does.
func (l *lab) repairWhileOpen(i protocol.Index) error {
	if err := l.log.EndSegment(i); err != nil {
		return err
	}
	r, err := l.log.Rebuild(l.t.Context(), i)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Sound() {
		return nil
	}
	if err := r.Write(l.t.Context(), l.found(r.Lost())); err != nil {
		return err
	}
	return r.Switch()
}

// reads checks that all entries of the open log can be read, as they were written.
func (l *lab) reads(first protocol.Index) error {
	for i := first; i <= protocol.Index(len(l.entries)); {
		got, err := l.log.Read(i, protocol.Index(len(l.entries)), 5000)
		if err != nil {
			return err
		}
		for k := range got {
			if e := &l.entries[i-1]; got[k].Index != i || got[k].Sum != e.Sum || string(got[k].Raw) != string(e.Raw) {
				return fmt.Errorf("entry %d is another one", i)
			}
			i++
		}
	}
	return nil
}

// withoutLeftovers checks that no file of a repairing is left.
func (l *lab) withoutLeftovers() {
	l.t.Helper()
	names, err := l.disk.ReadDir(filepath.Join(labDir, "log"))
	l.must(err)
	for _, name := range names {
		if strings.HasSuffix(name, vfs.TemporarySuffix) {
			l.t.Errorf("%s is left", name)
		}
	}
}

// busyLab is an open log of several segments with cuts, votes and records of many
// sizes in it.
func busyLab(t *testing.T, seed uint64) (*lab, *rand.Rand) {
	t.Helper()
	l, r := newLab(t, seed), rand.New(rand.NewPCG(seed, 9))
	l.configure(0, 3, 1)
	l.state.Commit = 1
	term := protocol.Term(2)
	for len(l.segments()) < 5 {
		last := protocol.Index(len(l.entries))
		switch n := r.IntN(10); {
		case n == 0:
			term++
			l.vote(term, byte(1+r.IntN(3)))
		case n == 1 && last > l.state.Commit: // another leader's entries
			term++
			l.append(l.state.Commit+protocol.Index(r.IntN(int(last-l.state.Commit+1))), 1+r.IntN(3), r.IntN(600), term)
		case n == 2 && last > l.state.Commit:
			after := l.state.Commit + protocol.Index(r.IntN(int(last-l.state.Commit)))
			l.entries = l.entries[:after]
			l.must(l.log.Write(protocol.Write{State: l.state, Truncate: true, After: after, First: after + 1, Last: after}, nil))
		case n == 3:
			l.sync()
			l.must(l.log.Settle())
		case n == 4:
			l.state.Commit = last
			l.must(l.log.Write(protocol.Write{State: l.state, First: 1}, nil))
		default:
			l.append(last, 1+r.IntN(4), r.IntN(900), term)
			if r.IntN(2) == 0 {
				l.sync()
			}
		}
	}
	l.sync()
	return l, r
}

// Places of a running log rot, in sectors and in bits, anywhere: each is written again
// with what others hold, byte for byte; the log reads as before, goes on, and opens as
// if nothing had been, with its hard state. What cannot be repaired changes nothing.
func TestRottenPlacesAreRepairedWhileTheLogIsOpen(t *testing.T) {
	rounds := uint64(300)
	if testing.Short() {
		rounds = 50
	}
	repaired, refused, whole := 0, 0, 0
	for seed := range rounds {
		l, r := busyLab(t, seed)
		var all []wal.Record
		for _, x := range l.records() {
			if x.Status == wal.StatusGood {
				all = append(all, x)
			}
		}
		for range 1 + r.IntN(3) {
			x := all[r.IntN(len(all))]
			name := filepath.Join(labDir, "log", x.Segment)
			if at := x.Offset + r.Int64N(104+int64(x.Bytes)); r.IntN(2) == 0 {
				l.must(l.disk.FailReads(name, at, 1+r.Int64N(5000), syscall.EIO))
			} else {
				l.must(l.disk.FlipBit(name, 8*at+r.Int64N(8)))
			}
		}
		// More comes before it is noticed.
		for range r.IntN(6) {
			l.append(protocol.Index(len(l.entries)), 1, r.IntN(300), l.state.Term+1)
		}
		l.sync()
		bad := 0
		for range 40 {
			var where *storage.Unreadable
			if !errors.As(l.reads(1), &where) {
				break
			}
			if bad++; bad == 20 {
				t.Fatalf("seed %d: repaired again and again: %v", seed, where)
			}
			err := l.repairWhileOpen(where.Entries.First)
			if errors.Is(err, protocol.ErrInvalid) || errors.As(err, &where) {
				refused++
				t.Logf("seed %d: %v", seed, err)
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			repaired++
		}
		l.withoutLeftovers()
		if err := l.reads(1); err == nil && bad > 0 {
			whole++
		}
		l.append(protocol.Index(len(l.entries)), 2, 100, l.state.Term+1)
		l.sync()
		l.must(l.log.Settle())
		l.kill()
		if p, err := wal.Inspect(l.disk, labDir, nil); err != nil || len(p.Unexpected) > 0 {
			t.Fatalf("seed %d: %v, unexpected: %v", seed, err, p.Unexpected)
		}
		l.open()
		rec := l.log.Opened()
		if rec.State != l.state {
			t.Fatalf("seed %d: the hard state is %+v, it was %+v", seed, rec.State, l.state)
		}
		if rec.Damage == nil {
			l.expectAll()
		} else if bad > 0 && refused == 0 {
			t.Fatalf("seed %d: repaired, and damaged when it is opened: %v", seed, rec.Damage)
		}
		l.log.Close()
	}
	t.Logf("%d segments repaired, %d refused; %d logs of %d whole again", repaired, refused, whole, rounds)
	if repaired < int(rounds/4) || refused > repaired/4 {
		t.Errorf("%d segments repaired, %d refused", repaired, refused)
	}
}

// rottenLab is an open log with places that cannot be read in one of its segments:
// headers and payloads, in sectors and bits, and what else lies there.
func rottenLab(t *testing.T, seed uint64) (*lab, protocol.Index) {
	t.Helper()
	l := fullLab(t, seed)
	l.sector(l.find(8), 20, syscall.EIO)
	for _, i := range []protocol.Index{14, 23} {
		if x := l.find(i); x.Segment == l.find(20).Segment {
			l.rot(x, i == 14)
		}
	}
	return l, 8
}

// A repairing is cut short at every step, by the end of the process or of the power: the
// log opens, and is the old one, or the new one; nothing of it is lost.
func TestRepairingWhileOpenCutShortLosesNothing(t *testing.T) {
	rounds := uint64(4)
	if testing.Short() {
		rounds = 1
	}
	for _, power := range []bool{false, true} {
		old, fresh := 0, 0
		for round := range rounds {
			for n, stopped := 0, true; stopped; n++ {
				l, i := rottenLab(t, uint64(n)+1000*round)
				starts := l.log.Identity().Starts
				l.disk.StopAfter(n)
				err := l.repairWhileOpen(i)
				if stopped = l.disk.Stopped(); err != nil && !stopped {
					t.Fatal(err)
				}
				if power {
					l.crash()
				} else {
					l.kill()
				}
				if _, err := wal.Inspect(l.disk, labDir, nil); err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				l.open()
				if got := l.log.Opened(); got.State != l.state || l.log.Identity().Starts < starts {
					t.Fatalf("step %d: got %+v", n, got)
				}
				if d := l.log.Opened().Damage; d != nil {
					if old++; err == nil {
						t.Fatalf("step %d: repaired, and damaged: %v", n, d)
					}
					plan := planFor(l)
					l.log.Close()
					l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
					l.open()
				} else {
					fresh++
				}
				l.expectAll()
				l.withoutLeftovers()
				if _, err := wal.Verify(l.disk, labDir); err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				l.log.Close()
			}
		}
		t.Logf("power=%v: stopped %d times with the old file, %d with the new one", power, old, fresh)
		if old < 5 || fresh < 1 {
			t.Errorf("power=%v: stopped %d times with the old file, %d with the new one", power, old, fresh)
		}
	}
}

// What fails before the new file has its name costs the new file only; the live log
// goes on, and it is repaired when that is tried again.
func TestFailureOfARepairingLeavesTheLog(t *testing.T) {
	for op, times := range map[vfs.Op]int{vfs.OpCreate: 1, vfs.OpAllocate: 1, vfs.OpWrite: 1, vfs.OpSync: 2, vfs.OpRename: 1} {
		for n := 1; n <= times; n++ {
			l, i := rottenLab(t, 1)
			l.must(l.log.EndSegment(i))
			l.must(l.log.Prepare())
			l.disk.Fail(op, n, nil)
			err := l.repairWhileOpen(i)
			if err == nil || errors.Is(err, protocol.ErrDiskFailed) {
				t.Errorf("%v %d: %v: the live log was not touched", op, n, err)
			}
			l.withoutLeftovers()
			l.append(protocol.Index(len(l.entries)), 2, 100, 9)
			l.sync()
			l.must(l.repairWhileOpen(i))
			l.must(l.reads(1))
			l.crash()
			l.open()
			l.expectAll()
		}
	}
	// The name is there, and nobody knows whether it stays: that is final.
	l, i := rottenLab(t, 1)
	l.must(l.log.EndSegment(i))
	l.disk.Fail(vfs.OpSyncDir, 1, nil)
	if err := l.repairWhileOpen(i); !errors.Is(err, protocol.ErrDiskFailed) {
		t.Errorf("a failed sync of the names: %v", err)
	}
	if err := l.log.Sync(); !errors.Is(err, protocol.ErrDiskFailed) {
		t.Errorf("after a failed sync of the names: %v", err)
	}
	l.crash()
	l.open()
	if l.log.Opened().State != l.state {
		t.Errorf("got %+v", l.log.Opened())
	}
}

// A read that fails for want of something says so, and not that the member, which
// runs, has stopped.
func TestRepairingThatCannotReadSaysWhy(t *testing.T) {
	l, i := rottenLab(t, 1)
	l.must(l.log.EndSegment(i))
	l.disk.FailCall(vfs.Trouble{Op: vfs.OpRead, Name: "log/*", Err: syscall.ENOMEM})
	_, err := l.log.Rebuild(t.Context(), i)
	if !errors.Is(err, syscall.ENOMEM) || errors.Is(err, protocol.ErrDiskFailed) || strings.Contains(err.Error(), "stopped") {
		t.Errorf("got %v, want %v", err, syscall.ENOMEM)
	}
	l.must(l.repairWhileOpen(i))
	l.must(l.reads(1))
}

// witness is a disk that says what the process holds when a file is synced, and when
// something is read.
type witness struct {
	vfs.FS
	synced func()
	read   func()
}

func (w *witness) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &witnessed{f, w}, nil
}

func (w *witness) Open(name string) (vfs.File, error)      { return w.wrap(w.FS.Open(name)) }
func (w *witness) OpenWrite(name string) (vfs.File, error) { return w.wrap(w.FS.OpenWrite(name)) }

type witnessed struct {
	vfs.File
	w *witness
}

func (f *witnessed) Sync() error {
	if f.w.synced != nil {
		f.w.synced()
	}
	return f.File.Sync()
}

func (f *witnessed) ReadAt(p []byte, at int64) (int, error) {
	if f.w.read != nil {
		f.w.read()
	}
	return f.File.ReadAt(p, at)
}

// A segment of 64 MiB was held four times while one sector of it was repaired, and once
// for as long as the others were asked: now once, to look, and once, to look again.
func TestRepairingHoldsASegmentInMemoryOnce(t *testing.T) {
	l, i, disk := bigRot(t)
	held := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held()
	r, err := l.log.Rebuild(t.Context(), i)
	l.must(err)
	defer r.Close()
	if more := held() - before; more > bigSegment/8 {
		t.Errorf("%d bytes are held while the others are asked, for a segment of %d", more, bigSegment)
	}
	var writing, most int64
	disk.synced = func() { writing = held() - before }
	disk.read = func() { most = max(most, held()-before) }
	l.must(r.Write(t.Context(), l.found(r.Lost())))
	disk.synced, disk.read = nil, nil
	if writing > bigSegment/2 {
		t.Errorf("%d bytes are held when it is written, for a segment of %d", writing, bigSegment)
	}
	if most < bigSegment/2 || most > bigSegment+bigSegment/4 {
		t.Errorf("at most %d bytes are held, for a segment of %d", most, bigSegment)
	}
	l.must(r.Switch())
	l.must(l.reads(1))
}

const bigSegment = 8 << 20

// bigRot returns a log on a real disk with a bad record in its first segment, and an
// entry of that.
func bigRot(t *testing.T) (*lab, protocol.Index, *witness) {
	dir := t.TempDir()
	disk := &witness{FS: vfs.OS()}
	l := &lab{t: t, options: wal.Options{SegmentBytes: bigSegment, Random: newSeeded(1)}}
	l.must(wal.Init(disk, dir, id, nil, l.options))
	var err error
	l.log, err = wal.Open(disk, dir, l.options)
	l.must(err)
	t.Cleanup(func() { l.log.Close() })
	for n := protocol.Index(0); n < 400; n++ {
		l.append(n, 1, 30_000, 1)
	}
	l.sync()
	var at wal.Record
	_, err = wal.Inspect(vfs.OS(), dir, func(r wal.Record) {
		if r.First == 100 {
			at = r
		}
	})
	l.must(err)
	f, err := vfs.OS().OpenWrite(filepath.Join(dir, "log", at.Segment))
	l.must(err)
	_, err = f.WriteAt([]byte("rotten"), at.Offset+200)
	l.must(err)
	l.must(f.Close())
	return l, 100, disk
}

// A member that is to end does not wait for a repairing: neither for a disk that is asked
// again for what it does not give, nor for what is written.
func TestRepairingEndsWithItsMember(t *testing.T) {
	l, i := rottenLab(t, 1)
	l.must(l.log.EndSegment(i))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := l.log.Rebuild(ctx, i)
	l.must(err)
	cancel()
	if err := r.Write(ctx, l.found(r.Lost())); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	r.Close()
	before := l.disk.Counters()
	if _, err := l.log.Rebuild(ctx, i); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	if n := l.disk.Counters().Sleeps - before.Sleeps; n > 0 {
		t.Errorf("it has slept %d times", n)
	}
	l.withoutLeftovers()
	l.must(l.repairWhileOpen(i))
	l.must(l.reads(1))
}

// A truncation within a record that the disk does not give ended the member, whose core
// knows all that it takes. The record is repaired afterwards, as far as it still counts.
func TestTruncationNeedsNoEntryThatCannotBeRead(t *testing.T) {
	for _, power := range []bool{false, true} {
		l, _ := rottenLab(t, 1)
		at := l.find(protocol.Index(len(l.entries)))
		after := at.First // the record has more
		if after == at.Last {
			t.Fatalf("record %+v has one entry: the test tests nothing", at)
		}
		l.state.Commit = after
		e := []protocol.Entry{{Index: after + 1, Term: 9, Kind: protocol.EntryCommand, Data: []byte("another")}}
		protocol.EncodeEntries(e)
		protocol.SumEntries(l.entries[after-1].Sum, e)
		l.must(l.disk.FailReads(filepath.Join(labDir, "log", at.Segment), at.Offset, 500, syscall.EIO))
		w := protocol.Write{State: l.state, Truncate: true, After: after, First: after + 1, Last: after + 1}
		var where *storage.Unreadable
		if err := l.log.Write(w, e); !errors.As(err, &where) {
			t.Fatalf("got %v: the entry can be read, the test tests nothing", err)
		}
		w.AfterTerm, w.AfterSum, w.Joined = l.entries[after-1].Term, l.entries[after-1].Sum, true
		l.must(l.log.Write(w, e))
		l.entries = append(l.entries[:after:after], e...)
		l.append(after+1, 1, 10, 9)
		l.sync()
		for _, i := range []protocol.Index{8, after} {
			l.must(l.repairWhileOpen(i))
		}
		l.must(l.reads(1))
		if power {
			l.crash()
		} else {
			l.kill()
		}
		l.open()
		l.expectAll()
		l.log.Close()
	}
}

// Without room nothing is written.
func TestRepairingWhileOpenOnAFullDisk(t *testing.T) {
	l, i := rottenLab(t, 1)
	l.must(l.log.EndSegment(i))
	free, err := l.disk.FreeSpace(labDir)
	l.must(err)
	l.disk.SetCapacity(1<<63 - 1 - int64(free) + 4096)
	if err := l.repairWhileOpen(i); !errors.Is(err, protocol.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	l.withoutLeftovers()
	l.disk.SetCapacity(1<<63 - 1)
	l.must(l.repairWhileOpen(i))
	l.must(l.reads(1))
}

// [S] Nothing but what was lost takes its place.
func TestNothingElseThanWhatWasLostIsTaken(t *testing.T) {
	for name, change := range map[string]func(runs [][]protocol.Entry) [][]protocol.Entry{
		"another entry": func(runs [][]protocol.Entry) [][]protocol.Entry {
			runs[0] = slices.Clone(runs[0])
			runs[0][1].Data = []byte("x")
			protocol.EncodeEntries(runs[0][1:2])
			return runs
		},
		"too few":    func(runs [][]protocol.Entry) [][]protocol.Entry { runs[0] = runs[0][1:]; return runs },
		"not all":    func(runs [][]protocol.Entry) [][]protocol.Entry { runs[0] = runs[0][:2]; return runs },
		"none":       func([][]protocol.Entry) [][]protocol.Entry { return nil },
		"other runs": func(runs [][]protocol.Entry) [][]protocol.Entry { slices.Reverse(runs); return runs },
	} {
		l, i := rottenLab(t, 1)
		r, err := l.log.Rebuild(t.Context(), i)
		l.must(err)
		if len(r.Lost()) < 2 {
			t.Fatalf("lost: %+v", r.Lost())
		}
		if err := r.Write(t.Context(), change(l.found(r.Lost()))); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v", name, err)
		}
		if err := r.Switch(); err == nil {
			t.Errorf("%s: it was put in the place of the old one", name)
		}
		r.Close()
		l.must(l.repairWhileOpen(i))
		l.must(l.reads(1))
	}
}

// The disk writes something else than it is told: the new file is read again before it
// counts.
func TestNewFileIsReadAgain(t *testing.T) {
	l, i := rottenLab(t, 1)
	r, err := l.log.Rebuild(t.Context(), i)
	l.must(err)
	l.disk.MisdirectNext(512)
	if err := r.Write(l.t.Context(), l.found(r.Lost())); !errors.Is(err, protocol.ErrCorrupt) {
		t.Errorf("got %v, want %v", err, protocol.ErrCorrupt)
	}
	r.Close()
	l.withoutLeftovers()
	l.must(l.repairWhileOpen(i))
	l.must(l.reads(1))
}

// Others read, the log is written, cut, and loses its head, while a segment is written
// anew and put in its place.
func TestReadersAndWriterGoOnWhileASegmentIsRepaired(t *testing.T) {
	l, i := rottenLab(t, 1)
	l.must(l.log.EndSegment(i))
	r, err := l.log.Rebuild(t.Context(), i)
	l.must(err)
	last := protocol.Index(len(l.entries))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for k := protocol.Index(1); k <= last; k += 3 {
					got, err := l.log.Read(k, last, 3000)
					var where *storage.Unreadable
					if errors.As(err, &where) {
						continue
					}
					if err != nil || got[0].Sum != l.entries[k-1].Sum {
						t.Errorf("entry %d: %v", k, err)
						return
					}
				}
			}
		})
	}
	done := make(chan error, 1)
	runs := l.found(r.Lost())
	go func() { done <- r.Write(t.Context(), runs) }()
	all := l.entries
	for range 20 {
		var more []protocol.Entry
		for range 2 {
			more = append(more, protocol.Entry{Index: protocol.Index(len(all) + 1 + len(more)), Term: 9, Kind: protocol.EntryCommand, Data: make([]byte, 200)})
		}
		protocol.EncodeEntries(more)
		protocol.SumEntries(all[len(all)-1].Sum, more)
		l.must(l.log.Write(protocol.Write{State: l.state, First: more[0].Index, Last: more[1].Index}, more))
		all = append(all[:len(all):len(all)], more...)
		l.must(l.log.Sync())
	}
	l.must(<-done)
	l.must(r.Switch())
	r.Close()
	close(stop)
	readers.Wait()
	l.entries = all
	l.must(l.reads(1))
	l.state.Commit = protocol.Index(len(all))
	l.must(l.log.Write(protocol.Write{State: l.state, First: 1}, nil))
	l.must(l.log.Sync())
	begin, err := l.log.DropHead(i + 30)
	l.must(err)
	l.must(l.reads(begin.Index + 1))
	l.crash()
	l.open()
	l.expect(protocol.Index(len(all)))
}

// The log has lost its head meanwhile: the new file has no place any more.
func TestSegmentThatIsGoneIsNotPutBack(t *testing.T) {
	l, i := rottenLab(t, 1)
	l.state.Commit = protocol.Index(len(l.entries))
	l.must(l.log.Write(protocol.Write{State: l.state, First: 1}, nil))
	r, err := l.log.Rebuild(t.Context(), i)
	l.must(err)
	gone := l.find(20).Segment
	l.must(r.Write(l.t.Context(), l.found(r.Lost())))
	_, err = l.log.DropHead(l.state.Commit)
	l.must(err)
	if err := r.Switch(); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	r.Close()
	l.withoutLeftovers()
	if names := l.segments(); slices.Contains(names, gone) {
		t.Errorf("%s is there again", gone)
	}
	l.crash()
	l.open()
	l.expect(l.state.Commit)
}
