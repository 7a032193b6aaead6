package member

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// script is a log that says what is done with it; errs are what its calls return, by
// name, each once.
type script struct {
	storage.Log
	calls  []string
	errs   map[string][]error
	states []protocol.HardState
}

func (s *script) do(call string) error {
	s.calls = append(s.calls, call)
	list := s.errs[call]
	if len(list) == 0 {
		return nil
	}
	s.errs[call] = list[1:]
	return list[0]
}

func (s *script) Write(w protocol.Write, _ []protocol.Entry) error {
	s.states = append(s.states, w.State)
	return s.do("write")
}
func (s *script) WriteVote(protocol.Term, protocol.MemberID) error { return s.do("vote") }
func (s *script) Sync() error                                      { return s.do("sync") }
func (s *script) Idle() error                                      { return s.do("note") }
func (s *script) Settle() error                                    { return s.do("settle") }
func (s *script) Reset(storage.Begin, protocol.HardState) error    { return s.do("reset") }
func (s *script) DropHead(protocol.Index) (storage.Begin, error) {
	return storage.Begin{}, s.do("drop")
}

// What a log writer does with each kind of change, in which order, with which pauses,
// and when it has an answer. A full disk makes it wait with whatever it does, a head
// that is dropped included, which ended a member; a failed one ends it.
func TestAChangeOfTheLog(t *testing.T) {
	full, broken := protocol.ErrNoSpace, errors.New("i/o error")
	synced := &replica.Persist{ID: 1, Write: protocol.Write{Sync: true}}
	for _, test := range []struct {
		name   string
		change *replica.Persist
		errs   map[string][]error
		want   string
	}{
		{"a write", &replica.Persist{ID: 1}, nil, "write told note 50ms settle"},
		{"a write that is synced", synced, nil, "write sync told note 50ms settle"},
		{"a head", &replica.Persist{ID: 1, Drop: 7}, nil, "drop told note 50ms settle"},
		{"a new begin", &replica.Persist{ID: 1, Reset: &storage.Begin{}, Write: protocol.Write{Sync: true}}, nil, "reset told note 50ms settle"},
		{"without room", synced, map[string][]error{"write": {full, full}}, "write told 500ms write 500ms write sync told note 50ms settle"},
		{"a head without room", &replica.Persist{ID: 1, Drop: 7}, map[string][]error{"drop": {full}}, "drop told 500ms drop told note 50ms settle"},
		{"a note without room", synced, map[string][]error{"note": {full}, "settle": {full}}, "write sync told note 500ms settle 500ms settle"},
		{"a write that fails", synced, map[string][]error{"write": {broken}}, "write told failed"},
		{"a sync that fails", synced, map[string][]error{"sync": {broken}}, "write sync told failed"},
		{"a sync without room", synced, map[string][]error{"sync": {full}}, "write sync told failed"},
		{"a note that fails", synced, map[string][]error{"note": {broken}}, "write sync told note failed"},
		{"a note that fails late", synced, map[string][]error{"settle": {broken}}, "write sync told note 50ms settle failed"},
	} {
		log := &script{errs: test.errs}
		w := NewLogWriter(log)
		w.Begin(test.change)
		for w.Next() != LogRests && len(log.calls) < 20 {
			did := w.Step()
			for _, x := range []struct {
				is   bool
				text string
			}{{did.Tell != nil, "told"}, {did.Failed != nil, "failed"}, {did.Pause > 0, did.Pause.String()}} {
				if x.is {
					log.calls = append(log.calls, x.text)
				}
			}
		}
		if got := fmt.Sprint(log.calls); got != "["+test.want+"]" {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// A change that comes while a note waits is made first, and the note after it.
func TestAChangeComesBeforeANote(t *testing.T) {
	log := &script{}
	w := NewLogWriter(log)
	for range 2 {
		w.Begin(&replica.Persist{ID: 1})
		w.Step()
	}
	if w.Step(); !slices.Equal(log.calls, []string{"write", "write", "note"}) || w.Waits() {
		t.Errorf("got %v", log.calls)
	}
	if did := w.Step(); did.Pause != 0 || w.Next() != LogRests {
		t.Errorf("it does not come to rest: %+v", did)
	}
	if did := w.Step(); did.Pause > time.Duration(0) || len(log.calls) != 4 {
		t.Errorf("at rest it does something: %v", log.calls)
	}
}
