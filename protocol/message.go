package protocol

import "time"

// Message is what one member says to another. The concrete types are the
// pointers to the structs below. A message belongs to its receiver; a sender
// does not touch it again.
type Message interface {
	Kind() MessageKind
	append(dst []byte) []byte // its fields, without its kind
	highest() Index           // of what it names: what is above IndexMax is not heeded
}

// Envelope is a message with its ends.
type Envelope struct {
	From, To MemberID
	Message  Message
}

// Vote asks for a vote (Raft, section 5.2), or, with Pre, whether the receiver
// would give one (dissertation, section 9.6). In a pre-vote, Term is the term
// that the sender would campaign in.
type Vote struct {
	Term      Term
	Pre       bool
	Transfer  bool // the leader asked for this election: do not ignore it
	LastIndex Index
	LastTerm  Term
	// Wait is how long the sender waits for votes, besides an election timeout,
	// because disks are slow. Who gives it one leaves it that time.
	Wait time.Duration
	// Token is what the receiver shows in its pulses: see Token.
	Token Token
}

// VoteAnswer answers a Vote. For a granted pre-vote, Term echoes the question's.
type VoteAnswer struct {
	Term    Term
	Pre     bool
	Granted bool
	// Write, in a granted pre-vote, is how long a write takes the sender's disk.
	Write time.Duration
	Token Token // as in a Vote
}

// Append replicates entries (Raft, section 5.3). A core fills in the range
// (PrevIndex, Last]; the owner of the log fills in Entries before it is sent,
// and may split one append into several that chain. On the wire only Entries
// travels.
type Append struct {
	Term      Term
	PrevIndex Index
	PrevTerm  Term
	Commit    Index
	Last      Index
	Entries   []Entry
}

// AppendAnswer answers an Append.
//
// Not Reject: the receiver's log equals the sender's up to Index, durably;
// with Passive it has taken the entries up to Index as a passive, not durably:
// the sender moves its next index by it, in both directions, and never match.
//
// Reject: the receiver has no entry (PrevIndex, PrevTerm) at Index=PrevIndex.
// (HintIndex, HintTerm) is the last entry of its log that may fit.
//
// Run is the run of the process whose log the answer is about: a leader that
// hears from another run less than it was told in its term knows that the
// directory was put back. It is 0 in what says nothing of the log, namely the
// answer to a term that is over, and in a passive's answer.
type AppendAnswer struct {
	Term      Term
	Reject    bool
	Passive   bool
	Index     Index
	HintIndex Index
	HintTerm  Term
	Run       RunID
}

// Heartbeat asserts leadership. Commit is at most what the receiver is known
// to hold. Round numbers the leader's rounds, for reads and freshness.
type Heartbeat struct {
	Term   Term
	Commit Index
	Round  uint64
	Token  Token // as in a Vote
}

// HeartbeatAnswer answers a Heartbeat, echoing its round.
type HeartbeatAnswer struct {
	Term  Term
	Round uint64
	// Room says that the sender's disk has room: it would take writes if it led.
	Room bool
	// Unfit says that the sender could answer nobody as a leader, by its state or because
	// it is stuck in a command or at a place that it cannot read: nobody hands over to it.
	Unfit bool
	Token Token // as in a Vote
	// Takes is what a write takes at the sender of late: on its disk, until its loop comes to
	// it, and in its state. 0: it does not say, as one of an earlier release.
	Takes time.Duration
}

// ReadIndex asks the leader for an index at which a linearizable read may be
// served. A member that does not lead passes it on to the leader; the leader
// answers Origin. (Run, Request) is echoed.
//
// Held is the highest index that Origin held as committed when it asked. A leader
// that has committed less answers by no lease: either its lease is over and its
// clock is wrong, or its log has another history, and only a round tells them
// apart.
type ReadIndex struct {
	Origin  MemberID
	Run     RunID
	Request uint64
	Held    Index
}

// ReadIndexAnswer answers a ReadIndex. With a Code other than OK there is no
// index, and Leader, if not zero, says whom to ask: it leads Term. Sum is the
// leader's log sum at Index: an index alone does not say of which history it is.
type ReadIndexAnswer struct {
	Run     RunID
	Request uint64
	Index   Index
	Sum     LogSum
	Code    Code
	Leader  MemberID
	Term    Term
}

// TimeoutNow makes the receiver campaign at once, for a leadership transfer.
type TimeoutNow struct{ Term Term }

// Activate asks a reserve to follow from now on.
type Activate struct{}

// Formats tells a leader up to which format level the sender knows them, in its present
// run.
type Formats struct {
	Run   RunID
	Level FormatLevel
}

// Types tells a leader which resource types the sender can apply.
type Types struct{ List []TypeVersion }

// TypeVersion is a resource type in one of its versions.
type TypeVersion struct {
	Name    string
	Version uint32
}

// Forward hands a client's command to the leader. Command is encoded (see
// Command); (Run, Request) is echoed. Without a command it asks after the one that
// was forwarded with the same numbers.
type Forward struct {
	Run     RunID
	Request uint64
	Command []byte
}

// ForwardAnswer answers a Forward: with the result of the command, or, to a
// question, with the code AtWork, or with unknown_outcome if the command never
// came or was answered before. Leader, if not zero, leads Term, which is the
// sender's.
type ForwardAnswer struct {
	Run     RunID
	Request uint64
	Leader  MemberID
	Term    Term
	Result  Result
}

// AtWork is the code of a ForwardAnswer that says that the command is in the
// leader's hands, and will be answered.
const AtWork Code = "at_work"

// Watermark says how far the sender's directory has come since its Hello: the
// durable sequence number of this run. It goes back on a stream, from the side that
// has accepted it. Who has dialled the sender at its configured address remembers it,
// and will know the directory for a restored copy if it comes back with less.
type Watermark struct {
	Starts   uint64
	Run      RunID
	Sequence Sequence
}

// Range is the run of indexes First..Last, both included.
type Range struct{ First, Last Index }

// FrameFlags mark a frame's way.
type FrameFlags uint8

const (
	// FrameTaint marks a copy that took a random or pulled hop.
	FrameTaint FrameFlags = 1 << iota
	// FrameCross marks a copy over a pruned link.
	FrameCross
	// FramePulled marks the answer to a WANT. It is not passed on.
	FramePulled
)

// Frame pushes a contiguous run of committed entries. Flags and Hop are a fixed
// prefix that each relay rewrites; Body, everything else, is forwarded as it
// was received and carries its own sum.
type Frame struct {
	Flags FrameFlags
	Hop   uint8

	// Origin is the member that made the frame from its own log.
	Origin MemberID
	// Before is the log sum before the first entry.
	Before LogSum
	// Commit is the highest commit index known to the origin.
	Commit  Index
	Entries []Entry // never empty
	// Signature signs the LogStatement of the last entry, with the chain that goes
	// over the entries from Chain on. Zero, both: the origin does not sign.
	Chain     Chain
	Signature Signature

	// Body is the encoding of the six fields above with its sum; nil in a
	// frame that has not been encoded yet.
	Body []byte
}

// Range returns the indexes that the frame carries.
func (f *Frame) Range() Range {
	return Range{f.Entries[0].Index, f.Entries[len(f.Entries)-1].Index}
}

// Have is a member's digest: what it holds, and how fresh it is. It speaks of
// the committed prefix only.
type Have struct {
	Applied   Index // applied to the state
	LastIndex Index // all committed entries First..LastIndex are held
	First     Index // lowest index held
	Commit    Index // highest index known to be committed, anywhere
	Holes     []Range
	// Term and Leader are the newest leader that the sender heard of; a hint.
	Term   Term
	Leader MemberID
	// Checkpoints are the indexes of the checkpoints whose chunks the sender
	// has, newest first; at most CheckpointsMax.
	Checkpoints []Index
	// Load is how busy the sender is, 0 to 255.
	Load uint8

	// Nonce asks for an answer (0: none wanted). AnswerTo echoes the asked
	// nonce (0: this is no answer).
	Nonce    uint64
	AnswerTo uint64
	// FreshKnown says that (FreshIndex, FreshSum, FreshAge) is a freshness claim, read
	// when this message was made: every write acknowledged more than FreshAge
	// ago has an index of at most FreshIndex. Unsolicited ones are for
	// display only.
	FreshKnown bool
	FreshIndex Index
	FreshSum   uint64 // LogSum.Head at FreshIndex
	FreshAge   int64  // nanoseconds

	// Behind is what a sender that is far behind is about to need; zero: it is
	// level.
	Behind Behind
	// Diverged is the first index at which the sender's log is known to be of
	// another history than the actives'; 0: none is. It holds committed entries up
	// to Applied, gives none of them, and takes none. It makes no claim of freshness.
	Diverged Index

	// Signature signs the FreshnessStatement of an answer by an active; zero: it does
	// not sign.
	Signature Signature
}

// Behind is what a member that is far behind is about to need of the others: they
// keep it for a while. The zero value says that it is level.
type Behind struct {
	// Needs is the lowest index of the log that it has yet to get: what follows
	// the checkpoint that it installs, or its last index. Never 0.
	Needs Index
	// Installing is the index of the checkpoint that it installs, of which
	// Left chunks are still to come; 0: it installs none.
	Installing Index
	Left       uint32
	// Pressed says that it does not get level at the rate that it is given.
	Pressed bool
}

// Want pulls ranges of the committed log, up to a number of bytes. With Eager
// the sender also wants the link to be an eager one.
type Want struct {
	Ranges []Range
	Bytes  uint64
	Eager  bool
	// Small wants an answer of datagrams: the receiver's streams do not get to the sender. Of
	// a frame that is too large for one it gets parts, from a byte of it on. Both may be
	// missing.
	Small bool
	From  uint32
}

// Prune asks the receiver to stop pushing payload over the link.
type Prune struct{ Index Index }

// Graft asks the receiver to push payload over the link again, from an index.
type Graft struct{ From Index }

// Busy refuses a pull: try again after a while, or ask the others.
type Busy struct {
	RetryAfter int64 // nanoseconds
	Others     []MemberID
}

// SumQuestion asks an active for its log sum at a committed index.
type SumQuestion struct{ Index Index }

// SumAnswer answers a SumQuestion. Not Known: the sender has not committed that
// far, or no longer knows.
type SumAnswer struct {
	Index     Index
	Known     bool
	Sum       LogSum
	Signature Signature // of the SumStatement; zero: the sender does not sign
}

func (*Vote) Kind() MessageKind            { return KindVote }
func (*VoteAnswer) Kind() MessageKind      { return KindVoteAnswer }
func (*Append) Kind() MessageKind          { return KindAppend }
func (*AppendAnswer) Kind() MessageKind    { return KindAppendAnswer }
func (*Heartbeat) Kind() MessageKind       { return KindHeartbeat }
func (*HeartbeatAnswer) Kind() MessageKind { return KindHeartbeatAnswer }
func (*ReadIndex) Kind() MessageKind       { return KindReadIndex }
func (*ReadIndexAnswer) Kind() MessageKind { return KindReadIndexAnswer }
func (*TimeoutNow) Kind() MessageKind      { return KindTimeoutNow }
func (*Forward) Kind() MessageKind         { return KindForward }
func (*ForwardAnswer) Kind() MessageKind   { return KindForwardAnswer }
func (*Watermark) Kind() MessageKind       { return KindWatermark }
func (*Types) Kind() MessageKind           { return KindTypes }
func (*Formats) Kind() MessageKind         { return KindFormats }
func (*Activate) Kind() MessageKind        { return KindActivate }
func (*Frame) Kind() MessageKind           { return KindFrame }
func (*Have) Kind() MessageKind            { return KindHave }
func (*Want) Kind() MessageKind            { return KindWant }
func (*Prune) Kind() MessageKind           { return KindPrune }
func (*Graft) Kind() MessageKind           { return KindGraft }
func (*Busy) Kind() MessageKind            { return KindBusy }
func (*SumQuestion) Kind() MessageKind     { return KindSumQuestion }
func (*SumAnswer) Kind() MessageKind       { return KindSumAnswer }
