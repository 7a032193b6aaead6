package starling

import (
	"time"

	"github.com/starlinghq/starling/resources"
)

// Caller is what handles and operations work over: a Node or a Client.
type Caller = resources.Caller

// Type is a resource type: what a member needs to know to take part. Package
// resources says how to write one.
type Type = resources.Type

// ReadOption changes one read. Linearizable, the default, OwnWrites, MaxStale and Locally are
// levels; two for one read are refused with ErrInvalid. AtLeast goes with OwnWrites and MaxStale,
// NoForwarding with MaxStale, WithInfo with all.
type ReadOption = resources.ReadOption

// WriteOption changes one write: WithInfo tells the index at which it was applied.
type WriteOption = resources.WriteOption

// CallOption goes with reads and writes.
type CallOption = resources.CallOption

// Info is what a call tells besides its answer: the index that it read at, and
// an upper bound on the age of what it read.
type Info = resources.Info

// Linearizable never reads a value older than one acknowledged before the read
// began, at any member. It is the default. It costs a round trip to the leader
// of a few bytes; the data comes from the member at hand.
var Linearizable = resources.Linearizable

// OwnWrites reads its caller's own writes, and never backwards: what the member at hand
// has, once that is no older than what the Node or Client has seen so far, in
// answers to commands and reads, in watches and in a Status, and for a Client what
// the member that answered Dial had. It holds wherever the member is and
// whichever member answers next. It costs no network on a Node.
//
// A member that is behind catches up first. If it does not within a few election
// timeouts a Client goes to another one; when the context ends the error is
// ErrTooStale and says how far behind.
var OwnWrites = resources.OwnWrites

// AtLeast is OwnWrites for what somebody else has seen: it reads a state that has
// reached an index, from an Info, a version or an event of any caller. With
// MaxStale both hold.
func AtLeast(index Index) ReadOption { return resources.AtLeast(index) }

// MaxStale sees every write that was acknowledged d or longer before the read
// began; MaxStale(0) is Linearizable. The member at hand answers if it can prove
// that its state is no older than d: it knows a bound on its age that needs no
// synchronised clocks. If it cannot, it waits for a better bound (d, but at most
// one election timeout), then asks the leader as Linearizable does. If the
// leader cannot be asked either, a Client goes on to the other members, and in
// the end the error is ErrTooStale, with the age in its text. It is never
// silently old.
func MaxStale(d time.Duration) ReadOption { return resources.MaxStale(d) }

// NoForwarding keeps a read at MaxStale from asking the leader: it spares the leader
// the read, and fails with ErrTooStale where MaxStale alone would have become
// linearizable.
var NoForwarding = resources.NoForwarding

// Locally reads what the member at hand has. It costs no network on a Node and
// can be old; WithInfo says how old at most.
var Locally = resources.Local

// WithInfo fills in info, also when the call ends with an error of the resource type. Of a
// write the index is where it was applied; of one that is repeated, too.
func WithInfo(info *Info) CallOption { return resources.WithInfo(info) }
