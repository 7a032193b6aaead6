package active

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// [S] Members that switched at different entries would apply the same one in two ways: the
// level is never taken back, and rises by one, by itself.
func TestTheFormatLevelIsRaisedByOneAndNeverTakenBack(t *testing.T) {
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	now := c.base.Configuration
	more := now.At(2)
	more.Target = 5
	for what, next := range map[string]protocol.Configuration{"by two": now.At(3), "with a target": more} {
		if _, err := c.change("a", next); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v, want %v", what, err, protocol.ErrInvalid)
		}
	}
	if _, err := c.change("a", now.At(2)); err != nil {
		t.Fatal(err)
	}
	c.stabilize()
	for _, name := range []string{"a", "b", "c"} {
		m := c.member(name)
		equal(t, name, m.current.Configuration.Level, 2)
		equal(t, name+": committed", m.hard.Commit, m.current.Index)
	}
	for what, next := range map[string]protocol.Configuration{"back": now, "back, with a target": func() protocol.Configuration { n := now; n.Target = 5; return n }()} {
		if _, err := c.change("a", next); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v, want %v", what, err, protocol.ErrInvalid)
		}
	}
	if _, err := c.change("a", more); err != nil {
		t.Errorf("another target at the same level: got %v", err)
	}
}

// An entry of a kind that the level has not is no leader's. One of a level that this member
// does not know is kept and acknowledged like any: its bytes are the leader's. And what
// follows on something that the log lacks is answered, whatever it is.
func TestEntriesOfAKindThatTheLevelHasNot(t *testing.T) {
	unknown := func(n int) []protocol.Entry {
		log := logOf(1, 1, 1)
		log[1].Kind = protocol.EntryNoop
		protocol.EncodeEntries(log)
		log[2].Kind = protocol.EntryKindMax
		return log[3-n:]
	}
	h := newHub(t, 1, 1, 1)
	equal(t, "at the first level: answers", len(h.says("b", &protocol.Append{Term: 1, PrevIndex: 1, PrevTerm: 1, Last: 3, Entries: unknown(2)})), 0)
	equal(t, "at the first level: entries", len(h.n.log), 1)

	h = newHub(t, 1, 1, 1)
	run := unknown(2)
	next := h.n.m.current.Configuration.At(protocol.FormatKnown.Next())
	run[0].Kind, run[0].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(next)
	a := one[*protocol.AppendAnswer](t, h.says("b", &protocol.Append{Term: 1, PrevIndex: 1, PrevTerm: 1, Last: 3, Entries: run}))
	equal(t, "above a level that is not known: acknowledged", a.Index, 3)
	equal(t, "rejected", a.Reject, false)

	h = newHub(t, 1, 1, 1)
	a = one[*protocol.AppendAnswer](t, h.says("b", &protocol.Append{Term: 1, PrevIndex: 2, PrevTerm: 1, Last: 3, Entries: unknown(1)}))
	equal(t, "after what the log lacks: rejected", a.Reject, true)
}
