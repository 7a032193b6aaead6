package policy

import (
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// [S] Who does not know the format level in force gets no seat and no vote, and is not
// called for one: it could neither apply the log nor lead.
func TestWhoDoesNotKnowTheFormatLevelGetsNoSeat(t *testing.T) {
	learner := []Progress{{ID: id("b"), Match: 5000, Active: true, Answers: true}}
	for _, test := range []struct {
		name, conf    string
		b             Peer
		progress      []Progress
		knows, passed Action
	}{
		{"a passive", "a", passive("b", ""), nil, AddLearner, Wait},
		{"a learner", "a b*", active("b", ""), learner, PromoteLearner, Remove},
		{"a reserve", "a", reserve("b", ""), nil, Activate, Wait},
	} {
		for _, level := range []protocol.FormatLevel{0, 1, 2, 3} {
			test.b.Level = level
			got := Decide(Config{}, Input{
				Now: 10 * second, Self: id("a"), Configuration: protocol.ConfigurationAt{Index: 17, Configuration: seats(2, test.conf).At(2)}, Commit: 5000, OwnTerm: true,
				Peers: []Peer{with(active("a", ""), func(p *Peer) { p.Level = 3 }), test.b}, Progress: test.progress,
			})
			want := test.knows
			if level < 2 {
				want = test.passed
			}
			if got.Action != want || want == Remove && !strings.Contains(got.Why, "knows the format levels up to 1 only") {
				t.Errorf("%s that knows level %d: got %v, %q, want %v", test.name, level, got.Action, got.Why, want)
			}
		}
	}
}
