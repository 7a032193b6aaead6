package starling

import (
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Error is an error with a code that crosses the wire. Codes decide: errors.Is
// compares them, so an error that a member sent matches the sentinels below.
// Texts are for people.
type Error = protocol.Error

// Index is a position in the replicated log, and so the version of what was written there:
// of entries of maps, of the configuration, and of what a call, a watch and
// [Client.Seen] have seen. 0 is none.
type Index = resources.Index

// Code is what an error means, on both sides of the wire.
type Code = protocol.Code

// CodeOf returns the code of an error, or "" for nil. An error without one is
// "invalid".
func CodeOf(err error) Code {
	code, _ := protocol.CodeOf(err)
	return code
}

// The errors that a program may want to tell apart with errors.Is. When a call
// fails because its context has ended, the context's error is found beside them.
//
// Has not happened, and may work later.
var (
	// ErrNoLeader: no majority of the voters can be reached, or an election
	// is under way. Handles retry it until their context ends.
	ErrNoLeader = protocol.ErrNoLeader
	// ErrNoQuorum: so few voters are heard that nobody can be elected. It is what calls
	// that change or ask for seats say after two seconds; writes and reads wait.
	ErrNoQuorum = protocol.ErrNoQuorum
	// ErrOverloaded: more writes are in flight than the leader admits, or more wait
	// in this Node or Client than docs/limits.md says, the latter at once; or all members
	// that answer have as many clients, or watches, as they take.
	ErrOverloaded = protocol.ErrOverloaded
	// ErrStateFull: all resources together hold what the cluster's limit allows
	// (Config.StateBytes, Client.SetAutopilot). The write has had no effect; what frees passes.
	ErrStateFull = protocol.ErrStateFull
	// ErrNoSpace: the leader's disk is nearly full, or its log cannot get a new file,
	// for want of descriptors for example. The text says which, and what to do. Where
	// another voter has room, handles try again until that one leads.
	ErrNoSpace = protocol.ErrNoSpace
	// ErrUnavailable: nobody answers.
	ErrUnavailable = protocol.ErrUnavailable
	// ErrClosed: this node or client has been closed.
	ErrClosed = protocol.ErrClosed
	// ErrDisputed: the members' states of the resource differ, and no majority of the actives
	// agrees on one. A read has no answer, and a write has not happened, until one does, or
	// somebody deletes the resource (docs/recover.md).
	ErrDisputed = protocol.ErrDisputed
	// ErrNotServing: the member lacks a type, or doubts its state.
	ErrNotServing = protocol.ErrNotServing
	// ErrTooStale: no member reached has a state that is young enough, or that
	// has caught up with the session or the index asked for, and the leader
	// cannot be asked. The text says how old it is, or which index it has.
	ErrTooStale = protocol.ErrTooStale
)

// ErrUnknownOutcome: the context ended, or the session did, after a write was
// sent and before it was answered. It may or may not have happened.
var ErrUnknownOutcome = protocol.ErrUnknownOutcome

// Has had no effect.
var (
	// ErrNotFound: no such key, or an empty queue.
	ErrNotFound = protocol.ErrNotFound
	// ErrStaleVersion: somebody else changed the configuration meanwhile.
	ErrStaleVersion = protocol.ErrStaleVersion
	// ErrChangeInFlight: another change of the configuration is being
	// completed.
	ErrChangeInFlight = protocol.ErrChangeInFlight
	// ErrNoTransferee: the leadership cannot be handed over to that voter, or to any, now.
	ErrNoTransferee = protocol.ErrNoTransferee
	// ErrNotEligible: the member cannot get a seat.
	ErrNotEligible = protocol.ErrNotEligible
	// ErrWouldLoseQuorum: too few of the voters that would be left answer.
	ErrWouldLoseQuorum = protocol.ErrWouldLoseQuorum
	// ErrConditionFailed: a version or a value was not the expected one.
	ErrConditionFailed = protocol.ErrConditionFailed
	// ErrInvalid: the request makes no sense, such as a name with a space in it,
	// or a prefix of integer keys.
	ErrInvalid = protocol.ErrInvalid
	// ErrTooLarge: a name, a key, a value or a command is over its limit.
	ErrTooLarge = protocol.ErrTooLarge
	// ErrUnknownType: the members' binary has no such resource type.
	ErrUnknownType = protocol.ErrUnknownType
	// ErrWrongType: a resource of that name has another type, or a map a key
	// of another type than its handle.
	ErrWrongType = protocol.ErrWrongType
	// ErrMalformed: a value cannot be read as the type of its handle. The text
	// says which, and what it is; a DecodeError has its bytes.
	ErrMalformed = protocol.ErrMalformed
	// ErrUnknownOperation: the members' version of the type lacks it.
	ErrUnknownOperation = protocol.ErrUnknownOperation
	// ErrUnsupported: the member runs a release that does not know the request.
	ErrUnsupported = protocol.ErrUnsupported
	// ErrPanicked: the operation panicked, without effect; a command on every
	// member.
	ErrPanicked = protocol.ErrPanicked
)

// ErrAnswerLost: the write has happened, and what it answered is not there any more,
// or not of the type that this program takes it for.
var ErrAnswerLost = protocol.ErrAnswerLost

// Sessions and watches.
var (
	// ErrSessionExpired: nothing was heard of this client for the session's timeout while a
	// write was under way. It wraps ErrUnknownOutcome. A write that nobody has received by
	// then is made in a new session.
	ErrSessionExpired = protocol.ErrSessionExpired
	// ErrCompacted: the changes that a watch should begin with are gone. Read
	// the state, and watch on from the index of that read.
	ErrCompacted = protocol.ErrCompacted
	// ErrSlowWatcher: the watcher did not keep up and was cancelled.
	ErrSlowWatcher = protocol.ErrSlowWatcher
)

// Starting a member.
var (
	// ErrDirectory: the data directory is in use, foreign, or of a newer
	// version.
	ErrDirectory = protocol.ErrDirectory
	// ErrCorrupt: the log is damaged; the text says where.
	ErrCorrupt = protocol.ErrCorrupt
	// ErrDiskFailed: a write or a sync failed; the member has stopped.
	ErrDiskFailed = protocol.ErrDiskFailed
	// ErrNameTaken: another member has the name.
	ErrNameTaken = protocol.ErrNameTaken
	// ErrWrongCluster: a member that was dialled belongs to another cluster than
	// the one that is meant: see ClientConfig.Cluster.
	ErrWrongCluster = protocol.ErrWrongCluster
	// ErrQuorumIntact: nothing was begun by Recover, because the old cluster can go
	// on; the text says which members to start.
	ErrQuorumIntact = protocol.ErrQuorumIntact
	// ErrWrongVersion: the other side speaks another version of the protocol.
	ErrWrongVersion = protocol.ErrWrongVersion
)
