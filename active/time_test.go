package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// alone is a leader without other voters, with some times.
func alone(t *testing.T, election, heartbeat time.Duration) (*Member, *protocol.Instant) {
	t.Helper()
	now := protocol.Instant(time.Hour)
	configs := protocol.NewConfigurations(protocol.ConfigurationAt{Configuration: configurationOf("a")})
	m := New(now, Config{ID: idOf("a"), Election: election, Heartbeat: heartbeat}, Start{Configurations: configs}, &benchLog{})
	lead(m, now)
	equal(t, "state", m.state, StateLeader)
	return m, &now
}

// lead ticks a member until its disk has nothing to write any more.
func lead(m *Member, now protocol.Instant) {
	m.Tick(now)
	for range 10 {
		if w := m.Ready().Write; w != nil {
			m.Persisted(now, w.ID)
		}
	}
}

// A leader that was stopped: whatever its first event is then, its clients have the time
// that they had.
func TestAPauseOfTheLeaderEatsNobodysDeadline(t *testing.T) {
	for _, c := range []struct{ election, want time.Duration }{
		{150 * time.Millisecond, 150 * time.Millisecond},
		{500 * time.Millisecond, 333 * time.Millisecond},
		{3 * time.Second, 333 * time.Millisecond},
	} {
		for name, event := range map[string]func(m *Member, now protocol.Instant){
			"a proposal": func(m *Member, now protocol.Instant) {
				if _, err := m.Propose(now, []Proposal{{Kind: protocol.EntryTick}}); err != nil {
					t.Fatal(err)
				}
			},
			"a tick":    (*Member).Tick,
			"the asked": func(m *Member, now protocol.Instant) { m.ClusterTime(now) },
		} {
			m, now := alone(t, c.election, c.election/5)
			before := m.ClusterTime(*now)
			event(m, now.Add(time.Hour))
			if got := time.Duration(m.ClusterTime(now.Add(time.Hour)) - before); got != c.want {
				t.Errorf("election timeout %v, %s an hour later: %v have passed, want %v", c.election, name, got, c.want)
			}
			if got := m.LastTime(); name == "a proposal" && got != before+protocol.ClusterTime(c.want) {
				t.Errorf("election timeout %v: the entry says %v, want %v", c.election, time.Duration(got), time.Duration(before)+c.want)
			}
		}
	}
}

// Counterexample 43, its second half: a heartbeat rarer than the step must not slow
// down the clock of an idle cluster, nor must an owner that comes late by a little.
func TestAnIdleLeaderLosesNoTime(t *testing.T) {
	for _, c := range []Config{Fast, LAN, WAN, {Election: 10 * time.Second, Heartbeat: 5 * time.Second}} {
		m, now := alone(t, c.Election, c.Heartbeat)
		begin, before := *now, m.ClusterTime(*now)
		late := m.cfg.timeStep() / 3
		for now.Sub(begin) < time.Minute {
			*now = max(*now, m.Deadline()).Add(late)
			lead(m, *now)
		}
		if got, want := time.Duration(m.ClusterTime(*now)-before), now.Sub(begin); got != want {
			t.Errorf("heartbeats each %v: %v of %v have passed", c.Heartbeat, got, want)
		}
	}
}
