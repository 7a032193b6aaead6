package reunion

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const began protocol.Instant = 1 << 50

func newFlock(known []Known, addresses ...string) *Flock {
	return New(began, Config{
		Self: protocol.MemberID{255}, Interval: time.Second, Rand: rand.New(rand.NewPCG(1, 2)), Known: known, Addresses: addresses,
	})
}

func id(i int) protocol.MemberID { return protocol.MemberID{1, 14: byte(i >> 8), 15: byte(i)} }

// The memory is bounded: seats stay, and of the rest those heard last.
func TestTheMemoryIsBounded(t *testing.T) {
	f := newFlock(nil)
	f.Name([]Known{{ID: id(0), Address: "a:1"}})
	for i := 1; i <= rememberedMax+10; i++ {
		f.memory.lose(Known{ID: id(i), Heard: began.Add(time.Duration(i))}, true)
	}
	list := f.Unheard()
	if got, want := len(list), rememberedMax; got != want {
		t.Fatalf("got %d, want %d", got, want)
	}
	if got, want := list[0].ID, id(rememberedMax+10); got != want {
		t.Errorf("first is %s, want %s", got, want)
	}
	if last := list[rememberedMax-1]; last.ID != id(0) || !last.Named {
		t.Errorf("last is %+v, want the seat", last)
	}
	f.memory.expire(began.Add(rememberedFor + time.Minute))
	if got := f.Unheard(); len(got) != 1 || got[0].ID != id(0) {
		t.Errorf("after a day: got %v, want the seat", got)
	}
}

// Members that are dead for good cost each of the others a part only: all tries
// together are as many for each dead member, whatever the flock's size.
func TestTriesDoNotGrowWithTheFlock(t *testing.T) {
	f := newFlock([]Known{{ID: protocol.MemberID{1}, Address: "127.0.0.1:1"}})
	for _, c := range []struct{ live, least, most int }{{1, 10000, 10000}, {100, 120, 290}, {1000, 5, 45}} {
		for i := range c.live - 1 {
			f.Heard(protocol.Peer{ID: protocol.MemberID{2, byte(i >> 8), byte(i)}})
		}
		tried := 0
		for range 10000 {
			if try, ok := f.Tick(f.Deadline()); ok {
				tried++
				f.Tried(try, nil)
			}
		}
		if tried < c.least || tried > c.most {
			t.Errorf("with %d members: %d tries in 10,000 intervals, want %d to %d", c.live, tried, c.least, c.most)
		}
	}
}

// What an address was resolved to stays known after a try that came to nothing:
// one at which somebody lives who is heard is tried no more.
func TestAnAddressThatWasResolvedStaysKnown(t *testing.T) {
	f := newFlock(nil, "n1.test:1")
	f.Heard(protocol.Peer{ID: id(1), Address: "127.0.0.1:1"})
	try, ok := f.Tick(f.Deadline())
	if !ok {
		t.Fatal("the address is not tried")
	}
	f.Tried(try, []string{"127.0.0.1:1"})
	for range 100 {
		if try, ok := f.Tick(f.Deadline()); ok {
			t.Fatalf("%v is tried, want nobody", try)
		}
	}
	f.Died(began, id(1))
	f.Forget(id(1))
	if try, ok = f.Tick(f.Deadline()); !ok {
		t.Fatal("nobody is heard there, and it is not tried")
	}
	f.Tried(try, nil) // it cannot be resolved now
	f.Heard(protocol.Peer{ID: id(1), Address: "127.0.0.1:1"})
	for range 100 {
		if try, ok := f.Tick(f.Deadline()); ok {
			t.Fatalf("%v is tried, want nobody", try)
		}
	}
}

// Whoever is lost by whatever way is missed until it is found, has left, was removed, or is
// forgotten; another member with its name takes its place.
func TestWhoIsMissed(t *testing.T) {
	f := newFlock(nil)
	missed := func(what string, want int) {
		t.Helper()
		if got := f.Missing(); got != want {
			t.Errorf("%s: %d are missed, want %d", what, got, want)
		}
	}
	for i := range rememberedMax + 1 {
		f.memory.lose(Known{ID: id(i), Name: fmt.Sprint(i), Heard: began}, true)
	}
	missed("lost, and one evicted", rememberedMax)
	f.Heard(protocol.Peer{ID: id(257)})
	missed("found", rememberedMax-1)
	f.Heard(protocol.Peer{ID: protocol.MemberID{9}, Name: "300"})
	missed("another of its name is found", rememberedMax-2)
	f.Left(id(258))
	missed("left", rememberedMax-3)
	f.Forget(id(259))
	missed("removed", rememberedMax-4)
	f.Name([]Known{{ID: protocol.MemberID{7}}, {ID: protocol.MemberID{255}}})
	missed("seated", rememberedMax-3)
	f.Left(protocol.MemberID{7})
	missed("it has left, and has its seat", rememberedMax-3)
	f.Name(nil)
	missed("its seat is gone", rememberedMax-4)
	f.Tick(began.Add(rememberedFor))
	missed("for a day", rememberedMax-4)
	f.Tick(began.Add(2 * rememberedFor))
	missed("for two", 0)
}

// Who died may have left: it is missed once that was found out. If so many died at once
// that it is rather a split, this member contradicts its own death, not all the time.
func TestASplitIsContradicted(t *testing.T) {
	f := newFlock(nil)
	for i := range 9 {
		f.Heard(protocol.Peer{ID: id(i), Address: fmt.Sprint("a:", i)})
	}
	lose := func(now protocol.Instant, list ...int) bool {
		for _, i := range list {
			if heard, _ := f.Died(now, id(i)); !heard {
				t.Errorf("%d was not heard", i)
			}
		}
		if got := len(f.Unsettled()); got != len(list) {
			t.Errorf("%d are unsettled, want %d", got, len(list))
		}
		return f.Settled(now, f.Unsettled())
	}
	if lose(began, 0) {
		t.Error("one of ten is a split")
	}
	if got := f.Unheard(); len(got) != 1 || got[0].Address != "a:0" || got[0].Heard != began {
		t.Errorf("got %+v, want the dead one", got)
	}
	if !lose(began, 1, 2) {
		t.Error("three of ten are no split")
	}
	if lose(began.Add(contradictEvery), 3) {
		t.Error("it contradicts all the time")
	}
	if !lose(began.Add(contradictEvery+1), 4) {
		t.Error("it does not contradict again")
	}
}

// A claim to the id of a live member is kept until the member dies, once.
func TestAClaimWaitsForTheDeath(t *testing.T) {
	f := newFlock(nil)
	if f.Claimed(id(1), "b:1") {
		t.Error("nobody has the id, and a claim to it is kept")
	}
	f.Heard(protocol.Peer{ID: id(1), Address: "a:1"})
	if !f.Claimed(id(1), "b:1") || f.Claimed(id(1), "b:1") {
		t.Error("want news once")
	}
	if got := f.Freed(); got != nil {
		t.Errorf("got %v, want none: it lives", got)
	}
	if _, claimed := f.Died(began, id(1)); !claimed {
		t.Error("the claim is forgotten")
	}
	if got := f.Freed(); !reflect.DeepEqual(got, []string{"b:1"}) {
		t.Errorf("got %v, want the claim", got)
	}
	if got := f.Freed(); got != nil {
		t.Errorf("got %v, want none: it was asked", got)
	}
}

// News of a member that is thought dead is followed at once, at the address that is
// remembered, and seldom: what a forger can cause is bounded.
func TestNewsIsTriedOnce(t *testing.T) {
	list := make([]Known, newsPerInterval+2)
	for i := range list {
		list[i] = Known{ID: id(i), Address: fmt.Sprint("a:", i)}
	}
	f := newFlock(list)
	f.Heard(protocol.Peer{ID: id(100)}) // or it waits for one try, see below
	tried := 0
	for range 3 {
		for i := range list {
			if try, ok := f.News(began, id(i)); ok {
				tried++
				if want := []string{fmt.Sprint("a:", i)}; !reflect.DeepEqual(try.Addresses, want) {
					t.Errorf("tried at %v, want %v", try.Addresses, want)
				}
			}
		}
	}
	if tried != newsPerInterval {
		t.Errorf("%d tries, want %d", tried, newsPerInterval)
	}
	if _, ok := f.News(began, id(999)); ok {
		t.Error("a stranger is tried")
	}
}

// A hundred members that started at once asked four others each for all that these knew, and
// whoever they heard of, two or three times each.
func TestStartIsOneTryAfterTheOtherUntilSomebodyIsHeard(t *testing.T) {
	f := newFlock([]Known{{ID: id(1), Address: "a:1"}, {ID: id(2), Address: "a:2"}}, "a:3", "a:4", "a:5")
	now := began
	first, ok := f.Tick(now)
	if !ok {
		t.Fatal("nobody is tried at the start")
	}
	if _, ok := f.News(now, id(1)); ok {
		t.Error("news of another one is tried beside")
	}
	for n := 2; n <= firstTries; n++ {
		if got, want := f.Deadline(), now.Add(time.Second/firstShare); got != want {
			t.Fatalf("try %d is at %v, want %v", n, got.Sub(began), want.Sub(began))
		}
		now = f.Deadline()
		if _, ok := f.Tick(now); !ok {
			t.Fatalf("nobody answers, and try %d is not made", n)
		}
	}
	f.Tick(f.Deadline())
	if got := f.Deadline().Sub(now); got < time.Second/2 {
		t.Errorf("nobody answers at all, and there is a try each %v", got)
	}
	f.Heard(protocol.Peer{ID: id(9)})
	f.Tried(first, nil)
	news := 0
	for _, from := range []protocol.MemberID{id(1), id(2)} {
		if _, ok := f.News(now, from); ok {
			news++
		}
	}
	if news == 0 {
		t.Error("somebody is heard, and news of others are not tried")
	}
}

// Counterexample: a member comes back before anybody has missed it, and remembers addresses at
// which nobody lives. Each try lasts as long as a dial does, and the datagrams of those who hold it
// alive, whom it could try at once, were passed over meanwhile.
func TestNewsAreTriedWhileTriesHang(t *testing.T) {
	f := newFlock([]Known{{ID: id(1), Address: "a:1"}, {ID: id(2), Address: "a:2"}}, "a:3")
	if _, ok := f.Tick(began); !ok {
		t.Fatal("nobody is tried at the start")
	}
	news := 0
	for _, from := range []protocol.MemberID{id(1), id(2)} {
		if _, ok := f.News(began.Add(time.Second/firstShare), from); ok {
			news++
		}
	}
	if news == 0 {
		t.Error("a try hangs, and news of others are not tried")
	}
}

// News of who starts at the same time may miss a member; it asks again, twice.
func TestStartIsFollowedByTwoExchanges(t *testing.T) {
	f := newFlock(nil)
	if at, _ := f.Exchange(); at != "" {
		t.Errorf("nobody is heard, and %s is asked", at)
	}
	f.Heard(protocol.Peer{ID: id(1), Address: "a:1"})
	for n := range startExchanges + 10 {
		if at, _ := f.Exchange(); (at == "a:1") != (n < startExchanges) {
			t.Errorf("exchange %d is with %q", n, at)
		}
	}
}

// The second exchange of a try is for members that were thought dead, and have denied it.
func TestSecondExchangeIsForTheDead(t *testing.T) {
	f := newFlock([]Known{{ID: id(1), Address: "a:1"}}, "a:2")
	seat := f.begin(began, f.memory.of(id(1)))
	if !f.Again(seat, 1) || !f.Again(seat, 2) || f.Again(seat, exchangesMax) {
		t.Error("a member that is not heard is given up, or asked for ever")
	}
	f.Heard(protocol.Peer{ID: id(1)})
	if f.Again(seat, 1) {
		t.Error("it is heard, nobody thought anybody dead, and all is exchanged again")
	}
	f.HeldDead()
	if !f.Again(seat, 1) || f.Again(seat, 2) {
		t.Error("after a denial there is not one exchange more")
	}
	if next := (Try{Addresses: []string{"a:2"}, denied: f.denied}); f.Again(next, 1) {
		t.Error("an older denial counts")
	}
}

// Who loses the seat is forgotten, unless another got it.
func TestWhoWasRemovedAndWhoWasReplaced(t *testing.T) {
	id := func(n byte) protocol.MemberID { return protocol.MemberID{n} }
	voter := func(n byte) protocol.ActiveMember {
		return protocol.ActiveMember{ID: id(n), Suffrage: protocol.SuffrageVoter}
	}
	outgoing := func(n byte, seat protocol.Suffrage) protocol.ActiveMember {
		return protocol.ActiveMember{ID: id(n), Suffrage: seat, Outgoing: true}
	}
	learner := func(n byte) protocol.ActiveMember {
		return protocol.ActiveMember{ID: id(n), Suffrage: protocol.SuffrageLearner}
	}
	conf := func(m ...protocol.ActiveMember) *protocol.Configuration { return &protocol.Configuration{Members: m} }
	both, none := protocol.SuffrageVoter, protocol.SuffrageNone
	for name, c := range map[string]struct {
		last, next *protocol.Configuration
		want       []protocol.MemberID
	}{
		"removed":              {conf(outgoing(1, both), outgoing(2, both), outgoing(3, none)), conf(voter(1), voter(2)), []protocol.MemberID{id(3)}},
		"removed, seen late":   {conf(voter(1), voter(2), voter(3)), conf(voter(1), voter(2)), []protocol.MemberID{id(3)}},
		"replaced":             {conf(outgoing(1, both), outgoing(2, none), voter(3)), conf(voter(1), voter(3)), nil},
		"replaced, seen late":  {conf(voter(1), voter(2), learner(3)), conf(voter(1), voter(3)), nil},
		"a learner is removed": {conf(voter(1), learner(2)), conf(voter(1)), []protocol.MemberID{id(2)}},
		"nothing":              {conf(voter(1), learner(2)), conf(voter(1), learner(2)), nil},
		"on its way":           {conf(voter(1), voter(2)), conf(outgoing(1, both), outgoing(2, none)), nil},
	} {
		if got := Removed(c.last, c.next); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// A directory remembers both who is heard and who is not, those first; half of the room
// is for those that are heard.
func TestWhatIsRemembered(t *testing.T) {
	f := newFlock(nil)
	for i := range rememberedMax {
		f.memory.lose(Known{ID: id(i), Heard: began}, true)
	}
	for i := range rememberedMax {
		f.Heard(protocol.Peer{ID: protocol.MemberID{2, 14: byte(i >> 8), 15: byte(i)}, Address: "10.0.0.1:7600", Host: "b:7600"})
	}
	list := f.Remembered(began + 5)
	if len(list) != rememberedMax || list[rememberedMax/2-1].ID != id(rememberedMax/2-1) {
		t.Fatalf("%d are remembered, want %d, half of them not heard", len(list), rememberedMax)
	}
	want := Known{ID: protocol.MemberID{2}, Address: "b:7600", Number: "10.0.0.1:7600", Heard: began + 5}
	if got := list[rememberedMax/2]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Where datagrams do not get to one member only, as behind a firewall of its own, it is not
// asked for all that is known by each of the others: what that costs it would grow with
// their number.
func TestOneWithoutDatagramsIsNotTaxedByAll(t *testing.T) {
	const others = 100
	ids := make([]protocol.MemberID, others+1)
	flock := func(self int, streamed ...protocol.MemberID) *Flock {
		f := New(1, Config{Self: ids[self], Interval: time.Second, Rand: rand.New(rand.NewPCG(uint64(self), 1))})
		for i, id := range ids {
			if i != self {
				f.Heard(protocol.Peer{ID: id, Address: fmt.Sprint("h:", i)})
			}
		}
		f.checked = startExchanges // the start is over
		f.Streamed(streamed)
		return f
	}
	for i := range ids {
		ids[i] = protocol.MemberID{byte(i + 1)}
	}
	rounds := func(f *Flock, n int) (exchanges int) {
		for range n {
			if address, _ := f.Exchange(); address != "" {
				exchanges++
			}
		}
		return exchanges
	}
	alone := 0 // exchanges that the others have with the one, in a round
	for i := range others {
		alone += rounds(flock(i+1, ids[0]), 1)
	}
	if alone > 5 {
		t.Errorf("one that gets no datagrams is asked by %d of %d others in a round", alone, others)
	}
	if got := rounds(flock(0, ids[1:]...), 10); got != 10 {
		t.Errorf("it makes %d exchanges in 10 rounds, want one in each", got)
	}
}
