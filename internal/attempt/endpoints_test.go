package attempt

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// What order has kept is what it would find out anew, whatever happens between.
func TestOrderKeptIsNeverOutOfDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		random := rand.New(rand.NewPCG(seed, 1))
		address := func() string { return fmt.Sprint("m", random.IntN(6)) }
		b := NewEndpoints([]string{"m0", "m1"}, protocol.ClusterID{}, 1)
		for step := range 5000 {
			a := address()
			switch random.IntN(8) {
			case 0:
				b.BackOff(a, time.Now().Add(time.Duration(random.IntN(50))*time.Millisecond))
			case 1:
				b.Unreachable(a, time.Now().Add(time.Duration(random.IntN(50))*time.Millisecond))
			case 2:
				b.Prefer(a, Route(random.IntN(int(routes))))
			case 3:
				r := &protocol.Response{Leader: address(), Term: protocol.Term(step/100 + random.IntN(3))}
				if random.IntN(2) == 0 {
					r = &protocol.Response{Result: protocol.Failed(protocol.ErrNotLeader)}
				}
				b.Learn(a, r)
			case 4:
				var members []protocol.MemberStatus
				for range random.IntN(5) {
					members = append(members, protocol.MemberStatus{Address: address(), Alive: random.IntN(4) > 0, Role: "passive", Leader: random.IntN(5) == 0})
				}
				b.Learn(a, &protocol.Response{Status: &protocol.Status{Members: members, Term: protocol.Term(step/100 + random.IntN(3))}})
			case 5:
				join := &protocol.JoinInfo{}
				join.Configuration.Configuration.Members = []protocol.ActiveMember{{Address: address()}}
				b.Learn(a, &protocol.Response{Join: join})
			case 6:
				b.Reached(a)
			case 7:
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // virtual
			}
			for suits := range routes {
				if got, want := b.Order(time.Now(), suits), b.orderAt(suits, time.Now()); !slices.Equal(got, want) {
					t.Fatalf("step %d, route %d: got %v, want %v", step, suits, got, want)
				}
			}
		}
	})
}

// While nobody leads, whoever is asked says that it cannot help, and is asked last
// for a while; only the old leader, which is silent, has said nothing. Commands go
// to the next leader all the same, as soon as it is known.
func TestCommandsGoToANewLeaderThatCouldNotHelpBefore(t *testing.T) {
	b := NewEndpoints([]string{"m0", "m1", "m2"}, protocol.ClusterID{}, 1)
	b.Learn("m0", &protocol.Response{Leader: "m0", Term: 1})
	for _, address := range []string{"m1", "m2"} {
		b.BackOff(address, time.Now().Add(time.Hour))
	}
	if got, want := b.Order(time.Now(), RouteLeader)[0], "m0"; got != want {
		t.Errorf("commands go to %s, want %s", got, want)
	}
	b.Learn("m2", &protocol.Response{Leader: "m1", Term: 2})
	if got, want := b.Order(time.Now(), RouteLeader)[0], "m1"; got != want {
		t.Errorf("commands go to %s, want %s, which leads now", got, want)
	}
	b.BackOff("m1", time.Now().Add(time.Hour))
	b.Learn("m2", &protocol.Response{Leader: "m1", Term: 2})
	if got, want := b.Order(time.Now(), RouteLeader)[0], "m0"; got != want {
		t.Errorf("commands go to %s, want %s: nothing is new since the leader could not help", got, want)
	}
}

func TestReadsThatAnyMemberCanServeSpareTheLeader(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		given, learned       []string
		passive              []string
		leader, near, sticky string
		turn                 uint64
		want                 []string
	}{
		{name: "given before learned, passives before voters, the leader last", given: []string{"a", "b", "p"}, learned: []string{"a", "b", "c", "p", "q"},
			passive: []string{"p", "q"}, leader: "a", sticky: "a", want: []string{"p", "b", "q", "c", "a"}},
		{name: "stays where it was", given: []string{"a", "b", "c"}, leader: "a", near: "c", want: []string{"c", "b", "a"}},
		{name: "goes on when that leads", given: []string{"a", "b", "c"}, leader: "c", near: "c", want: []string{"a", "b", "c"}},
		{name: "clients spread", given: []string{"a"}, learned: []string{"a", "p", "q", "r"}, passive: []string{"p", "q", "r"}, leader: "a", turn: 5,
			want: []string{"r", "p", "q", "a"}},
		{name: "nobody leads", given: []string{"a", "b"}, turn: 1, want: []string{"b", "a"}},
	} {
		b := NewEndpoints(tt.given, protocol.ClusterID{}, tt.turn)
		b.learned, b.leader, b.near, b.sticky, b.passive = tt.learned, tt.leader, tt.near, tt.sticky, map[string]bool{}
		for _, p := range tt.passive {
			b.passive[p] = true
		}
		if got := b.Order(time.Now(), RouteNear); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Endpoints believe newer terms only, and not in a leader who is out of reach.
func TestEndpointsBelieveNewerTerms(t *testing.T) {
	b := NewEndpoints([]string{"a", "b"}, protocol.ClusterID{}, 1)
	said := func(by, leader string, term protocol.Term) bool {
		return b.Learn(by, &protocol.Response{Leader: leader, Term: term})
	}
	leads := func(what, want string) {
		t.Helper()
		if got, _ := b.Leader(); got != want {
			t.Errorf("%s: got leader %q, want %q", what, got, want)
		}
	}
	for _, step := range []struct {
		what  string
		do    func() bool
		newer bool
		want  string
	}{
		{"the first", func() bool { return said("a", "a", 5) }, true, "a"},
		{"the same again", func() bool { return said("b", "a", 5) }, false, "a"},
		{"an older term", func() bool { return said("b", "b", 4) }, false, "a"},
		{"out of reach", func() bool { b.Unreachable("a", time.Now().Add(time.Second)); return false }, false, ""},
		{"others still name it", func() bool { return said("b", "a", 5) }, false, ""},
		{"it is reached again", func() bool { b.Reached("a"); return said("b", "a", 5) }, false, "a"},
		{"it says that it leads no more", func() bool {
			return b.Learn("a", &protocol.Response{Result: protocol.Failed(protocol.ErrNotLeader)})
		}, false, ""},
		{"others have not heard of that", func() bool { return said("b", "a", 5) }, false, ""},
		{"a newer term", func() bool { return said("b", "b", 6) }, true, "b"},
		{"a status", func() bool {
			return b.Learn("b", &protocol.Response{Status: &protocol.Status{Term: 7, Members: []protocol.MemberStatus{{Address: "a", Alive: true, Leader: true}}}})
		}, true, "a"},
	} {
		if got := step.do(); got != step.newer {
			t.Errorf("%s: got news %v, want %v", step.what, got, step.newer)
		}
		leads(step.what, step.want)
	}
}

// A reserve holds nothing: whoever asks it has to ask again, elsewhere.
func TestReservesAreNotAsked(t *testing.T) {
	b := NewEndpoints([]string{"given:1"}, protocol.ClusterID{}, 0)
	b.Learn("given:1", &protocol.Response{Status: &protocol.Status{Members: []protocol.MemberStatus{
		{Address: "p:1", Role: "passive", Alive: true}, {Address: "r:1", Role: "reserve", Alive: true}, {Address: "a:1", Role: "active", Alive: true},
	}}})
	for _, suits := range []Route{RouteAny, RouteLeader, RouteNear} {
		got := b.Order(time.Now(), suits)
		slices.Sort(got)
		if want := []string{"a:1", "given:1", "p:1"}; !slices.Equal(got, want) {
			t.Errorf("route %d: got %v, want %v", suits, got, want)
		}
	}
}
