package protocol

import (
	"errors"
	"fmt"
	"strings"
)

// Code decides what an error means, on both sides of the wire. Texts are for
// people. The codes below are the protocol's; resource types add their own, as
// "type.reason".
type Code string

// OK is the code of no error.
const OK Code = ""

// Error is an error that crosses the wire. errors.Is compares codes, so a
// received error matches the sentinel that it was made from.
type Error struct {
	Code Code
	Text string
	// Cause is what else errors.Is and errors.As find; it stays local.
	Cause error
}

// NewError returns a sentinel.
func NewError(code Code, text string) *Error { return &Error{Code: code, Text: text} }

// Error returns the text, or the code if there is none.
func (e *Error) Error() string {
	if e.Text == "" {
		return string(e.Code)
	}
	return e.Text
}

// Is reports whether target has the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// With returns an error of the same code that says more.
func (e *Error) With(text string) *Error { return &Error{Code: e.Code, Text: text, Cause: e.Cause} }

// Because returns an error of the same code and text that wraps a cause. A cause that
// says the same already is not said twice.
func (e *Error) Because(cause error) *Error {
	var c *Error
	if errors.As(cause, &c) && c.Code == e.Code && strings.Contains(cause.Error(), e.Text) {
		return &Error{Code: e.Code, Text: cause.Error(), Cause: cause}
	}
	return &Error{Code: e.Code, Text: e.Text + ": " + cause.Error(), Cause: cause}
}

// The sentinels. "Has not happened" and "may have happened" are said of writes.
var (
	// Unavailable: has not happened, may work later.
	ErrNotLeader = NewError("not_leader", "this member does not lead")
	ErrNoLeader  = NewError("no_leader", "no leader is known: a majority of the voters cannot be reached, or an election is under way")
	// ErrNoQuorum: so few voters are heard that nobody can lead. It answers operators, who
	// ask for seats; who writes or reads hears ErrNoLeader, and waits.
	ErrNoQuorum   = NewError("no_quorum", "no leader is known, and nobody can be elected: a majority of the voters is not heard")
	ErrOverloaded = NewError("overloaded", "the leader has too many writes in flight; try again later")
	ErrNoSpace    = NewError("no_space", "the leader's disk is nearly full; free space and writes resume by themselves")
	// ErrStateFull: the replicated state has reached the limit that the configuration has for
	// it; what frees space passes.
	ErrStateFull = NewError("state_full", "the state has reached its limit: delete something, or raise the limit")
	// ErrNoSpaceHere: the leader's disk is nearly full, and the lead passes to a voter
	// with room, or may. Clients ask again, and say ErrNoSpace if there is no time left.
	ErrNoSpaceHere = NewError("no_space_here", "the leader's disk is nearly full, and another member may have room")
	ErrUnavailable = NewError("unavailable", "the cluster cannot be reached")
	ErrClosed      = NewError("closed", "closed")
	ErrTooStale    = NewError("too_stale", "this member's state is older than asked for")
	// ErrDisputed: the members' states of a resource differ, and no majority of the actives agrees
	// which one is right.
	ErrDisputed   = NewError("disputed", "the members' states of the resource differ, and it is not known which one is right")
	ErrNotServing = NewError("not_serving", "this member does not serve: it lacks a type, or its state is in doubt")

	// ErrUnknownOutcome: the write may or may not have happened.
	ErrUnknownOutcome = NewError("unknown_outcome", "the outcome is unknown: the write may have happened")

	// Not found, or a condition that was not met: has had no effect.
	ErrNotFound        = NewError("not_found", "not found")
	ErrConditionFailed = NewError("condition_failed", "the condition was not met")

	// Refused: has not happened and will not, as asked.
	ErrInvalid          = NewError("invalid", "invalid request")
	ErrTooLarge         = NewError("too_large", "over the limit")
	ErrUnknownType      = NewError("unknown_type", "unknown resource type")
	ErrWrongType        = NewError("wrong_type", "the resource is of another type")
	ErrUnknownOperation = NewError("unknown_operation", "the type has no such operation")
	ErrUnsupported      = NewError("unsupported", "the request is not known here")
	ErrStaleVersion     = NewError("stale_version", "meant for another version of the configuration")
	ErrChangeInFlight   = NewError("change_in_flight", "another change of the configuration is in flight")
	ErrNotLearner       = NewError("not_learner", "only a learner that has caught up can become a voter")
	ErrNotEligible      = NewError("not_eligible", "only a live member with a durable directory that wishes to be active can get a seat")
	// ErrNoTransferee: another voter would have to lead, and none can, or not the one asked for.
	ErrNoTransferee    = NewError("no_transferee", "no other voter can lead")
	ErrWouldLoseQuorum = NewError("would_lose_quorum", "too few of the voters that would be left are alive")
	ErrPanicked        = NewError("panicked", "the operation panicked and had no effect; the members' logs say where")
	ErrRefusedEntry    = NewError("refused_entry", "the entry was refused when the cluster was recovered, and had no effect")

	// Sessions.
	ErrSessionExpired = NewError("session_expired", "the session has expired")
	ErrStaleSequence  = NewError("stale_sequence", "the command is below the session's floor")
	ErrWindow         = NewError("window", "too many commands of the session are in flight")
	ErrAnswerLost     = NewError("answer_lost", "the command was executed, its answer is gone")

	// Views and watches.
	ErrViewExpired = NewError("view_expired", "the view is too old")
	ErrCompacted   = NewError("compacted", "the changes asked for are no longer held: read the state and watch on from there")
	ErrSlowWatcher = NewError("slow_watcher", "the watcher did not keep up and was cancelled")

	// Wire, directories, start.
	ErrMalformed    = NewError("malformed", "malformed message")
	ErrWrongCluster = NewError("wrong_cluster", "a member of another cluster")
	ErrWrongVersion = NewError("wrong_version", "another version of the protocol")
	ErrNameTaken    = NewError("name_taken", "the name is in use")
	// ErrQuorumIntact: a new cluster would be begun beside one that can go on.
	ErrQuorumIntact = NewError("quorum_intact", "the quorum is intact")
	ErrRolledBack   = NewError("rolled_back", "the member's directory was restored from an old copy")
	ErrTwoHistories = NewError("two_histories", "two histories of the cluster are committed")
	ErrTwin         = NewError("twin", "the member's directory is a copy, and the original is running")
	ErrDirectory    = NewError("directory", "the data directory cannot be used")
	ErrCorrupt      = NewError("corrupt", "damaged data")
	ErrDiskFailed   = NewError("disk_failed", "the disk failed; the member has stopped")
)

// ErrorOf returns the error of a result: nil for OK.
func ErrorOf(code Code, text string) error {
	if code == OK {
		return nil
	}
	return &Error{Code: code, Text: text}
}

// CodeOf returns the code and the text that an error has on the wire. An error
// without a code is an internal one and crosses as "invalid": it must not look
// like success.
func CodeOf(err error) (Code, string) {
	if err == nil {
		return OK, ""
	}
	var e *Error
	if errors.As(err, &e) && e.Code != OK {
		return e.Code, err.Error()
	}
	return ErrInvalid.Code, err.Error()
}

// HasForgotten is why a member stops whose log lacks a configuration that is committed and needs
// it. [S] A configuration is committed under itself: whoever it needs has stored it durably before
// anybody could take it for committed. So that one has forgotten it, with all that followed. It would
// go on under the configurations that it meets on its way to where it was, and elect itself where it is the only voter.
func HasForgotten(id MemberID, c ConfigurationAt) error {
	line, _ := c.Configuration.Find(id)
	return ErrRolledBack.With(fmt.Sprintf("the directory of member %s was put back to an older copy, or its disk has lost what it had stored: the configuration at %d (%s) "+
		"could not be committed without this member, is committed, and is not in its log. %s", line.Label(), c.Index, c.Configuration, WayOut(line.Label())))
}

// WayOut is what to do about a directory that was put back.
func WayOut(name string) string {
	return fmt.Sprintf("Move it away, give its seat up with `starling remove %s` at a running member, and start with an empty directory; "+
		"if too few of the others are left to lead, `starling recover` makes a new cluster from the best directory that there is", name)
}

// TwoHistories is why a member stops that holds committed entries which the others
// contradict.
func TwoHistories(what string) error {
	return ErrTwoHistories.With(what + ": directories of actives were put back to old copies, or copies of them were started. " +
		"All that this member holds is kept. Compare the directories with `starling verify`; keep the newer history with `starling recover` from the best of them, " +
		"or, if the others have it, move this one away and start with an empty directory")
}
