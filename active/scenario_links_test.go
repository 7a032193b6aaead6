package active

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// Links break one way as often as both, and a broken switch leaves members that
// reach some peers and not others: in 2020 one of those kept a cluster electing
// for hours, each winner deposed by a member that could not hear it. What must
// hold whatever the links are: whoever is reached, and reaches, a majority makes
// the cluster work; and where nobody does, terms do not climb.

// service is what a cluster did over a time.
type service struct {
	slots, served int // spans of time, and those in which a command was proposed that was acknowledged
	elections     int // won
	terms         protocol.Term
	leader        *node
	moves         int // leaderships that began in the second half
}

func (s service) leads() string {
	if s.leader == nil {
		return "nobody"
	}
	return s.leader.name
}

func (s service) availability() float64 { return float64(s.served) / float64(s.slots) }

// measure proposes at each leader in each span of time, also at one that does
// not know yet that it is deposed, and counts the spans in which that came to
// something.
func (v *voyage) measure(d, span time.Duration) service {
	var s service
	elections, term := v.leaders, v.highestTerm()
	slot := map[string]int{}
	half := 0
	for end := v.now.Add(d); v.now < end; s.slots++ {
		if v.now.Sub(end) >= -d/2 && half == 0 {
			half = v.leaders
		}
		for _, n := range v.nodes {
			if n.m != nil && n.m.state == StateLeader {
				before := len(v.waiting)
				v.requestAt(n, 1)
				if len(v.waiting) > before {
					slot[v.waiting[len(v.waiting)-1].data] = s.slots
				}
			}
		}
		v.sail(span)
	}
	v.sail(100 * time.Millisecond)
	served := map[int]bool{}
	for _, w := range v.told {
		if i, ok := slot[w.data]; ok {
			served[i] = true
		}
	}
	s.served, s.elections, s.terms = len(served), v.leaders-elections, v.highestTerm()-term
	s.leader, s.moves = v.leader(), v.leaders-half
	return s
}

func (v *voyage) highestTerm() protocol.Term {
	t := protocol.Term(0)
	for _, n := range v.nodes {
		if n.m != nil {
			t = max(t, n.m.hard.Term)
		}
	}
	return t
}

// led starts a cluster with all links up, in which a given member leads.
func led(seed uint64, leader string, voters ...string) *voyage {
	v := newVoyage(seed, voters...)
	if l := v.lead(5 * time.Second); l.name != leader {
		err := l.m.Transfer(v.now, idOf(leader))
		invariant.Check(err == nil, "transfer to %s: %v", leader, err)
		v.settled(l)
	}
	v.sail(200 * time.Millisecond)
	invariant.Check(v.leader().name == leader, "%s leads, not %s", v.leader().name, leader)
	return v
}

// hubs returns the members with links in both directions to a majority, counting
// themselves.
func (v *voyage) hubs() []string {
	var out []string
	for _, a := range v.nodes {
		reach := 0
		for _, b := range v.nodes {
			if !v.cut[[2]protocol.MemberID{a.id, b.id}] && !v.cut[[2]protocol.MemberID{b.id, a.id}] {
				reach++
			}
		}
		if reach >= majority(len(v.nodes)) {
			out = append(out, a.name)
		}
	}
	return out
}

// Each of the six directed links between three members is up or down, whoever
// led before. Where some member has links in both directions to another one, a
// leader is there for 95 % of the time that begins with the break, and does not
// change in the second half of it. Everywhere else nobody leads, and at most one
// term passes. With all links up again the cluster works, whatever it was before.
func TestAllLinkStatesOfThreeMembers(t *testing.T) {
	names := []string{"a", "b", "c"}
	worst, elections := 1.0, 0
	for state := range 64 {
		for i, leader := range names {
			seed := seedOr(uint64(1 + 3*state + i))
			v := led(seed, leader, names...)
			up := v.links(state)
			where := fmt.Sprintf("links %s after %s led, seed %d", up, leader, seed)
			hubs := v.hubs()
			err := v.violation(func() {
				s := v.measure(32*time.Second, 200*time.Millisecond)
				elections += s.elections
				if slices.Contains(hubs, leader) && s.elections > 0 {
					t.Errorf("%s: %d leaderships began although the leader reaches a majority", where, s.elections)
				}
				if len(hubs) > 0 {
					worst = min(worst, s.availability())
					s.works(t, where, 4)
				} else if s.terms > 1 || s.leader != nil {
					// An election that was under way may have ended; no more.
					t.Errorf("%s: nobody can lead, but %d terms passed and %s leads", where, s.terms, s.leads())
				}
				v.arrive()
			})
			if err != nil {
				t.Errorf("%s: %v", where, err)
			}
		}
	}
	t.Logf("64 link states, each after three leaders: worst availability %.1f %%, %d elections in all", 100*worst, elections)
}

// The same while nobody writes anything. That is the harder case: all logs are
// equal, so no member's log keeps it from being elected by those that it
// reaches, over the head of a leader that works.
func TestLinkStatesOfThreeIdleMembers(t *testing.T) {
	names := []string{"a", "b", "c"}
	for state := range 64 {
		for i, leader := range names {
			seed := seedOr(uint64(1001 + 3*state + i))
			v := led(seed, leader, names...)
			up := v.links(state)
			v.idle(t, fmt.Sprintf("links %s after %s led, seed %d", up, leader, seed), leader)
		}
	}
}

// idle lets time pass after a break, without a write, and wants peace. A leader
// that still reaches a majority leads on.
func (v *voyage) idle(t *testing.T, where, led string) {
	t.Helper()
	hubs, begun := v.hubs(), v.leaders
	err := v.violation(func() {
		v.sail(5 * time.Second)
		if slices.Contains(hubs, led) && v.leaders != begun {
			t.Errorf("%s: %d leaderships began although the leader reaches a majority", where, v.leaders-begun)
		}
		leader, begun, term := v.leader(), v.leaders, v.highestTerm()
		if works := len(hubs) > 0; works != (leader != nil) {
			t.Errorf("%s: a leader after five idle seconds: got %t, want %t", where, leader != nil, works)
		}
		v.sail(20 * time.Second)
		if v.leader() != leader || v.leaders != begun || v.highestTerm() != term {
			t.Errorf("%s: %d leaderships began and %d terms passed in 20 idle seconds, with nothing changed", where, v.leaders-begun, v.highestTerm()-term)
		}
	})
	if err != nil {
		t.Errorf("%s: %v", where, err)
	}
}

// works holds a service to what it owes where somebody can lead.
func (s service) works(t *testing.T, where string, terms protocol.Term) {
	t.Helper()
	if s.leader == nil || s.availability() < 0.95 {
		t.Errorf("%s: served %.1f %% of the time with %d elections", where, 100*s.availability(), s.elections)
	}
	if s.moves > 0 || s.terms > terms {
		t.Errorf("%s: %d leaderships began in the second half, %d terms passed", where, s.moves, s.terms)
	}
}

// seedOr returns the seed that was asked for, or the given one.
func seedOr(seed uint64) uint64 {
	if *seedFlag != 0 {
		return *seedFlag
	}
	return seed
}

// links sets the directed links between three members by the bits of a state,
// and returns those that are up.
func (v *voyage) links(state int) string {
	up, bit := "", 0
	for _, a := range v.nodes {
		for _, b := range v.nodes {
			if a == b {
				continue
			}
			if state>>bit&1 == 0 {
				v.cut[[2]protocol.MemberID{a.id, b.id}] = true
			} else {
				up += " " + a.name + b.name
			}
			bit++
		}
	}
	return "[" + up + " ]"
}

// shape cuts all links but the given pairs, which stay up in both directions.
func (v *voyage) shape(pairs ...string) {
	clear(v.cut)
	for _, a := range v.nodes {
		for _, b := range v.nodes {
			v.cut[[2]protocol.MemberID{a.id, b.id}] = a != b
		}
	}
	for _, p := range pairs {
		a, b := idOf(p[:1]), idOf(p[1:])
		delete(v.cut, [2]protocol.MemberID{a, b})
		delete(v.cut, [2]protocol.MemberID{b, a})
	}
}

// Five members around a broken switch. In each shape somebody reaches a
// majority both ways, and the others cannot all hear whoever leads: without
// pre-vote their terms would depose it for ever, and without check-quorum one
// that only speaks would be followed for ever.
func TestHalfConnectedFive(t *testing.T) {
	for _, test := range []struct {
		name  string
		pairs []string
		lead  string // who can
	}{
		// Two halves that see each other through e only.
		{"bridge", []string{"ab", "ae", "be", "cd", "ce", "de"}, "abcde"},
		// e sees all, nobody else sees anybody.
		{"star", []string{"ae", "be", "ce", "de"}, "e"},
		// Each sees its neighbours.
		{"chain", []string{"ab", "bc", "cd", "de"}, "bcd"},
		{"ring", []string{"ab", "bc", "cd", "de", "ea"}, "abcde"},
		// a lost all but b, everything else is whole.
		{"straggler", []string{"ab", "bc", "bd", "be", "cd", "ce", "de"}, "bcde"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for i, leader := range five {
				seed := seedOr(uint64(100 + i))
				where := fmt.Sprintf("after %s led, seed %d", leader, seed)
				v := led(seed, leader, five...)
				v.shape(test.pairs...)
				v.idle(t, where+", idle", leader)

				v = led(seed, leader, five...)
				v.shape(test.pairs...)
				err := v.violation(func() {
					s := v.measure(time.Minute, 200*time.Millisecond)
					s.works(t, where, 6)
					if slices.Contains(v.hubs(), leader) && s.elections > 0 {
						t.Errorf("%s: %d leaderships began although the leader reaches a majority", where, s.elections)
					}
					if s.leader != nil && !strings.Contains(test.lead, s.leads()) {
						t.Errorf("%s: %s leads, only %s can", where, s.leads(), test.lead)
					}
					v.arrive()
				})
				if err != nil {
					t.Errorf("%s: %v", where, err)
				}
			}
		})
	}
}

// The other five-member trap: who alone reaches a majority has the older log.
// Raft elects nobody then, rightly: the newer entry may be committed. The terms
// must not climb meanwhile, and the cluster must come back with the first link
// that makes one of those who hold the entry reach a majority.
func TestHubWithAnOlderLogWaitsQuietly(t *testing.T) {
	v := led(7, "a", five...)
	v.shape("ab", "ac") // d and e miss what comes now; a, b and c are a majority
	v.requestAt(v.node("a"), 1)
	v.sail(100 * time.Millisecond)
	if got, want := len(v.told), 1; got != want {
		t.Fatalf("acknowledged commands: got %d, want %d", got, want)
	}
	err := v.violation(func() {
		v.shape("be", "ce", "de")
		if s := v.measure(time.Minute, 200*time.Millisecond); s.leads() != "nobody" || s.terms > 1 {
			t.Errorf("%s leads after %d terms, want nobody: only e reaches a majority, and lacks an entry", s.leads(), s.terms)
		}
		v.shape("be", "ce", "de", "bc")
		s := v.measure(time.Minute, 200*time.Millisecond)
		if got := s.leads(); got != "b" && got != "c" || s.availability() < 0.95 {
			t.Errorf("%s leads, served %.1f %% of the time, want b or c to", got, 100*s.availability())
		}
		v.arrive()
	})
	if err != nil {
		t.Error(err)
	}
}

// Who hears a leader, or is in an older term, refuses pre-votes: it is heard. Of a, b and c
// the link between a and c alone is cut.
func TestVotersThatRefusePreVotesAreHeard(t *testing.T) {
	for _, term := range []protocol.Term{0, 9} {
		c := newCluster("a", "b", "c")
		a := c.node("a")
		a.durable.state.Term = term
		c.start(a, false)
		for _, link := range []string{"ac", "ca"} {
			c.cut[[2]protocol.MemberID{idOf(link[:1]), idOf(link[1:])}] = true
		}
		c.campaign("c")
		c.pass(5 * time.Second)
		equal(t, "leader", c.leader().name, "c")
		if got := a.m.Silent(); a.m.state != StatePreCandidate || !slices.Equal(got, []protocol.MemberID{idOf("c")}) {
			t.Errorf("term %d: %s, silent are %v, want a pre-candidate that b answers", term, a.m.state, got)
		}
	}
}
