package protocol

// Bounds on terms and indexes that come from outside. No log gets there: at a
// million entries a second IndexMax is 146,000 years away. What claims more is
// wrong or hostile, and below the bounds sums do not overflow.
const (
	// IndexMax is the highest index, and TermMax the highest term, that is
	// believed of anything.
	IndexMax Index = 1 << 62
	TermMax  Term  = 1 << 62
	// LeapMax is how far a term may lie above that of the last entry that is
	// committed, and VoterLeapMax above that of the last entry, in the word of a
	// voter. Terms without an entry are elections that came to nothing: at one
	// in a second, 2^31 of them take 68 years. The second is larger, so that
	// whoever goes to the first leaves room for elections.
	LeapMax      Term = 1 << 31
	VoterLeapMax Term = 1 << 32
)

// TermOf returns the term that a message would take its receiver to, 0 if it
// speaks of none. A pre-vote, asked or granted, takes nobody to its term.
func TermOf(m Message) Term {
	switch m := m.(type) {
	case *Vote:
		if m.Pre {
			return max(m.Term, 1) - 1
		}
		return m.Term
	case *VoteAnswer:
		if m.Pre && m.Granted {
			return max(m.Term, 1) - 1
		}
		return m.Term
	case *Append:
		return m.Term
	case *AppendAnswer:
		return m.Term
	case *Heartbeat:
		return m.Term
	case *HeartbeatAnswer:
		return m.Term
	case *Checkpoint:
		return m.Term
	case *TimeoutNow:
		return m.Term
	}
	return 0
}

// IndexesWithin reports whether no index in a message is above IndexMax.
func IndexesWithin(m Message) bool {
	switch m := m.(type) {
	case *Vote:
		return m.LastIndex <= IndexMax
	case *Append:
		return m.PrevIndex <= IndexMax && m.Commit <= IndexMax && m.Last <= IndexMax
	case *AppendAnswer:
		return m.Index <= IndexMax && m.HintIndex <= IndexMax
	case *Heartbeat:
		return m.Commit <= IndexMax
	case *ReadIndex:
		return m.Held <= IndexMax
	case *ReadIndexAnswer:
		return m.Index <= IndexMax
	case *Frame:
		n := len(m.Entries)
		return m.Commit <= IndexMax && (n == 0 || m.Entries[n-1].Index <= IndexMax)
	case *Have:
		return m.within()
	case *Want:
		return rangesWithin(m.Ranges)
	case *Prune:
		return m.Index <= IndexMax
	case *Graft:
		return m.From <= IndexMax
	case *SumQuestion:
		return m.Index <= IndexMax
	case *SumAnswer:
		return m.Index <= IndexMax
	case *RepairWant:
		return m.First <= IndexMax && m.Last <= IndexMax
	case *Repair:
		return m.First <= IndexMax && m.Commit <= IndexMax
	case *Describe:
		return m.Above <= IndexMax
	case *ChunkWant:
		return m.Index <= IndexMax
	case *Chunk:
		return m.Index <= IndexMax
	case *DigestQuestion:
		return m.Index <= IndexMax
	case *DigestAnswer:
		return m.Index <= IndexMax
	}
	return true
}

func (h *Have) within() bool {
	for _, i := range h.Checkpoints {
		if i > IndexMax {
			return false
		}
	}
	return h.Applied <= IndexMax && h.Tip <= IndexMax && h.First <= IndexMax && h.Commit <= IndexMax &&
		h.FreshIndex <= IndexMax && h.Diverged <= IndexMax && h.Behind.Needs <= IndexMax && h.Behind.Installing <= IndexMax && rangesWithin(h.Holes)
}

func rangesWithin(list []Range) bool {
	for _, r := range list {
		if r.First > IndexMax || r.Last > IndexMax {
			return false
		}
	}
	return true
}

// TermsFit reports whether entries may follow one of a term: terms never fall,
// and none is further above the one before it than voters follow a leader.
func TermsFit(after Term, entries []Entry) bool {
	for i := range entries {
		if t := entries[i].Term; t < after || t-after > VoterLeapMax {
			return false
		}
		after = entries[i].Term
	}
	return true
}
