package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/virtual"
	"github.com/starlinghq/starling/protocol"
)

// deadStreams is weather in which streams between some ends carry nothing, and datagrams
// fare as ever.
type deadStreams struct {
	virtual.Weather
	dead func(from, to int) bool
}

func (d deadStreams) Stream(from, to, bytes int) (late time.Duration, breaks bool) {
	if d.dead(from, to) {
		return time.Hour, false
	}
	return d.Weather.Stream(from, to, bytes)
}

// withoutPulses lets heartbeats go by stream alone.
func withoutPulses(_ *member, msg protocol.Message, bytes []byte) [][]byte {
	if k := msg.Kind(); k.NeverByStream() && !k.OfFlock() {
		return nil
	}
	return [][]byte{bytes}
}

// A fifth of all packets is lost. Streams stand still for longer than an election takes,
// and five members elect one leader after the other; not so if heartbeats go by datagram
// as well.
func TestPacketLossIsNoReasonToElect(t *testing.T) {
	const lasts = time.Minute
	var by, alone uint64
	for seed := uint64(1); seed <= 3; seed++ {
		elections := func(pulses bool) uint64 {
			s := calmCluster(t, seed, Options{Actives: 5, Passives: -1, Duration: 2 * time.Minute})
			if !pulses {
				s.network.newer = withoutPulses
			}
			s.network.rough.Loss = 0.2
			before, written := s.counts[countElections], s.counts[countAcknowledged]
			s.run(t, lasts)
			n := uint64(s.counts[countElections] - before)
			t.Logf("seed %d, pulses %t: %d elections, %d writes", seed, pulses, n, s.counts[countAcknowledged]-written)
			return n
		}
		by += elections(true)
		alone += elections(false)
	}
	if by > 8 {
		t.Errorf("%d elections in three minutes, want a few", by)
	}
	if alone < 30 {
		t.Errorf("%d elections in three minutes without pulses: the test is not worth much", alone)
	}
}

// Datagrams pass, and streams between the leader and all others do not: it is heard, it
// hears answers, and it can commit nothing. Another one leads.
func TestALeaderIsNotKeptByDatagramsAlone(t *testing.T) {
	s := calmCluster(t, 1, Options{Actives: 3, Passives: -1})
	old := s.leaderNow()
	s.network.Weather = deadStreams{s.network.Weather, func(from, to int) bool { return from == old.number || to == old.number }}
	replaced := func() bool { l := s.leaderNow(); return l != nil && l != old && !old.replica.Status(old.now()).Leads }
	if !s.until(s.schedule.now.Add(8*s.plan.election), replaced) {
		t.Fatalf("%s leads on, and commits nothing: %v", old.name, s.violation)
	}
	written := s.counts[countAcknowledged]
	s.run(t, 10*time.Second)
	if s.counts[countAcknowledged] == written {
		t.Error("nothing is acknowledged under the next leader")
	}
}

// Datagrams pass between a follower and its leader, and streams do not. It hears the
// leader, and gets nothing from it: the flock has what is committed.
func TestAFollowerThatHearsPulsesAloneAsksTheFlock(t *testing.T) {
	s := calmCluster(t, 1, Options{Actives: 3, Passives: -1})
	l := s.leaderNow()
	m := s.members[(l.number+1)%3]
	s.network.Weather = deadStreams{s.network.Weather, func(from, to int) bool {
		return from == l.number && to == m.number || from == m.number && to == l.number
	}}
	elections, held := s.counts[countElections], m.replica.HardState().Commit
	s.run(t, 10*time.Second)
	led, has := l.replica.HardState().Commit, m.replica.HardState().Commit
	if led < held+10 {
		t.Fatalf("%d is committed, from %d: the test is not worth much", led, held)
	}
	if has+20 < led {
		t.Errorf("%s has %d of %d that are committed", m.name, has, led)
	}
	if n := s.counts[countElections] - elections; n != 0 || s.leaderNow() != l {
		t.Errorf("%d elections while all members hear the leader", n)
	}
}
