package policy

import (
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Where the leader believes only what is signed, a member without a key gets no seat, no
// vote, and is not called for one.
func TestWhoHasNoKeyGetsNoSeat(t *testing.T) {
	a := with(active("a", ""), func(p *Peer) { p.Signs = true })
	learner := []Progress{{ID: id("b"), Match: 5000, Active: true, Answers: true}}
	for _, test := range []struct {
		name, conf string
		b          Peer
		progress   []Progress
		with       Action // a key
		without    Action
		why        string
	}{
		{"a passive", "a", passive("b", ""), nil, AddLearner, Wait, "b has no key"},
		{"a learner", "a b*", active("b", ""), learner, PromoteLearner, Remove, "learner b loses its seat: it has no key"},
		{"a reserve", "a", reserve("b", ""), nil, Activate, Wait, "no passive wishes to be active"},
	} {
		for _, signed := range []bool{true, false} {
			for _, key := range []bool{true, false} {
				test.b.Signs = key
				got := Decide(Config{}, Input{
					Now: 10 * second, Self: id("a"), Configuration: protocol.ConfigurationAt{Index: 17, Configuration: seats(2, test.conf)}, Commit: 5000, OwnTerm: true,
					Peers: []Peer{a, test.b}, Progress: test.progress, Signed: signed,
				})
				want := test.with
				if signed && !key {
					want = test.without
				}
				if got.Action != want || want == test.without && !strings.Contains(got.Why, test.why) {
					t.Errorf("%s, signatures checked: %t, with a key: %t: got %v, %q, want %v", test.name, signed, key, got.Action, got.Why, want)
				}
			}
		}
	}
}
