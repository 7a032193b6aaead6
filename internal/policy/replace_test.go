package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const minute = 60 * second

// failing has failed since a moment, in seconds.
func failing(name string, since protocol.Instant) Failing {
	return Failing{ID: id(name), Since: since * second}
}

func TestReplace(t *testing.T) {
	caughtUp := func(names string) (list []Progress) {
		for _, name := range strings.Fields(names) {
			list = append(list, Progress{ID: id(name), Match: 5000, Active: true, Answers: true})
		}
		return list
	}
	unwilling := func(name, zone string) Peer { return with(active(name, zone), func(p *Peer) { p.Eligible = false }) }
	leaderGoes := []Peer{unwilling("a", ""), active("b", ""), active("c", "")}
	tests := []struct {
		name        string
		seats       protocol.Configuration
		set         protocol.Autopilot
		peers       []Peer
		heard       []Progress
		transferees string // the best first; empty: those that were heard, as they stand there
		failing     []Failing
		action      Action
		next        string
		why         string
		again       protocol.Instant
	}{
		{name: "a passive comes in first", seats: seats(3, "a b c"), peers: []Peer{active("a", ""), active("b", ""), passive("d", "")},
			failing: []Failing{failing("c", 20)}, action: AddLearner, next: "a b c d(learner)", why: "to take the seat of c, which has not answered for 40s"},
		{name: "one change for both", seats: seats(3, "a b c d*"), peers: []Peer{active("a", ""), active("b", ""), active("d", "")},
			heard: caughtUp("b d"), failing: []Failing{failing("c", 20)}, action: Replace, next: "a b d", why: "d takes the seat of c"},
		{name: "not at once", seats: seats(3, "a b c"), peers: []Peer{active("a", ""), active("b", ""), passive("d", "")},
			failing: []Failing{failing("c", 31)}, why: "c has not answered for 29s of 30s; 3 voters of 3 wanted", again: 61 * second},
		{name: "as late as the configuration says", seats: seats(3, "a b c"), set: protocol.Autopilot{FailedAfter: time.Minute}, peers: []Peer{passive("d", "")},
			failing: []Failing{failing("c", 20)}, why: "c has not answered for 40s of 1m0s", again: 80 * second},
		{name: "as early as the configuration says", seats: seats(3, "a b c"), set: protocol.Autopilot{FailedAfter: 2 * time.Second}, peers: []Peer{passive("d", "")},
			failing: []Failing{failing("c", 58)}, action: AddLearner, next: "a b c d(learner)"},
		{name: "switched off", seats: seats(3, "a b c d*"), set: protocol.Autopilot{Off: true}, peers: []Peer{active("d", "")},
			heard: caughtUp("b d"), failing: []Failing{failing("c", 20)}, why: "switched off"},
		{name: "nobody to take it", seats: seats(3, "a b c"), peers: []Peer{active("a", ""), active("b", "")},
			failing: []Failing{failing("c", 20)}, why: "c has not answered for 40s: no passive wishes to be active"},
		{name: "not the leader", seats: seats(3, "a b c"), peers: []Peer{passive("d", "")},
			failing: []Failing{failing("a", 1)}, why: "3 voters of 3 wanted"},
		{name: "members in a catch-up are left alone", seats: seats(3, "a b c d*"), peers: []Peer{active("d", ""), passive("e", "")},
			heard: []Progress{{ID: id("d"), Match: 100, Active: true, Answers: true}}, failing: []Failing{failing("c", 20)}, why: "learner d has acknowledged 100"},
		{name: "a learner that is deaf holds nobody up", seats: seats(3, "a b c d*"), peers: []Peer{active("d", ""), passive("e", "")},
			heard: []Progress{{ID: id("d"), Match: 100}}, failing: []Failing{failing("c", 20)}, action: AddLearner, next: "a b c d(learner) e(learner)"},
		{name: "who failed first goes first", seats: seats(5, "a b c d e f*"), peers: []Peer{active("f", "")},
			heard: caughtUp("b c f"), failing: []Failing{failing("d", 20), failing("e", 10)}, action: Replace, next: "a b c d f"},
		{name: "the zone of the failed one", seats: seats(3, "a b c"), failing: []Failing{failing("c", 20)},
			peers:  []Peer{active("a", "x"), active("b", "y"), passive("d", "x"), passive("e", "z")},
			action: AddLearner, next: "a b c e(learner)", why: "first in zone z"},
		{name: "the leader's zone counts too", seats: seats(3, "a b c d* e*"), heard: caughtUp("b d e"), failing: []Failing{failing("c", 20)},
			peers:  []Peer{active("a", "x"), active("b", "y"), active("d", "x"), active("e", "z")},
			action: Replace, next: "a b d(learner) e", why: "first in zone z"},
		{name: "the spread alone moves nobody", seats: seats(3, "a b c"), heard: caughtUp("b c"),
			peers: []Peer{active("a", "x"), active("b", "x"), active("c", "x"), passive("d", "y")}, why: "3 voters of 3 wanted"},
		{name: "wishes no more", seats: seats(3, "a b c"), peers: []Peer{active("b", ""), unwilling("c", ""), passive("d", "")}, heard: caughtUp("b c"),
			action: AddLearner, next: "a b c d(learner)", why: "to take the seat of c, which does not wish to be active any more"},
		{name: "wishes no more, in one change", seats: seats(3, "a b c d*"), peers: []Peer{active("b", ""), unwilling("c", ""), active("d", "")}, heard: caughtUp("b c d"),
			action: Replace, next: "a b d", why: "d takes the seat of c, which does not wish"},
		{name: "wishes no more, and nobody else does", seats: seats(3, "a b c"), peers: []Peer{active("b", ""), unwilling("c", "")}, heard: caughtUp("b c"),
			why: "c does not wish to be active any more: no passive wishes to be active; 3 voters of 3 wanted"},
		{name: "the dead go first", seats: seats(3, "a b c d*"), peers: []Peer{unwilling("b", ""), active("d", "")}, heard: caughtUp("b d"),
			failing: []Failing{failing("c", 20)}, action: Replace, next: "a b d"},
		{name: "wishes no more, in a catch-up", seats: seats(3, "a b c d*"), peers: []Peer{active("b", ""), unwilling("c", ""), active("d", "")},
			heard: append(caughtUp("b d"), Progress{ID: id("c"), Active: true, Answers: true, CatchUp: true}), action: Remove, next: "a b c"},
		{name: "the leader wishes no more", seats: seats(3, "a b c"), peers: append([]Peer{passive("d", "")}, leaderGoes...), heard: caughtUp("b c"),
			action: AddLearner, next: "a b c d(learner)", why: "to take the seat of a"},
		{name: "the leader hands over first", seats: seats(3, "a b c d*"), peers: append([]Peer{active("d", "")}, leaderGoes...),
			heard: caughtUp("b c d"), transferees: "c b", action: HandOver, next: "a b c d(learner)", why: "c is to lead in the place of a"},
		{name: "not to one that could not take over", seats: seats(3, "a b c d*"), peers: append([]Peer{active("d", "")}, leaderGoes...),
			heard: caughtUp("b c d"), transferees: "b", action: HandOver, next: "a b c d(learner)", why: "b is to lead in the place of a"},
		{name: "not to one that has not answered this leader yet", seats: seats(3, "a b c d*"), peers: append([]Peer{active("d", "")}, leaderGoes...),
			heard: append(caughtUp("b d"), Progress{ID: id("c"), Active: true}), transferees: "c b", action: HandOver, next: "a b c d(learner)", why: "b is to lead in the place of a"},
		{name: "not to one that wishes no more", seats: seats(3, "a b c d*"), heard: append(caughtUp("b d"), Progress{ID: id("c"), Match: 9000}),
			peers: []Peer{unwilling("a", ""), unwilling("b", ""), active("c", ""), active("d", "")}, action: Replace, next: "a c d"},
		{name: "the leader alone wishes no more", seats: seats(1, "a b*"), peers: []Peer{unwilling("a", ""), active("b", "")}, heard: caughtUp("b"),
			why: "a leads and does not wish to be active any more: no other voter can lead in its place"},
		{name: "a dead learner loses its seat", seats: seats(3, "a b c d*"), failing: []Failing{failing("d", 20)}, action: Remove, next: "a b c"},
		{name: "a learner that failed lately does not", seats: seats(3, "a b c d*"), failing: []Failing{failing("d", 40)},
			why: "3 voters of 3 wanted", again: 70 * second},
		{name: "a learner that wishes no more", seats: seats(3, "a b c d*"), peers: []Peer{unwilling("d", "")}, heard: caughtUp("b c d"), action: Remove, next: "a b c"},
		{name: "a learner that nobody needs", seats: seats(3, "a b c d*"), peers: []Peer{active("d", "")}, heard: caughtUp("b c d"),
			action: Remove, next: "a b c", why: "nobody needs it"},
		{name: "a learner that catches up", seats: seats(3, "a b c d*"), peers: []Peer{active("d", "")},
			heard: append(caughtUp("b c"), Progress{ID: id("d"), Match: 100, Active: true, Answers: true}), why: "3 voters of 3 wanted"},
		{name: "a learner that somebody may need", seats: seats(3, "a b c d*"), peers: []Peer{active("d", "")}, heard: caughtUp("b d"),
			failing: []Failing{failing("c", 59)}, why: "c has not answered for 1s of 30s", again: 89 * second},
		{name: "a learner that was needed lately", seats: seats(3, "a b c d*"), heard: caughtUp("b c d"),
			peers: []Peer{with(active("d", ""), func(p *Peer) { p.Since = 40 * second })}, why: "3 voters of 3 wanted", again: 70 * second},
		{name: "fewer are wanted", seats: seats(3, "a b c d e"), heard: caughtUp("b c d e"),
			peers:  []Peer{active("a", "x"), active("b", "x"), active("c", "y"), active("d", "z"), active("e", "w")},
			action: Remove, next: "a c d", why: "b gives up its seat: 5 voters, 3 wanted; e gives up its seat"},
		{name: "fewer are wanted, an odd number on the way", seats: seats(2, "a b c d e"), heard: caughtUp("b c d e"),
			peers:  []Peer{active("a", ""), active("b", ""), active("c", ""), active("d", ""), active("e", "")},
			action: Remove, next: "a b c", why: "e gives up its seat: 5 voters, 2 wanted; d gives up its seat"},
		{name: "fewer are wanted, and no other zone loses its last", seats: seats(3, "a b c d e"), heard: caughtUp("b c d e"),
			peers:  []Peer{active("a", "x"), active("b", "y"), active("c", "z"), active("d", "z"), active("e", "z")},
			action: Remove, next: "a b c"},
		// Were there two voters on the way, and b the one of them that is lost,
		// nobody could ever be elected again.
		{name: "one is wanted, and never two on the way", seats: seats(1, "a b c"), heard: caughtUp("b c"),
			peers: []Peer{active("a", ""), active("b", ""), active("c", "")}, action: Remove, next: "a", why: "3 voters, 1 wanted"},
		{name: "one is wanted, and the leader wishes no more", seats: seats(1, "a b c"), heard: caughtUp("b c"), peers: leaderGoes,
			action: HandOver, next: "a b c"},
		{name: "fewer are wanted, and one fails", seats: seats(3, "a b c d"), peers: []Peer{active("a", "x"), active("b", "x"), active("c", "y")},
			heard: caughtUp("b c"), failing: []Failing{failing("d", 59)}, action: Remove, next: "a b c", again: 0},
		{name: "fewer are wanted, and one is silent", seats: seats(3, "a b c d"), peers: []Peer{active("a", "x"), active("b", "x"), active("c", "y"), active("d", "x")},
			heard: caughtUp("b d"), action: Remove, next: "a b d"},
		{name: "fewer are wanted, and too few answer", seats: seats(2, "a b c d"), peers: []Peer{active("b", ""), active("c", ""), active("d", "")},
			why: "not done, because of the 3 voters that would be left 1 answer: d gives up its seat"},
		{name: "fewer are wanted, and one has not answered this leader yet", seats: seats(2, "a b c"), peers: []Peer{active("b", ""), active("c", "")},
			heard: append(caughtUp("c"), Progress{ID: id("b"), Active: true}), why: "not done, because of the 2 voters that would be left 1 answer: c gives up its seat"},
		{name: "fewer are wanted, and one has answered this leader, but long ago", seats: seats(2, "a b c"), peers: []Peer{active("b", ""), active("c", "")},
			heard: append(caughtUp("c"), Progress{ID: id("b")}), action: Remove, next: "a c"},
		{name: "fewer are wanted, but not below the floor", seats: seats(1, "a b c"), set: protocol.Autopilot{Floor: 3}, heard: caughtUp("b c"), why: "3 voters of 3 wanted"},
		{name: "fewer are wanted, and the leader wishes no more", seats: seats(2, "a b c"), peers: leaderGoes, heard: caughtUp("b c"), action: HandOver, next: "a b c"},
		{name: "fewer are wanted, and all wish no more", seats: seats(2, "a b c"), peers: []Peer{unwilling("a", ""), unwilling("b", ""), unwilling("c", "")},
			heard: caughtUp("b c"), action: Remove, next: "a b"},
		{name: "fewer are wanted: the dead are not replaced", seats: seats(3, "a b c d e*"), peers: []Peer{active("b", ""), active("c", ""), active("e", "")},
			heard: caughtUp("b c e"), failing: []Failing{failing("d", 20)}, action: Remove, next: "a b c e(learner)"},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			test.seats.Autopilot = test.set
			var transferees []protocol.MemberID
			for _, name := range strings.Fields(test.transferees) {
				transferees = append(transferees, id(name))
			}
			for _, p := range test.heard {
				if test.transferees == "" {
					transferees = append(transferees, p.ID)
				}
			}
			got := Decide(Config{}, Input{
				Now: minute, Self: id("a"), Commit: 5000, OwnTerm: true, Peers: test.peers, Progress: test.heard, Transferees: transferees, Failing: test.failing,
				Configuration: protocol.ConfigurationAt{Index: 17, Configuration: test.seats},
			})
			if got.Action != test.action || !strings.Contains(got.Why, test.why) {
				t.Fatalf("got %v (%s), want %v (%s)", got.Action, got.Why, test.action, test.why)
			}
			if test.next != "" && got.Next.String() != test.next {
				t.Errorf("got %s, want %s", got.Next, test.next)
			}
			if test.action == Wait && got.Again != test.again {
				t.Errorf("again at %v, want %v", got.Again, test.again)
			}
			if err := got.Next.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}
