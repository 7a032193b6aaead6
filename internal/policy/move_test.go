package policy

import (
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Who is elsewhere than the configuration says: whoever announces it and answers
// the leader there, and the leader itself. What is claimed and does not answer is
// nowhere.
func TestWhoHasMoved(t *testing.T) {
	at := func(name, address string) Peer {
		return with(active(name, ""), func(p *Peer) { p.Address = address })
	}
	answers := func(names string) (list []Progress) {
		for _, name := range strings.Fields(names) {
			list = append(list, Progress{ID: id(name), Active: true, Answers: true})
		}
		return list
	}
	home := seats(3, "a b c*").With(protocol.ActiveMember{ID: id("d"), Name: "d", Suffrage: protocol.SuffrageLearner})
	for _, test := range []struct {
		name  string
		peers []Peer
		heard []Progress
		want  string
	}{
		{"nobody", []Peer{at("a", "a:1"), at("b", "b:1"), at("c", "c:1")}, answers("b c"), ""},
		{"a voter", []Peer{at("a", "a:1"), at("b", "b:2")}, answers("b"), "b at b:2"},
		{"a learner", []Peer{at("a", "a:1"), at("c", "c:2")}, answers("c"), "c at c:2"},
		{"the leader", []Peer{at("a", "a:2"), at("b", "b:1")}, answers("b"), "a at a:2"},
		{"all", []Peer{at("a", "a:2"), at("b", "b:2"), at("c", "c:2")}, answers("b c"), "a at a:2, b at b:2, c at c:2"},
		{"a claim that does not answer", []Peer{at("b", "b:2")}, nil, ""},
		{"had not had the time to answer", []Peer{at("b", "b:2")}, []Progress{{ID: id("b"), Active: true}}, ""},
		{"a passive", []Peer{at("e", "e:2")}, answers("e"), ""},
		{"dead", nil, answers("b"), ""},
		{"announces nothing", []Peer{at("b", "")}, answers("b"), ""},
		{"more than fits", []Peer{at("b", strings.Repeat("b", protocol.NameBytesMax+1))}, answers("b"), ""},
		{"the configuration had none", []Peer{at("d", "d:1")}, answers("d"), "d at d:1"},
		{"a name that means another address", []Peer{with(at("b", "10.0.0.2:1"), func(p *Peer) { p.Host = "b:1" })}, answers("b"), ""},
		{"a name in the place of an address", []Peer{with(at("b", "b:1"), func(p *Peer) { p.Host = "b.example.org:1" })}, answers("b"), ""},
		{"a name that means another address than there was", []Peer{with(at("b", "b:2"), func(p *Peer) { p.Host = "b.example.org:1" })}, answers("b"), "b at b.example.org:1"},
	} {
		in := Input{Self: id("a"), Peers: test.peers, Progress: test.heard, Configuration: protocol.ConfigurationAt{Configuration: home}}
		var got []string
		for _, m := range in.Moved() {
			line, _ := home.Find(m.ID)
			got = append(got, line.Name+" at "+m.Address)
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestMemberThatMovedIsEntered(t *testing.T) {
	now := 100 * second
	moving := func(name string, since protocol.Instant) Moving {
		return Moving{ID: id(name), Address: name + ":2", Since: since}
	}
	entered := func(m Moving, at protocol.Instant) Moving { m.Entered = at; return m }
	for _, test := range []struct {
		name   string
		moving []Moving
		change func(*Input)
		member string // who is entered, nobody if empty
		why    string
		again  protocol.Instant
	}{
		{name: "for long enough", moving: []Moving{moving("b", 95*second)}, member: "b", why: "b has moved from b:1 to b:2"},
		{name: "not for long enough", moving: []Moving{moving("b", 96*second)}, why: "b answers at b:2, not at b:1, for 4s; 3 voters of 4 wanted", again: 101 * second},
		{name: "one at a time", moving: []Moving{moving("c", second), moving("b", 2*second)}, member: "b", why: "b has moved"},
		{name: "another one that is due", moving: []Moving{moving("b", 99*second), moving("c", second)}, member: "c", why: "c has moved"},
		{name: "a learner", moving: []Moving{moving("d", second)}, member: "d", why: "d has moved from d:1"},
		{name: "the leader itself", moving: []Moving{moving("a", second)}, member: "a", why: "a has moved from a:1"},
		{name: "moved again too soon", moving: []Moving{entered(moving("b", second), 41*second)}, why: "3 voters of 4 wanted", again: 101 * second},
		{name: "moved again", moving: []Moving{entered(moving("b", second), 40*second)}, member: "b", why: "b has moved"},
		{name: "while seats change by hand only", moving: []Moving{moving("b", second)}, member: "b", why: "b has moved",
			change: func(in *Input) { in.Configuration.Configuration.Autopilot.Off = true }},
		{name: "switched off and nothing to do", why: "switched off",
			change: func(in *Input) { in.Configuration.Configuration.Autopilot.Off = true }},
		{name: "while a change is not committed", moving: []Moving{moving("b", second)}, why: "not committed",
			change: func(in *Input) { in.Commit = 16 }},
		{name: "while a change is not complete", moving: []Moving{moving("b", second)}, why: "not complete",
			change: func(in *Input) {
				c := in.Configuration.Configuration
				in.Configuration.Configuration = c.Toward(c.Without(id("c")))
			}},
		{name: "before the first commit of the term", moving: []Moving{moving("b", second)}, why: "own term",
			change: func(in *Input) { in.OwnTerm = false }},
		{name: "has no seat any more", moving: []Moving{moving("e", second)}, why: "3 voters of 4 wanted"},
	} {
		in := Input{
			Now: now, Self: id("a"), Commit: 5000, OwnTerm: true, Moving: test.moving,
			Configuration: protocol.ConfigurationAt{Index: 17, Configuration: seats(4, "a b c d*")},
		}
		in.Peers = []Peer{active("a", ""), active("b", ""), active("c", ""), active("d", "")}
		if test.change != nil {
			test.change(&in)
		}
		given := slices.Clone(in.Moving)
		d := Decide(Config{}, in)
		want, action := in.Configuration.Configuration, Wait
		if test.member != "" {
			line, _ := want.Find(id(test.member))
			line.Address = test.member + ":2"
			want, action = want.With(line), Move
		}
		if d.Action != action || !d.Next.Equal(want) || d.Version != 17 || action == Move && d.Member != id(test.member) {
			t.Errorf("%s: got %s of %s to %+v, want %s to %+v", test.name, d.Action, d.Member.Short(), d.Next, action, want)
		}
		if !strings.Contains(d.Why, test.why) {
			t.Errorf("%s: got %q, want %q in it", test.name, d.Why, test.why)
		}
		if d.Again != test.again {
			t.Errorf("%s: got again %d, want %d", test.name, d.Again, test.again)
		}
		if !slices.Equal(given, in.Moving) {
			t.Errorf("%s: the input was changed", test.name)
		}
	}
}
