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
	case *InstallCheckpoint:
		return m.Term
	case *TimeoutNow:
		return m.Term
	}
	return 0
}

// IndexesWithin reports whether no index in a message is above IndexMax.
func IndexesWithin(m Message) bool { return m.highest() <= IndexMax }

func (m *Vote) highest() Index            { return m.LastIndex }
func (*VoteAnswer) highest() Index        { return 0 }
func (m *Append) highest() Index          { return max(m.PrevIndex, m.Commit, m.Last) }
func (m *AppendAnswer) highest() Index    { return max(m.Index, m.HintIndex) }
func (m *Heartbeat) highest() Index       { return m.Commit }
func (*HeartbeatAnswer) highest() Index   { return 0 }
func (m *ReadIndex) highest() Index       { return m.Held }
func (m *ReadIndexAnswer) highest() Index { return m.Index }
func (*TimeoutNow) highest() Index        { return 0 }
func (*Forward) highest() Index           { return 0 }
func (*ForwardAnswer) highest() Index     { return 0 }
func (*Watermark) highest() Index         { return 0 }
func (*Types) highest() Index             { return 0 }
func (*Formats) highest() Index           { return 0 }
func (*Activate) highest() Index          { return 0 }
func (m *Want) highest() Index            { return highestOf(m.Ranges) }
func (m *Prune) highest() Index           { return m.Index }
func (m *Graft) highest() Index           { return m.From }
func (*Busy) highest() Index              { return 0 }
func (m *SumQuestion) highest() Index     { return m.Index }
func (m *SumAnswer) highest() Index       { return m.Index }

func (f *Frame) highest() Index {
	if n := len(f.Entries); n > 0 {
		return max(f.Commit, f.Entries[n-1].Index)
	}
	return f.Commit
}

func (h *Have) highest() Index {
	i := max(h.Applied, h.LastIndex, h.First, h.Commit, h.FreshIndex, h.Diverged, h.Behind.Needs, h.Behind.Installing, highestOf(h.Holes))
	for _, c := range h.Checkpoints {
		i = max(i, c)
	}
	return i
}

func highestOf(list []Range) (i Index) {
	for _, r := range list {
		i = max(i, r.First, r.Last)
	}
	return i
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
