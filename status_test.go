package starling

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/protocol"
)

// An age that nobody knows is null, and not 0.
func TestAgeOfAMemberThatIsBehindIsNull(t *testing.T) {
	s := statusOf(protocol.Status{Members: []protocol.MemberStatus{
		{Name: "a1", Known: true, Said: int64(1500 * time.Microsecond), Applied: 7, AgeKnown: true, AgeNanos: 1},
		{Name: "p1", Known: true, Applied: 6},
		{Name: "p2"},
	}})
	b, err := json.Marshal(s.Members)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"applied":7,"said_ms":2,"age_ms":1`, `"applied":6,"said_ms":0,"age_ms":null`, `"applied":null,"said_ms":null,"age_ms":null`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("got %s, want %s", b, want)
		}
	}
}

// While a member is being opened HTTP says what it is doing, in its own words.
func TestReadinessSaysWhatAStartIsWaitingFor(t *testing.T) {
	n, err := Open(t.Context(), Config{Name: "a1", Bind: "127.0.0.1:0", Bootstrap: true, Actives: 1})
	if err != nil {
		t.Fatal(err)
	}
	source := n.source()
	if err := source.Ready(); err != nil {
		t.Errorf("got %v", err)
	}
	n.started.Store(false)
	n.member.Kill()
	if err := source.Ready(); err == nil || !strings.Contains(err.Error(), "the member is starting: the member has stopped") {
		t.Errorf("got %v, want the member's own reason", err)
	}
	n.opening.Store(nil)
	if err := source.Ready(); err == nil || !strings.Contains(err.Error(), "it has not found its cluster so far") {
		t.Errorf("got %v", err)
	}
}

// As long as a member is not where the configuration says, nobody listens to it
// if it says that a directory was put back: the line of that member says so, and
// only of that one.
func TestStatusSaysWhereRollbackIsNotWatched(t *testing.T) {
	s := statusOf(protocol.Status{Members: []protocol.MemberStatus{
		{Name: "a1", Address: "h:1", Suffrage: "voter"},
		{Name: "a2", Address: "h:92", Suffrage: "voter", Moved: true, Configured: "h:2"},
		{Name: "a3", Address: "h:3", Suffrage: "learner", Moved: true},
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

// What a core tells, and what the network does, is counted, and comes to whoever asks for
// the status, here and over the wire.
func TestStatusHasCounters(t *testing.T) {
	c, err := Local(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	status, err := c.Client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Counters) != len(observe.Counters) {
		t.Errorf("got %d counters, want %d", len(status.Counters), len(observe.Counters))
	}
	won := uint64(0)
	for _, n := range c.Nodes {
		s := n.Status()
		won += s.Counters["elections_won"]
		if s.Counters["sent_raft_bytes"] == 0 || s.Counters["sent_membership_bytes"] == 0 {
			t.Errorf("%s: got %v", n.Name(), s.Counters)
		}
	}
	if won == 0 {
		t.Error("nobody has won an election, and there is a leader")
	}
}
