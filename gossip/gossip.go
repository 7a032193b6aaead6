package gossip

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// never is a deadline that is not set, longAgo one that is over. Instants may
// be negative: zero says nothing.
const (
	never   = protocol.Instant(math.MaxInt64)
	longAgo = protocol.Instant(math.MinInt64)
)

// Log is what the core reads of the committed prefix that the member holds. It
// answers from memory.
type Log interface {
	// Entries returns entries first.. up to last, about as many as fit into
	// bytes and at least one, with their log sums; nil if first is not in memory. They
	// may be kept and are not changed.
	Entries(first, last protocol.Index, bytes int) []protocol.Entry
	// SumBefore returns the log sum after entry first-1, if it is in memory.
	SumBefore(first protocol.Index) (protocol.LogSum, bool)
}

// Progress is where the member stands. The owner reports every change.
type Progress struct {
	First     protocol.Index // lowest index held
	LastIndex protocol.Index // min(commit, held): the committed prefix ends here
	Applied   protocol.Index
	Commit    protocol.Index // highest index known to be committed
	Term      protocol.Term
	Leader    protocol.MemberID // zero if none is known
	Role      protocol.Role
	// Leaderless says of an active that it has heard no leader for long: it takes
	// entries from the flock, as a passive does.
	Leaderless bool
	// Source says that others may be fed from this log: it is complete and not
	// in doubt.
	Source bool
	// Lost says that the state cannot be completed from this log: a checkpoint
	// is wanted, even if entries fit. Above is where one must be above, if not 0.
	Lost  bool
	Above protocol.Index
	// Needs says that this member is far behind, and which entry of the log it
	// needs next; 0: it is level. Others keep the log from there on. A checkpoint
	// that is fetched says so by itself. Pressed says that it does not get level
	// at the rate that it is given.
	Needs   protocol.Index
	Pressed bool
}

// Run is a piece of the committed log for the passive role. The runs of a
// Ready are in order, and the first one joins the last index; a run may begin at or
// below the last index, so that the role can verify where it joins.
type Run struct {
	// From sent it, Origin made it from its own log.
	From, Origin protocol.MemberID
	// Before is the log sum before the first entry, as the origin says.
	Before  protocol.LogSum
	Entries []protocol.Entry
	// Commit is the origin's commit index; no entry is above it.
	Commit protocol.Index
}

// RangeRead asks the owner to read entries from the disk, at least one and up
// to Bytes, for a member that pulls them, and to hand them to Answer.
type RangeRead struct {
	To    protocol.MemberID
	Range protocol.Range
	Bytes int
}

// Divergence says that this member's log is of another history than the actives':
// it must stop serving. The core is no source from then on, takes nothing and seeks
// nothing: what this member holds may be the only copy of what was acknowledged.
type Divergence struct {
	// Index is where the log sums differ. With Short the actives' log ended below
	// it: its sums are not known.
	Index        protocol.Index
	Mine, Theirs protocol.LogSum
	Short        bool
	By           protocol.MemberID // the active whose word that is; zero: not known
	Name         string            // what people call it; empty: not known
	// Holds is what this member holds as committed.
	Holds protocol.Index
}

// String says what happened, and what to do.
func (d *Divergence) String() string {
	what := fmt.Sprintf("the log of this member differs from that of the actives at %d (by the word of %s)", d.Index, cmp.Or(d.Name, d.By.Short()))
	if d.Short {
		what = fmt.Sprintf("the log of the actives ended at %d, and this member had come to %d before it asked", d.Index-1, d.Holds)
	}
	return fmt.Sprintf("%s: theirs is of another history, as after a restore from an old copy. This member has committed entries up to %d, among them perhaps acknowledged writes that the actives have lost. It serves nobody and keeps what it has: `starling recover` from its directory keeps them; to discard them start it with an empty directory", what, d.Holds)
}

// Ready is what the core hands out. Messages are safe to send at any time:
// they speak of committed entries.
type Ready struct {
	Messages []protocol.Envelope
	// Streamed are messages that must not go as datagrams, though they could: those to
	// their receivers do not come back.
	Streamed []protocol.Envelope
	Reads    []RangeRead
	Runs     []Run
	Diverged *Divergence
	// Prove asks the owner to have the leader asked for a read index: the actives
	// say nothing that settles a doubt, and that would.
	Prove  bool
	Events []protocol.Event
	// Led, if not nil, is what an active has signed of who leads. It comes only
	// where signatures are checked: elsewhere every HAVE says it.
	Led *Led
	// Offer, if not nil, describes a checkpoint that may be trusted: this
	// member's log ends below where everybody else's begins, or Progress.Lost.
	// The owner installs it, by way of Fetch; if it does nothing, there will be
	// others.
	Offer *protocol.ManifestOffer
	// Chunks are pieces of the checkpoint that is being fetched; each is
	// answered by ChunkAdded.
	Chunks []ChunkArrived
	// ChunkReads are chunks that others want; each is answered by ChunkIs.
	ChunkReads []ChunkRead
}

// Heard is what another member last said of itself. It is for display, and for
// the policy; no promise rests on it.
type Heard struct {
	ID        protocol.MemberID
	Applied   protocol.Index
	LastIndex protocol.Index
	// Diverged is where its log is of another history than the actives', as it
	// says; 0: nowhere.
	Diverged protocol.Index
	// AgeKnown says that Age was the bound on the age of the member's state at At.
	AgeKnown bool
	Age      time.Duration
	At       protocol.Instant // when it was heard, on this member's clock
}
