package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

func ofType(name string, version uint32) []byte {
	return protocol.EncodeCommand(&protocol.Command{Session: 1, Sequence: 1, Resource: "r", Type: name, Version: version, Operation: "o"})
}

// Counterexample: a new version of the program knows a type that the two other
// voters do not. One proposal stops apply on the majority, for good.
func TestTypeThatAVoterLacksIsNotProposed(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3}, 4)})
	c.r.cfg.Types = []protocol.TypeVersion{{Name: "old", Version: 1}, {Name: "new", Version: 2}}
	used := map[protocol.TypeVersion]bool{}
	c.r.cfg.Used = func(x protocol.TypeVersion) bool { return used[x] }
	request := uint64(100)
	try := func(name string, version uint32) protocol.Code {
		request++
		c.r.Submit(c.now, Submission{Request: request, Command: ofType(name, version), Checked: true})
		c.settle()
		c.pass(200 * time.Millisecond)
		result, answered := c.answers[request]
		if !answered {
			t.Fatalf("%s %d: no answer", name, version)
		}
		return result.Code
	}
	refused := protocol.ErrUnavailable.Code
	if got := try("old", 1); got != refused {
		t.Errorf("got %q before anybody has said anything, want %q", got, refused)
	}
	old, both := []protocol.TypeVersion{{Name: "old", Version: 1}}, c.r.cfg.Types
	c.r.Receive(c.now, id(2), &protocol.Types{List: both})
	c.r.Receive(c.now, id(3), &protocol.Types{List: old})
	if got := try("old", 1); got != protocol.OK {
		t.Errorf("got %q for a type that all voters know, the learner does not count", got)
	}
	if got := try("new", 2); got != refused {
		t.Errorf("got %q for a type that one voter lacks, want %q", got, refused)
	}
	// What is in the log already does no more harm: a voter that is away must
	// not stop what has always worked.
	used[protocol.TypeVersion{Name: "new", Version: 2}] = true
	if got := try("new", 2); got != protocol.OK {
		t.Errorf("got %q for a type that has been applied before", got)
	}
	delete(used, protocol.TypeVersion{Name: "new", Version: 2})
	c.r.Receive(c.now, id(3), &protocol.Types{List: both})
	if got := try("new", 2); got != protocol.OK {
		t.Errorf("got %q when all voters know it", got)
	}
}

// An active tells all others at once when it starts or the others are others,
// and again now and then: whoever leads next must know, also of those that are
// away by then.
func TestActivesTellOneAnotherWhatTheyCanApply(t *testing.T) {
	rec := found(2, 10, 10, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 9})})
	r := openOn(t, 9, Config{Types: []protocol.TypeVersion{{Name: "map", Version: 1}}}, rec, OpenedState{})
	told := func(now protocol.Instant, m protocol.Message) (to []byte) {
		if m != nil {
			r.Receive(now, id(1), m)
		}
		for range 5 {
			e := r.Effects()
			for _, s := range e.Send {
				if _, ok := s.Message.(*protocol.Types); ok {
					to = append(to, s.To[15])
				}
			}
			if e.Persist != nil {
				r.Persisted(now, e.Persist.ID, nil)
			}
		}
		return to
	}
	joint := []protocol.Entry{{Index: 11, Term: 2, Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(conf(3, []byte{1, 2, 9}, 5))}}
	protocol.EncodeEntries(joint)
	second := protocol.Instant(time.Second)
	for _, x := range []struct {
		what string
		now  protocol.Instant
		m    protocol.Message
		want string
	}{
		{"at the start", 1, nil, "\x01\x02"},
		{"at once again", 2, &protocol.Heartbeat{Term: 2, Round: 1}, ""},
		{"when another one is named", 3, &protocol.Append{Term: 2, PrevIndex: 10, PrevTerm: 2, Last: 11, Entries: joint}, "\x01\x02\x05"},
		{"to a member that is new here", 4, &protocol.Types{List: []protocol.TypeVersion{{Name: "map", Version: 1}}}, "\x01\x02\x05"},
		{"to one that is known", 5, &protocol.Types{List: []protocol.TypeVersion{{Name: "map", Version: 1}}}, ""},
		{"after a while", 10 * second, &protocol.Heartbeat{Term: 2, Round: 2}, "\x01\x02\x05"},
	} {
		if got := string(told(x.now, x.m)); got != x.want {
			t.Errorf("%s: told %q, want %q", x.what, got, x.want)
		}
	}
}

// A leader knows what a voter said before it led, and before that voter went
// away: a type may be used for the first time while a voter is down.
func TestTypesOfAVoterThatIsAwayAreRemembered(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})}, 3)
	c.r.cfg.Types = []protocol.TypeVersion{{Name: "map", Version: 1}}
	for _, from := range []byte{2, 3} {
		c.r.Receive(c.now, id(from), &protocol.Types{List: c.r.cfg.Types})
	}
	c.r.Receive(c.now, id(2), &protocol.Heartbeat{Term: raft(c.r).Term() + 1})
	if c.r.log.leads() {
		t.Fatal("leads on")
	}
	for range 100 {
		if c.pass(50 * time.Millisecond); c.r.log.leads() && raft(c.r).Status().OwnTermCommitted {
			break
		}
	}
	c.r.Submit(c.now, Submission{Request: 100, Command: ofType("map", 1), Checked: true})
	c.settle()
	if result, answered := c.answers[100]; !answered || result.Code != protocol.OK {
		t.Errorf("answered %t with %q, want OK", answered, result.Code)
	}
}
