package gossip

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// intake puts the log together from frames that come in any order, and hands out what
// joins.
//
// Invariant: last index <= given, and given-lastIndex is what was handed out in Runs and is not taken
// yet.
type intake struct {
	self   *standing
	outbox *outbox

	buffer buffer
	seen   ranges // indexes above the last index that came by, kept or not
	given  protocol.Index
}

// begin forgets all that waits, in a new role.
func (in *intake) begin() {
	in.given = in.self.LastIndex
	in.buffer.clear()
	in.seen.clear()
	in.outbox.ready.Runs = nil
}

// advance fits what waits to the log's new end.
func (in *intake) advance() {
	if in.self.LastIndex > in.given || len(in.outbox.ready.Runs) == 0 {
		in.given = in.self.LastIndex
	}
	in.seen.dropTo(in.self.LastIndex)
	in.buffer.dropTo(in.self.LastIndex)
}

// reject takes frames of an origin out that do not fit, and what was handed out back.
func (in *intake) reject(origin protocol.MemberID) {
	in.buffer.dropOrigin(origin)
	in.given = in.self.LastIndex
}

// stop drops what waits: nothing of it fits this member's log.
func (in *intake) stop() {
	in.outbox.ready.Runs = nil
	in.buffer.clear()
}

// again offers runs again that were handed out and not taken: the disk is behind.
func (in *intake) again() {
	if in.given > in.self.LastIndex && len(in.outbox.ready.Runs) == 0 {
		in.given = in.self.LastIndex
		in.deliver()
	}
}

// note takes note of a frame's indexes and reports whether any is new.
func (in *intake) note(r protocol.Range) bool { return r.Last > in.given && in.seen.add(r) }

// knows reports whether a frame of these indexes says nothing new.
func (in *intake) knows(r protocol.Range) bool {
	return r.Last <= in.given || in.seen.covers(r) && in.buffer.held.covers(r)
}

func (in *intake) reached() protocol.Index { return in.given }

func (in *intake) unseen(within protocol.Range) []protocol.Range {
	return in.seen.gaps(nil, within, protocol.RangesMax)
}

func (in *intake) missing(last protocol.Index, but []protocol.Range) []protocol.Range {
	within := protocol.Range{First: in.given + 1, Last: min(last, in.given+windowMax)}
	if far, full := in.buffer.full(); full {
		// What lies ahead would find no room, and be pulled again and again.
		within.Last = min(within.Last, far-1)
	}
	if within.Last < within.First {
		return nil
	}
	if len(but) == 0 {
		return in.buffer.held.gaps(nil, within, protocol.RangesMax)
	}
	covered := ranges{list: slices.Clone(in.buffer.held.list)}
	for _, r := range but {
		covered.add(r)
	}
	return covered.gaps(nil, within, protocol.RangesMax)
}

// add keeps a frame until what precedes it is there.
func (in *intake) add(from protocol.MemberID, f *protocol.Frame) {
	if last := f.Range().Last; last > in.given && last-in.given <= windowMax {
		in.buffer.add(from, f)
		in.deliver()
	}
}

// deliver hands out the frames that join what was handed out before.
func (in *intake) deliver() {
	if !in.self.takes() || in.given > in.self.LastIndex && len(in.outbox.ready.Runs) == 0 {
		return // what was handed out was not taken: Tick begins again
	}
	for {
		w, ok := in.buffer.next(in.given)
		if !ok {
			return
		}
		f := w.frame
		in.outbox.ready.Runs = append(in.outbox.ready.Runs, Run{
			From: w.from, Origin: f.Origin, Before: f.Before, Entries: f.Entries, Commit: f.Commit,
		})
		in.given = w.r.Last
	}
}

// holes returns what is missing below the frames that wait.
func (in *intake) holes() []protocol.Range {
	n := len(in.buffer.held.list)
	if n == 0 || !in.self.takes() {
		return nil
	}
	within := protocol.Range{First: in.self.LastIndex + 1, Last: in.buffer.held.list[n-1].Last}
	return in.buffer.held.gaps(nil, within, protocol.HolesMax)
}

// sane reports whether a frame can be a piece of a committed log at all.
func sane(f *protocol.Frame) bool {
	n := len(f.Entries)
	if n == 0 || f.Origin.IsZero() {
		return false
	}
	first := f.Entries[0].Index
	if first == 0 || first > protocol.IndexMax || f.Commit < first+protocol.Index(n)-1 {
		return false
	}
	for i := range f.Entries {
		if f.Entries[i].Index != first+protocol.Index(i) {
			return false
		}
	}
	return protocol.TermsFit(f.Entries[0].Term, f.Entries)
}
