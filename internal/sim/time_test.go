package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// The only voter stands still for ten times as long as a session lasts: its clients had
// nobody to whom to say that they live, and lose nothing. Its clock has gone on.
func TestAPauseOfTheLeaderEndsNoSession(t *testing.T) {
	s := calmCluster(t, 3, Options{Actives: 1, Passives: -1})
	leader := s.leaderNow()
	s.run(t, 5*time.Second)
	before := leader.machine.Stats().Sessions
	if before == 0 {
		t.Fatal("no client has a session: the test tests nothing")
	}
	const pause = 10 * protocol.SessionTimeoutDefault
	began := leader.clock.at(s.schedule.now)
	leader.pause(pause)
	s.run(t, pause+2*time.Second)
	if passed := leader.clock.at(s.schedule.now).Sub(began); passed < pause/2 {
		t.Fatalf("only %v have passed at the leader: the test tests nothing", passed)
	}
	if got := leader.machine.Stats().Sessions; got < before || s.counts[countSessionsExpired] != 0 {
		t.Errorf("%d of %d sessions go on, and clients have heard of %d that ended", got, before, s.counts[countSessionsExpired])
	}
}
