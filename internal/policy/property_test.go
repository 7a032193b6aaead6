package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Counterexample: three voters, one dead, a fourth is added first: quorum three
// of four, three alive, no tolerance at all until the demotion. And the other
// way round: two are left. So in no decision does a voter leave for being
// failed unless another comes in with it, and none comes in beyond the target.
func TestReplacementIsOneChange(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	seen := map[Action]int{}
	for range 40_000 {
		conf, in := randomInput(random)
		d := Decide(Config{}, in)
		seen[d.Action]++
		if why := in.judge(conf, d); why != "" {
			t.Fatalf("%s: %s -> %s, %d wanted, %+v: %s", why, conf, d.Next, conf.Target, conf.Autopilot, d.Why)
		}
		if err := d.Next.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []Action{Wait, AddLearner, PromoteLearner, Replace, Remove, HandOver, Activate, Move} {
		if seen[a] < 100 {
			t.Errorf("%d times %s in 40,000 inputs: the test is not worth much", seen[a], a)
		}
	}
}

// judge says what is wrong with a decision.
func (in *Input) judge(conf protocol.Configuration, d Decision) string {
	wanted := max(conf.Target, conf.Autopilot.Floor)
	before, after := len(conf.Voters()), len(d.Next.Voters())
	_, answers := in.heard(d.Member)
	out, _ := conf.Find(d.Out)
	switch {
	case after < min(before, wanted) || after > max(before, wanted):
		return fmt.Sprintf("%d voters become %d", before, after)
	case !d.Next.IsVoter(in.Self):
		return "the leader loses its seat"
	case d.Action == Move:
		return in.misplaced(conf, d)
	case conf.Autopilot.Off && d.Action != Wait:
		return "decides although it is switched off"
	case d.Action == Replace && (!in.mayGo(conf, d.Out) || before != after):
		return "a voter is replaced for nothing, or by more or less than one"
	case d.Action == Remove && out.Suffrage == protocol.SuffrageVoter && before <= wanted:
		return "a voter loses its seat and nobody gets it"
	case d.Action == HandOver && (d.Out != in.Self || d.Member == in.Self || !answers || !slices.Contains(in.Transferees, d.Member) || !conf.IsVoter(d.Member) || !d.Next.Equal(conf)):
		return "the leadership goes to one that cannot lead"
	case d.Action == Activate && !in.mayBeCalled(conf, d):
		return "somebody is called who is no reserve, or is not needed"
	}
	answer := 0
	for _, m := range d.Next.Members {
		x, ok := in.heard(m.ID)
		if m.Suffrage == protocol.SuffrageVoter && !conf.IsVoter(m.ID) && (!ok || x.CatchUp || x.Match < in.Configuration.Index) {
			return m.Label() + " becomes a voter and has not caught up"
		}
		if m.Suffrage == protocol.SuffrageVoter && (ok || m.ID == in.Self) {
			answer++
		}
	}
	if !slices.Equal(conf.Voters(), d.Next.Voters()) && 2*answer <= after {
		return "a majority is left that does not answer"
	}
	return ""
}

// misplaced says what is wrong with a change for a member that has moved: it says
// where one member is, that has been there for long, and nothing else.
func (in *Input) misplaced(conf protocol.Configuration, d Decision) string {
	line, named := conf.Find(d.Member)
	i := slices.IndexFunc(in.Moving, func(m Moving) bool { return m.ID == d.Member })
	if !named || i < 0 || in.Moving[i].Since.Add(MovedDefault) > in.Now {
		return "somebody is moved who is not named, or has not been there for long"
	}
	line.Address = in.Moving[i].Address
	if !d.Next.Equal(conf.With(line)) {
		return "a move changes more than an address"
	}
	return ""
}

// heard returns what the leader knows of another member, and whether it answers.
func (in *Input) heard(id protocol.MemberID) (Progress, bool) {
	i := slices.IndexFunc(in.Progress, func(p Progress) bool { return p.ID == id })
	if i < 0 {
		return Progress{}, false
	}
	return in.Progress[i], in.Progress[i].Active
}

// mayGo reports whether a voter has failed for long, or wishes to be active no
// more.
func (in *Input) mayGo(conf protocol.Configuration, id protocol.MemberID) bool {
	failedAfter := conf.Autopilot.FailedAfter
	if failedAfter == 0 {
		failedAfter = FailedDefault
	}
	return slices.ContainsFunc(in.Failing, func(f Failing) bool { return f.ID == id && f.Since.Add(failedAfter) <= in.Now }) ||
		slices.ContainsFunc(in.Peers, func(p Peer) bool { return p.ID == id && !p.Eligible })
}

// mayBeCalled reports whether a reserve is called because passives have been
// missing for long, or for a seat that it may have.
func (in *Input) mayBeCalled(conf protocol.Configuration, d Decision) bool {
	i := slices.IndexFunc(in.Peers, func(p Peer) bool { return p.ID == d.Member })
	free := len(conf.Voters()) < Wanted(conf) || slices.ContainsFunc(conf.Voters(), func(id protocol.MemberID) bool { return in.mayGo(conf, id) })
	return i >= 0 && in.Peers[i].Role == protocol.RoleReserve && d.Next.Equal(conf) &&
		(ShortOfPassives(conf, in.Peers) || free && in.Peers[i].Eligible)
}

// randomInput draws a configuration and what is known of its members. The
// leader is a voter.
func randomInput(random *rand.Rand) (protocol.Configuration, Input) {
	conf := protocol.Configuration{Target: 1 + random.IntN(5), Autopilot: protocol.Autopilot{
		Off: random.IntN(20) == 0, FailedAfter: time.Duration(random.IntN(3)) * 20 * time.Second, Floor: random.IntN(8) / 3,
		Passives: random.IntN(6) / 3,
	}}
	in := Input{Now: minute, Self: id("a"), Commit: 5000, OwnTerm: true}
	for i, name := range strings.Fields("a b c d e f g h") {
		p := passive(name, []string{"", "x", "y"}[random.IntN(3)])
		p.Since = protocol.Instant(random.IntN(61)) * second
		p.Eligible = random.IntN(4) > 0
		alive := i == 0 || random.IntN(4) > 0
		if i == 0 || random.IntN(2) == 0 {
			p.Role = protocol.RoleActive
			seat := protocol.SuffrageVoter
			if i > 0 && random.IntN(3) == 0 {
				seat = protocol.SuffrageLearner
			}
			conf = conf.With(protocol.ActiveMember{ID: p.ID, Name: name, Suffrage: seat})
		} else if random.IntN(3) == 0 {
			p.Role = protocol.RoleReserve
		}
		if p.Role == protocol.RoleActive && i > 0 {
			answers := alive != (random.IntN(8) == 0) // sometimes the two do not say the same
			in.Progress = append(in.Progress, Progress{
				ID: p.ID, Match: protocol.Index(3500 + random.IntN(1501)), Active: answers, Answers: answers, CatchUp: random.IntN(10) == 0,
			})
			if random.IntN(10) > 0 {
				in.Transferees = append(in.Transferees, p.ID)
			}
			if !alive && !answers {
				in.Failing = append(in.Failing, failing(name, protocol.Instant(random.IntN(61))))
			}
		}
		if alive {
			in.Peers = append(in.Peers, p)
		}
		if p.Role == protocol.RoleActive && random.IntN(16) == 0 {
			in.Moving = append(in.Moving, Moving{ID: p.ID, Address: name + ":2", Since: minute - protocol.Instant(random.IntN(10))*second})
		}
	}
	in.Short = protocol.Instant(random.IntN(61)) * second
	in.Configuration = protocol.ConfigurationAt{Index: protocol.Index(1 + random.IntN(100)), Configuration: conf}
	return conf, in
}

// Decision after decision, whatever a flock looks like at first, the policy
// comes to an end, and leaves as many willing voters as there can be: it undoes
// nothing that it did.
func TestDecisionsComeToAnEnd(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	handed, called := 0, 0
	for range 2_000 {
		conf, in := randomInput(random)
		conf.Autopilot.Off = false
		in.Configuration.Configuration = conf
		var steps []string
		for {
			in.pass()
			d := Decide(Config{}, in)
			steps = append(steps, fmt.Sprintf("%s, %s leads: %s: %s", in.Configuration.Configuration, in.Self.Short(), d.Action, d.Why))
			if d.Action == Wait {
				break
			}
			if len(steps) > 40 {
				t.Fatalf("no end:\n%s", strings.Join(steps, "\n"))
			}
			switch d.Action {
			case HandOver:
				in.Self = d.Member
				handed++
			case Activate:
				i := slices.IndexFunc(in.Peers, func(p Peer) bool { return p.ID == d.Member })
				in.Peers[i].Role = protocol.RolePassive
				called++
			}
			in.Configuration.Configuration = d.Next
		}
		final := in.Configuration.Configuration
		willing, kept := 0, 0
		for _, p := range in.Peers {
			if p.Eligible {
				willing++
				if final.IsVoter(p.ID) {
					kept++
				}
			}
		}
		want := min(willing, Wanted(final))
		if leader, _ := (newView(Config{}, in)).peer(in.Self); !leader.Eligible {
			want-- // it cannot hand over, or nobody else can have the seat
		}
		if in.quorum(conf) && in.quorum(final) && kept < want {
			t.Fatalf("%d willing voters, %d members are willing, %d wanted:\n%s", kept, willing, Wanted(final), strings.Join(steps, "\n"))
		}
		idle := slices.ContainsFunc(in.Peers, func(p Peer) bool { return p.Role == protocol.RoleReserve })
		if idle && ShortOfPassives(final, in.Peers) {
			t.Fatalf("too few passives, and a reserve stands by:\n%s", strings.Join(steps, "\n"))
		}
	}
	if handed < 20 || called < 100 {
		t.Errorf("%d hand-overs, %d calls: the test is not worth much", handed, called)
	}
}

// quorum reports whether most voters of a configuration are alive.
func (in *Input) quorum(c protocol.Configuration) bool {
	n := 0
	for _, id := range c.Voters() {
		if slices.ContainsFunc(in.Peers, func(p Peer) bool { return p.ID == id }) {
			n++
		}
	}
	return 2*n > len(c.Voters())
}

// pass lets a minute go by, in which all that live do what they are to do.
func (in *Input) pass() {
	in.Now += minute
	in.Configuration.Index++
	in.Commit++
	in.Progress, in.Failing, in.Transferees = nil, nil, nil
	in.Moving = slices.DeleteFunc(in.Moving, func(m Moving) bool {
		line, named := in.Configuration.Configuration.Find(m.ID)
		return !named || line.Address == m.Address
	})
	conf := in.Configuration.Configuration
	for i := range in.Peers {
		p := &in.Peers[i]
		switch p.LastIndex = in.Commit; {
		case conf.Names(p.ID):
			p.Role = protocol.RoleActive
		case p.Role != protocol.RoleReserve:
			p.Role = protocol.RolePassive
		}
	}
	for _, m := range conf.Members {
		alive := slices.ContainsFunc(in.Peers, func(p Peer) bool { return p.ID == m.ID })
		switch {
		case m.ID == in.Self:
		case alive:
			in.Progress = append(in.Progress, Progress{ID: m.ID, Match: in.Commit, Active: true, Answers: true})
			in.Transferees = append(in.Transferees, m.ID)
		default:
			in.Progress = append(in.Progress, Progress{ID: m.ID})
			in.Failing = append(in.Failing, Failing{ID: m.ID})
		}
	}
}
