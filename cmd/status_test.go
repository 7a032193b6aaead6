package cmd

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/observe"
)

// What people should know of a member stands below the tables of both commands.
func TestStatusShowsNotes(t *testing.T) {
	var out bytes.Buffer
	s := starling.Status{Name: "a1", Members: []starling.MemberStatus{{Name: "a1"}, {Name: "a2", Note: "rollback is not watched at a2\x1b"}}}
	if err := printStatus(&out, s); err != nil || !strings.HasSuffix(out.String(), "\nnote: rollback is not watched at a2\\x1b\n") {
		t.Errorf("status: got %q, %v", out.String(), err)
	}
	out.Reset()
	if err := printMembers(&out, s.Members); err != nil || !strings.HasSuffix(out.String(), "\nnote: rollback is not watched at a2\\x1b\n") || strings.Count(out.String(), "\n") != 4 {
		t.Errorf("members: got %q, %v", out.String(), err)
	}
}

// A member that has no bound on its age, and has applied less than another one, is
// behind; and what each said last is as old as it is.
func TestMembersAreBehindUntilTheyAreLevel(t *testing.T) {
	var out bytes.Buffer
	much, little, ago, fresh := starling.Index(1_000_000), starling.Index(38_290), int64(4_200), int64(54)
	members := []starling.MemberStatus{
		{Name: "a1", Applied: &much, AgeMS: &fresh, SaidMS: new(int64)}, {Name: "p1", Applied: &little, SaidMS: &ago}, {Name: "p2"},
	}
	if err := printMembers(&out, members); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"APPLIED AGE SAID", "1000000 54ms 0s", "38290 behind 4.2s", "? ? ?"} {
		if got := strings.Join(strings.Fields(strings.Split(out.String(), "\n")[i]), " "); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Who holds what the cluster has lost is told in the words of the leader, with what
// to do; nobody else's status has a line for it.
func TestStatusSaysWhoIsAhead(t *testing.T) {
	var out bytes.Buffer
	s := starling.Status{Ahead: []starling.Ahead{
		{Name: "p1", Holds: 231, Ends: 228, Text: "holds committed entries up to 231: `starling recover` keeps them"}, {Name: "p2", Text: "too"},
	}}
	if err := printStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"p1 holds committed entries up to 231: `starling recover` keeps them\n", "p2 too\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got\n%s\nwant %q in it", out.String(), want)
		}
	}
	out.Reset()
	if err := printStatus(&out, starling.Status{}); err != nil || strings.Contains(out.String(), "ahead") {
		t.Errorf("got %v and\n%s\nwant no line about nobody", err, out.String())
	}
}

// Every counter is shown with its sentence, one of a later version without, and one that
// is 0 not at all.
func TestStatusShowsCounters(t *testing.T) {
	s := starling.Status{Counters: map[string]uint64{"of_later": 7}}
	for i, c := range observe.Counters {
		s.Counters[c.Name] = uint64(100 + i)
	}
	var out bytes.Buffer
	if err := printStatus(&out, s); err != nil {
		t.Fatal(err)
	}
	for i, c := range observe.Counters {
		if want := regexp.MustCompile(fmt.Sprintf(`(?m)^%s +%d  %s$`, c.Name, 100+i, regexp.QuoteMeta(c.Text))); !want.MatchString(out.String()) {
			t.Errorf("got %s, want also %s", out.String(), want)
		}
	}
	if want := regexp.MustCompile(`(?m)^of_later +7$`); !want.MatchString(out.String()) {
		t.Errorf("got %s, want also %s", out.String(), want)
	}
	out.Reset()
	if err := printStatus(&out, starling.Status{Counters: map[string]uint64{"votes": 0}}); err != nil || strings.Contains(out.String(), "votes") {
		t.Errorf("got %s, %v", out.String(), err)
	}
}
