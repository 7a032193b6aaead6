package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// watchOld is how old what a watch has told may be before that is said.
const watchOld = 5 * time.Second

// mapEvent and mapStep are what a watch of a map is told, and what a copy of it is.
type (
	mapEvent = starling.MapEvent[starling.RawKey, starling.Raw]
	mapStep  = starling.FollowEvent[starling.RawKey, starling.Raw]
)

// notTaken is what has not happened where a watch has not begun. Its first event, a bookmark, comes when a member has
// taken it, and nothing that follows is late: that is for anything to say.
const notTaken = "no member has taken the watch"

func anything[E any](*E) bool { return true }

// watchHelp is said of all watches.
const watchHelp = "With -o json \"resume\" is what to give to --after to go on behind a change. " +
	"It says on standard error when what it tells may be more than 5 s behind. --timeout is for its beginning, until a member has taken it."

func afterFlag() cli.Flag {
	return uint64Flag("after", 0, "begin with the changes after this `INDEX`; 0: from now on")
}

func bookmarksFlag() cli.Flag {
	return boolFlag("bookmarks", "say also, as \"bookmark\", up to which index everything was told, once a second while nothing is")
}

// tellWait says on standard error that a watch begins beyond what there is.
func (s *session) tellWait(c *cli.Context, stderr io.Writer) error {
	after := indexOf(c, "after")
	if after == 0 || after > protocol.IndexMax { // the watch says that there is no such index
		return nil
	}
	ctx, cancel := within(s.ctx, c.Duration("timeout"))
	defer cancel()
	status, err := s.Status(ctx)
	if err == nil && after > status.Applied {
		_, err = fmt.Fprintf(stderr, "%s: waits for index %d: the member at --addr has applied %d\n", c.Command.HelpName, after, status.Applied)
	}
	return err
}

// tell prints events until the command is interrupted; bookmarks only where they are asked for.
func tell[E any](p *Program, c *cli.Context, s *session, events iter.Seq2[E, error], read func(*E) (age time.Duration, known, bookmark bool), print func(*E) error) error {
	ages := watchAges{to: p.Stderr, command: c.Command.HelpName}
	for e, err := range events {
		if s.ctx.Err() != nil {
			return nil // that is how a watch ends
		}
		age, known, bookmark := read(&e)
		if err == nil {
			err = ages.note(age, known)
		}
		if err == nil && (!bookmark || c.Bool("bookmarks")) {
			err = print(&e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readEvent[K, V any](e *resources.Event[K, V]) (age time.Duration, known, bookmark bool) {
	return e.Age, e.AgeKnown, e.Kind == resources.EventBookmark
}

func readStep(e *mapStep) (age time.Duration, known, bookmark bool) {
	return e.Age, e.AgeKnown, e.Kind == starling.FollowBookmark
}

// watch prints changes.
func (p mapCommands) watch(c *cli.Context, s *session, o starling.WatchOptions) error {
	begin := func(ctx context.Context) iter.Seq2[mapEvent, error] {
		return rawMap(s, c.Args().First()).Watch(ctx, o)
	}
	return tell(p.Program, c, s, inTime(s.ctx, c.Duration("timeout"), notTaken, begin, anything), readEvent, func(e *mapEvent) error {
		step := mapStep{Kind: starling.FollowPut, Key: e.Key, Value: e.Value, Index: e.Index}
		switch e.Kind {
		case starling.EventDelete:
			step.Kind = starling.FollowDelete
		case starling.EventBookmark:
			step.Kind = starling.FollowBookmark
		}
		resume := e.Resume()
		line, text := newEventLine(step, s)
		line.Resume = &resume
		if o.Previous && e.Kind != starling.EventBookmark {
			line.previousJSON = newPreviousJSON(e.PreviousKind, e.Previous)
			text.previous = "\t" + e.PreviousKind.String() + "\t"
			if e.PreviousKind == starling.PreviousValue {
				text.previous += valueText(e.Previous, s.raw)
			}
		}
		return p.printEvent(line, text, s)
	})
}

// follow prints what a copy of the map needs.
func (p mapCommands) follow(c *cli.Context, s *session, prefix []byte) error {
	begin := func(ctx context.Context) iter.Seq2[mapStep, error] {
		return rawMap(s, c.Args().First()).Follow(ctx, starling.FollowOptions{Prefix: prefix, Bookmarks: true})
	}
	listed := func(e *mapStep) bool { return e.Kind == starling.FollowListed }
	return tell(p.Program, c, s, inTime(s.ctx, c.Duration("timeout"), "nothing of what the map has", begin, listed), readStep, func(e *mapStep) error {
		line, text := newEventLine(*e, s)
		return p.printEvent(line, text, s)
	})
}

// watchAges says when what a watch has told is old, and when it is no more.
type watchAges struct {
	to      io.Writer
	command string
	old     bool
}

func (w *watchAges) note(age time.Duration, known bool) (err error) {
	switch old := age > watchOld; {
	case !known || old == w.old:
	case old:
		w.old = true
		_, err = fmt.Fprintf(w.to, "%s: what was written in the last %v may be missing: no member that hears a leader can be reached, it seems; waiting\n",
			w.command, age.Round(100*time.Millisecond))
	default:
		w.old = false
		_, err = fmt.Fprintln(w.to, w.command+": nothing is missing any more")
	}
	return err
}

// eventJSON is a change, or a step of a listing without a key.
type eventJSON struct {
	Kind  string         `json:"kind"`
	Index starling.Index `json:"index"`
	// Resume is where to go on behind a change that is watched.
	Resume *starling.Index `json:"resume,omitempty"`
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

func newEventLine(e mapStep, s *session) (line eventJSON, text eventText) {
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
