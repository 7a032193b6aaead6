package attempt

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// [S] Another number is drawn, or another session is taken, only if no copy with the old one
// can have been executed: it would run a second time.
func TestANumberIsGivenUpOnlyIfNoCopyMayHaveRun(t *testing.T) {
	tooLittle := protocol.Failed(protocol.ErrSessionExpired)
	for _, tt := range []struct {
		name   string
		before []error
		want   Verdict
	}{
		{"at once", nil, Anew},
		{"refused by a member before", []error{protocol.ErrNotLeader, protocol.ErrOverloaded}, Anew},
		{"lost before", []error{lost}, Expired},
		{"given up for another leader before", []error{&superseded{"a:1", "b:1"}}, Expired},
		{"lost, then refused by a member", []error{lost, protocol.ErrNotLeader}, Expired},
	} {
		var o OneShot
		o.Draw(protocol.OneShotNumber{1}, 7)
		for _, err := range tt.before {
			if verdict, _, _ := o.Took(protocol.Result{}, err, nil); verdict != Again {
				t.Fatalf("%s: got verdict %d, want another attempt", tt.name, verdict)
			}
		}
		inSession := o.Command
		if verdict, _, err := inSession.Took(tooLittle, nil, nil); verdict != tt.want || errors.Is(err, protocol.ErrUnknownOutcome) != (tt.want == Expired) {
			t.Errorf("%s, in a session: got verdict %d, %v, want %d", tt.name, verdict, err, tt.want)
		}
		verdict, _, err := o.Took(tooLittle, nil, nil)
		if verdict != tt.want || errors.Is(err, protocol.ErrUnknownOutcome) != (tt.want == Expired) {
			t.Errorf("%s: got verdict %d, %v, want %d", tt.name, verdict, err, tt.want)
		}
	}
}
