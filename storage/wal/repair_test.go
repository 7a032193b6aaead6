package wal_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// damagedLab is a settled log of several segments with two damaged records, and
// what repairs it.
func damagedLab(t *testing.T, seed uint64) (*lab, storage.RepairPlan) {
	t.Helper()
	l := settledLab(t, seed)
	l.rot(l.find(8), true)
	l.rot(l.find(l.last3()), false)
	l.open()
	plan := planFor(l)
	return l, plan
}

func (l *lab) last3() protocol.Index { return protocol.Index(len(l.entries)) - 12 }

// planFor fills what is damaged with what was written.
func planFor(l *lab) storage.RepairPlan {
	l.t.Helper()
	d := l.log.Opened().Damage
	if d == nil || len(d.Good) < 2 {
		l.t.Fatalf("damage: %+v", d)
	}
	last := protocol.Index(len(l.entries))
	plan := storage.RepairPlan{Last: last, Sum: l.entries[last-1].Sum}
	for k := 1; k < len(d.Good); k++ {
		plan.Patches = append(plan.Patches, l.entries[d.Good[k-1].Last:d.Good[k].After])
	}
	return plan
}

// expectAll checks that all entries and the hard state are there.
func (l *lab) expectAll() {
	l.t.Helper()
	l.expect(protocol.Index(len(l.entries)))
	rec := l.log.Opened()
	if rec.State != l.state {
		l.t.Fatalf("got %+v, want %+v", rec.State, l.state)
	}
	for i := rec.LogTerms.FirstIndex(); i <= rec.LogTerms.LastIndex(); i++ {
		got, err := l.log.Read(i, i, 0)
		if err != nil || got[0].Sum != l.entries[i-1].Sum {
			l.t.Fatalf("entry %d: %v", i, err)
		}
	}
}

// Repairing is cut short at every step, by the end of the process or of the power,
// and once more while the log is opened: the damaged log is there, or the repaired
// one, with the hard state, and sequence numbers that never went back.
func TestRepairingCutShortLosesNothing(t *testing.T) {
	rounds := uint64(4)
	if testing.Short() {
		rounds = 1
	}
	for _, power := range []bool{false, true} {
		unrepaired, repaired := 0, 0
		for round := range rounds {
			for n := 0; ; n++ {
				damaged, stopped := repairingCutShort(t, power, n, round)
				if damaged {
					unrepaired++
				} else {
					repaired++
				}
				if !stopped {
					break
				}
			}
		}
		t.Logf("power=%v: stopped %d times before the switch, %d after", power, unrepaired, repaired)
		if unrepaired < 10 || repaired < 3 {
			t.Errorf("power=%v: stopped %d times before the switch, %d after", power, unrepaired, repaired)
		}
	}
}

// repairingCutShort stops a repairing after n steps. It reports whether the log was
// still damaged, and whether there were so many steps.
func repairingCutShort(t *testing.T, power bool, n int, round uint64) (damaged, stopped bool) {
	t.Helper()
	l, plan := damagedLab(t, uint64(n)+1000*round)
	was := l.log.Opened().Sequence
	l.log.Close()
	end := func() {
		if power {
			l.disk.Crash()
		} else {
			l.disk.Kill()
		}
	}
	l.disk.StopAfter(n)
	err := wal.Repair(context.Background(), l.disk, labDir, l.options, plan)
	stopped = l.disk.Stopped()
	if err != nil && !stopped {
		t.Fatal(err)
	}
	end()
	if _, err := wal.Inspect(l.disk, labDir, nil); err != nil {
		t.Fatalf("step %d: %v", n, err)
	}
	l.disk.StopAfter(rand.New(rand.NewPCG(uint64(n), round)).IntN(20))
	if log, err := wal.Open(l.disk, labDir, l.options); err == nil {
		log.Close()
	}
	end()
	l.open()
	if damaged = l.log.Opened().Damage != nil; damaged {
		if err == nil {
			t.Fatalf("step %d: repaired, and damaged again", n)
		}
		if got := l.log.Opened(); got.State != l.state || got.Sequence < was {
			t.Fatalf("step %d: got %+v", n, got)
		}
		l.log.Close()
		l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
		l.open()
	}
	if got := l.log.Opened().Sequence; got <= was {
		t.Fatalf("step %d: the sequence number went back from %d to %d", n, was, got)
	}
	l.expectAll()
	l.append(protocol.Index(len(l.entries)), 2, 100, 9) // and goes on
	l.sync()
	l.crash()
	l.open()
	l.expectAll()
	p, err := wal.Verify(l.disk, labDir)
	if err != nil || len(p.Unexpected) > 0 || p.Corrupt > 0 {
		t.Fatalf("step %d: %v, unexpected %v, %d corrupt", n, err, p.Unexpected, p.Corrupt)
	}
	l.log.Close()
	return damaged, stopped
}

// A plan that does not fit the log is refused, and changes nothing.
func TestPlanThatDoesNotFitIsRefused(t *testing.T) {
	l, good := damagedLab(t, 1)
	for name, change := range map[string]func(*storage.RepairPlan){
		"another end":         func(p *storage.RepairPlan) { p.Sum[0]++ },
		"a patch is missing":  func(p *storage.RepairPlan) { p.Patches = p.Patches[1:] },
		"below the commit":    func(p *storage.RepairPlan) { p.Last, p.Sum = 5, l.entries[4].Sum; p.Patches = nil },
		"above the end":       func(p *storage.RepairPlan) { p.Last++ },
		"another begin's sum": func(p *storage.RepairPlan) { p.Begin = &storage.Begin{Index: 20, Term: 2} },
		"another entry": func(p *storage.RepairPlan) {
			other := append([]protocol.Entry(nil), p.Patches[0]...)
			other[0].Data = []byte("x")
			protocol.EncodeEntries(other[:1])
			p.Patches = append([][]protocol.Entry{other}, p.Patches[1:]...)
		},
		"nobody is active": func(p *storage.RepairPlan) {
			p.Begin = &storage.Begin{Index: 20, Term: 2, Sum: l.entries[19].Sum}
		},
	} {
		l.log.Close()
		plan := good
		change(&plan)
		err := wal.Repair(context.Background(), l.disk, labDir, l.options, plan)
		if !errors.Is(err, protocol.ErrInvalid) && !errors.Is(err, protocol.ErrCorrupt) && !errors.Is(err, protocol.ErrNotFound) {
			t.Errorf("%s: got %v", name, err)
		}
		names, _ := l.disk.ReadDir(labDir + "/log")
		for _, n := range names {
			if strings.Contains(n, "repaired") {
				t.Errorf("%s: %s is left", name, n)
			}
		}
		l.open()
		if l.log.Opened().Damage == nil {
			t.Fatalf("%s: the damage is gone", name)
		}
	}
	l.log.Close()
	l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, good))
	l.open()
	l.expectAll()
}

// Without space nothing is changed, and it works when there is some.
func TestRepairOnAFullDisk(t *testing.T) {
	l, plan := damagedLab(t, 1)
	l.log.Close()
	free, err := l.disk.FreeSpace(labDir)
	l.must(err)
	for _, room := range []uint64{0, 20 << 10, 50 << 10} {
		l.disk.SetCapacity(int64(math.MaxInt64 - free + room))
		if err := wal.Repair(context.Background(), l.disk, labDir, l.options, plan); !errors.Is(err, protocol.ErrNoSpace) {
			t.Fatalf("%d bytes free: got %v", room, err)
		}
	}
	l.disk.SetCapacity(math.MaxInt64)
	l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
	l.open()
	l.expectAll()
}

// A failed sync is the end of it: the damaged log stays.
func TestRepairWithAFailedSync(t *testing.T) {
	for n := 1; n < 8; n++ {
		l, plan := damagedLab(t, 1)
		l.log.Close()
		l.disk.Fail(vfs.OpSync, n, nil)
		err := wal.Repair(context.Background(), l.disk, labDir, l.options, plan)
		if err == nil {
			break
		}
		if !errors.Is(err, protocol.ErrDiskFailed) {
			t.Fatalf("sync %d: got %v", n, err)
		}
		l.disk.Crash()
		l.open()
		if l.log.Opened().Damage != nil {
			l.log.Close()
			l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
			l.open()
		}
		l.expectAll()
	}
}

// A repaired log is damaged and repaired again, and begins after a checkpoint the
// third time: numbers of segments and records go on.
func TestRepairingAgain(t *testing.T) {
	l, plan := damagedLab(t, 1)
	sequence := l.log.Opened().Sequence
	for round := range 3 {
		l.log.Close()
		l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
		l.open()
		l.expectAll()
		if got := l.log.Opened().Sequence; got <= sequence {
			t.Fatalf("round %d: sequence %d after %d", round, got, sequence)
		}
		sequence = l.log.Opened().Sequence
		l.must(l.log.Settle())
		l.kill()
		l.rot(l.find(protocol.Index(39+round)), round%2 == 0)
		l.open()
		plan = planFor(l)
		if round == 1 {
			plan.Begin = &storage.Begin{Index: 35, Term: 2, Sum: l.entries[34].Sum,
				Configuration: protocol.ConfigurationAt{Index: 1, Configuration: sampleConfiguration()}}
		}
	}
	rec := l.log.Opened()
	if rec.Damage == nil || rec.Damage.Begin.Index != 35 {
		t.Fatalf("got %+v", rec.Damage)
	}
}

// A member that repairs its log over several starts counts each of them, and says
// of the log what others have seen of it: they refuse who goes back in either.
func TestDamagedStartIsCounted(t *testing.T) {
	l, plan := damagedLab(t, 11)
	starts, seen := l.log.Identity().Starts, l.log.Opened().Sequence
	for range 2 {
		l.must(l.log.CountStart())
		if got := l.log.Identity().Starts; got != starts+1 {
			t.Errorf("start %d after %d", got, starts)
		}
		if got := l.log.DurableSequence(); got < seen {
			t.Errorf("the durable sequence number is %d, it was %d", got, seen)
		}
		starts++
		l.log.Close()
		l.open()
	}
	l.log.Close()
	l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
	l.open()
	if got := l.log.Identity().Starts; got != starts+1 {
		t.Errorf("start %d after %d", got, starts)
	}
	l.expectAll()
}

// A member that is to end does not wait until a large log has been copied: the damaged
// one is there as it was, and nothing of the other.
func TestRepairEndsWithItsContext(t *testing.T) {
	l, plan := damagedLab(t, 3)
	l.log.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := wal.Repair(ctx, l.disk, labDir, l.options, plan); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	names, err := l.disk.ReadDir(labDir + "/log")
	l.must(err)
	for _, n := range names {
		if strings.Contains(n, "repaired") {
			t.Errorf("%s is left", n)
		}
	}
	l.open()
	if l.log.Opened().Damage == nil {
		t.Fatal("the damage is gone")
	}
	l.log.Close()
	l.must(wal.Repair(context.Background(), l.disk, labDir, l.options, plan))
	l.open()
	l.expectAll()
}
