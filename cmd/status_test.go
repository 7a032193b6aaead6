package cmd

import (
	"bytes"
	"strings"
	"testing"

	"github.com/starlinghq/starling"
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
