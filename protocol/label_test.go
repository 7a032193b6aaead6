package protocol

import "testing"

// People know members by their names, and by digits only where a name says too little.
func TestMembersAreCalledByTheirNames(t *testing.T) {
	one, two, three, four := MemberID{1}, MemberID{2}, MemberID{3}, MemberID{4}
	known := func(yield func(MemberID, string) bool) {
		for _, x := range []NameInUse{{Member: one, Name: ""}, {Member: one, Name: "a1"}, {Member: one, Name: "older"}, {Member: two, Name: "a2"}, {Member: three, Name: "a2"}} {
			if !yield(x.Member, x.Name) {
				return
			}
		}
	}
	for id, want := range map[MemberID]string{one: "a1", two: "a2 (02000000)", three: "a2 (03000000)", four: "04000000"} {
		if got := LabelOf(id, known); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
