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
		c.r.SubmitMany(c.now, []Submission{{Request: request, Command: ofType(name, version), Checked: true}})
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

// A follower tells each leader once, and again now and then.
func TestFollowerTellsItsLeaderWhatItCanApply(t *testing.T) {
	r := openOn(t, 9, Config{Types: []protocol.TypeVersion{{Name: "map", Version: 1}}},
		found(2, 10, 10, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 9})}), Restored{})
	told := func(now protocol.Instant, from byte, term protocol.Term) int {
		r.Receive(now, id(from), &protocol.Heartbeat{Term: term, Round: 1})
		n := 0
		for range 5 {
			e := r.Effects()
			for _, s := range e.Send {
				if _, ok := s.Message.(*protocol.Types); ok && s.To == id(from) {
					n++
				}
			}
			if e.Persist != nil {
				r.Persisted(now, e.Persist.ID, nil)
			}
		}
		return n
	}
	second := protocol.Instant(time.Second)
	for _, x := range []struct {
		now  protocol.Instant
		from byte
		term protocol.Term
		want int
	}{{1, 1, 2, 1}, {2, 1, 2, 0}, {3, 2, 3, 1}, {3*second - 1, 2, 3, 1}, {3 * second, 2, 3, 0}} {
		if got := told(x.now, x.from, x.term); got != x.want {
			t.Errorf("at %d, leader %d of term %d: told %d times, want %d", x.now, x.from, x.term, got, x.want)
		}
	}
}
