package protocol

import "strings"

// Outcome is what an error says of the copy of a write that it answers. Of a copy that was
// sent before nothing is said, unless it is settled.
type Outcome uint8

const (
	// OutcomeUnknown: the write may or may not have happened.
	OutcomeUnknown Outcome = iota
	// DidNotHappen: this copy was not let in, and has had no effect.
	DidNotHappen
	// Settled: it is the write's own answer, made when it was applied, or the same for
	// every copy of it.
	Settled
	// NotAdmitted: this copy has not run, and to send it again is of no use. [S] It is no answer
	// to another copy that the log holds, which may have run, or may run yet.
	NotAdmitted
)

// Retry is what a second attempt is good for. The zero value: for nothing, as asked.
type Retry uint8

const (
	// Later says that the same request may work by itself after a while.
	Later Retry = 1 << iota
	// Elsewhere says that another member may do what this one does not.
	Elsewhere
	// WithALeader says that it is worth to wait until a leader is known.
	WithALeader

	never Retry = 0
)

// Condition is what has to change, for who decides what to do next: a script, by the exit
// code.
type Condition uint8

const (
	// Failure: a program, a disk or a directory is at fault.
	Failure Condition = iota
	// Unavailable: nothing has to, but time; the same may work later.
	Unavailable
	// NotMet: something is not there, or a condition was not met. Nothing has changed.
	NotMet
	// Refused: what is asked for.
	Refused
)

// Meaning is all that a program has to know of an error.
type Meaning struct {
	Outcome   Outcome
	Retry     Retry
	Condition Condition
}

// meanings is the one place where the meanings of codes stand. The fields of a line are
// not named, so that none can be forgotten.
var meanings = map[Code]Meaning{
	OK: {OutcomeUnknown, WithALeader, Failure}, // of an error without a code: a connection is lost

	ErrNotLeader.Code:      {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable},
	ErrNoLeader.Code:       {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable},
	ErrNoQuorum.Code:       {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable},
	ErrUnavailable.Code:    {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable},
	ErrOverloaded.Code:     {DidNotHappen, Later, Unavailable},
	ErrNoSpace.Code:        {DidNotHappen, never, Unavailable},
	ErrStateFull.Code:      {Settled, never, Unavailable},
	ErrNoSpaceHere.Code:    {DidNotHappen, Later | WithALeader, Unavailable},
	ErrClosed.Code:         {DidNotHappen, Elsewhere, Unavailable},
	ErrTooStale.Code:       {DidNotHappen, Elsewhere, Unavailable},
	ErrNotServing.Code:     {DidNotHappen, Elsewhere, Unavailable},
	ErrDisputed.Code:       {DidNotHappen, never, Unavailable},
	ErrUnknownOutcome.Code: {OutcomeUnknown, Later | WithALeader, Unavailable},

	ErrNotFound.Code:        {Settled, never, NotMet},
	ErrConditionFailed.Code: {Settled, never, NotMet},

	ErrInvalid.Code:          {NotAdmitted, never, Refused},
	ErrTooLarge.Code:         {Settled, never, Refused},
	ErrUnknownType.Code:      {Settled, never, Refused},
	ErrWrongType.Code:        {Settled, never, Refused},
	ErrUnknownOperation.Code: {Settled, never, Refused},
	ErrUnsupported.Code:      {DidNotHappen, never, Refused},
	ErrStaleVersion.Code:     {Settled, never, Refused},
	ErrChangeInFlight.Code:   {Settled, never, Refused},
	ErrNotLearner.Code:       {Settled, never, Refused},
	ErrNotEligible.Code:      {Settled, never, Refused},
	ErrNoTransferee.Code:     {Settled, never, Unavailable},
	ErrWouldLoseQuorum.Code:  {Settled, never, Refused},
	ErrPanicked.Code:         {Settled, never, Failure},
	ErrRefusedEntry.Code:     {NotAdmitted, never, Failure},

	ErrSessionExpired.Code: {NotAdmitted, never, Unavailable},
	ErrStaleSequence.Code:  {DidNotHappen, never, Refused},
	ErrWindow.Code:         {DidNotHappen, Later, Refused},
	ErrAnswerLost.Code:     {NotAdmitted, never, Unavailable},

	ErrViewExpired.Code: {Settled, never, Unavailable},
	ErrCompacted.Code:   {Settled, never, NotMet},
	ErrSlowWatcher.Code: {Settled, never, Unavailable},

	ErrMalformed.Code:    {DidNotHappen, never, Failure},
	ErrWrongCluster.Code: {DidNotHappen, never, Refused},
	ErrWrongVersion.Code: {DidNotHappen, never, Refused},
	ErrNameTaken.Code:    {Settled, never, Refused},
	ErrQuorumIntact.Code: {Settled, never, Refused},
	ErrRolledBack.Code:   {DidNotHappen, never, Refused},
	ErrTwoHistories.Code: {DidNotHappen, never, Refused},
	ErrTwin.Code:         {DidNotHappen, never, Refused},
	ErrDirectory.Code:    {DidNotHappen, never, Failure},
	ErrCorrupt.Code:      {DidNotHappen, never, Failure},
	ErrDiskFailed.Code:   {DidNotHappen, never, Failure},
}

// Meaning returns what a code means. One of a resource type, "type.reason", is a condition
// that was not met when the command was applied. One that is not known comes from a later
// version: nothing is said of what has happened.
func (c Code) Meaning() Meaning {
	if m, known := meanings[c]; known {
		return m
	}
	if strings.Contains(string(c), ".") {
		return Meaning{Settled, never, NotMet}
	}
	return Meaning{OutcomeUnknown, never, Failure}
}

// Final reports whether whoever has sent a copy of a write need not send it again: what came of it
// is known, as far as it ever will be.
func (m Meaning) Final() bool { return m.Outcome == Settled || m.Outcome == NotAdmitted }

// AnswersEveryCopy reports whether what a command has come to when it was applied is the answer to
// every copy of it that the log holds.
func (c Code) AnswersEveryCopy() bool { return c == OK || c.Meaning().Outcome == Settled }

// MayRetry reports whether a second attempt is good for any of what is said.
func (m Meaning) MayRetry(as Retry) bool { return m.Retry&as != 0 }
