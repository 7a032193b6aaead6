package active

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// In July 2015 Diego Ongaro reported that changes of one server at a time, as
// the dissertation had them, lose committed entries if two leaders each begin
// one: the configurations differ from the old one by one server each, and from
// one another by two, so their majorities need not meet. His three schedules,
// of four voters: both changes add; one adds and one removes; both remove. The
// remedy is that a leader changes nothing before an entry of its own term is
// committed. (Four voters, because any two majorities of three, of which one
// has lost and the other gained a server, still meet.)

// schedule is one of them. a leads and gets its change to those who would vote
// for it later; b is elected by c and d, begins its own change, and commits it
// with the others. Then a comes back.
type schedule struct {
	name   string
	first  func(protocol.Configuration) protocol.Configuration // a's change
	second func(protocol.Configuration) protocol.Configuration // b's change
	with   []string                                            // who gets a's change, besides a
	aside  []string                                            // with whom a is together after b's change
}

func adds(name string) func(protocol.Configuration) protocol.Configuration {
	return func(c protocol.Configuration) protocol.Configuration {
		return c.With(protocol.ActiveMember{ID: idOf(name), Name: name, Suffrage: protocol.SuffrageVoter})
	}
}

func removes(name string) func(protocol.Configuration) protocol.Configuration {
	return func(c protocol.Configuration) protocol.Configuration { return c.Without(idOf(name)) }
}

var schedules = []schedule{
	// {a,b,c,d,e}: a, d, e are a majority. {a,b,c,d,f}: b, c, f are.
	{"two additions", adds("e"), adds("f"), []string{"e"}, []string{"d", "e"}},
	// {a,b,c,d,e}: a, d, e. {b,c,d}: b, c.
	{"one addition, one removal", adds("e"), removes("a"), []string{"e"}, []string{"d", "e"}},
	// {a,c,d}: a, d. {b,c,d}: b, c.
	{"two removals", removes("b"), removes("a"), nil, []string{"d"}},
}

// begin plays a schedule up to where b is leader of term 2, its first entry not
// committed. The learners e and f have caught up before.
func (s schedule) begin(t *testing.T) *cluster {
	t.Helper()
	c := newCluster("a", "b", "c", "d")
	c.add("e", image{})
	c.add("f", image{})
	c.campaign("a")
	c.stabilize()
	learners := c.member("a").current.Configuration
	for _, name := range []string{"e", "f"} {
		learners = learners.With(protocol.ActiveMember{ID: idOf(name), Name: name, Suffrage: protocol.SuffrageLearner})
	}
	if _, err := c.change("a", learners); err != nil {
		t.Fatal(err)
	}
	c.pass(LAN.Election / 2)

	c.partition(append([]string{"a"}, s.with...), []string{"b", "c", "d"})
	if _, err := c.change("a", s.first(c.member("a").current.Configuration)); err != nil {
		t.Fatalf("the first change: %v", err)
	}
	c.stabilize()
	c.tick(LAN.Election, "b", "c", "d")
	c.campaign("b")
	// The pre-votes, the votes, and nothing beyond.
	for c.member("b").state != StateLeader {
		if len(c.wire) == 0 {
			t.Fatal("b is not elected")
		}
		c.deliver(0)
	}
	return c
}

// The guard, at the point where the bug begins.
func TestOngaroSecondChangeIsRefusedBeforeTheOwnTermCommits(t *testing.T) {
	for _, s := range schedules {
		t.Run(s.name, func(t *testing.T) {
			c := s.begin(t)
			last := len(c.node("b").log)
			_, err := c.change("b", s.second(c.member("b").current.Configuration))
			if !errors.Is(err, protocol.ErrChangeInFlight) {
				t.Errorf("b's change before its first commit: got %v, want ErrChangeInFlight", err)
			}
			if got, want := len(c.node("b").log), last; got != want {
				t.Errorf("b's log: got %d entries, want %d", got, want)
			}
		})
	}
}

// And why that is enough: the first entry of b's term, on a majority of the old
// configuration, makes a unelectable in its own; so b's change, with what is
// acknowledged under it, stays. a comes back among those that would have
// elected it, and tries more than once. The checker watches for two leaders and for
// two entries at one committed place.
func TestOngaroFirstLeaderCannotComeBack(t *testing.T) {
	for _, s := range schedules {
		t.Run(s.name, func(t *testing.T) {
			c := s.begin(t)
			err := (&voyage{cluster: c}).violation(func() {
				c.stabilize()
				c.partition(append([]string{"a"}, s.with...), []string{"b", "c", "d", "f"})
				c.pass(2 * LAN.Heartbeat) // f acknowledges what made it a learner to b, too
				i, err := c.change("b", s.second(c.member("b").current.Configuration))
				invariant.Check(err == nil, "b's change after its first commit: %v", err)
				c.partition(append([]string{"a"}, s.aside...), []string{"b", "c", "f"})
				c.stabilize()
				invariant.Check(c.node("b").commit() >= i, "b's change %d is not committed by b, c and f: commit %d", i, c.node("b").commit())
				c.campaignInVain("a", s.aside)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// The other end of the fork: a comes back before b's first entry is committed,
// and is elected. Then b's change must not exist: b has begun none, and what it
// appended goes.
func TestOngaroFirstLeaderComesBackInTime(t *testing.T) {
	for _, s := range schedules {
		t.Run(s.name, func(t *testing.T) {
			c := s.begin(t)
			c.wire = nil // what b sent is lost
			_, err := c.change("b", s.second(c.member("b").current.Configuration))
			if !errors.Is(err, protocol.ErrChangeInFlight) {
				t.Fatalf("b's change: got %v, want ErrChangeInFlight", err)
			}
			violated := (&voyage{cluster: c}).violation(func() {
				c.partition(append([]string{"a"}, s.aside...), []string{"b", "c", "f"})
				for range 20 {
					c.tick(LAN.Election, append([]string{"a"}, s.aside...)...)
					c.campaign("a")
					c.stabilize()
					if c.member("a").state == StateLeader {
						break
					}
				}
				invariant.Check(c.member("a").state == StateLeader, "a is not elected by %v", s.aside)
				c.heal()
				c.pass(2 * LAN.Election)
				l := c.leader()
				want := s.first(configurationOf("a", "b", "c", "d"))
				for _, id := range want.Voters() {
					invariant.Check(l.m.current.Configuration.IsVoter(id), "%s is no voter of %v", nameOf(id), l.m.current.Configuration)
				}
				for _, line := range l.m.current.Configuration.Members {
					invariant.Check(c.byID(line.ID).commit() == l.commit(), "%s does not agree with %s", line.Name, l.name)
				}
			})
			if violated != nil {
				t.Error(violated)
			}
		})
	}
}

// campaignInVain lets a member try, after an election timeout without a leader,
// as often as terms could matter.
func (c *cluster) campaignInVain(name string, among []string) {
	for range 5 {
		c.tick(LAN.Election, append([]string{name}, among...)...)
		if c.node(name).m == nil {
			return
		}
		c.campaign(name)
		c.stabilize()
		invariant.Check(c.node(name).m == nil || c.member(name).state != StateLeader, "%s is elected in term %d", name, c.member(name).hard.Term)
	}
}
