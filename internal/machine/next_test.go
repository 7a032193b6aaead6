//go:build starling_next

package machine

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// [S] Counterexample: a member passes over an entry whose kind it does not know. Its state
// is another one from there on, and where such members are the majority, it is the new one
// whose digest is found to be wrong.
func TestWhoPassesOverAnEntryHasAnotherState(t *testing.T) {
	entries := []protocol.Entry{{Index: 1, Term: 1, Time: 5, Kind: protocol.EntryNoop}, {Index: 2, Term: 1, Time: 9, Kind: protocol.EntryNext}}
	protocol.EncodeEntries(entries)
	knows, passes := New(Config{}), New(Config{Refuse: []protocol.Index{2}})
	defer knows.Close()
	defer passes.Close()
	for _, m := range []*Machine{knows, passes} {
		m.Apply(entries, nil)
		if err := m.Stopped(); err != nil || m.Applied() != 2 {
			t.Fatalf("it is at %d, %v", m.Applied(), err)
		}
	}
	_, one := knows.Digest()
	if _, other := passes.Digest(); one == other {
		t.Errorf("both have the digest %s", one)
	}
}
