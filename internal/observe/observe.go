// Package observe says what is worth knowing of a member: one table of events and one of
// counters, which its log, its status and whoever measures it read.
package observe

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/starlinghq/starling/protocol"
)

// Event is what one kind of event means to those who look on.
type Event struct {
	Kind  protocol.EventKind
	Level slog.Level // at which the log has it
	Count Counter    // how often it happened; None: nobody counts
}

// Counter is a number that only grows while a member runs.
type Counter uint8

// Row is what there is to know of a counter. Name is the one in `starling status` and in
// JSON, where it stays for ever; Text is its sentence, with its unit.
type Row struct {
	Counter Counter
	Name    string
	Text    string
}

// Of returns the row of a kind of event. One that is not in the table is of a core that
// is newer than this package, which its test does not let happen.
func Of(kind protocol.EventKind) Event {
	for _, e := range Events {
		if e.Kind == kind {
			return e
		}
	}
	return Event{Kind: kind, Level: slog.LevelDebug}
}

// Text returns the sentence of a counter, empty for one of a later version.
func Text(name string) string {
	for _, r := range Counters {
		if r.Name == name {
			return r.Text
		}
	}
	return ""
}

// Counts are the counters of one member. Any goroutine may use them.
type Counts struct{ of [end]atomic.Uint64 }

// Add counts.
func (c *Counts) Add(what Counter, n uint64) { c.of[what].Add(n) }

// Get returns a counter.
func (c *Counts) Get(what Counter) uint64 { return c.of[what].Load() }

// Sampled sets a counter to what another one, kept elsewhere, says.
func (c *Counts) Sampled(what Counter, n uint64) { c.of[what].Store(n) }

// List returns all counters, in the order of the table.
func (c *Counts) List() []protocol.Count {
	list := make([]protocol.Count, 0, len(Counters))
	for _, r := range Counters {
		list = append(list, protocol.Count{Name: r.Name, Value: c.Get(r.Counter)})
	}
	return list
}

// Observer tells and counts what the cores of one member say has happened.
type Observer struct {
	Counts
	Logger *slog.Logger
	// Name returns the label of a member, for people.
	Name func(protocol.MemberID) string
}

// Event counts one event, and writes it to the log.
func (o *Observer) Event(e protocol.Event) {
	row := Of(e.Kind)
	o.Add(row.Count, 1)
	if !o.Logger.Enabled(context.Background(), row.Level) {
		return
	}
	args := []any{"term", e.Term, "index", e.Index}
	if !e.Member.IsZero() {
		args = append(args, "with", o.Name(e.Member))
	}
	if e.Text != "" {
		args = append(args, "why", e.Text)
	}
	o.Logger.Log(context.Background(), row.Level, string(e.Kind), args...)
}
