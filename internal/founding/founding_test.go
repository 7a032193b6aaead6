package founding

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// pair is a member that has asked everybody, with what each answers.
type pair struct {
	t    *testing.T
	all  []*Founder
	self []Place
}

func newPair(t *testing.T, self []Place, configs []Config, named ...[]Place) *pair {
	p := &pair{t: t, self: self}
	for i, cfg := range configs {
		cfg.ID = memberIDOf(i)
		f := New(cfg)
		f.Name(self[i], named[min(i, len(named)-1)])
		p.all = append(p.all, f)
	}
	return p
}

// round has each ask all, and answer all.
func (p *pair) round() {
	for i, f := range p.all {
		for _, at := range f.Peers() {
			for j, g := range p.all {
				if i == j || !at.is(p.self[j]) {
					continue
				}
				q := f.Question()
				answer, write := g.Asked(q)
				if write != nil {
					g.Written()
				}
				if answer != nil {
					f.Answered(at, q, answer)
				}
				if f.Verdict() == (Verdict{}) && f.Waits() == "" {
					p.t.Errorf("%s waits and does not say for what, having heard %s", p.self[i], at)
				}
				if strings.Contains(f.Waits(), "are asked to promise") && !f.Question().Promise {
					p.t.Errorf("%s asks nobody to promise, and says %q", p.self[i], f.Waits())
				}
			}
		}
	}
}

func TestTheLowestAddressBegins(t *testing.T) {
	names := []Place{{"127.0.0.1:10", "127.0.0.1:10"}, {"127.0.0.1:9", "127.0.0.1:9"}, {"127.0.0.1:100", "127.0.0.1:100"}}
	each := Config{Begins: true}
	p := newPair(t, names, []Config{each, each, each}, names)
	p.round()
	p.round()
	p.round()
	for i, f := range p.all {
		if got, want := f.Verdict().Begin, i == 1; got != want {
			t.Errorf("%s begins: got %v, want %v; %s", names[i], got, want, f.Waits())
		}
	}
}

// TestListsAreComparedAsSets has names that mean something else on their own
// machine, and addresses instead of names.
func TestListsAreComparedAsSets(t *testing.T) {
	list := func(names ...string) (l []Place) {
		for _, n := range names {
			name, address, _ := strings.Cut(n, "=")
			l = append(l, Place{name, address})
		}
		return l
	}
	for _, c := range []struct {
		name string
		a, b []Place
		want bool
	}{
		{"another order", list("a:1=10.0.0.1:1", "b:1=10.0.0.2:1"), list("b:1=10.0.0.2:1", "a:1=10.0.0.1:1"), true},
		{"own names on loopback", list("a:1=127.0.1.1:1", "b:1=10.0.0.2:1"), list("a:1=10.0.0.1:1", "b:1=127.0.1.1:1"), true},
		{"numbers for names", list("a:1=10.0.0.1:1", "b:1=10.0.0.2:1"), list("10.0.0.1:1=10.0.0.1:1", "10.0.0.2:1=10.0.0.2:1"), true},
		{"a name that nobody knows", list("a:1=10.0.0.1:1", "b:1="), list("10.0.0.1:1=10.0.0.1:1", "10.0.0.2:1=10.0.0.2:1"), false},
		{"one more", list("a:1=10.0.0.1:1"), list("a:1=10.0.0.1:1", "b:1=10.0.0.2:1"), false},
		{"another port", list("a:1=10.0.0.1:1"), list("a:2=10.0.0.1:2"), false},
	} {
		if got := listOf(c.a).equal(listOf(c.b)); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestListsThatDifferAreAnErrorThatShowsBoth(t *testing.T) {
	a, b, c := Place{"a:1", "10.0.0.1:1"}, Place{"b:1", "10.0.0.2:1"}, Place{"c:1", "10.0.0.3:1"}
	each := Config{Begins: true}
	p := newPair(t, []Place{a, b}, []Config{each, each}, []Place{a, b}, []Place{a, b, c})
	for range 3 { // c is not there: this may be a slip, or not the whole list
		p.round()
	}
	for i, f := range p.all {
		if v := f.Verdict(); v != (Verdict{}) || f.Question().Promise {
			t.Errorf("%d: got %+v, want that it waits, and asks nobody for a promise", i, v)
		}
		if got := f.Waits(); !strings.Contains(got, "{a:1, b:1}") || !strings.Contains(got, "{a:1, b:1, c:1}") {
			t.Errorf("%d says %q, want both lists", i, got)
		}
	}
	p = newPair(t, []Place{a, b, c}, []Config{each, each, {}}, []Place{a, b}, []Place{a, b, c})
	p.round()
	p.round()
	err := p.all[0].Verdict().Err
	if !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), "{a:1, b:1}") || !strings.Contains(err.Error(), "{a:1, b:1, c:1}") {
		t.Errorf("got %v, want both lists", err)
	}
	if got := p.all[1].Waits(); !strings.Contains(got, "{a:1, b:1}") || !strings.Contains(got, "{a:1, b:1, c:1}") {
		t.Errorf("who was asked says %q, want both lists", got)
	}
}

func TestSilenceIsNoAnswer(t *testing.T) {
	a, b, c := Place{"a:1", "10.0.0.1:1"}, Place{"b:1", "10.0.0.2:1"}, Place{"c:1", "10.0.0.3:1"}
	p := newPair(t, []Place{a, b}, []Config{{Begins: true}, {}}, []Place{a, b, c})
	for range 5 {
		p.all[0].Silent(c, "connection refused")
		p.round()
	}
	f := p.all[0]
	if v := f.Verdict(); v != (Verdict{}) {
		t.Errorf("got %+v, want no verdict", v)
	}
	if want := "no answer from c:1 (10.0.0.3:1) (connection refused)"; !strings.Contains(f.Waits(), want) {
		t.Errorf("got %q, want %q in it", f.Waits(), want)
	}
	if p.all[1].promise != nil {
		t.Error("a promise was asked for before all have answered")
	}
}

func TestExpectCountsThoseThatWereToldTo(t *testing.T) {
	at := func(i int) Place { return placeOf(i) }
	each := Config{Begins: true, Expect: 3}
	template := []Place{at(0)}
	p := newPair(t, []Place{at(0), at(1), at(2), at(3)}, []Config{each, each, each, {}}, template)
	for range 4 {
		p.round()
	}
	begun := 0
	for _, f := range p.all {
		if v := f.Verdict(); v.Begin {
			begun++
		} else if v.Err != nil {
			t.Error(v.Err)
		}
	}
	if begun != 1 {
		t.Errorf("%d begin, want 1", begun)
	}

	few := newPair(t, []Place{at(0), at(1)}, []Config{each, each}, template)
	few.round()
	few.round()
	if v := few.all[0].Verdict(); v != (Verdict{}) || !strings.Contains(few.all[0].Waits(), "found 2 of 3") {
		t.Errorf("got %+v and %q, want that it waits for a third", v, few.all[0].Waits())
	}

	many := newPair(t, []Place{at(0), at(1), at(2), at(3)}, []Config{each, each, each, each}, []Place{at(0), at(1), at(2), at(3)})
	many.round()
	if v := many.all[0].Verdict(); v != (Verdict{}) || !strings.Contains(many.all[0].Waits(), "4 members say that they were told --expect, of 3") {
		t.Errorf("got %+v and %q, want that it waits and counts: one may be gone", v, many.all[0].Waits())
	}
	many.round()
	many.round()
	if err := many.all[0].Verdict().Err; err == nil || !strings.Contains(err.Error(), "4 members were told to begin one, of 3 expected") {
		t.Errorf("got %v, want an error that counts", err)
	}
}

// TestExpectWaitsForOneThatIsGone has a member restart at another address: at the old
// one nobody answers, which takes its time to be seen.
func TestExpectWaitsForOneThatIsGone(t *testing.T) {
	all := []Place{placeOf(0), placeOf(1), placeOf(2), placeOf(3), placeOf(4)}
	each := Config{Begins: true, Expect: 4}
	p := newPair(t, all, []Config{each, each, each, each, each}, all[:1])
	gone := func(q *protocol.Founding) { // what it has answered before, late
		p.all[0].Answered(all[2], q, &protocol.JoinInfo{Founding: p.all[2].statement()})
	}
	first := p.all[0]
	for _, i := range []int{1, 2, 3} {
		first.Asked(p.all[i].Question())
	}
	early := first.Question()
	gone(early)
	now := []int{1, 3, 4} // the third is the fifth now
	first.Asked(p.all[4].Question())
	answer := func(i int) {
		q := first.Question()
		if info, _ := p.all[i].Asked(q); info != nil {
			first.Answered(all[i], q, info)
		}
	}
	for _, i := range now {
		answer(i)
	}
	gone(early)
	for range 3 {
		for _, i := range now {
			answer(i)
		}
	}
	if v := first.Verdict(); v != (Verdict{}) || !strings.Contains(first.Waits(), "5 members say that they were told --expect, of 4") {
		t.Fatalf("got %+v and %q, want that it waits and says for whom", v, first.Waits())
	}
	first.Silent(all[2], "connection refused")
	p.all[2].verdict.Err = errors.New("gone")
	p.self[2] = Place{Name: "gone"}
	for range 3 {
		p.round()
	}
	if !first.Verdict().Begin {
		t.Errorf("got %+v, want that it begins: %s", first.Verdict(), first.Waits())
	}
}

func TestAPromiseIsLiftedByItsOwnerOnly(t *testing.T) {
	a, b := Place{"a:1", "10.0.0.1:1"}, Place{"b:1", "10.0.0.2:1"}
	f := New(Config{ID: memberIDOf(0), Begins: true, Promise: &Promise{To: "b:1", Names: []string{"a:1", "b:1"}}})
	f.Name(a, nil)
	if err := f.Verdict().Err; err == nil || !strings.Contains(err.Error(), "--forget-promise") {
		t.Errorf("alone: got %v, want the flag", err)
	}
	f = New(Config{ID: memberIDOf(0), Begins: true, Promise: &Promise{To: "b:1", Names: []string{"a:1", "b:1"}}})
	f.Name(a, []Place{b})
	q := f.Question()
	f.Answered(b, q, &protocol.JoinInfo{Founding: &protocol.Founding{ID: memberIDOf(1)}})
	if v := f.Verdict(); v != (Verdict{}) || !strings.Contains(f.Waits(), "waits for its cluster") {
		t.Errorf("got %+v and %q, want that it waits", v, f.Waits())
	}
	other := &protocol.Founding{ID: memberIDOf(2), Name: "c:1", Names: []string{"a:1", "c:1"}, Told: true, Begins: true, Promise: true}
	if answer, write := f.Asked(other); write != nil || answer.Founding.Promise || !strings.Contains(answer.Founding.Why, "--forget-promise") {
		t.Errorf("got %+v, %v for another list, want a refusal", answer.Founding, write)
	}
	f.Answered(b, q, &protocol.JoinInfo{Cluster: clusterOf(7)})
	if f.Verdict().Join == nil {
		t.Error("who has promised must join")
	}
}

// TestWhoPromises is the three answers to a question for the promise.
func TestWhoPromises(t *testing.T) {
	a, b := Place{"a:1", "10.0.0.1:1"}, Place{"b:1", "10.0.0.2:1"}
	member := func(self Place, cfg Config) *Founder {
		f := New(cfg)
		f.Name(self, []Place{a, b})
		return f
	}
	low, high := member(a, Config{ID: memberIDOf(0), Begins: true}), member(b, Config{ID: memberIDOf(1), Begins: true})
	q := high.Question()
	q.Promise = true
	if answer, write := low.Asked(q); write != nil || answer.Founding.Promise || answer.Founding.Begins {
		t.Errorf("the lowest, asked before it has heard: got %+v, %v, want no promise", answer.Founding, write)
	}
	heard, _ := high.Asked(low.Question())
	low.Answered(b, low.Question(), heard)
	if answer, write := low.Asked(q); write != nil || answer.Founding.Promise || !answer.Founding.Begins {
		t.Errorf("the lowest, asked: got %+v, %v, want no promise", answer.Founding, write)
	}
	q = low.Question()
	q.Promise = true
	answer, write := high.Asked(q)
	if write == nil || !answer.Founding.Promise || answer.Founding.Begins {
		t.Errorf("the higher, asked: got %+v, %v, want a promise that is to be written", answer.Founding, write)
	}
	high.Answered(a, high.Question(), &protocol.JoinInfo{Founding: &protocol.Founding{ID: memberIDOf(0)}})
	if high.Question().Promise {
		t.Error("who has promised asks for promises")
	}
	high.Written()
	if answer, write := high.Asked(q); write != nil || !answer.Founding.Promise {
		t.Errorf("asked again: got %+v, %v, want what is written already", answer.Founding, write)
	}
	q = low.Question()
	q.Promise = false
	if answer, write := member(b, Config{ID: memberIDOf(1)}).Asked(q); write != nil || answer.Founding.Promise {
		t.Errorf("got %+v, %v, and nobody has asked for a promise", answer.Founding, write)
	}
}

func TestOwnAddressByAnotherName(t *testing.T) {
	a, alias := Place{"127.0.0.1:1", "127.0.0.1:1"}, Place{"box:1", "127.0.1.1:1"}
	f := New(Config{ID: memberIDOf(0), Begins: true})
	f.Name(a, []Place{alias})
	q := f.Question()
	answer, _ := f.Asked(q)
	f.Answered(alias, q, answer)
	if !f.Verdict().Begin {
		t.Errorf("got %+v, want that it begins: it has asked itself only", f.Verdict())
	}
}

// TestAnOwnNameThatMeansAnotherAddressAtHome looks the names up again and again, and
// has a peer ask at each moment: the host's own name is on the list only until it has
// answered, and what is on it until then ends nobody's start.
func TestAnOwnNameThatMeansAnotherAddressAtHome(t *testing.T) {
	number, home := Place{"10.0.0.1:1", "10.0.0.1:1"}, Place{"a:1", "127.0.1.1:1"}
	a, b, c := Place{"a:1", "10.0.0.1:1"}, Place{"b:1", "10.0.0.2:1"}, Place{"c:1", "10.0.0.3:1"}
	f, g := New(Config{ID: memberIDOf(0), Begins: true}), New(Config{ID: memberIDOf(1), Begins: true})
	plain := New(Config{ID: memberIDOf(2)})
	plain.Name(c, []Place{a, b, c})
	ask := func(from *Founder, at Place, to *Founder) {
		t.Helper()
		q := from.Question()
		answer, write := to.Asked(q)
		if write != nil {
			to.Written()
		}
		if answer != nil {
			from.Answered(at, q, answer)
		}
		for _, f := range []*Founder{f, g} {
			if err := f.Verdict().Err; err != nil {
				t.Fatal(err)
			}
		}
	}
	f.Name(number, []Place{home, b, c})
	g.Name(b, []Place{a, b, c})
	ask(g, c, plain)
	ask(g, a, f) // g has heard all, f has not yet asked itself
	ask(f, b, g)
	ask(f, home, f)
	want := []Place{b, c}
	for range 3 {
		if got := f.Peers(); !slices.Equal(got, want) || f.self.Name != "a:1" {
			t.Errorf("%s names %v, want a:1 and %v", f.self.Name, got, want)
		}
		ask(g, a, f)
		ask(f, b, g)
		f.Name(number, []Place{home, b, c})
	}
	f.Name(number, []Place{{Name: "a:1"}, b, c}) // a name that means nothing for a while
	if got := f.Peers(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	ask(f, c, plain)
	ask(f, c, plain)
	f.Name(number, []Place{home, b, c})
	ask(f, b, g)
	if !f.Verdict().Begin {
		t.Errorf("got %+v, want that it begins, with the promises from before its names were looked up again; %s", f.Verdict(), f.Waits())
	}
	f = New(Config{ID: memberIDOf(0), Begins: true})
	f.Name(number, []Place{home, b})
	f.Answered(home, f.Question(), &protocol.JoinInfo{Founding: f.statement()})
	moved := Place{"a:1", "10.0.0.9:1"}
	if f.Name(number, []Place{moved, b}); !slices.Contains(f.Peers(), moved) {
		t.Errorf("got %v, want %v in it: the name means another member now", f.Peers(), moved)
	}
}
