package policy

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const second = protocol.Instant(time.Second)

// id returns a member id that sorts as its letter does.
func id(name string) protocol.MemberID { return protocol.MemberID{name[0], 1} }

// seats makes a configuration of "a b c*": a star marks a learner.
func seats(target int, text string) protocol.Configuration {
	c := protocol.Configuration{Target: target}
	for _, name := range strings.Fields(text) {
		name, learner := strings.CutSuffix(name, "*")
		seat := protocol.SuffrageVoter
		if learner {
			seat = protocol.SuffrageLearner
		}
		c = c.With(protocol.ActiveMember{ID: id(name), Name: name, Address: name + ":1", Suffrage: seat})
	}
	return c
}

func active(name, zone string) Peer {
	p := passive(name, zone)
	p.Role = protocol.RoleActive
	return p
}

// passive is one that can become a learner at 10 s with commit 5,000.
func passive(name, zone string) Peer {
	return Peer{
		Peer: protocol.Peer{
			ID: id(name), Name: name, Address: name + ":1", Zone: zone, Role: protocol.RolePassive, Eligible: true,
		},
		Since: second, LastIndex: 5000, LastIndexKnown: true,
	}
}

func with(p Peer, change func(*Peer)) Peer {
	change(&p)
	return p
}

func wishes(p *Peer) { p.Wishes = true }

func TestDecide(t *testing.T) {
	learnerAt := func(match protocol.Index, alive bool) []Progress {
		return []Progress{{ID: id("a"), Match: 5000, Active: true, Answers: true}, {ID: id("b"), Match: match, Active: alive, Answers: alive}}
	}
	tests := []struct {
		name   string
		seats  protocol.Configuration
		change func(*Input)
		peers  []Peer
		heard  []Progress
		action Action
		member string
		why    string
		again  protocol.Instant
	}{
		{name: "enough voters", seats: seats(3, "a b c"), peers: []Peer{passive("d", "")}, why: "3 voters of 3 wanted"},
		{name: "alone", seats: seats(3, "a"), peers: []Peer{active("a", "")}, why: "no passive wishes to be active"},
		{name: "grows", seats: seats(3, "a"), peers: []Peer{active("a", ""), passive("c", ""), passive("b", "")},
			action: AddLearner, member: "b", why: "b becomes a learner: 1 voters of 3 wanted, alive for 9s, holds 5000 of 5000"},
		{name: "not eligible", seats: seats(3, "a"), peers: []Peer{with(passive("b", ""), func(p *Peer) { p.Eligible = false })},
			why: "no passive wishes to be active"},
		{name: "has no role", seats: seats(3, "a"), peers: []Peer{with(passive("b", ""), func(p *Peer) { p.Role = protocol.RoleNone })},
			why: "b is not passive yet"},
		{name: "too new", seats: seats(3, "a"), peers: []Peer{
			with(passive("b", ""), func(p *Peer) { p.Since = 10*second - second/4 }),
			with(passive("c", ""), func(p *Peer) { p.Since = 10*second - second/2 }),
		}, why: "b has been alive for 250ms of 1s; c has been alive for 500ms of 1s", again: 10*second + second/2},
		{name: "a new one waits, a stable one does not", seats: seats(3, "a"), peers: []Peer{
			with(passive("b", ""), func(p *Peer) { p.Since = 10 * second }), passive("c", ""),
		}, action: AddLearner, member: "c"},
		{name: "who wishes to goes before who may", seats: seats(3, "a"), peers: []Peer{active("a", "x"), passive("b", "y"), with(passive("c", "x"), wishes)},
			action: AddLearner, member: "c"},
		{name: "who wishes to is waited for", seats: seats(3, "a"), peers: []Peer{
			passive("b", ""), with(passive("c", ""), func(p *Peer) { p.Wishes, p.Since = true, 10*second-second/4 }),
		}, why: "c has been alive for 250ms of 1s, and wishes to be active", again: 10*second + 3*second/4},
		{name: "who wishes to is not waited for long", seats: seats(3, "a"), change: func(in *Input) { in.Now = 100 * second }, peers: []Peer{
			passive("b", ""), with(passive("c", ""), func(p *Peer) { p.Wishes, p.Since = true, 100*second-second/4 }),
		}, action: AddLearner, member: "b"},
		{name: "a learner that wishes to goes first", seats: seats(2, "a b* c*"), peers: []Peer{active("b", ""), with(active("c", ""), wishes)},
			heard:  append(learnerAt(5000, true), Progress{ID: id("c"), Match: 5000, Active: true, Answers: true}),
			action: PromoteLearner, member: "c"},
		{name: "silent", seats: seats(3, "a"), peers: []Peer{with(passive("b", ""), func(p *Peer) { p.LastIndexKnown = false })},
			why: "b has not said what it holds"},
		{name: "behind", seats: seats(3, "a"), peers: []Peer{with(passive("b", ""), func(p *Peer) { p.LastIndex = 5000 - 1025 })},
			why: "b holds 3975 of 5000"},
		{name: "just near enough", seats: seats(3, "a"), peers: []Peer{with(passive("b", ""), func(p *Peer) { p.LastIndex = 5000 - 1024 })},
			action: AddLearner, member: "b"},
		{name: "empty log of a young cluster", seats: seats(3, "a"), change: func(in *Input) { in.Commit = 100 },
			peers: []Peer{with(passive("b", ""), func(p *Peer) { p.LastIndex = 0 })}, action: AddLearner, member: "b"},
		{name: "another zone first", seats: seats(3, "a"), peers: []Peer{active("a", "x"), passive("b", "x"), passive("c", ""), passive("d", "y")},
			action: AddLearner, member: "d", why: "the first in zone y"},
		{name: "zones of learners count", seats: seats(3, "a b*"), heard: learnerAt(5000, true),
			peers:  []Peer{active("a", "x"), active("b", "y"), passive("c", "y"), passive("d", "z")},
			action: AddLearner, member: "d"},
		{name: "the zone with fewest", seats: seats(5, "a b c"), heard: learnerAt(5000, true),
			peers:  []Peer{active("a", "x"), active("b", "x"), active("c", "y"), passive("d", "x"), passive("e", ""), passive("f", "y")},
			action: AddLearner, member: "f", why: "beside 1 in zone y"},
		{name: "zones of dead actives do not", seats: seats(3, "a b"), peers: []Peer{active("a", "x"), passive("c", "x"), passive("d", "y")},
			action: AddLearner, member: "d"},
		{name: "change in flight", seats: seats(3, "a"), change: func(in *Input) { in.Configuration.Index = 5001 },
			peers: []Peer{passive("b", "")}, why: "the change at index 5001 is not committed yet"},
		{name: "new leader", seats: seats(3, "a"), change: func(in *Input) { in.OwnTerm = false },
			peers: []Peer{passive("b", "")}, why: "own term"},
		{name: "learner becomes voter", seats: seats(3, "a b*"), peers: []Peer{active("b", "")}, heard: learnerAt(4990, true),
			action: PromoteLearner, member: "b", why: "b becomes a voter: 1 voters of 3 wanted, acknowledged 4990 of 5000"},
		{name: "learner that membership does not see", seats: seats(3, "a b*"), heard: learnerAt(4990, true),
			action: PromoteLearner, member: "b"},
		{name: "learner that lags", seats: seats(2, "a b*"), peers: []Peer{active("b", "")}, heard: learnerAt(3000, true),
			why: "learner b has acknowledged 3000, needs 3976"},
		{name: "learner that has not its own entry", seats: seats(2, "a b*"), peers: []Peer{active("b", "")}, heard: learnerAt(4499, true),
			change: func(in *Input) { in.Configuration.Index = 4500 }, why: "learner b has acknowledged 4499, needs 4500"},
		{name: "learner in a catch-up", seats: seats(2, "a b*"), peers: []Peer{active("b", "")},
			heard: []Progress{{ID: id("b"), Match: 5000, Active: true, Answers: true, CatchUp: true}}, why: "learner b is being brought a checkpoint"},
		{name: "learner that wishes no more, for too short", seats: seats(2, "a b*"), heard: learnerAt(5000, true), again: 10*second + second/2,
			peers: []Peer{with(active("b", ""), func(p *Peer) { p.Eligible, p.Since = false, 10*second-second/2 })}, why: "1 voters of 2 wanted"},
		{name: "switched off", seats: seats(3, "a"), change: func(in *Input) { in.Configuration.Configuration.Autopilot.Off = true },
			peers: []Peer{passive("b", "")}, why: "switched off"},
		{name: "the floor is aimed at", seats: seats(1, "a"), change: func(in *Input) { in.Configuration.Configuration.Autopilot.Floor = 3 },
			peers: []Peer{passive("b", "")}, action: AddLearner, member: "b", why: "1 voters of 3 wanted"},
		{name: "stable for as long as the configuration says", seats: seats(3, "a"), peers: []Peer{passive("b", "")}, again: 21 * second,
			change: func(in *Input) { in.Configuration.Configuration.Autopilot.Stable = 20 * time.Second }, why: "b has been alive for 9s of 20s"},
		{name: "learner that is silent", seats: seats(2, "a b*"), peers: []Peer{active("b", "")}, heard: learnerAt(4990, false),
			why: "learner b does not answer"},
		{name: "learners first, then voters", seats: seats(3, "a b*"), peers: []Peer{active("b", ""), passive("c", "")}, heard: learnerAt(4990, true),
			action: AddLearner, member: "c"},
		{name: "not more learners than seats", seats: seats(2, "a b*"), peers: []Peer{active("b", ""), passive("c", "")}, heard: learnerAt(3000, true),
			why: "learner b has acknowledged"},
		{name: "a dead learner holds nobody up", seats: seats(2, "a b*"), peers: []Peer{passive("c", "")}, heard: learnerAt(3000, false),
			action: AddLearner, member: "c"},
		{name: "the voter's zone decides", seats: seats(2, "a b* c*"), peers: []Peer{active("a", "x"), active("b", "x"), active("c", "y")},
			heard: []Progress{{ID: id("b"), Match: 5000, Active: true, Answers: true}, {ID: id("c"), Match: 5000, Active: true, Answers: true}}, action: PromoteLearner, member: "c"},
	}
	for _, test := range tests {
		t.Run(strings.ReplaceAll(test.name, " ", "-"), func(t *testing.T) {
			in := Input{
				Now: 10 * second, Self: id("a"), Commit: 5000, OwnTerm: true, Peers: test.peers, Progress: test.heard,
				Configuration: protocol.ConfigurationAt{Index: 17, Configuration: test.seats},
			}
			if test.change != nil {
				test.change(&in)
			}
			got := Decide(Config{}, in)
			if got.Action != test.action {
				t.Fatalf("got %v (%s), want %v", got.Action, got.Why, test.action)
			}
			if !strings.Contains(got.Why, test.why) || got.Why == "" {
				t.Errorf("got why %q, want %q in it", got.Why, test.why)
			}
			if got.Again != test.again {
				t.Errorf("got again %d, want %d", got.Again, test.again)
			}
			if got.Version != in.Configuration.Index {
				t.Errorf("got version %d, want %d", got.Version, in.Configuration.Index)
			}
			want := in.Configuration.Configuration
			if test.action != Wait {
				if got.Member != id(test.member) {
					t.Fatalf("got member %v (%s), want %s", got.Member, got.Why, test.member)
				}
				seat := protocol.SuffrageLearner
				if test.action == PromoteLearner {
					seat = protocol.SuffrageVoter
				}
				want = want.With(protocol.ActiveMember{ID: id(test.member), Name: test.member, Address: test.member + ":1", Suffrage: seat})
			}
			if !got.Next.Equal(want) {
				t.Errorf("got next %v, want %v", got.Next, want)
			}
		})
	}
}

// One voter becomes three in one change: two would survive the death of nobody.
func TestLearnersBecomeVotersTogether(t *testing.T) {
	in := Input{
		Now: 10 * second, Self: id("a"), Commit: 5000, OwnTerm: true,
		Configuration: protocol.ConfigurationAt{Index: 17, Configuration: seats(3, "a b* c*")},
		Peers:         []Peer{active("a", ""), active("b", ""), active("c", "")},
		Progress:      []Progress{{ID: id("b"), Match: 5000, Active: true, Answers: true}, {ID: id("c"), Match: 3000, Active: true, Answers: true}},
	}
	if got := Decide(Config{}, in); got.Action != Wait || !strings.Contains(got.Why, "learner c has acknowledged 3000") {
		t.Errorf("got %v (%s), want to wait for c", got.Action, got.Why)
	}
	in.Progress[1].Active, in.Progress[1].Answers = false, false
	if got := Decide(Config{}, in); got.Action != PromoteLearner || got.Next.String() != "a b c(learner)" {
		t.Errorf("got %v to %v, want b alone: c does not answer", got.Action, got.Next)
	}
	in.Progress[1] = Progress{ID: id("c"), Match: 5000, Active: true, Answers: true}
	got := Decide(Config{}, in)
	if got.Action != PromoteLearner || got.Next.String() != "a b c" || got.Member != id("b") {
		t.Errorf("got %v to %v, want both", got.Action, got.Next)
	}
	in.Configuration.Configuration = in.Configuration.Configuration.Toward(got.Next)
	if got := Decide(Config{}, in); got.Action != Wait || !strings.Contains(got.Why, "not complete") {
		t.Errorf("got %v (%s) during a joint change, want to wait", got.Action, got.Why)
	}
}

func TestNoMoreMembersThanFit(t *testing.T) {
	full := protocol.Configuration{Target: 3}
	for i := range protocol.ActivesMax {
		seat := protocol.SuffrageLearner
		if i == 0 {
			seat = protocol.SuffrageVoter
		}
		full = full.With(protocol.ActiveMember{ID: protocol.MemberID{1, byte(i)}, Suffrage: seat})
	}
	got := Decide(Config{}, Input{
		Now: 10 * second, Commit: 20, OwnTerm: true, Peers: []Peer{passive("x", "")},
		Configuration: protocol.ConfigurationAt{Index: 17, Configuration: full},
	})
	if got.Action != Wait || !strings.Contains(got.Why, "no more fit") {
		t.Errorf("got %v: %s, want to wait because no more fit", got.Action, got.Why)
	}
}

// TestGrowsToTarget follows the decisions from one voter to five, with inputs
// in random order: the same decisions come out, and all that came in stay.
func TestGrowsToTarget(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	current := seats(5, "a")
	var steps []string
	for version := protocol.Index(100); ; version++ {
		in := Input{
			Now: 10 * second, Commit: version, OwnTerm: true,
			Configuration: protocol.ConfigurationAt{Index: version, Configuration: current},
		}
		for _, name := range strings.Fields("a b c d e f g") {
			p := passive(name, "")
			if current.Names(p.ID) {
				p.Role = protocol.RoleActive
				in.Progress = append(in.Progress, Progress{ID: p.ID, Match: version, Active: true, Answers: true})
			}
			in.Peers = append(in.Peers, p)
		}
		ordered := Decide(Config{}, in)
		random.Shuffle(len(in.Peers), func(i, k int) { in.Peers[i], in.Peers[k] = in.Peers[k], in.Peers[i] })
		random.Shuffle(len(in.Progress), func(i, k int) { in.Progress[i], in.Progress[k] = in.Progress[k], in.Progress[i] })
		got := Decide(Config{}, in)
		if !reflect.DeepEqual(got, ordered) {
			t.Fatalf("got %+v, want %+v whatever the order of the input", got, ordered)
		}
		if got.Action == Wait {
			break
		}
		if err := got.Next.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, m := range current.Members {
			if now, ok := got.Next.Find(m.ID); !ok || now.Suffrage < m.Suffrage {
				t.Fatalf("%s lost its seat: %s", m.Label(), got.Why)
			}
		}
		current = got.Next
		steps = append(steps, current.String())
	}
	want := []string{
		"a b(learner)", "a b(learner) c(learner)", "a b(learner) c(learner) d(learner)",
		"a b(learner) c(learner) d(learner) e(learner)", "a b c d e",
	}
	if !reflect.DeepEqual(steps, want) {
		t.Errorf("got steps %q, want %q", steps, want)
	}
}

func TestConfig(t *testing.T) {
	in := Input{
		Now: 10 * second, Commit: 5000, OwnTerm: true,
		Configuration: protocol.ConfigurationAt{Index: 17, Configuration: seats(3, "a")},
		Peers:         []Peer{with(passive("b", ""), func(p *Peer) { p.LastIndex = 4998 })},
	}
	if got := Decide(Config{LagMax: 1}, in); got.Action != Wait {
		t.Errorf("got %v with a lag of 2 of 1, want to wait", got.Action)
	}
	if got := Decide(Config{LagMax: 2, Stable: 9 * time.Second}, in); got.Action != AddLearner {
		t.Errorf("got %v (%s), want a learner", got.Action, got.Why)
	}
	if got := Decide(Config{Stable: 9*time.Second + 1}, in); got.Action != Wait || got.Again != 10*second+1 {
		t.Errorf("got %v again at %d, want to wait until %d", got.Action, got.Again, 10*second+1)
	}
}
