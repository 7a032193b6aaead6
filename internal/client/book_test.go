package client

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
		b := newBook([]string{"m0", "m1"}, protocol.ClusterID{}, 1)
		for step := range 5000 {
			a := address()
			switch random.IntN(8) {
			case 0:
				b.rest(a, time.Duration(random.IntN(50))*time.Millisecond)
			case 1:
				b.unreachable(a, time.Duration(random.IntN(50))*time.Millisecond)
			case 2:
				b.stay(a, route(random.IntN(int(routes))))
			case 3:
				r := &protocol.Response{Leader: address(), Term: protocol.Term(step/100 + random.IntN(3))}
				if random.IntN(2) == 0 {
					r = &protocol.Response{Result: protocol.Failed(protocol.ErrNotLeader)}
				}
				b.learn(a, r)
			case 4:
				var members []protocol.MemberStatus
				for range random.IntN(5) {
					members = append(members, protocol.MemberStatus{Address: address(), Alive: random.IntN(4) > 0, Role: "passive", Leader: random.IntN(5) == 0})
				}
				b.learn(a, &protocol.Response{Status: &protocol.Status{Members: members, Term: protocol.Term(step/100 + random.IntN(3))}})
			case 5:
				join := &protocol.JoinInfo{}
				join.Configuration.Configuration.Members = []protocol.ActiveMember{{Address: address()}}
				b.learn(a, &protocol.Response{Join: join})
			case 6:
				b.reached(a)
			case 7:
				time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond) // virtual
			}
			for suits := range routes {
				if got, want := b.order(suits), b.orderAt(suits, time.Now()); !slices.Equal(got, want) {
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
	b := newBook([]string{"m0", "m1", "m2"}, protocol.ClusterID{}, 1)
	b.learn("m0", &protocol.Response{Leader: "m0", Term: 1})
	for _, address := range []string{"m1", "m2"} {
		b.rest(address, time.Hour)
	}
	if got, want := b.order(routeLeader)[0], "m0"; got != want {
		t.Errorf("commands go to %s, want %s", got, want)
	}
	b.learn("m2", &protocol.Response{Leader: "m1", Term: 2})
	if got, want := b.order(routeLeader)[0], "m1"; got != want {
		t.Errorf("commands go to %s, want %s, which leads now", got, want)
	}
	b.rest("m1", time.Hour)
	b.learn("m2", &protocol.Response{Leader: "m1", Term: 2})
	if got, want := b.order(routeLeader)[0], "m0"; got != want {
		t.Errorf("commands go to %s, want %s: nothing is new since the leader could not help", got, want)
	}
}
