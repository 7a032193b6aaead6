package sim

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// describe says a message in a few words, for traces.
func describe(msg protocol.Message) string {
	switch m := msg.(type) {
	case *protocol.Append:
		return fmt.Sprintf("append term=%d after %d@%d: %d entries, commit %d", m.Term, m.PrevIndex, m.PrevTerm, len(m.Entries), m.Commit)
	case *protocol.Frame:
		r := m.Range()
		return fmt.Sprintf("frame %d..%d commit %d hop %d", r.First, r.Last, m.Commit, m.Hop)
	case *protocol.Forward:
		return fmt.Sprintf("forward %d", m.Request)
	case *protocol.ForwardAnswer:
		return fmt.Sprintf("forward-answer %d %q at %d", m.Request, m.Result.Code, m.Result.Index)
	default:
		return fmt.Sprintf("%s %+v", msg.Kind(), msg)
	}
}

func describeWrite(w *protocol.Write) string {
	s := fmt.Sprintf("term=%d vote=%s commit=%d", w.State.Term, w.State.Vote.Short(), w.State.Commit)
	if w.Truncate {
		s += fmt.Sprintf(", truncate to %d", w.After)
	}
	if !w.Empty() {
		s += fmt.Sprintf(", entries %d..%d", w.First, w.Last)
	}
	if !w.Sync && !w.SyncAll {
		s += ", not synced"
	}
	return s
}

// named is an event with the name of the member that it speaks of.
func (s *simulation) named(e *protocol.Event) string {
	if m := s.byID(e.Member); m != nil {
		return fmt.Sprintf("%s term=%d index=%d (%s) %s", e.Kind, e.Term, e.Index, m.name, e.Text)
	}
	return e.String()
}
