package protocol

import "fmt"

// WriteID numbers the writes of one role, from 1. A new role, or a new run,
// starts again.
type WriteID uint64

// Write is what a role wants to have on disk. At most one is in flight; it is
// answered by Persisted with its ID. Everything in it is one durable step: the
// hard state together with the entries that came with it.
type Write struct {
	ID    WriteID
	State HardState
	// Truncate says that the log on disk loses everything above After first.
	Truncate bool
	After    Index
	// AfterTerm and AfterSum are the term of the entry at After and the log sum after
	// it, if Joined says that they are known: a disk that cannot give that entry does
	// not hinder the truncation. Whoever joins the roles to a disk fills them in.
	AfterTerm Term
	AfterSum  LogSum
	Joined    bool
	// First..Last are the entries to append; Last < First if there are none.
	// Their bytes are in the log held in memory (Ready.Delta).
	First, Last Index
	// Sync asks for the write to be durable when it is answered. A passive
	// does without.
	Sync bool
	// SyncAll asks for everything written before to be synced too: the first
	// write of a member that takes the active role.
	SyncAll bool
}

// Ahead is a term and the vote in it, to be made durable ahead of a Write that waits for
// room: a member whose disk has none for entries votes all the same. At most one is in
// flight; it is answered by Persisted with its ID. [S] It proves nothing of entries, and
// does not move the commit index. Whatever is written after it, the Write that waits
// included, says at least as much.
type Ahead struct {
	ID   WriteID
	Term Term
	Vote MemberID
}

// Empty reports whether the write has no entries.
func (w *Write) Empty() bool { return w.Last < w.First }

// Delta is a change of the log held in memory: first drop everything above
// After, if Truncate, then append Entries.
type Delta struct {
	Truncate bool
	After    Index
	Entries  []Entry
	// Summed says that the entries come with their log sums, which are not reckoned again.
	Summed bool
}

// Cut records that the log lost everything above after.
func (d *Delta) Cut(after Index) {
	if n := len(d.Entries); n > 0 {
		first := d.Entries[0].Index
		if after >= first-1 { // all that was lost was new
			if last := d.Entries[n-1].Index; after < last {
				d.Entries = d.Entries[:after-(first-1)]
			}
			return
		}
		d.Entries = nil
	}
	if !d.Truncate || after < d.After {
		d.Truncate, d.After = true, after
	}
}

// IsZero reports whether nothing changed.
func (d *Delta) IsZero() bool { return !d.Truncate && len(d.Entries) == 0 }

// Read is the answer to a read-index request that this member made. Sum is the
// leader's log sum at Index.
type Read struct {
	Run     RunID
	Request uint64
	Index   Index
	Sum     LogSum
	Code    Code
	Leader  MemberID
	Term    Term
}

// ManifestOffer is the manifest of a checkpoint, and who sent it.
type ManifestOffer struct {
	From     MemberID
	Manifest []byte
}

// Fresh is a freshness claim: every write acknowledged before At, on the larger of
// this member's clocks (see WallAhead), has an index of at most
// Index, in the log whose sum there is Sum.
type Fresh struct {
	Index Index
	Sum   LogSum
	At    Instant
}

// Ready is what a role hands out. The order in which its owner serves it is
// the order of safety: Delta to the log in memory, Write to the disk, Messages
// to the network (none of them depends on a write that is not persisted), and
// only then what Commit allows to be applied.
type Ready struct {
	Delta    Delta
	Write    *Write
	Ahead    *Ahead
	Messages []Envelope
	// Commit is the highest index known to be committed and held.
	Commit Index
	// Checkpoint, if not nil, was offered by the leader, because its log begins
	// above the end of this member's: the owner fetches and installs it.
	Checkpoint *ManifestOffer
	Reads      []Read
	Fresh      []Fresh
	Events     []Event
	// PutBack are members of which this one, the leader, has proof that their
	// directories were put back: another run of theirs lacks what they
	// acknowledged in this term. The owner refuses their streams.
	PutBack []RunOf
	// Stop, if not nil, says why the member must stop, with all that it has kept:
	// two histories are committed. Nothing of it is truncated.
	Stop error
}

// RunOf is one run of a member.
type RunOf struct {
	Member MemberID
	Run    RunID
}

// EventKind says what happened. The set is open: kinds are for logs, traces,
// metrics and tests, and decide nothing.
type EventKind string

// The kinds of the roles. Others stand where they arise.
const (
	EventBecameFollower  EventKind = "became-follower"
	EventBecamePreCand   EventKind = "became-pre-candidate"
	EventBecameCandidate EventKind = "became-candidate"
	EventBecameLeader    EventKind = "became-leader"
	EventSteppedDown     EventKind = "stepped-down"
	EventVoted           EventKind = "voted"
	EventVoteRefused     EventKind = "vote-refused"
	EventAppended        EventKind = "appended"
	EventRejected        EventKind = "rejected"
	EventTruncated       EventKind = "truncated"
	EventCommitted       EventKind = "committed"
	EventConfiguration   EventKind = "configuration"
	EventTransfer        EventKind = "transfer"
	EventCaughtUp        EventKind = "caught-up"
	EventBecamePassive   EventKind = "became-passive"
	EventBecameActive    EventKind = "became-active"
	EventDiverged        EventKind = "diverged"
	EventPutBack         EventKind = "put-back" // a member's directory, as its answers prove
	EventPolicy          EventKind = "policy"
	EventRefused         EventKind = "refused"
	EventGaveUp          EventKind = "gave-up" // what this member was at: it has failed
	EventCheckpoint      EventKind = "checkpoint"
	EventInstalled       EventKind = "installed"
	EventRepaired        EventKind = "repaired"
	EventBarred          EventKind = "barred"     // a member that may have no seat: it cannot sign, or its release is too old
	EventForged          EventKind = "forged"     // signatures that are missing or false
	EventBehind          EventKind = "behind"     // far behind the others, or level again
	EventPressed         EventKind = "pressed"    // behind, and not getting level at the rate that it is given
	EventWithheld        EventKind = "withheld"   // entries that a member says it has and does not give
	EventCramped         EventKind = "cramped"    // too little room on the disks of a majority
	EventRoom            EventKind = "room"       // enough again
	EventSlow            EventKind = "slow"       // a leader hands over to a voter that is clearly faster
	EventUnreadable      EventKind = "unreadable" // a place of the own log
	EventReadable        EventKind = "readable"   // again
	EventLevel           EventKind = "level"      // the format level rose, or what it waits for
	EventBeyond          EventKind = "beyond"     // a log of a format level that this member does not know
	EventDatagramsLost   EventKind = "datagrams-lost"
	EventDatagramsBack   EventKind = "datagrams-back"
	EventAhead           EventKind = "ahead" // a member that holds committed entries which this cluster does not have
)

// Event is something worth telling, without any duty for whoever hears it.
type Event struct {
	Kind   EventKind
	Term   Term
	Index  Index
	Member MemberID // who else takes part, if anybody
	Text   string   // why, for people
}

// String returns one line for a log.
func (e Event) String() string {
	s := fmt.Sprintf("%s term=%d index=%d", e.Kind, e.Term, e.Index)
	if !e.Member.IsZero() {
		s += " member=" + e.Member.Short()
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	return s
}
