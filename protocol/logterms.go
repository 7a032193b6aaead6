package protocol

import "fmt"

// TermRun says that a log's entries from First on, up to the next run, have
// the term.
type TermRun struct {
	First Index
	Term  Term
}

// LogTerms is a log without its payload: where it begins, and the term of each
// index that it holds, as runs. The roles keep one, so that they can answer
// what Raft asks without the entries. The zero value is an empty log that
// begins at index 1.
//
// Invariant: the runs are in order of First and of Term, the first begins at
// PrevIndex+1, and LastIndex() >= PrevIndex.
type LogTerms struct {
	// PrevIndex and PrevTerm belong to the entry just before the first one
	// held; both are 0 for a log from the beginning. PrevSum is the log sum
	// after that entry.
	PrevIndex Index
	PrevTerm  Term
	PrevSum   LogSum

	runs []TermRun
	last Index
}

// FirstIndex returns the lowest index held, or one above LastIndex if nothing
// is held.
func (s *LogTerms) FirstIndex() Index { return s.PrevIndex + 1 }

// LastIndex returns the highest index held; it is PrevIndex in an empty log.
func (s *LogTerms) LastIndex() Index { return max(s.last, s.PrevIndex) }

// LastTerm returns the term of LastIndex.
func (s *LogTerms) LastTerm() Term {
	if len(s.runs) == 0 {
		return s.PrevTerm
	}
	return s.runs[len(s.runs)-1].Term
}

// Empty reports whether the log never had an entry.
func (s *LogTerms) Empty() bool { return s.LastIndex() == 0 }

// TermAt returns the term of an index that is held, or of PrevIndex.
func (s *LogTerms) TermAt(i Index) (Term, bool) {
	if i == s.PrevIndex {
		return s.PrevTerm, true
	}
	if i < s.PrevIndex || i > s.LastIndex() {
		return 0, false
	}
	return s.runs[s.runOf(i)].Term, true
}

// LastBelowTerm returns the highest index, PrevIndex included, whose term is
// at most t. A leader backs off to it on a conflict.
func (s *LogTerms) LastBelowTerm(t Term) Index {
	last := s.LastIndex()
	for k := len(s.runs) - 1; k >= 0; k-- {
		if s.runs[k].Term <= t {
			return last
		}
		last = s.runs[k].First - 1
	}
	return s.PrevIndex
}

func (s *LogTerms) runOf(i Index) int {
	k := len(s.runs) - 1
	for s.runs[k].First > i {
		k--
	}
	return k
}

// Append adds one entry at LastIndex()+1.
func (s *LogTerms) Append(t Term) {
	if t < s.LastTerm() {
		panic(fmt.Sprintf("protocol: term %d appended after term %d at index %d", t, s.LastTerm(), s.LastIndex()+1))
	}
	next := s.LastIndex() + 1
	if n := len(s.runs); n == 0 || s.runs[n-1].Term != t {
		s.runs = append(s.runs, TermRun{First: next, Term: t})
	}
	s.last = next
}

// TruncateAfter drops every entry above i.
func (s *LogTerms) TruncateAfter(i Index) {
	if i < s.PrevIndex {
		panic(fmt.Sprintf("protocol: log that begins after %d truncated to %d", s.PrevIndex, i))
	}
	if i >= s.LastIndex() {
		return
	}
	for len(s.runs) > 0 && s.runs[len(s.runs)-1].First > i {
		s.runs = s.runs[:len(s.runs)-1]
	}
	s.last = i
}

// DropHead forgets the entries up to and including i, whose log sum is sum.
func (s *LogTerms) DropHead(i Index, sum LogSum) {
	if i <= s.PrevIndex {
		return
	}
	t, ok := s.TermAt(i)
	if !ok {
		panic(fmt.Sprintf("protocol: head dropped to %d, log ends at %d", i, s.LastIndex()))
	}
	for len(s.runs) > 1 && s.runs[1].First <= i+1 {
		s.runs = s.runs[1:]
	}
	if i == s.LastIndex() {
		s.runs = nil
	} else {
		s.runs[0].First = i + 1
	}
	s.last = max(s.last, i)
	s.PrevIndex, s.PrevTerm, s.PrevSum = i, t, sum
}

// Clone returns an independent copy.
func (s *LogTerms) Clone() LogTerms {
	out := *s
	out.runs = append([]TermRun(nil), s.runs...)
	return out
}

// Runs returns the runs in order. The caller must not change them.
func (s *LogTerms) Runs() []TermRun { return s.runs }

// Begin is where a role's log begins after a checkpoint was installed.
type Begin struct {
	// Index and Term are those of the last entry that the checkpoint covers,
	// Sum is the log sum after it.
	Index Index
	Term  Term
	Sum   LogSum
	// Configuration is the one in force at Index.
	Configuration ConfigurationAt
	// Time is the cluster time of the state at Index.
	Time ClusterTime
	// Anew says that the owner has given up the whole log, and begun it anew: it
	// ended below, or had another entry there, which may be of the same term.
	Anew bool
}
