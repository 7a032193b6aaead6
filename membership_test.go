package starling

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// A name that two members have must not take the seat of the one that works.
func TestNameOfTwoMembersNamesNeither(t *testing.T) {
	one, two, other := protocol.MemberID{1, 2, 3, 4, 5}, protocol.MemberID{1, 2, 3, 4, 6}, protocol.MemberID{9}
	names := []protocol.NameInUse{{Name: "a5", Member: one}, {Name: "a5", Member: two}, {Name: "a1", Member: other}}
	for name, want := range map[string]protocol.MemberID{"a1": other, "0102030405": one, "0102030406": two, other.String(): other} {
		if got, err := memberNamed(names, name); err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", name, got.Short(), err, want.Short())
		}
	}
	for _, name := range []string{"a5", "01020304"} {
		if _, err := memberNamed(names, name); !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), "first digits") {
			t.Errorf("%s: got %v, want that there are two", name, err)
		}
	}
	if _, err := memberNamed(names, "0102"); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("got %v, want %v: too few digits", err, protocol.ErrNotFound)
	}
}
