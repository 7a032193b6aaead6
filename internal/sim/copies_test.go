package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/wal"
)

// follower returns an active of a quiet cluster that does not lead.
func (s *simulation) follower() *member {
	for _, m := range s.machines() {
		if m.wish == protocol.RoleActive && m != s.leaderNow() {
			return m
		}
	}
	return nil
}

// atRest plays on until a member's directory can be copied.
func (s *simulation) atRest(t *testing.T, m *member) {
	t.Helper()
	if !s.until(s.schedule.now.Add(5*time.Second), func() bool { return m.up() && m.quiet() }) {
		t.Fatalf("%s is never at rest: %v", m.name, s.violation)
	}
}

// Prevents counterexample 53: whoever hears the original does not let in a copy,
// however often that has been started, and tells it; the original goes on.
func TestACopyBesideItsOriginalIsRefused(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		s := calmCluster(t, seed, Options{})
		m := s.follower()
		s.atRest(t, m)
		id, run := m.id, m.run
		s.copyBeside(m)
		if s.copying == nil {
			t.Fatalf("seed %d: nobody hears %s", seed, m.name)
		}
		before := s.counts[countAcknowledged]
		s.run(t, copyTold+2*time.Second)
		if s.counts[countCopiesRefused] != 1 || s.faultFreeFor != 0 || s.copying != nil {
			t.Errorf("seed %d: got %d copies refused, fault-free window %d, want 1 and none", seed, s.counts[countCopiesRefused], s.faultFreeFor)
		}
		if m.id != id || m.run != run || !m.up() || s.counts[countAcknowledged] == before {
			t.Errorf("seed %d: the original does not go on", seed)
		}
		s.settle()
		wantRule(t, s.violation, "")
	}
}

func TestAnOldCopyIsRefusedByThoseWhoRemember(t *testing.T) {
	s := calmCluster(t, 2, Options{})
	m := s.follower()
	s.atRest(t, m)
	s.copyOld(m)
	if !s.until(s.schedule.now.Add(time.Minute), func() bool { return s.counts[countCopiesRefused] > 0 }) {
		t.Fatalf("the copy is not refused: %v", s.violation)
	}
	if k := s.copying; k == nil || !k.copy.disk.isBarred() || m.id != k.copy.id || m.disk.isBarred() {
		t.Error("the copy's directory alone must say that it was refused")
	}
	s.run(t, 30*time.Second)
	if s.copying != nil || s.counts[countCopies] != 1 {
		t.Errorf("got %d starts of the copy, want that it does not start again", s.counts[countCopies])
	}
}

// A directory that was moved to another machine goes on there; what comes back at
// the old place is a copy of it.
func TestAnOriginalThatComesBackBesideItsCopyIsRefused(t *testing.T) {
	back := uint64(0)
	for seed := uint64(1); seed <= 6; seed++ {
		s := calmCluster(t, seed, Options{})
		m := s.follower()
		s.atRest(t, m)
		id := m.id
		s.copyMoved(m)
		s.until(s.schedule.now.Add(30*time.Second), func() bool { return s.copying == nil })
		wantRule(t, s.violation, "")
		if s.counts[countCopiesWelcomed] == 0 {
			t.Errorf("seed %d: nobody lets the copy in", seed)
		}
		if back += s.counts[countOriginalsBack]; s.counts[countOriginalsBack] != s.counts[countCopiesRefused] {
			t.Errorf("seed %d: got %d originals back and %d refused", seed, s.counts[countOriginalsBack], s.counts[countCopiesRefused])
		}
		s.run(t, 5*time.Second)
		if m.id == id {
			t.Errorf("seed %d: the old directory goes on", seed)
		}
		s.settle()
		wantRule(t, s.violation, "")
	}
	if back == 0 {
		t.Error("no original came back")
	}
}

// What comes of a run that does not hold its id counts for nothing, and what was
// let in beside an original that is heard is found.
func TestACopyThatIsLetInIsFound(t *testing.T) {
	s := calmCluster(t, 1, Options{})
	m := s.follower()
	s.atRest(t, m)
	s.copyBeside(m)
	s.until(s.schedule.now.Add(copyTold), func() bool {
		for _, other := range s.machines() { // they forget whom they hear, and have heard
			other.greeter.holders, other.greeter.watermarks = handshake.Holders{}, &driver.Watermarks{}
		}
		return false
	})
	wantRule(t, s.violation, RuleTwin)
}

// A greeting raises nothing, wherever it comes from: the copy below is of a member
// at another address than the configuration's.
func TestACopyRaisesNothing(t *testing.T) {
	s := calmCluster(t, 4, Options{})
	m := s.follower()
	s.atRest(t, m)
	s.copyMoved(m)
	k := s.copying
	s.run(t, 3*time.Second)
	if !k.copy.up() || s.counts[countCopiesWelcomed] == 0 {
		t.Fatal("the copy does not run")
	}
	for _, other := range s.machines() {
		if seen := other.greeter.watermarks.Seen(m.id); seen.Starts > 1 {
			t.Errorf("%s remembers start %d of a member that it has dialled at its address once", other.name, seen.Starts)
		}
	}
}

// [S] A passive, or somebody at an address that is not the configuration's, cannot
// silence a voter. An active can, for good.
func TestOnlyAnActiveOfTheConfigurationSilencesAMember(t *testing.T) {
	s := calmCluster(t, 1, Options{})
	m, leader, passive := s.follower(), s.leaderNow(), s.members[s.options.Actives]
	m.greeter.refusedBy(&passive.host, protocol.ErrRolledBack)
	was := leader.address
	leader.address = "elsewhere:7000"
	m.greeter.refusedBy(&leader.host, protocol.ErrRolledBack)
	leader.address = was
	if m.greeter.barred || m.disk.isBarred() {
		t.Fatal("it believes anybody")
	}
	m.rolledBack = m.log.durable.clone() // so that there is a cause
	s.faultFreeFor++
	m.greeter.refusedBy(&leader.host, protocol.ErrRolledBack)
	if !m.greeter.barred || !m.disk.isBarred() || !m.up() {
		t.Fatal("it does not believe an active, or stops at the first word")
	}
	commit, state := m.replica.Status(m.now()).Commit, m.replica.HardState()
	s.run(t, 5*time.Second)
	if got := m.replica.HardState(); !m.up() || got.Term != state.Term || got.Vote != state.Vote || s.ledger.frontier() <= commit {
		t.Errorf("got %v after %v, others at %d after %d: it takes part, or the others do not go on", got, state, s.ledger.frontier(), commit)
	}
	id := m.id
	s.crash(m, false, "for the test")
	s.run(t, 20*time.Second)
	if m.id == id {
		t.Error("it has started on a directory that was refused")
	}
}

// Nobody remembers anything, and the leader's own account of what was acknowledged
// is enough.
func TestALeaderHasProofOfADirectoryPutBack(t *testing.T) {
	s := calmCluster(t, 1, Options{})
	m, leader := s.follower(), s.leaderNow()
	s.atRest(t, m)
	old := s.takeCopy(m)
	s.run(t, 5*time.Second)
	m.stop()
	m.disk.fs.Rollback(old.snapshot)
	s.fork() // so that the directory is suspect, and no rule of the checkers says so first
	for _, other := range s.machines() {
		other.greeter.watermarks = &driver.Watermarks{}
	}
	s.restart(m)
	commit := leader.replica.Status(leader.now()).Commit
	s.run(t, operatorLooks+5*time.Second)
	if got := s.counts[countCondemned]; got != 1 || s.leaderNow() != leader {
		t.Errorf("got %d directories that the leader has proof of, want 1", got)
	}
	if !m.disk.isBarred() || m.up() {
		t.Error("the member is not told, or goes on")
	}
	if got := leader.replica.Status(leader.now()).Commit; got <= commit {
		t.Errorf("got commit %d after %d, want that the others go on", got, commit)
	}
}

func TestARunThatWasSupersededCountsForNothing(t *testing.T) {
	s := calmCluster(t, 1, Options{})
	m, leader := s.follower(), s.leaderNow()
	l := s.network.link(m, leader)
	g := s.network.meeting(l).greet(m, l.Stream)
	if !s.network.welcomes(l, l.Stream, &g, m, leader) {
		t.Fatal("the member itself is not let in")
	}
	leader.greeter.holders.Supersede(m.id, m.runID)
	if _, ok := leader.greeter.holders.Enter(m.id, m.runID+1); !ok {
		t.Fatal("the other run is not let in")
	}
	if stream := l.Stream; s.network.welcomes(l, stream, &g, m, leader) || l.Stream == stream {
		t.Error("what came of it still counted, or its stream stayed open")
	}
}

// isBarred reports whether the directory says that it was refused, or cannot be
// asked.
func (d *disk) isBarred() bool {
	r, err := wal.ReadRefusal(d.fs, directory)
	return r != nil || err != nil
}
