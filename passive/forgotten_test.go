package passive

import (
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// A member whose directory was put back to before it had a vote is a passive, and comes to the
// configuration that it alone decides: it would get that vote back, and lead. Anybody may have made
// that up, so it does not stop; it takes nothing from there on.
func TestAVoteThatWasForgottenIsNotTakenBack(t *testing.T) {
	voter := func(id protocol.MemberID) protocol.ActiveMember {
		return protocol.ActiveMember{ID: id, Suffrage: protocol.SuffrageVoter}
	}
	for name, test := range map[string]struct {
		voters []protocol.MemberID
		want   Verdict
	}{
		"alone":        {[]protocol.MemberID{me}, Mismatch},
		"one of two":   {[]protocol.MemberID{me, leader}, Mismatch},
		"one of three": {[]protocol.MemberID{me, leader, other}, Taken},
		"none":         {[]protocol.MemberID{leader}, Taken},
	} {
		c := protocol.Configuration{Target: 3}
		for _, id := range test.voters {
			c = c.With(voter(id))
		}
		h := history(4)
		h[2].Kind, h[2].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(c)
		seal(h)
		m := holding(t, h[:2])
		if got := m.Take(0, run(h, 3, 4, 4)); got != test.want {
			t.Errorf("%s: got %s, want %s", name, got, test.want)
		}
		rd := m.Ready()
		said := false
		for _, e := range rd.Events {
			said = said || e.Kind == protocol.EventRejected && strings.Contains(e.Text, "the configuration at 3") && strings.Contains(e.Text, "put back")
		}
		if rejects := test.want == Mismatch; rd.Stop != nil || said != rejects || (m.LogTerms().LastIndex() == 2) != rejects {
			t.Errorf("%s: stops %v, says so %v, the log ends at %d", name, rd.Stop, said, m.LogTerms().LastIndex())
		}
	}
}
