package protocol

import "fmt"

// EntryKind says what an entry is for.
type EntryKind uint8

const (
	// EntryNoop is the first entry of a leader's term. It has no data.
	// Applying it extends every session to a full timeout.
	EntryNoop EntryKind = 1
	// EntryCommand carries one Command, encoded.
	EntryCommand EntryKind = 2
	// EntryConfiguration carries one Configuration, encoded.
	EntryConfiguration EntryKind = 3
	// EntryTick carries nothing but its cluster time, so that deadlines are
	// met while nobody writes.
	EntryTick EntryKind = 4
	// EntryCheckpoint carries one CheckpointEntry, encoded: every member takes a checkpoint
	// of its state right after this entry.
	EntryCheckpoint EntryKind = 5
	// EntryConfirmation carries one Confirmation, encoded: which digest the state has at a
	// checkpoint entry. Applying it changes nothing in the state.
	EntryConfirmation EntryKind = 6
	// EntryRuling is a confirmation that an operator makes where no majority has one state: that of
	// one member is everybody's from then on.
	EntryRuling EntryKind = 7
)

// String returns the kind's name.
func (k EntryKind) String() string {
	return EnumText(k, "kind", "", "noop", "command", "configuration", "tick", "checkpoint", "confirmation", "ruling")
}

// Confirms reports whether entries of the kind say which digest the state has at a checkpoint entry.
func (k EntryKind) Confirms() bool { return k == EntryConfirmation || k == EntryRuling }

// EntryKindMax bounds the kinds that there can be.
const EntryKindMax EntryKind = fixIntMax

// Known reports whether this code knows the kind.
func (k EntryKind) Known() bool { return k.level() != 0 }

// Entry is one position of the replicated log.
//
// Invariants: Raw is the encoding of (Index, Term, Time, Kind, Data), made once
// by the leader that stamped the entry, and Data aliases Raw. Nobody changes
// the bytes of either after that. Sum is the log sum *after* this entry; it is
// local knowledge, not part of Raw, and zero until the owner of the log fills
// it in.
type Entry struct {
	Index Index
	Term  Term
	Time  ClusterTime
	Kind  EntryKind
	Data  []byte

	Raw []byte
	Sum LogSum
}

// String returns "index@term kind".
func (e Entry) String() string { return fmt.Sprintf("%d@%d %s", e.Index, e.Term, e.Kind) }

// RawSize returns the number of encoded bytes of a run of entries.
func RawSize(entries []Entry) int {
	n := 0
	for i := range entries {
		n += len(entries[i].Raw)
	}
	return n
}

// HardState is what a member must not forget. It travels in the header of
// every record of the write-ahead log.
type HardState struct {
	Term Term
	// Vote is who got this member's vote in Term; zero if nobody did.
	Vote MemberID
	// Commit is a lower bound: everything up to it is committed.
	Commit Index
}

// Noting returns the state with a term and the vote in it, if it does not say as much or
// more already: a term never goes back, and a vote is for the whole of its term. The commit
// index stays.
func (s HardState) Noting(term Term, vote MemberID) HardState {
	if term > s.Term || term == s.Term && s.Vote.IsZero() {
		s.Term, s.Vote = term, vote
	}
	return s
}
