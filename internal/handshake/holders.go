package handshake

import (
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// Holders knows which run of each id has streams to this member. [S] One id has
// one run: another is let in only when the one before it has no stream left, or
// answers none of the pings on them for an election timeout. Else a copy of a
// running member's directory, which has a newer start, would be taken for its
// restart, and both would be believed: the original's acknowledgement of a write
// and the copy's vote for a leader that lacks it. And a run in whose place another was
// let in does not come back: a restart has ended the run before for good, so the
// other one is a copy, and what that has acknowledged this one lacks. The zero value
// knows nobody. It belongs to one goroutine at a time.
type Holders struct {
	runs map[protocol.MemberID]holder
	past map[protocol.MemberID]past
	// superseded counts the runs that were, so far.
	superseded uint64
}

const (
	// pastMax bounds how many superseded runs of a member are remembered: those of
	// before are dead for long, or have been refused.
	pastMax = 16
	// pastIDsMax bounds of how many members they are: ids are claimed. The members
	// whose last one was superseded longest ago are forgotten.
	pastIDsMax = 4096
)

// past are the last runs of a member that were superseded.
type past struct {
	runs []protocol.RunID
	last uint64 // the number of the last one among all
}

// holder is a run that holds an id, and how many streams it has.
type holder struct {
	run     protocol.RunID
	streams int
}

// Enter counts a stream of a run. If another run has streams, it counts nothing
// and returns that run: the caller finds out whether it still answers, and either
// refuses the newcomer, with [Twin], or says Supersede and comes again.
func (h *Holders) Enter(id protocol.MemberID, run protocol.RunID) (other protocol.RunID, ok bool) {
	now := h.runs[id]
	if now.streams > 0 && now.run != run {
		return now.run, false
	}
	if h.runs == nil {
		h.runs = map[protocol.MemberID]holder{}
	}
	h.runs[id] = holder{run, now.streams + 1}
	return 0, true
}

// Arrive is Enter for a run that has just come: one that was superseded is refused.
func (h *Holders) Arrive(peer protocol.Hello) (other protocol.RunID, ok bool, err error) {
	if h.Past(peer.Member, peer.Run) {
		return 0, false, superseded(peer)
	}
	other, ok = h.Enter(peer.Member, peer.Run)
	return other, ok, nil
}

// Leave takes a stream of a run away. Those of a run that was superseded are gone
// already.
func (h *Holders) Leave(id protocol.MemberID, run protocol.RunID) {
	now := h.runs[id]
	switch {
	case now.run != run:
	case now.streams > 1:
		h.runs[id] = holder{run, now.streams - 1}
	default:
		delete(h.runs, id)
	}
}

// Supersede forgets the streams of a run, which answers no longer, because another
// one is let in. The caller closes them: from now on nothing that comes on them
// counts, and the run is past.
func (h *Holders) Supersede(id protocol.MemberID, run protocol.RunID) {
	if now := h.runs[id]; now.run != run || now.streams == 0 {
		return
	}
	delete(h.runs, id)
	if h.past == nil {
		h.past = map[protocol.MemberID]past{}
	}
	h.superseded++
	runs := append(h.past[id].runs, run)
	h.past[id] = past{runs[max(0, len(runs)-pastMax):], h.superseded}
	if len(h.past) > pastIDsMax {
		h.forgetOldest()
	}
}

// forgetOldest forgets the past of the member whose last run was superseded longest
// ago.
func (h *Holders) forgetOldest() {
	var oldest protocol.MemberID
	least := h.superseded
	for id, p := range h.past { // order does not matter: the least
		if p.last <= least {
			oldest, least = id, p.last
		}
	}
	delete(h.past, oldest)
}

// Past reports whether a run was superseded: it is to be refused, with [Superseded].
func (h *Holders) Past(id protocol.MemberID, run protocol.RunID) bool {
	return slices.Contains(h.past[id].runs, run)
}

// Holds reports whether what a run says counts as its id's word.
func (h *Holders) Holds(id protocol.MemberID, run protocol.RunID) bool {
	now := h.runs[id]
	return now.streams > 0 && now.run == run
}

// Expel forgets the streams of the run that holds an id. The caller closes them, and
// sees to it that the run is refused when it comes again.
func (h *Holders) Expel(id protocol.MemberID) { delete(h.runs, id) }

// Twin is the refusal of a run whose id another run holds, which answers. Address
// is where that one is.
func Twin(peer protocol.Hello, address string) error {
	return protocol.ErrTwin.With("member " + peer.Name + " (" + peer.Member.Short() + ") runs at " + address +
		": the directory that was started now is a copy of its directory. Move the copy away, and start with an empty directory and another name to get a further member")
}

// superseded is the refusal of a run in whose place another one was let in, because it
// did not answer.
func superseded(peer protocol.Hello) error {
	return protocol.ErrTwin.With("this run of member " + peer.Name + " (" + peer.Member.Short() +
		") did not answer when another one came, which was let in: one of the two has started from a copy of the other's directory. Stop one of the two for good: " +
		"give the seat up with `starling remove " + peer.Name + "` at a running member, and start with an empty directory")
}
