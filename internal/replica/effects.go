package replica

import (
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Effects is what a replica wants done, in the order in which it must begin:
// see the package's comment.
type Effects struct {
	// Gate is the epoch of the state while that may answer, and 0 while it may not: what
	// was handed out with another Apply.Epoch answers nobody any more. [S] It begins
	// before all other effects, so that nobody hears of what the member knows about its
	// state, and then an answer of that state.
	Gate uint64
	// Ahead, if not nil, is a vote, to be made durable ahead of a change that waits for
	// room (see Waits); then Persisted.
	Ahead *Persist
	// Persist is to be written and, if it says so, synced; then Persisted.
	Persist *Persist
	// Send goes to the network. Nothing is expected of it: what is lost is
	// sent again.
	Send []Send
	// Apply goes to the state machine, in order; each is answered by Applied.
	Apply []Apply
	// ReadLog asks the disk for entries; each is answered by LogRead.
	ReadLog []ReadLog
	// Repair, if not nil, goes to whoever writes lost parts of the log again; it is
	// answered by Repaired, unless it stops that.
	Repair *repair.Step
	// Quarantine, if not nil, is to be put on disk, durably, beside the log, or, if it is the zero
	// value, taken from there; then QuarantineKept.
	Quarantine *storage.Quarantine
	// Install goes to the store of checkpoints, in order.
	Install []InstallStep
	// Pin, if not nil, goes to the store before any ReadChunk that follows; it is
	// answered by Pinned. Others may be at work on the store meanwhile.
	Pin *Pin
	// ReadChunk asks the store for chunks that other members want; each is
	// answered by ChunkRead.
	ReadChunk []ChunkRead
	// Await names commands that are forwarded to the leader, and that this member may
	// answer as soon as it has applied them itself. It begins before Send.
	Await []Awaited
	// Answers are results of submitted commands, Reads of reads. Whoever applies a
	// command answers it itself (Apply.Answer): here are those that come to nothing, and
	// those that the leader has answered. The first answer to a request counts.
	Answers []Answer
	Reads   []ReadAnswer
	Events  []protocol.Event
	// Diverged says that this member's log contradicts an active's. It must
	// stop serving until its data is fetched anew.
	Diverged *gossip.Divergence
	// PutBack and Stop are those of protocol.Ready: members whose streams are to be
	// refused with ErrRolledBack, and why this one must stop.
	PutBack []protocol.RunOf
	Stop    error
}

// Persist is one change of the log: a write, or, if it says so, something else.
type Persist struct {
	ID uint64
	// Vote says that it is only term and vote of Write's state (storage.Log.WriteVote).
	// Whatever is written after it says at least as much.
	Vote    bool
	Write   protocol.Write
	Entries []protocol.Entry // Write.First..Last
	// Drop, if not 0: only give up the head below it (storage.Log.DropHead). It
	// is answered by Dropped instead of Persisted.
	Drop protocol.Index
	// Reset, if not nil: only begin the log anew after it, with the hard state
	// of Write (storage.Log.Reset).
	Reset *storage.Begin
}

// Send is a message with its ends. A Datagram may go as one, if its encoding
// fits; anything else goes over the stream.
type Send struct {
	protocol.Envelope
	Datagram bool
}

// Apply is a run of committed entries that follows the previous one, or the
// adoption of a state that was installed.
type Apply struct {
	Entries []protocol.Entry
	// Take, if not nil: the last entry is a checkpoint entry. Right after it a checkpoint of
	// the state is to be taken, in the background; Index, Term, LogSum and
	// Configuration of its manifest are filled in. Whoever is still writing
	// the previous one skips it. Kept says when it is done.
	Take *storage.Manifest
	// Installed, if not 0: there are no entries; the state becomes the installed one
	// of that index. Replace says that it may be below what is applied, because
	// that has diverged (machine.Machine.Replace).
	Installed protocol.Index
	Replace   bool
	// Epoch is that of the state when the entries were handed out: who waits for them is
	// answered if Effects.Gate is the same when they are applied. 0: nobody is.
	Epoch uint64

	expected []proposed // by index, those of this leader whose entries these are
}

// Answer calls tell with the result of each command among the entries that a request of
// this member waits for, in order, given one result for each entry. Whoever applies calls
// it, when readers can see what was applied.
func (a *Apply) Answer(results []protocol.Result, tell func(request uint64, result protocol.Result)) {
	for i := range a.expected {
		p := &a.expected[i]
		p.tell(p.outcome(a.Entries, results), func(o origin, result protocol.Result) {
			if o.member.IsZero() {
				tell(o.request, result)
			}
		})
	}
}

// Awaited is a command that was forwarded, with what names it in the log.
type Awaited struct {
	Request  uint64
	Session  protocol.SessionID
	Sequence uint64
}

// Applied answers an Apply.
type Applied struct {
	Last protocol.Index
	// Results has one result for each entry.
	Results []protocol.Result
	// Digest is that of the state after Last, StateBytes about its size.
	Digest     [16]byte
	StateBytes int
	// Skipped says that no checkpoint is taken of a checkpoint entry: the previous one is still being written.
	Skipped bool
	// NextDeadline is the cluster time at which a session expires, or 0.
	NextDeadline protocol.ClusterTime
}

// ReadLog asks for the entries First..Last, up to a number of bytes but at
// least one.
type ReadLog struct {
	ID          uint64
	First, Last protocol.Index
	Bytes       int
}

// InstallStep is one step of the installation of a checkpoint. Begin is answered by
// InstallBegun, Chunk by ChunkAdded, Finish by InstallFinished, and what becomes of
// GiveUp by Kept. The state that Finish has built is taken over by an Apply.
type InstallStep = install.Step

// Chunk is one chunk of the content that is being installed.
type Chunk = install.Chunk

// ChunkRead asks for a chunk of a kept checkpoint, for another member.
type ChunkRead struct {
	To     protocol.MemberID
	Index  protocol.Index
	Number int
}

// OpenedState is what a member's checkpoints gave it at start.
type OpenedState struct {
	// Kept are the checkpoints that can be used, newest first.
	Kept []storage.Manifest
	// Applied is the index of the one that the state was restored from, 0 if
	// the state is empty. The log holds that index, or begins after it.
	Applied protocol.Index
	// Time is the cluster time of the restored state.
	Time protocol.ClusterTime
	// Quarantine is what the run before had on disk of one; zero: nothing.
	Quarantine storage.Quarantine
}

// Answer is the result of a submitted command.
type Answer struct {
	Request uint64
	Result  protocol.Result
}

// ReadAnswer answers a Prove, or says that the state, applied up to Index, may answer a
// linearizable read, or why not.
type ReadAnswer struct {
	Request uint64
	Index   protocol.Index
	Err     error
}

// Effects returns what has gathered since the last call.
func (r *Replica) Effects() Effects {
	out := r.out.Effects
	out.Gate = r.standing.answering()
	r.out.Effects = Effects{}
	return out
}
