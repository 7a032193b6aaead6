package sim

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/standin"
	"github.com/starlinghq/starling/storage/vfs"
)

// schedulesVariable is how many schedules TestOneFailedCallOfEachKindOnEachMember tries.
const schedulesVariable = "STARLING_SIM_SCHEDULES"

// One call of each kind fails on each member, at a time of its own within one interval
// between two checkpoints, and then none. Nothing that was acknowledged is lost, which
// the checkers see to; whoever has ended is started once, without faults, and comes
// back; in the end everybody has the same state, and two checkpoints that can be read.
func TestOneFailedCallOfEachKindOnEachMember(t *testing.T) {
	schedules := 40
	if n, err := strconv.Atoi(os.Getenv(schedulesVariable)); err == nil {
		schedules = n
	}
	var counts Counts
	met := map[vfs.Op]int{}
	for seed := range uint64(schedules) {
		s := scheduled(t, 1+seed, met)
		counts.Add(&s.counts)
		if t.Failed() {
			t.Fatalf("schedule %d", 1+seed)
		}
	}
	t.Logf("%d calls failed, %d members ended by that, %d starts and %d checkpoints were given up", counts[countFailedCalls],
		counts[countEndedByACall], counts[countStartsRefused], counts[countCheckpointsGivenUp])
	for _, c := range callSorts() {
		t.Logf("%s: met %d times", c.op, met[c.op])
		if met[c.op] < schedules {
			t.Errorf("a failed %s was met %d times in %d schedules of five members: too rare", c.op, met[c.op], schedules)
		}
	}
	for _, k := range []tally{countEndedByACall, countStartsRefused, countCheckpointsGivenUp} {
		if counts[k] < uint64(schedules)/2 {
			t.Errorf("%d %s in %d schedules: too rare", counts[k], k.name(), schedules)
		}
	}
}

// scheduled plays one schedule.
func scheduled(t *testing.T, seed uint64, met map[vfs.Op]int) *simulation {
	t.Helper()
	s := newSimulation(seed, Options{Profile: "calm", Duration: time.Minute})
	quiet(s)
	s.plan.checkpoint, s.plan.chunk, s.plan.segment = 1<<10, 64<<(seed%8), segmentBytes
	s.plan.retain, s.plan.behind = 1+int(seed%20), -1
	begin(t, s)
	twoEach := func() bool {
		return !slices.ContainsFunc(s.members, func(m *member) bool { return !m.up() || len(m.store.Kept()) < 2 })
	}
	if !s.until(s.schedule.now.Add(30*time.Second), twoEach) {
		t.Fatalf("schedule %d: not everybody has two checkpoints: %v", seed, s.violation)
	}
	var began Time
	for range 2 {
		began = s.schedule.now
		last := s.newest()
		s.until(began.Add(10*time.Second), func() bool { return s.newest() > last })
	}
	interval := s.schedule.now.Sub(began)

	for _, m := range s.members {
		for _, c := range callSorts() {
			s.schedule.after(between(s.random.calls, 0, interval), func() { m.disk.fs.FailCall(scheduledCall(c, seed, s.random.calls)) })
		}
	}
	held := map[*member]protocol.Index{}
	hold := func() bool {
		for _, m := range s.members {
			if !m.up() {
				continue
			}
			if kept := m.store.Kept(); len(kept) > 0 && kept[0].Index != held[m] {
				held[m] = kept[0].Index
				m.pointersHold(t)
			}
		}
		return false
	}
	s.until(s.schedule.now.Add(interval), hold)
	// What nothing has met is met wherever it can be, while more are taken.
	s.until(s.schedule.now.Add(2*interval), hold)
	for _, m := range s.members {
		list := m.disk.fs.Troubles()
		m.disk.fs.CallsWork()
		for _, x := range list {
			x.Name = ""
			m.disk.fs.FailCall(x)
		}
	}
	s.until(s.schedule.now.Add(metWithin), func() bool {
		return hold() || !slices.ContainsFunc(s.members, func(m *member) bool { return len(m.disk.fs.Troubles()) > 0 })
	})
	wantRule(t, s.violation, "")
	for _, m := range s.members {
		for _, c := range callSorts() {
			if !slices.ContainsFunc(m.disk.fs.Troubles(), func(x vfs.Trouble) bool { return x.Op == c.op }) {
				met[c.op]++
			}
		}
		m.heals()
		if !m.up() && m.repairing == nil {
			s.restart(m)
		}
	}
	refused, wiped := s.counts[countStartsRefused], s.counts[countWiped]
	s.run(t, 5*time.Second)
	if seed%4 < 2 {
		s.blackout()
	}
	newest := s.newest()
	if !s.until(s.schedule.now.Add(30*time.Second), func() bool { return twoEach() && s.oldest() > newest }) {
		t.Errorf("schedule %d: %s has no two checkpoints above %d: %v", seed, s.lacking(newest), newest, s.violation)
	}
	s.settle()
	wantRule(t, s.violation, "")
	if s.counts[countStartsRefused] != refused || s.counts[countWiped] != wiped {
		t.Errorf("schedule %d: without faults %d starts were refused, and %d disks wiped", seed, s.counts[countStartsRefused]-refused, s.counts[countWiped]-wiped)
	}
	for _, m := range s.members {
		m.readsAll(t)
	}
	return s
}

// scheduledCall draws a call: in each other schedule one of those that take and read
// checkpoints, of which no member ends.
func scheduledCall(c callSort, seed uint64, r *rand.Rand) vfs.Trouble {
	for {
		x := c.draw(r)
		x.N = 1
		ofLog := x.Name == "" || strings.HasPrefix(x.Name, "log") || strings.HasPrefix(x.Name, directory)
		if seed%2 == 0 || !ofLog || len(c.names) < 4 {
			return x
		}
	}
}

// metWithin is for how long a call that no one has made is waited for.
const metWithin = 10 * time.Second

// newest is the newest checkpoint of anybody, oldest the older one of who is behind.
func (s *simulation) newest() (i protocol.Index) {
	for _, m := range s.members {
		if m.up() {
			for _, d := range m.store.Kept() {
				i = max(i, d.Index)
			}
		}
	}
	return i
}

func (s *simulation) oldest() protocol.Index {
	i := s.newest()
	for _, m := range s.members {
		for _, d := range m.store.Kept() {
			i = min(i, d.Index)
		}
	}
	return i
}

// lacking names who has no two checkpoints above an index.
func (s *simulation) lacking(above protocol.Index) (names []string) {
	for _, m := range s.members {
		if !m.up() || len(m.store.Kept()) < 2 || m.store.Kept()[1].Index <= above {
			names = append(names, m.name)
		}
	}
	return names
}

// pointersHold reads all checkpoints that pointers on a member's disk name, as who
// starts from it now does: a pointer is written when all of it was read anew.
func (m *member) pointersHold(t *testing.T) {
	t.Helper()
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	disk.Rollback(m.disk.fs.Snapshot(directory))
	store, err := checkpoint.Open(disk, filepath.Join(directory, checkpoint.Folder), standin.New(disk, m.s.plan.chunk), checkpoint.Options{SpaceReserve: 1, BootID: "a copy", ChunkBytes: m.s.plan.chunk})
	if err != nil {
		t.Errorf("%s: %v", m.name, err)
		return
	}
	defer store.Close()
	for _, d := range store.Kept() {
		if err := store.Iterate(context.Background(), d.Index, func(storage.Item) error { return nil }); err != nil {
			t.Errorf("%s at %v: the pointer of %d does not hold: %v", m.name, time.Duration(m.s.schedule.now), d.Index, err)
		}
	}
}

// readsAll reads both checkpoints of a member as who starts does, from the disk.
func (m *member) readsAll(t *testing.T) {
	t.Helper()
	kept := m.store.Kept()
	m.stop()
	m.disk.crash(false)
	if err := m.openStore(); err != nil {
		t.Errorf("%s: %v", m.name, err)
		return
	}
	store := m.store
	for _, d := range kept {
		items := uint64(0)
		err := store.Iterate(context.Background(), d.Index, func(storage.Item) error { items++; return nil })
		if err != nil || items != d.Items {
			t.Errorf("%s: the checkpoint at %d has %d items, %d can be read: %v", m.name, d.Index, d.Items, items, err)
		}
	}
	if len(kept) < 2 {
		t.Errorf("%s has %d checkpoints", m.name, len(kept))
	}
	if aside := store.Aside(); len(aside) > 0 {
		t.Errorf("%s has set %d checkpoints aside", m.name, len(aside))
	}
}

// The counterexample of ADR 19 under load: the sync of a list of tables fails at every
// member, in the background, and the checkpoint is given up, not pointed at.
func TestFailedSyncOfTheListOfTablesIsNeverPointedAt(t *testing.T) {
	s := newSimulation(1, Options{Profile: "calm", Duration: time.Minute})
	quiet(s)
	s.plan.checkpoint, s.plan.chunk, s.plan.retain = 1<<10, 64, 1
	begin(t, s)
	for _, m := range s.members {
		m.disk.fs.FailCall(vfs.Trouble{Op: vfs.OpSync, Name: "store-*/MANIFEST", N: 3, Err: syscall.EIO})
	}
	held := map[*member]protocol.Index{}
	s.until(s.schedule.now.Add(15*time.Second), func() bool {
		for _, m := range s.members {
			if kept := m.store.Kept(); len(kept) > 0 && kept[0].Index != held[m] {
				held[m] = kept[0].Index
				m.pointersHold(t)
			}
		}
		return t.Failed()
	})
	wantRule(t, s.violation, "")
	if got := s.counts[countCheckpointsGivenUp]; got != uint64(len(s.members)) {
		t.Errorf("%d checkpoints were given up, want one at each of %d members", got, len(s.members))
	}
}
