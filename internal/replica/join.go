package replica

import (
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Joining says what becomes of a log beside a checkpoint.
type Joining uint8

const (
	// JoinKeep: the log holds the checkpoint's last entry, or begins right
	// after it. The log and its suffix stay, the state is the checkpoint's.
	JoinKeep Joining = iota + 1
	// JoinFetch: the log begins above the checkpoint, which cannot be used. The
	// log and its votes stay, nothing is applied until another checkpoint, at
	// or above the log's begin, has come.
	JoinFetch
	// JoinReset: the log ends below the checkpoint, or has another entry there,
	// and is to begin after it, with the hard state carried over.
	JoinReset
)

// Join decides how a log and a checkpoint that a start, or an installation,
// found go together. sum returns the log sum after an entry that the log holds;
// false if it is not known.
//
// [S] The pointer of a checkpoint becomes durable before the log follows, so a
// crash may leave either. The rule gives the same answer however often it is
// asked, and never takes a log back below its own begin: that would delete what
// was acknowledged. It covers a checkpoint that is ahead of an unsynced log,
// too.
func Join(logTerms *protocol.LogTerms, sum func(protocol.Index) (protocol.LogSum, bool), d *storage.Manifest) Joining {
	if d.Index < logTerms.PrevIndex {
		return JoinFetch
	}
	if term, held := logTerms.TermAt(d.Index); held && term == d.Term {
		if mine, known := sum(d.Index); !known || mine == d.LogSum {
			return JoinKeep
		}
	}
	return JoinReset
}

// StateAfter returns the hard state of a log that is reset to a checkpoint. [S] Term
// and vote go on, for they are promises to others, unless the log has another entry
// there, and its last one is of its term: then it gives up what it has acknowledged to
// the leader of that term, and leaves the term before it is on the disk. Speaking to
// that leader after a crash, it would pass for one whose directory was put back.
func StateAfter(logTerms *protocol.LogTerms, state protocol.HardState, d *storage.Manifest) protocol.HardState {
	term := max(state.Term, d.Term)
	if _, another := logTerms.TermAt(d.Index); another && d.Index > logTerms.PrevIndex && logTerms.LastTerm() == state.Term {
		term = max(term, state.Term+1)
	}
	if term > state.Term {
		state.Term, state.Vote = term, protocol.MemberID{}
	}
	state.Commit = d.Index
	return state
}
