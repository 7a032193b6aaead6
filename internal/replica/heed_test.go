package replica

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/hostile"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// The strangers of these tests: both are in the membership, one says that it is
// an active.
var (
	liar   = protocol.Peer{ID: id(8), Role: protocol.RoleActive, Eligible: true}
	fake   = protocol.Peer{ID: id(9), Role: protocol.RolePassive}
	honest = []protocol.Peer{{ID: id(2), Role: protocol.RoleActive}, {ID: id(3), Role: protocol.RoleActive}}
)

// target is a replica under fire.
type target struct {
	t   *testing.T
	r   *Replica
	now protocol.Instant
	rng *rand.Rand
	// forged are checkpoints that were made up.
	forged [][]byte
}

// follower is a voter with something that is not committed, which has heard its
// leader, the member 2, has a question and a command under way to it, and gets to
// hear it only if that is said.
func follower(t *testing.T, seed uint64) *target {
	t.Helper()
	rec := found(2, 25, 20, threeVoters)
	x := &target{t: t, r: open(t, 1, rec), rng: rand.New(rand.NewPCG(seed, 5))}
	serve(t, x.r)
	x.r.SetPeers(0, append([]protocol.Peer{liar, fake}, honest...))
	x.r.Receive(0, id(2), &protocol.Heartbeat{Term: 2, Commit: 20, Round: 1})
	x.r.Submit(0, Submission{Request: 1, Command: protocol.EncodeCommand(&protocol.Command{Session: 1, Sequence: 1, Resource: "r", Type: "t", Operation: "o"})})
	x.r.Read(0, 2)
	for _, above := range []protocol.Index{1, 60} {
		d := described(rec, 20, 0)
		d.Index, d.LogSum[0], d.Term = 20+above, 1, 2+protocol.Term(above)
		x.forged = append(x.forged, storage.EncodeManifest(d))
	}
	serve(t, x.r)
	return x
}

func (x *target) scene() *hostile.Scene {
	r := x.r
	s := &hostile.Scene{
		Self: r.cfg.ID, Members: []protocol.MemberID{id(2), id(3), liar.ID, fake.ID, r.cfg.ID}, Term: r.log.role.HardState().Term, Run: r.cfg.Run,
		Commit: r.log.commit, Last: r.log.logTerms().LastIndex(), LastTerm: r.log.logTerms().LastTerm(), Request: r.ids.next, Manifests: x.forged,
	}
	s.CommitTerm, _ = r.log.logTerms().TermAt(r.log.commit)
	s.Sum, _ = r.log.tail.sumAt(r.log.commit)
	return s
}

// pass lets time pass and fails if anything is done that strangers led to.
func (x *target) pass(d time.Duration) {
	x.now = x.now.Add(d)
	x.r.Tick(x.now)
	x.blameless("time passes")
}

// blameless takes the effects and fails if a byte would be persisted, anything
// answered, or a stranger asked for what is committed.
func (x *target) blameless(after any) {
	x.t.Helper()
	e := x.r.Effects()
	switch {
	case e.Persist != nil, len(e.Apply) > 0, len(e.Install) > 0, e.Diverged != nil:
		x.t.Fatalf("after %T %+v: persists %+v, applies %v, installs %+v, diverged %+v", after, after, e.Persist, e.Apply, e.Install, e.Diverged)
	case len(e.Answers) > 0, len(e.Reads) > 0:
		x.t.Fatalf("after %T %+v: answers %+v, reads %+v", after, after, e.Answers, e.Reads)
	}
	for _, s := range e.Send {
		switch s.Message.(type) {
		case *protocol.Want, *protocol.ManifestWant, *protocol.SumQuestion:
			if s.To == liar.ID || s.To == fake.ID {
				x.t.Fatalf("after %T %+v: asks a stranger: %+v", after, after, s.Message)
			}
		}
	}
}

// fire sends one message of a kind from a stranger.
func (x *target) fire(kind protocol.MessageKind) {
	x.t.Helper()
	m := hostile.Message(x.rng, kind, x.scene())
	if m == nil {
		return
	}
	from := liar.ID
	if x.rng.IntN(2) == 0 {
		from = fake.ID
	}
	state, logTerms, confs := x.r.log.role.HardState(), x.r.log.logTerms().Clone(), x.r.log.configurations().Clone()
	x.r.Receive(x.now, from, m)
	if got := x.r.log.role.HardState(); got != state || !reflect.DeepEqual(logTerms, x.r.log.logTerms().Clone()) || !reflect.DeepEqual(confs, x.r.log.configurations().Clone()) {
		x.t.Fatalf("after %T %+v: state %+v, was %+v", m, m, got, state)
	}
	x.blameless(m)
}

// [S] No message of any kind from somebody whom the log does not name changes what
// a voter persists, be its leader there or not, nor answers a question of its, nor
// makes it ask a stranger.
func TestStrangersMessagesChangeNothing(t *testing.T) {
	for _, kind := range protocol.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			for round := range uint64(20) {
				x := follower(t, uint64(kind)<<8|round)
				leaderless := round%2 == 1
				if leaderless {
					for x.now < protocol.Instant(0).Add(1100*time.Millisecond) {
						x.quiet(50 * time.Millisecond)
					}
					if !raft(x.r).IsLeaderless(x.now) || raft(x.r).Lost(x.now) {
						t.Fatal("it is not leaderless, or lost")
					}
				}
				for i := range 50 {
					x.fire(kind)
					switch {
					case leaderless: // within ten election timeouts, with what is under way
						x.pass(10 * time.Millisecond)
					case i%5 == 0:
						x.now = x.now.Add(30 * time.Millisecond)
						x.r.Receive(x.now, id(2), &protocol.Heartbeat{Term: 2, Commit: 20, Round: uint64(i)})
						x.pass(0)
					}
				}
			}
		})
	}
}

// quiet lets time pass, and whatever the member does by itself.
func (x *target) quiet(d time.Duration) {
	x.now = x.now.Add(d)
	x.r.Tick(x.now)
	x.r.Effects()
}

// A leader goes on leading, in the same term, and proposes nothing for a
// stranger; what forwards bring is for clients to bring.
func TestStrangersMessagesDeposeNobody(t *testing.T) {
	for _, kind := range protocol.Kinds() {
		t.Run(kind.String(), func(t *testing.T) {
			c := newCrew(t, threeVoters)
			c.r.SetPeers(c.now, append([]protocol.Peer{liar, fake}, honest...))
			c.settle()
			x := &target{t: t, r: c.r, rng: rand.New(rand.NewPCG(uint64(kind), 6))}
			d := described(found(1, 2, 2, threeVoters), 2, 0)
			d.Index = 90
			x.forged = [][]byte{storage.EncodeManifest(d)}
			state, last := c.r.log.role.HardState(), c.r.log.logTerms().LastIndex()
			for i := range 1000 {
				if m := hostile.Message(x.rng, kind, x.scene()); m != nil {
					c.r.Receive(c.now, []protocol.MemberID{liar.ID, fake.ID}[i%2], m)
					c.settle()
				}
				if i%10 == 0 {
					c.pass(20 * time.Millisecond)
				}
				if got := c.r.log.role.HardState(); !c.r.log.leads() || got.Term != state.Term || got.Vote != state.Vote || c.r.log.logTerms().LastIndex() != last {
					t.Fatalf("message %d: leads: %t, state %+v, log to %d; was %+v, %d", i, c.r.log.leads(), got, c.r.log.logTerms().LastIndex(), state, last)
				}
			}
		})
	}
}

// [S] Counterexample 35 (d): an active that hears no leader takes committed entries
// from those that its log names, and from nobody else; a fake passive would put
// forged ones in the place of what was acknowledged. When it has heard no leader
// among them for ten election timeouts it takes them from anybody.
func TestActiveWithoutALeaderBelievesWhomItsLogNames(t *testing.T) {
	for _, test := range []struct {
		name string
		from byte
		at   time.Duration
		want protocol.Index
	}{
		{"a stranger that says it is an active", 8, 1500 * time.Millisecond, 100},
		{"a passive", 9, 1500 * time.Millisecond, 100},
		{"a voter", 2, 1500 * time.Millisecond, 106},
		{"a passive, when it is lost", 9, 5100 * time.Millisecond, 106},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, theirs := away(t)
			r.SetPeers(0, append([]protocol.Peer{liar, fake}, honest...))
			now := protocol.Instant(0)
			for now < protocol.Instant(0).Add(test.at) {
				now = now.Add(50 * time.Millisecond)
				r.Tick(now)
				serve(t, r)
			}
			r.Receive(now, id(test.from), &protocol.Frame{
				Flags: protocol.FramePulled, Origin: id(1), Before: theirs.Tail[99].Sum, Commit: 106, Entries: theirs.Tail[100:],
			})
			if got := r.Status(now).Commit; got != test.want {
				t.Errorf("got commit %d, want %d", got, test.want)
			}
		})
	}
}

// A follower that lags behind a configuration hears a leader that its log does not
// name. It asks those that it names at once, and only those.
func TestCalledFollowerAsksWhomItsLogNames(t *testing.T) {
	r, _ := away(t)
	r.SetPeers(0, append([]protocol.Peer{liar, fake}, honest...))
	now, asked := protocol.Instant(0), map[protocol.MemberID]bool{}
	for len(asked) == 0 && now < protocol.Instant(0).Add(900*time.Millisecond) {
		now = now.Add(10 * time.Millisecond)
		r.Receive(now, id(5), &protocol.Heartbeat{Term: 3})
		for _, p := range append([]protocol.Peer{liar, fake}, honest...) {
			r.Receive(now, p.ID, &protocol.Have{First: 1, LastIndex: 106, Applied: 106, Commit: 106, Term: 3, Leader: id(5)})
		}
		r.Tick(now)
		for _, s := range r.Effects().Send {
			if _, ok := s.Message.(*protocol.Want); ok {
				asked[s.To] = true
			}
		}
	}
	if len(asked) == 0 || asked[liar.ID] || asked[fake.ID] {
		t.Errorf("asks %v within two election timeouts, want voters of its log", asked)
	}
}

// [S] What became of a forwarded command, only the one that was asked can say: a
// forged answer would acknowledge a write that never was. The index of a read,
// too, comes from a voter or the one that was asked.
func TestOnlyWhoWasAskedAnswersAPassive(t *testing.T) {
	rec := found(2, 10, 10, threeVoters)
	r := open(t, 9, rec)
	serve(t, r)
	r.Receive(1, id(2), &protocol.Append{Term: 2, PrevIndex: 10, PrevTerm: 2, Commit: 10, Last: 10})
	serve(t, r)
	r.Submit(2, Submission{Request: 7, Command: protocol.EncodeCommand(&protocol.Command{Session: 1, Sequence: 1, Resource: "r", Type: "t", Operation: "o"})})
	r.Read(2, 8)
	var forward *protocol.Forward
	var read *protocol.ReadIndex
	for _, s := range r.Effects().Send {
		switch m := s.Message.(type) {
		case *protocol.Forward:
			forward = m
		case *protocol.ReadIndex:
			read = m
		}
	}
	for _, from := range []byte{8, 3} {
		r.Receive(3, id(from), &protocol.ForwardAnswer{Run: forward.Run, Request: forward.Request})
	}
	r.Receive(3, id(8), &protocol.ReadIndexAnswer{Run: read.Run, Request: read.Request, Index: 1})
	if e := r.Effects(); len(e.Answers) != 0 || len(e.Reads) != 0 {
		t.Fatalf("took answers of others: %+v, %+v", e.Answers, e.Reads)
	}
	if got := r.Status(3).Unheeded; got != 3 {
		t.Errorf("got %d messages that did not count, want 3", got)
	}
	r.Receive(4, id(2), &protocol.ForwardAnswer{Run: forward.Run, Request: forward.Request})
	r.Receive(4, id(3), &protocol.ReadIndexAnswer{Run: read.Run, Request: read.Request, Index: 10, Sum: rec.LastSum}) // passed on to it
	if e := r.Effects(); len(e.Answers) != 1 || len(e.Reads) != 1 || e.Reads[0].Err != nil {
		t.Fatalf("answers %+v and reads %+v, want one of each", e.Answers, e.Reads)
	}
}

// A hint is anybody's word: one that names a voter goes before others, a term that
// no log comes to counts for nothing, and what nobody repeats gives way.
func TestHintsOfWhoLeads(t *testing.T) {
	ms := time.Millisecond
	type hint struct {
		at     time.Duration
		term   protocol.Term
		leader byte
	}
	for _, test := range []struct {
		name  string
		hints []hint
		want  byte
	}{
		{"the newer term", []hint{{0, 2, 2}, {0, 3, 3}, {0, 2, 2}}, 3},
		{"a leader that the log does not name", []hint{{0, 2, 8}}, 8},
		{"a voter goes before it", []hint{{0, 9, 8}, {0, 2, 2}}, 2},
		{"and stays", []hint{{0, 2, 2}, {0, 9, 8}}, 2},
		{"as long as it is repeated", []hint{{0, 2, 2}, {4000 * ms, 2, 2}, {5500 * ms, 9, 8}}, 2},
		{"not for ever", []hint{{0, 2, 2}, {5500 * ms, 9, 8}}, 8},
		{"a term that is made up", []hint{{0, 2, 2}, {0, 1 << 31, 3}, {5500 * ms, 3, 2}}, 2},
		{"a term that no log comes to", []hint{{0, 2, 2}, {0, 3 + 1<<32, 3}, {0, 1<<64 - 1, 3}}, 2},
		{"nobody", []hint{{0, 2, 2}, {0, 3, 0}}, 2},
	} {
		r := open(t, 9, found(2, 10, 10, threeVoters))
		now := protocol.Instant(0)
		for _, h := range test.hints {
			now = protocol.Instant(0).Add(h.at)
			m := &protocol.Have{Term: h.term, Leader: id(h.leader)}
			if h.leader == 0 {
				m.Leader = protocol.MemberID{}
			}
			r.Receive(now, id(8), m)
		}
		if got := r.Status(now).Leader; got != id(test.want) {
			t.Errorf("%s: got %s, want %s", test.name, got.Short(), id(test.want).Short())
		}
	}
}

// A HAVE so old that nothing of it counts any more does not take the place of a leader that is heard: in its
// place there would be nobody, and all that was forwarded would have an unknown outcome. An active's word
// needs no age.
func TestAnOldWordDoesNotPushOutALeader(t *testing.T) {
	r := open(t, 9, found(2, 10, 10, threeVoters))
	said := func(from, leader byte, term protocol.Term, age time.Duration) protocol.MemberID {
		r.Receive(1, id(from), &protocol.Have{Term: term, Leader: id(leader), FreshKnown: true, FreshAge: int64(age)})
		return r.Status(1).Leader
	}
	said(8, 2, 2, 0)
	if got := said(7, 3, 3, time.Hour); got != id(2) {
		t.Errorf("got %s, want the leader that was heard of before", got.Short())
	}
	if got := said(1, 3, 3, time.Hour); got != id(3) {
		t.Errorf("got %s, want the leader that an active follows", got.Short())
	}
}

// What a learner or a stranger says that it can apply does not push out what the
// voters have said.
func TestStrangersTypesAreNotRemembered(t *testing.T) {
	c := newCrew(t, threeVoters)
	c.r.Receive(c.now, id(2), &protocol.Types{List: []protocol.TypeVersion{{Name: "t", Version: 1}}})
	for i := range 3 * typesHeardMax {
		c.r.Receive(c.now, protocol.MemberID{1, byte(i), byte(i >> 8)}, &protocol.Types{List: []protocol.TypeVersion{{Name: "t", Version: 1}}})
	}
	if !slices.ContainsFunc(c.r.types.heard, func(a announcement) bool { return a.member == id(2) }) || len(c.r.types.heard) != 1 {
		t.Errorf("remembers %d members, want the voter", len(c.r.types.heard))
	}
	if n := c.r.Status(c.now).Unheeded; n != 0 { // so does every member that gets a seat, or has lost it
		t.Errorf("%d announcements count as refused, want none", n)
	}
}

// Indexes that no log has are dropped whatever they are in, also at a passive.
func TestIndexesThatNoLogHasAreDropped(t *testing.T) {
	r := open(t, 9, found(2, 10, 10, threeVoters))
	serve(t, r)
	for i, m := range []protocol.Message{
		&protocol.Have{LastIndex: 1 << 63}, &protocol.Want{Ranges: []protocol.Range{{First: 1, Last: 1<<64 - 1}}},
		&protocol.Append{Term: 2, PrevIndex: 1<<64 - 1}, &protocol.ReadIndexAnswer{Run: 1, Request: 1, Index: 1 << 63},
	} {
		r.Receive(1, id(2), m)
		if e := r.Effects(); len(e.Send) > 0 || r.Status(1).Unheeded != uint64(i+1) {
			t.Errorf("%s: sends %v, %d did not count", m.Kind(), e.Send, r.Status(1).Unheeded)
		}
	}
}

// A passive may be lied to where nobody signs (docs/threat-model.md), but it does
// not stop: not by what strangers send, and not when it hears the truth afterwards.
func TestLiesDoNotStopAPassive(t *testing.T) {
	for seed := range uint64(40) {
		rec := found(2, 10, 10, threeVoters)
		x := &target{t: t, r: open(t, 9, rec), rng: rand.New(rand.NewPCG(seed, 9))}
		x.r.SetPeers(0, append([]protocol.Peer{liar, {ID: id(7)}}, honest...))
		for _, above := range []protocol.Index{1, 3, 60} {
			d := described(rec, 10, 0)
			d.Index, d.LogSum[0], d.Term = 10+above, 1, 2+protocol.Term(above%2)
			x.forged = append(x.forged, storage.EncodeManifest(d))
		}
		kinds := protocol.Kinds()
		for i := range 3000 {
			x.now = x.now.Add(time.Millisecond)
			if m := hostile.Message(x.rng, kinds[x.rng.IntN(len(kinds))], x.scene()); m != nil {
				x.r.Receive(x.now, []protocol.MemberID{liar.ID, id(7)}[i%2], m)
			}
			if i%10 == 0 { // what the leader says
				x.r.Receive(x.now, id(2), &protocol.Append{Term: 2, PrevIndex: 9, PrevTerm: 2, Commit: 10, Last: 10, Entries: rec.Tail[9:10]})
				x.r.Receive(x.now, id(3), &protocol.Have{First: 1, LastIndex: 10, Applied: 10, Commit: 10, Term: 2, Leader: id(2)})
			}
			x.r.Tick(x.now)
			x.obey()
		}
	}
}

// obey carries out everything that is wanted, and believes every checkpoint.
func (x *target) obey() {
	for range 20 {
		e := x.r.Effects()
		if p := e.Persist; p != nil {
			switch {
			case p.Drop != 0:
				x.r.Dropped(x.now, p.ID, storage.Begin{}, nil)
			default:
				x.r.Persisted(x.now, p.ID, nil)
			}
		}
		for _, a := range e.Apply {
			done := Applied{Last: a.Installed}
			if n := len(a.Entries); n > 0 {
				done = Applied{Last: a.Entries[n-1].Index, Results: make([]protocol.Result, n)}
			}
			x.r.Applied(x.now, done)
		}
		for i := range e.Install {
			switch s := &e.Install[i]; {
			case s.Begin != nil:
				x.r.InstallBegun(x.now, s.Begin.Index, nil, nil)
			case s.Finish:
				x.r.InstallFinished(x.now, nil, 1, nil)
			}
		}
		if e.Persist == nil && len(e.Apply) == 0 && len(e.Install) == 0 {
			return
		}
	}
}

// A voter that has lost its state asks the voters that its log names for a
// checkpoint, and takes none that others describe; the only voter there is has
// nobody else to ask.
func TestVoterThatLostItsStateAsksOtherVoters(t *testing.T) {
	for name, c := range map[string]struct {
		confs map[protocol.Index]protocol.Configuration
		want  bool
	}{
		"of three":       {threeVoters, false},
		"the only voter": {map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})}, true},
	} {
		rec := begun(found(2, 25, 25, c.confs), 10)
		at, _ := rec.Configurations.At(10)
		rec.Configurations = protocol.NewConfigurations(at)
		r := open(t, 1, rec)
		r.Tick(protocol.Instant(time.Second))
		lost := r.Status(0).Behind
		passives := []protocol.MemberID{id(7), id(9)}
		r.SetPeers(0, []protocol.Peer{{ID: passives[0]}, {ID: passives[1]}})
		d := storage.EncodeManifest(described(found(2, 25, 25, c.confs), 20, 0))
		asked, begins := false, false
		now := protocol.Instant(time.Second)
		for range 60 { // three seconds: nobody is lost yet
			now = now.Add(50 * time.Millisecond)
			for _, from := range passives {
				r.Receive(now, from, &protocol.Have{First: 15, LastIndex: 25, Applied: 25, Commit: 25, Checkpoints: []protocol.Index{20}})
			}
			r.Tick(now)
			e := r.Effects()
			begins = begins || len(e.Install) > 0
			if e.Persist != nil {
				r.Persisted(now, e.Persist.ID, nil)
			}
			for _, s := range e.Send {
				if _, ok := s.Message.(*protocol.ManifestWant); ok {
					asked = true
					r.Receive(now, s.To, &protocol.Manifest{Manifest: d})
				}
			}
		}
		if says := strings.Contains(lost, "starling recover"); says != c.want {
			t.Errorf("%s: it says what helps if nobody has one: %t, want %t: %s", name, says, c.want, lost)
		}
		if asked != c.want || begins != c.want {
			t.Errorf("%s: asks strangers: %t, installs what they describe: %t; want %t", name, asked, begins, c.want)
		}
	}
}
