package starling

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// As long as a member is not where the configuration says, nobody listens to it
// if it says that a directory was put back: the line of that member says so, and
// only of that one.
func TestStatusSaysWhereRollbackIsNotWatched(t *testing.T) {
	s := statusOf(protocol.Status{Members: []protocol.MemberStatus{
		{Name: "a1", Address: "h:1", Seat: "voter"},
		{Name: "a2", Address: "h:92", Seat: "voter", Moved: true, Configured: "h:2"},
		{Name: "a3", Address: "h:3", Seat: "learner", Moved: true},
	}})
	for i, want := range []string{
		"",
		"rollback is not watched at a2: it is at h:92, the configuration says h:2",
		"rollback is not watched at a3: it is at h:3, and the configuration has no address of it",
	} {
		if got := s.Members[i].Note; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); strings.Count(got, `"note":`) != 2 || strings.Count(got, `"configured_address":"h:2"`) != 1 || strings.Count(got, "configured_address") != 1 {
		t.Errorf("got %s", got)
	}
}
