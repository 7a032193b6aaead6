package wal

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// point is a position in the log with what identifies everything up to it.
type point struct {
	index protocol.Index
	term  protocol.Term
	sum   protocol.LogSum
}

// after returns the point that a run of entries with sums leads to.
func after(entries []protocol.Entry) point {
	e := &entries[len(entries)-1]
	return point{e.Index, e.Term, e.Sum}
}

// checkWrite panics unless the write continues a log that holds begin+1 to last
// and is committed to commit: an owner that hands out anything else is broken, and must not reach the disk.
func checkWrite(w *protocol.Write, entries []protocol.Entry, was protocol.HardState, begin protocol.Index, last point) {
	// Each check is behind an if: its arguments would be allocated every time.
	commit := was.Commit
	if !follows(was, w.State) {
		invariant.Check(false, "a log with the hard state %+v is written %+v", was, w.State)
	}
	join := last.index
	if w.Truncate {
		join = w.After
		if join < begin || join > last.index {
			invariant.Check(false, "log holds %d to %d, truncated after %d", begin+1, last.index, join)
		}
		if join < min(commit, last.index) {
			invariant.Check(false, "log truncated after %d, below the commit index %d", join, commit)
		}
	}
	n := len(entries)
	if w.Empty() && n == 0 {
		return
	}
	if n == 0 || entries[0].Index != w.First || entries[n-1].Index != w.Last || w.First != join+1 {
		invariant.Check(false, "write of %d to %d on a log that ends at %d comes with %d entries", w.First, w.Last, join, n)
	}
}

// checkDropHead panics unless everything below is committed and held or gone.
func checkDropHead(below, begin, last, commit protocol.Index) {
	invariant.Check(below <= begin || below <= last+1 && below <= commit+1,
		"head dropped below %d of a log that ends at %d, committed to %d", below, last, commit)
}

// checkReset panics if what a log begins again after is not committed, or takes
// back what the member promised. A log that was reset below its own begin would
// forget entries that it has acknowledged.
func checkReset(b *storage.Begin, begin protocol.Index, state, was protocol.HardState) {
	to := b.Index
	invariant.Check(to >= begin, "a log that begins after %d reset to begin after %d", begin, to)
	err := b.Configuration.Configuration.Validate()
	invariant.Check(err == nil && b.Configuration.Index <= to,
		"a log reset to begin after %d with the configuration of %d: %v", to, b.Configuration.Index, err)
	invariant.Check(state.Commit >= to && state.Commit >= was.Commit,
		"a log that is committed to %d reset to begin after %d, committed to %d", was.Commit, to, state.Commit)
	invariant.Check(follows(was, state), "a log with the hard state %+v reset to %+v", was, state)
}

// follows reports whether a term has not gone back, and a vote in it stays.
func follows(was, state protocol.HardState) bool {
	return state.Term > was.Term || state.Term == was.Term && (was.Vote.IsZero() || state.Vote == was.Vote)
}

// beginOf returns the begin of a log with the configuration in force there.
func beginOf(p point, c *protocol.Configurations) storage.Begin {
	at, _ := c.At(p.index)
	return storage.Begin{Index: p.index, Term: p.term, Sum: p.sum, Configuration: at}
}

// checkJoin panics unless the first entry's sum continues the one before it.
func checkJoin(before protocol.LogSum, first *protocol.Entry) {
	if sum := before.Next(first.Raw); sum != first.Sum {
		invariant.Check(false, "entry %s has the log sum %s, the log before it makes it %s", *first, first.Sum, sum)
	}
}

// addConfigurations notes the configurations among entries. The entry was
// validated when it was decoded or proposed, so one that cannot be read is a bug
// or damage.
func addConfigurations(c *protocol.Configurations, entries []protocol.Entry) error {
	for i := range entries {
		e := &entries[i]
		if e.Kind != protocol.EntryConfiguration {
			continue
		}
		conf, err := protocol.DecodeConfiguration(e.Data)
		if err != nil {
			return fmt.Errorf("configuration at index %d: %w", e.Index, err)
		}
		c.Append(protocol.ConfigurationAt{Index: e.Index, Configuration: conf})
	}
	return nil
}

// dropConfigurations forgets what came before the configuration in force at an
// index.
func dropConfigurations(c *protocol.Configurations, at protocol.Index) {
	all := c.All()
	for len(all) > 1 && all[1].Index <= at {
		all = all[1:]
	}
	*c = protocol.NewConfigurations(all...)
}

// clipTail returns the last entries within the bounds of Opened.Tail, and
// at least those from the commit index on.
func clipTail(entries []protocol.Entry, commit protocol.Index) []protocol.Entry {
	size := 0
	for i := len(entries) - 1; i >= 0; i-- {
		size += len(entries[i].Raw)
		full := size > storage.TailBytesMax || len(entries)-i > storage.TailEntriesMax
		if full && i < len(entries)-1 && entries[i].Index < commit {
			return entries[i+1:]
		}
	}
	return entries
}

// below and above are the errors of reads outside the log.
func below(first, begin protocol.Index) error {
	return protocol.ErrCompacted.With(fmt.Sprintf("entry %d is no longer held: the log begins at %d", first, begin+1))
}

func above(first, last protocol.Index) error {
	return protocol.ErrNotFound.With(fmt.Sprintf("entry %d is not held: the log ends at %d", first, last))
}
