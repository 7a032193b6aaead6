package runtime

import (
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Who is refused by a member that repairs its log hears which one it is.
func TestRefusalWhileTheLogIsRepairedNamesTheMember(t *testing.T) {
	m := &Member{}
	m.identity.Name = "a2"
	g := &repairing{m: m}
	g.say("entries 4 to 9 are asked of the others")
	err := protocol.ErrNotServing.With(g.reason())
	if want := "the log of member a2 is damaged and is being repaired: entries 4 to 9"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}
