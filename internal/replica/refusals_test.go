package replica

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// refusedBy are four voters of which one is on its way out, a learner, and one whose
// address is not known.
var refusedBy = protocol.Configuration{Members: []protocol.ActiveMember{
	{ID: protocol.MemberID{1}, Address: "h:1", Suffrage: protocol.SuffrageVoter, Outgoing: true},
	{ID: protocol.MemberID{2}, Address: "h:2", Suffrage: protocol.SuffrageVoter},
	{ID: protocol.MemberID{3}, Address: "h:3", Suffrage: protocol.SuffrageVoter},
	{ID: protocol.MemberID{4}, Address: "h:4", Outgoing: true},
	{ID: protocol.MemberID{5}, Address: "h:5", Suffrage: protocol.SuffrageLearner},
	{ID: protocol.MemberID{6}, Suffrage: protocol.SuffrageVoter, Outgoing: true},
}}

// One forged refusal stopped any voter.
func TestOnlyAVoterAtItsAddressRefuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		by      byte
		address string
		err     error
		counts  bool
	}{
		{"a voter", 2, "h:2", protocol.ErrRolledBack.With("x"), true},
		{"a voter, of a copy", 2, "h:2", protocol.ErrTwin.With("x"), true},
		{"a voter of the outgoing half", 4, "h:4", protocol.ErrRolledBack, true},
		{"a voter where the membership has it", 2, "h:7", protocol.ErrRolledBack, false},
		{"a voter at another's address", 2, "h:3", protocol.ErrRolledBack, false},
		{"a voter whose address is not known", 6, "", protocol.ErrRolledBack, false},
		{"a learner", 5, "h:5", protocol.ErrTwin, false},
		{"a passive", 9, "h:9", protocol.ErrRolledBack, false},
		{"a passive without an address", 9, "", protocol.ErrRolledBack, false},
		{"a voter that is full", 2, "h:2", protocol.ErrOverloaded, false},
		{"a voter that is not there", 2, "h:2", errors.New("no route"), false},
	} {
		var f Refusals
		if got := f.Hear(refusedBy, protocol.MemberID{c.by}, c.address, c.err); got != c.counts {
			t.Errorf("%s: got %v, want %v", c.name, got, c.counts)
		}
		if (f.Err() != nil) != c.counts {
			t.Errorf("%s: barred by %v", c.name, f.Err())
		}
		if got, want := f.Ends(refusedBy), c.counts && errors.Is(c.err, protocol.ErrTwin); got != want {
			t.Errorf("%s: it ends the member: got %v, want %v", c.name, got, want)
		}
	}
}

// That the others remember less does not make a refusal untrue: it stays when the
// configuration changes, and a majority of either half ends the member.
func TestAMajorityOfRefusalsEndsTheMember(t *testing.T) {
	var f Refusals
	hear := func(by byte, ends bool) {
		t.Helper()
		if !f.Hear(refusedBy, protocol.MemberID{by}, "h:"+string('0'+by), protocol.ErrRolledBack) {
			t.Fatalf("%d does not count", by)
		}
		if got := f.Ends(refusedBy); got != ends {
			t.Errorf("after %d: got %v, want %v", by, got, ends)
		}
	}
	hear(2, false)
	hear(2, false)
	hear(3, false) // two of four, none of the three that go
	hear(1, true)  // three of four
	if f.Ends(protocol.Configuration{}) || f.Err() == nil {
		t.Error("nobody is a majority of nobody, and what was said stays said")
	}
	var g Refusals
	g.Hear(refusedBy, protocol.MemberID{1}, "h:1", protocol.ErrRolledBack)
	g.Hear(refusedBy, protocol.MemberID{4}, "h:4", protocol.ErrRolledBack)
	if !g.Ends(refusedBy) {
		t.Error("two of the three voters that go are a majority of that half")
	}
	g.Hear(refusedBy, protocol.MemberID{2}, "h:2", protocol.ErrTwin)
	if !errors.Is(g.Err(), protocol.ErrTwin) {
		t.Errorf("got %v, want %v, which says more", g.Err(), protocol.ErrTwin)
	}
}
