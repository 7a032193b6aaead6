package cmd

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/starlinghq/starling"
)

// watchOld is how old what a watch has told may be before that is said.
const watchOld = 5 * time.Second

// watch prints changes.
func (p mapCommands) watch(s *session, name string, o starling.WatchOptions) error {
	ages := watchAges{to: p.Stderr}
	for e, err := range rawMap(s, name).Watch(s.ctx, o) {
		if s.ctx.Err() != nil {
			return nil // interrupted: that is how a watch ends
		}
		if err == nil {
			err = ages.note(e.Age, e.AgeKnown)
		}
		if err == nil && e.Kind != starling.EventBookmark {
			step := starling.FollowEvent[starling.RawKey, starling.Raw]{Kind: starling.FollowPut, Key: e.Key, Value: e.Value, Index: e.Index}
			if e.Kind == starling.EventDelete {
				step.Kind = starling.FollowDelete
			}
			resume := e.Resume()
			line, text := newEventLine(step, s)
			line.Resume = &resume
			if o.Previous {
				line.previousJSON = newPreviousJSON(e.PreviousKind, e.Previous)
				text.previous = "\t" + e.PreviousKind.String() + "\t"
				if e.PreviousKind == starling.PreviousValue {
					text.previous += valueText(e.Previous, s.raw)
				}
			}
			err = p.printEvent(line, text, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow prints what a copy of the map needs.
func (p mapCommands) follow(s *session, name string, prefix []byte) error {
	ages := watchAges{to: p.Stderr}
	for e, err := range rawMap(s, name).Follow(s.ctx, starling.FollowOptions{Prefix: prefix, Bookmarks: true}) {
		if s.ctx.Err() != nil {
			return nil // interrupted: that is how a watch ends
		}
		if err == nil {
			err = ages.note(e.Age, e.AgeKnown)
		}
		if err == nil && e.Kind != starling.FollowBookmark {
			line, text := newEventLine(e, s)
			err = p.printEvent(line, text, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// watchAges says when what a watch has told is old, and when it is no more.
type watchAges struct {
	to  io.Writer
	old bool
}

func (w *watchAges) note(age time.Duration, known bool) (err error) {
	switch old := age > watchOld; {
	case !known || old == w.old:
	case old:
		w.old = true
		_, err = fmt.Fprintf(w.to, "starling map watch: what was written in the last %v may be missing: no member that hears a leader can be reached, it seems; waiting\n",
			age.Round(100*time.Millisecond))
	default:
		w.old = false
		_, err = fmt.Fprintln(w.to, "starling map watch: nothing is missing any more")
	}
	return err
}

// eventJSON is a change, or a step of a listing without a key.
type eventJSON struct {
	Kind  string `json:"kind"`
	Index uint64 `json:"index"`
	// Resume is where to go on behind a change that is watched.
	Resume *uint64 `json:"resume,omitempty"`
	keyJSON
	valueJSON
	*previousJSON
}

// previousJSON is what a key was before a change.
type previousJSON struct {
	Kind     string          `json:"previous_kind"`
	Previous json.RawMessage `json:"previous,omitempty"`
	B64      *string         `json:"previous_b64,omitempty"`
	Type     string          `json:"previous_type,omitempty"`
}

func newPreviousJSON(kind starling.PreviousKind, v starling.Raw) *previousJSON {
	out := &previousJSON{Kind: kind.String()}
	if kind == starling.PreviousValue {
		value := newValueJSON(v)
		out.Previous, out.B64, out.Type = value.Value, value.ValueB64, value.Type
	}
	return out
}

// eventText is what a line of text has beside index and kind.
type eventText struct{ key, value, previous, keyType string }

func newEventLine(e starling.FollowEvent[starling.RawKey, starling.Raw], s *session) (line eventJSON, text eventText) {
	line = eventJSON{Kind: e.Kind.String(), Index: e.Index}
	if e.Kind == starling.FollowPut || e.Kind == starling.FollowDelete {
		line.keyJSON, text.key = newKeyJSON(e.Key), keyText(e.Key, s.raw)
		if kind := e.Key.Kind(); kind != starling.KindString {
			text.keyType = "\t" + kind.String()
		}
	}
	if e.Kind == starling.FollowPut {
		line.valueJSON, text.value = newValueJSON(e.Value), valueText(e.Value, s.raw)
	}
	return line, text
}

func (p mapCommands) printEvent(line eventJSON, text eventText, s *session) error {
	if s.json {
		return p.printJSON(line)
	}
	_, err := fmt.Fprintf(p.Stdout, "%d\t%s\t%s\t%s%s%s\n", line.Index, line.Kind, text.key, text.value, text.previous, text.keyType)
	return err
}
