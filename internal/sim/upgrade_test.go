package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// upgrade is a cluster that is upgraded to a release that knows the next format level, one
// member at a time, while the run goes on. With the tag starling_next that level has a kind
// of entries that changes the state.
type upgrade struct {
	s *simulation
	// strict says that nobody is lost, so that the level must stay while one is older.
	strict bool
	// beyond counts looks at which one that was put back had entries before it that it must
	// not apply.
	beyond int
	raised Time // when somebody first had the raise in its log; 0: nobody
}

// release puts another release on a machine, and starts it.
func (u *upgrade) release(m *member, level protocol.FormatLevel) {
	m.format = level
	m.tell(colorPlain, "gets a release that knows format level %d", level)
	if m.up() {
		u.s.crash(m, false, "to be started again")
	}
}

// look checks what holds at any time.
func (u *upgrade) look() {
	for _, m := range u.s.machines() {
		if !m.up() {
			continue
		}
		confs := m.replica.Configurations()
		if latest, _ := confs.Latest(); latest.Configuration.Level.Number() > 1 {
			if u.raised == 0 {
				u.raised = u.s.schedule.now
				u.mayRise()
			}
		}
		if limit := confs.AppliesTo(m.format); m.applied > limit {
			u.s.fail(violated(RuleState, "%s knows format level %d, and has applied %d above entry %d, which raises it", m.name, m.format, m.applied, limit))
		}
		if st := m.replica.Status(m.now()); st.Beyond != "" {
			u.beyond++
			if st.Leads {
				u.s.fail(violated(RuleState, "%s leads at a level that it does not know", m.name))
			}
		}
	}
	u.s.schedule.after(50*time.Millisecond, u.look)
}

// mayRise fails if a member is older.
func (u *upgrade) mayRise() {
	for _, m := range u.s.machines() {
		if m.format < 2 && u.strict {
			u.s.fail(violated(RuleState, "the level has risen while %s is of the release before", m.name))
		}
	}
}

// plays has all machines upgraded by the first third, puts some back when the level has
// risen, one at a time, and upgrades those again.
func (u *upgrade) plays(each time.Duration) {
	s := u.s
	at := each
	then := func(do func()) {
		s.schedule.after(at, do)
		at += each
	}
	s.schedule.after(0, u.look)
	for i := range s.machines() {
		then(func() { u.release(s.machines()[i], 2) })
	}
	at += 20 * each
	for i := range s.machines() {
		then(func() {
			if u.raised != 0 {
				u.release(s.machines()[i], 1)
			}
		})
		then(func() { u.release(s.machines()[i], 2) })
	}
}

// upgrades plays one seed.
func upgrades(t *testing.T, seed uint64, o Options, strict bool) *upgrade {
	t.Helper()
	o.format, o.Duration = 1, 2*time.Minute
	s := newSimulation(seed, o)
	if strict {
		quiet(s)
	}
	u := &upgrade{s: s, strict: strict}
	s.schedule.after(5*time.Second, func() { u.plays(2 * time.Second) })
	if r := s.watched(hangMax); r.Violation != nil {
		t.Errorf("seed %d: %v", seed, r.Violation)
	}
	return u
}

// [S] The level stays until all are upgraded, and rises then. An older member that is put
// back after that applies nothing above the raise and leads nobody; nothing is lost, no
// digest differs, and it goes on when it is upgraded again.
func TestALevelRisesWhenAllAreUpgradedAndWhoIsPutBackWaits(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		u := upgrades(t, seed, Options{Profile: "calm"}, true)
		if u.raised == 0 {
			t.Errorf("seed %d: the level has not risen", seed)
		}
		if u.beyond == 0 {
			t.Errorf("seed %d: nobody that was put back had anything that it may not apply", seed)
		}
	}
}

// The same under all faults: leaders die amid the raise, disks lose what was not synced,
// and a raise is cut off by another leader.
func TestALevelRisesUnderFaults(t *testing.T) {
	seeds := uint64(16)
	if testing.Short() {
		seeds = 4
	}
	raised, beyond := 0, 0
	for seed := range seeds {
		u := upgrades(t, 100+seed, Options{}, false)
		beyond += u.beyond
		if u.raised != 0 {
			raised++
		}
	}
	if raised == 0 || beyond == 0 {
		t.Errorf("the level has risen in %d of %d runs, and %d looks saw one that may not go on", raised, seeds, beyond)
	}
	t.Logf("the level has risen in %d of %d runs", raised, seeds)
}
