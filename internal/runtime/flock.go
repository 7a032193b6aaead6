package runtime

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/gossip/reunion"
	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

const (
	// orphanElections is for how many election timeouts a passive may hear nothing
	// of a leader before it says in its log that it follows nobody. An election takes
	// about one, and its outcome a few heartbeats.
	orphanElections = 10
	// A member that follows nobody says so at once, then after orphanFirst, and
	// after twice as long each time, up to orphanLast.
	orphanFirst, orphanLast = time.Minute, time.Hour
	// namesMax is how many members a line of the log names.
	namesMax = 8
)

// lookAround is the slow pulse of a member: it tells the others and the log how it is,
// and has written down what it knows of them. It waits for no disk.
func (m *Member) lookAround() {
	ticker := time.NewTicker(touchEvery)
	defer ticker.Stop()
	var alarm orphanAlarm
	var crowd crowd
	var voters voterWatch
	unreachedSaid := false
	for {
		m.remembered.open()
		m.syncs.look(m)
		alarm.look(m, time.Now())
		crowd.look(m, time.Now())
		voters.look(m, time.Now(), m.cfg.orphanAfter())
		m.dirs.lookForTwins()
		if why := unreached(m); (why != "") != unreachedSaid {
			if unreachedSaid = why != ""; unreachedSaid {
				m.logger.Warn("this member is not reached", "why", why)
			}
			m.cfg.waitsForOthers(why)
		}
		if err := nameTaken(m); err != nil {
			m.fail(err)
		}
		m.mailbox.put(func(in *mail) {
			in.calls = append(in.calls, m.dirs.keepInTouch, m.dirs.greetOnce, m.transport.lookForStreams)
		})
		select {
		case <-m.announcing:
			if p := m.published.Load(); p != nil {
				if err := m.swim.Update(m.meta(&m.cfg, p.Role)); err != nil {
					m.logger.Debug("telling the membership", "err", err)
				}
			}
		case <-ticker.C:
		case <-m.stop:
			return
		}
	}
}

// source is when this member last knew of a leader, at the youngest: the loop finds out,
// and any goroutine may look.
type source struct {
	led      atomic.Int64 // on the member's clock
	orphan   atomic.Bool  // that was long ago
	followed atomic.Bool  // it has ever been so in this run
}

// note finds it out. Voters know by themselves who leads; the others are told, and would
// go by that for ever if they did not look at how old it is: that is age, if it is known.
func (x *source) note(now protocol.Instant, s *replica.Situation, age time.Duration, known bool, orphanAfter time.Duration) {
	at := protocol.Instant(x.led.Load())
	switch {
	case s.Role == protocol.RoleReserve || votes(s) && !s.Leader.IsZero():
		at = now
	case !votes(s) && known: // and not now: what is told is as old as it says
		at = max(at, now.Add(-age))
		x.followed.Store(true)
	}
	x.led.Store(int64(at))
	x.orphan.Store(now.Sub(at) > orphanAfter)
}

// votes reports whether a member finds out by itself whether anybody leads: by an
// election.
func votes(s *replica.Situation) bool {
	return s.Role == protocol.RoleActive && s.RaftRole != "learner"
}

// wordSlack is what news of a leader takes to come from one member to the next until all
// have them, where datagrams get lost and machines are busy.
const wordSlack = 500 * time.Millisecond

// wordAfter is how long a member that does not vote may be without news of a leader and
// be ready: as long as the last voter takes to find out that nobody leads, which is not
// ready from then on either, and wordSlack.
func wordAfter(m *Member) time.Duration { return 2*m.cfg.activeConfig().Election + wordSlack }

// orphanAlarm says once, and again after a while, that this member follows
// nobody.
type orphanAlarm struct {
	since time.Time // when a leader was known last; zero: it follows
	next  time.Time
	pause time.Duration
}

func (a *orphanAlarm) look(m *Member, now time.Time) {
	orphan := m.source.orphan.Load()
	switch {
	case !orphan && !a.since.IsZero():
		m.logger.Info("this member follows again", "after", now.Sub(a.since).Round(time.Millisecond))
		*a = orphanAlarm{}
	case !orphan:
	case a.since.IsZero():
		silent := m.clock.Now().Sub(protocol.Instant(m.source.led.Load())) // longer than it is known
		a.since, a.next, a.pause = now.Add(-silent), now, orphanFirst
		fallthrough
	case !now.Before(a.next):
		a.next, a.pause = now.Add(a.pause), min(2*a.pause, orphanLast)
		var hears, misses []string
		for _, peer := range m.swim.Peers() {
			hears = append(hears, peer.Name)
		}
		for _, k := range m.swim.Unheard() {
			misses = append(misses, k.Name+" at "+k.Address)
		}
		m.logger.Warn("this member follows nobody: none that it hears tells it of a leader, and its state grows old",
			"for", now.Sub(a.since).Round(100*time.Millisecond), "hears", namesOf(hears), "does_not_hear", namesOf(misses))
	}
}

// namesOf is a list for a line of the log.
func namesOf(list []string) string {
	switch n := len(list); {
	case n == 0:
		return "nobody"
	case n > namesMax:
		return fmt.Sprintf("%s and %d more", strings.Join(list[:namesMax], ", "), n-namesMax)
	}
	return strings.Join(list, ", ")
}

// namedSaid is what the membership was told of who has a seat. It belongs to the loop,
// and to the start before it.
type namedSaid struct {
	swim *swim.Swim
	told *protocol.Configuration
}

// tell tells the membership whom the configuration names. A member whose seat was taken
// away, and given to nobody, was removed: it is not missed.
func (s *namedSaid) tell(next *protocol.Configuration) {
	s.swim.Name(next)
	last := s.told
	s.told = next
	if last == nil {
		return
	}
	for _, id := range reunion.Removed(last, next) {
		s.swim.Forget(id)
	}
}
