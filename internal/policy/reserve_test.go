package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

func reserve(name, zone string) Peer {
	return with(passive(name, zone), func(p *Peer) { p.Role, p.LastIndex, p.LastIndexKnown = protocol.RoleReserve, 0, false })
}

// A reserve follows when a seat has nobody else to take it, or when passives have
// been missing for long, and one at a time. It never gets a seat while it is one.
func TestReservesAreCalledOnlyWhenTheyAreNeeded(t *testing.T) {
	unwilling := func(p Peer) Peer { return with(p, func(p *Peer) { p.Eligible = false }) }
	calledAt := func(at protocol.Instant, p Peer) Peer { return with(p, func(p *Peer) { p.Activated = at }) }
	since := func(at protocol.Instant, p Peer) Peer { return with(p, func(p *Peer) { p.Since = at }) }
	actives := []Peer{active("a", "x"), active("b", "y"), active("c", "z")}
	tests := []struct {
		name    string
		seats   protocol.Configuration
		set     protocol.Autopilot
		peers   []Peer
		failing []Failing
		short   protocol.Instant
		changed protocol.Instant
		action  Action
		member  string
		again   bool // of a Activate: it is no news
		why     string
	}{
		{name: "nobody is missing", seats: seats(3, "a b c"), peers: []Peer{reserve("r", "")}, why: "3 voters of 3 wanted"},
		{name: "for a free seat", seats: seats(3, "a b"), peers: []Peer{reserve("r", "z")},
			action: Activate, member: "r", why: "r, a reserve, is asked to follow, the first in zone z: 2 voters of 3 wanted, and no passive can become one"},
		{name: "a passive is taken before a reserve", seats: seats(3, "a b"), peers: []Peer{passive("d", ""), reserve("r", "")}, action: AddLearner, member: "d"},
		{name: "a passive that is coming is waited for", seats: seats(3, "a b"), peers: []Peer{since(minute-second/2, passive("d", "")), reserve("r", "")},
			why: "d has been alive for"},
		{name: "one that has just lost its seat is waited for", seats: seats(3, "a b"), peers: []Peer{since(0, active("d", "")), reserve("r", "")}, changed: minute - second/2,
			why: "d is not passive yet"},
		{name: "one that stays active without a seat is not", seats: seats(3, "a b"), peers: []Peer{since(0, active("d", "")), reserve("r", "")}, changed: 20 * second,
			action: Activate, member: "r"},
		{name: "a passive that does not come is not", seats: seats(3, "a b"), peers: []Peer{with(passive("d", ""), func(p *Peer) { p.LastIndex = 7 }), reserve("r", "")},
			action: Activate, member: "r"},
		{name: "one that wishes no seat is not asked for one", seats: seats(3, "a b"), peers: []Peer{unwilling(reserve("r", ""))}, why: "no passive wishes to be active"},
		{name: "one that has just come", seats: seats(3, "a b"), peers: []Peer{since(60*second, reserve("r", ""))}, why: "no passive wishes"},
		{name: "for the seat of a dead one", seats: seats(3, "a b c"), failing: []Failing{failing("c", 20)}, peers: []Peer{reserve("r", "")},
			action: Activate, member: "r", why: "c has not answered for 40s, and no passive can take its seat"},
		{name: "not before it is dead for long", seats: seats(3, "a b c"), failing: []Failing{failing("c", 40)}, peers: []Peer{reserve("r", "")}, why: "20s of 30s"},
		{name: "in the zone of the dead one", seats: seats(3, "a b c"), failing: []Failing{failing("c", 20)},
			peers: []Peer{actives[0], actives[1], reserve("p", "x"), reserve("q", "y"), reserve("r", "z")}, action: Activate, member: "r"},
		{name: "switched off", seats: seats(3, "a b"), set: protocol.Autopilot{Off: true, Passives: 3}, peers: []Peer{reserve("r", "")}, why: "switched off"},
		{name: "too few passives", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 2}, short: 20 * second,
			peers:  append([]Peer{passive("d", "x"), unwilling(reserve("q", "x")), unwilling(reserve("r", "y"))}, actives...),
			action: Activate, member: "r", why: "the first in zone y: 1 passives of 2 wanted for 40s"},
		{name: "too few passives, but not for long", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 1}, short: 40 * second,
			peers: append([]Peer{reserve("r", "")}, actives...), why: "0 passives of 1 wanted for 20s of 30s; 3 voters of 3 wanted"},
		{name: "as long as the configuration says", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 1, FailedAfter: 10 * time.Second}, short: 40 * second,
			peers: append([]Peer{reserve("r", "")}, actives...), action: Activate, member: "r"},
		{name: "enough passives", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 1}, peers: []Peer{passive("d", ""), reserve("r", "")}, why: "3 voters of 3 wanted"},
		{name: "actives are no passives", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 1}, short: second,
			peers: append([]Peer{with(passive("c", ""), func(p *Peer) {}), reserve("r", "")}, actives[:2]...), action: Activate, member: "r"},
		{name: "nobody stands by", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 1}, short: second, peers: actives, why: "no reserve stands by"},
		{name: "seats come first", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 2}, short: second, failing: []Failing{failing("c", 20)},
			peers: []Peer{actives[0], actives[1], passive("d", ""), reserve("r", "")}, action: AddLearner, member: "d"},
		{name: "one for both", seats: seats(3, "a b c"), set: protocol.Autopilot{Passives: 1}, short: second, failing: []Failing{failing("c", 20)},
			peers: []Peer{actives[0], actives[1], calledAt(50*second, reserve("p", "")), reserve("r", "")}, action: Activate, member: "p", again: true, why: "was asked"},
		{name: "a learner is on its way, and passives are missing", seats: seats(3, "a b c d*"), set: protocol.Autopilot{Passives: 1}, short: second,
			failing: []Failing{failing("c", 20)}, peers: []Peer{actives[0], actives[1], active("d", ""), reserve("r", "")}, action: Activate, member: "r"},
		{name: "it is given time", seats: seats(3, "a b"), peers: []Peer{reserve("p", ""), calledAt(50*second, reserve("r", ""))},
			action: Activate, member: "r", again: true, why: "r, a reserve, was asked to follow"},
		{name: "one that does not listen", seats: seats(3, "a b"), peers: []Peer{calledAt(20*second, reserve("p", "")), reserve("r", "")}, action: Activate, member: "r"},
		{name: "nobody listens", seats: seats(3, "a b"), peers: []Peer{calledAt(20*second, reserve("p", "")), calledAt(10*second, reserve("r", ""))}, action: Activate, member: "r"},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			test.seats.Autopilot = test.set
			got := Decide(Config{}, Input{
				Now: minute, Self: id("a"), Commit: 5000, OwnTerm: true, Peers: test.peers, Failing: test.failing, Short: test.short, Changed: test.changed,
				Progress:      []Progress{{ID: id("b"), Match: 5000, Active: true}, {ID: id("d"), Match: 100, Active: true}},
				Configuration: protocol.ConfigurationAt{Index: 17, Configuration: test.seats},
			})
			if got.Action != test.action || !strings.Contains(got.Why, test.why) {
				t.Fatalf("got %v (%s), want %v (%s)", got.Action, got.Why, test.action, test.why)
			}
			if test.member != "" && got.Member != id(test.member) {
				t.Errorf("got %s: %s, want %s", got.Member.Short(), got.Why, test.member)
			}
			if first := test.action == Activate && !test.again; got.First != first {
				t.Errorf("news: %t, want %t", got.First, first)
			}
			if test.action == Activate && !got.Next.Equal(test.seats) {
				t.Errorf("a seat changes hands: %s", got.Next)
			}
		})
	}
}
