package replica

import (
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// Effects is what a replica wants done, in the order in which it must begin:
// see the package's comment.
type Effects struct {
	// Persist is to be written and, if it says so, synced; then Persisted.
	Persist *Persist
	// Send goes to the network. Nothing is expected of it: what is lost is
	// sent again.
	Send []Send
	// Apply goes to the state machine, in order; each is answered by Applied.
	Apply []Apply
	// ReadLog asks the disk for entries; each is answered by LogRead.
	ReadLog []ReadLog
	// Answers are results of submitted commands, Reads of reads.
	Answers []Answer
	Reads   []ReadAnswer
	Events  []protocol.Event
	// Diverged says that this member's log contradicts an active's. It must
	// stop serving until its data is fetched anew.
	Diverged *gossip.Divergence
}

// Persist is one write to the log.
type Persist struct {
	ID      uint64
	Write   protocol.Write
	Entries []protocol.Entry // Write.First..Last
}

// Send is a message with its ends. A Datagram may go as one, if its encoding
// fits; anything else goes over the stream.
type Send struct {
	protocol.Envelope
	Datagram bool
}

// Apply is a run of committed entries that follows the previous one.
type Apply struct{ Entries []protocol.Entry }

// Applied answers an Apply.
type Applied struct {
	Last protocol.Index
	// Results has one result for each entry.
	Results []protocol.Result
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

// Answer is the result of a submitted command.
type Answer struct {
	Request uint64
	Result  protocol.Result
}

// ReadAnswer says that the state, applied up to Index, may answer a
// linearizable read, or why not.
type ReadAnswer struct {
	Request uint64
	Index   protocol.Index
	Err     error
}

// Effects returns what has gathered since the last call.
func (r *Replica) Effects() Effects {
	out := r.out
	r.out = Effects{}
	return out
}
