package repair

import "github.com/starlinghq/starling/protocol"

// Held is what a member with a sound log answers from.
type Held struct {
	// Begin is after which the log begins, and Sum the log sum there.
	Begin protocol.Index
	Sum   protocol.LogSum
	// Last is the last entry, committed or not, Commit the last that is known to
	// be committed.
	Last, Commit protocol.Index
	// Active says that the member runs Raft. A member that installs a
	// checkpoint, or has no role, does not.
	Active bool
}

// Answer returns what a member with a sound log answers to a RepairWant: entries
// from the first one that is wanted and held, as many as an append may carry;
// none if it holds none or they cannot be read.
func Answer(log Log, h Held, want *protocol.RepairWant) *protocol.Repair {
	out := &protocol.Repair{Active: h.Active, First: h.Begin + 1, Commit: h.Commit}
	fill(log, out, want, h.Begin, h.Sum, h.Last)
	return out
}

// fill adds the wanted entries of a range that begins after a point, and
// reports whether there are any.
func fill(log Log, out *protocol.Repair, want *protocol.RepairWant, after protocol.Index, sum protocol.LogSum, last protocol.Index) bool {
	first := max(want.First, after+1)
	last = min(want.Last, last)
	if last < first {
		return false
	}
	if first > after+1 {
		before, err := log.Read(first-1, first-1, 0)
		if err != nil || len(before) == 0 {
			return false
		}
		sum = before[0].Sum
	}
	entries, err := log.Read(first, last, protocol.AppendBytesMax)
	if err != nil {
		return false
	}
	out.Before, out.Entries = sum, entries[:min(len(entries), protocol.AppendEntriesMax)]
	return true
}

// answer is Answer for a log that is being repaired. It vouches for nothing.
func (c *Core) answer(want *protocol.RepairWant) *protocol.Repair {
	out := &protocol.Repair{Commit: c.state.Commit, First: c.own.Index + 1}
	for i := range c.good {
		s := &c.good[i]
		if s.Last >= want.First && fill(c.log, out, want, s.After, s.Sum, s.Last) {
			break
		}
	}
	return out
}
