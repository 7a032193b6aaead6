package sim

import (
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
)

// withOldSectors is a quiet cluster whose members keep little of their logs in memory,
// in which a voter has been away while the log grew, and whose leader cannot read a
// page of any segment but the last two.
func withOldSectors(t *testing.T, seed uint64) (s *simulation, leader, away *member) {
	t.Helper()
	s = newSimulation(seed, Options{Profile: "calm", Duration: time.Minute})
	quiet(s)
	s.plan.tail, s.plan.retain, s.plan.retainBytes = 256, 100_000, 0
	s.plan.checkpoint, s.plan.segment = 1<<30, segmentBytes
	begin(t, s)
	s.run(t, 2*time.Second)
	leader = s.leaderNow()
	away = s.members[slices.IndexFunc(s.members, func(m *member) bool { return m != leader && m.role == protocol.RoleActive })]
	s.crash(away, false, "for a test")
	away.stayAway(40 * time.Second)
	s.run(t, 38*time.Second)
	if leader != s.leaderNow() {
		t.Fatalf("seed %d: %s does not lead any more", seed, leader.name)
	}
	var names []string
	all, _, err := leader.disk.files()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if filepath.Ext(name) == ".wal" {
			names = append(names, name)
		}
	}
	if len(names) < 4 {
		t.Fatalf("seed %d: %d segments: too few", seed, len(names))
	}
	for _, name := range names[:len(names)-2] {
		if err := leader.disk.fs.FailReads(name, pageBytes, pageBytes, syscall.EIO); err != nil {
			t.Fatal(err)
		}
	}
	leader.hurt, leader.damaged, leader.unreadable = true, true, true
	return s, leader, away
}

// A leader that cannot read what a voter lacks has it of the third one, writes it again
// and gives it, whatever moment of that it dies in.
func TestRunningLeaderRepairsWhatAFollowerNeeds(t *testing.T) {
	var counts Counts
	for seed := range uint64(24) {
		s, leader, away := withOldSectors(t, 1+seed)
		if seed%3 > 0 {
			leader.crashPoint = crashPoint{armed: true, at: amidRepairing, power: seed%3 == 2, skip: int(seed/3) % 5}
		}
		s.run(t, 20*time.Second)
		if seed%3 == 0 && away.applied < leader.applied/2 {
			t.Errorf("seed %d: %s has applied %d, the leader %d", 1+seed, away.name, away.applied, leader.applied)
		}
		s.settle()
		wantRule(t, s.violation, "")
		if n := s.counts[countWiped]; n > 0 {
			t.Errorf("seed %d: %d disks had to be wiped", 1+seed, n)
		}
		counts.Add(&s.counts)
	}
	died := counts[countBoundary+tally(amidRepairing)]
	t.Logf("%d places repaired by running members, of which %d died meanwhile; %d logs repaired at a start", counts[countRepairedRunning], died, counts[countRepaired])
	if counts[countRepairedRunning] < 24 || died < 8 {
		t.Errorf("%d places of running logs were repaired, and %d members died meanwhile: too rare", counts[countRepairedRunning], died)
	}
}

// What is written again and is not what the log had there is told.
func TestARunningLogThatIsRepairedWrongIsFound(t *testing.T) {
	s := calmCluster(t, 1, Options{})
	m := s.members[1]
	s.until(s.schedule.now.Add(time.Second), func() bool { return len(m.log.pending) == 0 && m.log.durable.last() > 3 })
	entries, err := m.wal.Read(2, 3, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, m.hands.live.alike([][]protocol.Entry{entries}), "")
	m.log.written.sums[1][0]++
	wantRule(t, m.hands.live.alike([][]protocol.Entry{entries}), RuleDurable)
}

// A step of a repair that has been given up is answered, and harms nobody.
func TestRepairingThatWasGivenUpEnds(t *testing.T) {
	s := calmCluster(t, 1, Options{})
	m := s.leaderNow()
	m.hands.live.step(&repair.Step{ID: 1, Look: 2})
	m.hands.live.step(&repair.Step{Stop: true})
	m.hands.live.step(&repair.Step{ID: 2, Write: true})
	s.run(t, 5*time.Second)
	if !m.up() {
		t.Error("the member has ended")
	}
}
