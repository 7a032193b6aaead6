package state

import (
	"fmt"
	"maps"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// TestTrackedDoesNotGrowWithWhatIsGone: a session makes a key per command and
// removes it soon after; a list of all of them would grow without end.
func TestTrackedDoesNotGrowWithWhatIsGone(t *testing.T) {
	s := New(true)
	sp := testSpace("m")
	addSpace(s, sp)
	key := func(i int) []byte { return fmt.Appendf(nil, "k%d", i) }
	const kept, living = 1000, 200
	for i := 1; i <= kept; i++ {
		s.Begin(protocol.Index(i))
		s.Set(sp, key(i), nil)
		s.End(0, ignore)
	}
	s.tracked.cut(kept)
	for i := kept + 1; i < 50_000; i++ {
		s.Begin(protocol.Index(i))
		s.Set(sp, key(i), nil)
		if i > kept+living {
			s.Remove(sp, key(i-living))
		}
		s.Set(sp, key(1+i%10), key(i)) // and some are written again and again
		s.End(0, ignore)
	}
	if got, limit := len(s.tracked.made), 4*living; got > limit {
		t.Errorf("got %d keys made, %d live, want at most %d", got, living, limit)
	}
	if got, want := len(s.tracked.written), 10; got != want {
		t.Errorf("got %d keys written, want %d", got, want)
	}
	var made int
	for _, p := range s.tracked.made {
		if !p.record.unlinked {
			made++
		}
	}
	if made != living {
		t.Errorf("got %d that live, want %d", made, living)
	}
}

// TestUnlinkedAndMadeAgain follows one key through deletion, unlinking and new
// records, some of them behind a view that keeps them linked.
func TestUnlinkedAndMadeAgain(t *testing.T) {
	for what, one := range map[string]struct {
		steps string // s set, d delete, + make another key, o make one for good, v open a view, c close it, | cut
		want  string
	}{
		"made":                          {"|s", "value"},
		"made and gone":                 {"|sd", ""},
		"changed":                       {"s|s", "value"},
		"gone":                          {"s|d", "deleted"},
		"made again":                    {"s|ds", "value"},
		"made again and gone":           {"s|dsd", "deleted"},
		"made twice":                    {"s|dsds", "value"},
		"gone before":                   {"sd|", ""},
		"gone before, made":             {"sd|s", "value"},
		"still linked, made":            {"svd|s", "value"},
		"still linked, made, and gone":  {"svd|sd", ""}, // not there at the base
		"linked all the time":           {"sv|dsdsd", "deleted"},
		"linked, then unlinked":         {"sv|dc sds", "value"},
		"linked, unlinked and gone":     {"sv|dc sd", "deleted"},
		"made behind a view, then gone": {"|vsdc", ""},
		"gone behind a view, made late": {"|svd+++s", "value"},
		"untouched":                     {"s|", ""},
	} {
		for _, steps := range []string{one.steps, "o" + one.steps} {
			testUnlinkedAndMadeAgain(t, what, steps, one.want)
		}
	}
}

func testUnlinkedAndMadeAgain(t *testing.T, what, steps, told string) {
	s := New(true)
	at := func() *Space { // as a command finds it: it goes with its last key
		sp := s.spaces["m"]
		if sp == nil {
			sp = testSpace("m")
			addSpace(s, sp)
		}
		return sp
	}
	var v *reading
	i := protocol.Index(0)
	entry := func(write func()) {
		i++
		s.Begin(i)
		write()
		s.End(0, ignore)
	}
	entry(func() {})
	for _, step := range steps {
		switch step {
		case 's':
			entry(func() { s.Set(at(), []byte("k"), fmt.Append(nil, i)) })
		case 'd':
			entry(func() { s.Remove(at(), []byte("k")) })
		case '+': // so that the list of keys made is tidied
			entry(func() { s.Set(at(), fmt.Appendf(nil, "other %d", i), nil) })
		case 'o': // so that the space does not go with the key
			entry(func() { s.Set(at(), []byte("other"), nil) })
		case 'v':
			v = openView(s, at())
		case 'c':
			v.Close()
		case '|':
			s.tracked.cut(i)
		default:
			entry(func() {})
		}
	}
	snapshot := s.Snapshot()
	for range 3 { // later entries change nothing of it
		entry(func() { s.Set(at(), []byte("k"), nil) })
		entry(func() { s.Remove(at(), []byte("k")) })
	}
	got := map[string]int{}
	changes, known := snapshot.Changed(snapshot.Bases()[0])
	if !known {
		t.Fatal("the last base is not known")
	}
	for item := range changes {
		switch {
		case string(item.Key) != "k":
		case item.Deleted:
			got["deleted"]++
		default:
			got["value"]++
		}
	}
	snapshot.Close()
	want := map[string]int{}
	if told != "" {
		want[told] = 1
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s (%s): got %v, want %v", what, steps, got, want)
	}
}
