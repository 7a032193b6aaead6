package protocol

import (
	"maps"
	"slices"
	"strings"
)

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
	// WayOut is what a user can do about it, in sentences; empty for what only programs see.
	WayOut string
}

// table is the one place where the meanings of codes stand. The fields of a line are
// not named, so that none can be forgotten.
var table = map[*Error]Meaning{
	NewError(OK, ""): {OutcomeUnknown, WithALeader, Failure, ""}, // of an error without a code: a connection is lost

	ErrNotLeader: {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable,
		"Nothing: clients ask the leader next. A program that speaks to one member only can name more."},
	ErrNoLeader: {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable,
		"Wait: clients try again until their time is up. If it lasts, `starling status` at each member says who is missing; start what has stopped, or see docs/recover.md when a majority is lost."},
	ErrNoQuorum: {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable,
		"Start the voters that do not run, or repair the network between them; `starling status` names them. When a majority is lost for good: `starling recover`."},
	ErrUnavailable: {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable,
		"See that a member runs at one of the addresses, and that its port can be reached; name more members, so that one that is away costs nothing."},
	ErrOverloaded: {DidNotHappen, Later, Unavailable,
		"Send less at a time, or the same a little later; clients do that by themselves. `starling status` shows what waits."},
	ErrNoSpace: {DidNotHappen, never, Unavailable,
		"Free space on the disk of the leader that is named, or make it larger; writes go on by themselves. docs/limits.md has what a member keeps free."},
	ErrStateFull: {Settled, never, Unavailable,
		"Delete something, or raise the limit: `starling autopilot set --state-bytes`."},
	ErrNoSpaceHere: {DidNotHappen, Later | WithALeader, Unavailable,
		"Nothing: the lead passes to a voter with room. Free space on the disk of the leader that is named."},
	ErrClosed: {DidNotHappen, Elsewhere, Unavailable,
		"Open or dial again: the node, client, watch or member was closed, by this program or because it stopped."},
	ErrTooStale: {DidNotHappen, Elsewhere, Unavailable,
		"Ask another member, allow a greater age, or read at a level that waits: linearizable, or session."},
	ErrNotServing: {DidNotHappen, Elsewhere, Unavailable,
		"Ask another member. The text says why: a type that the program lacks, a state that is checked or fetched anew, a member that is only starting."},
	ErrDisputed: {DidNotHappen, never, Unavailable,
		"`starling verify` says which members differ, and where. When you know whose state is right: `starling impose`; see docs/recover.md."},
	ErrUnknownOutcome: {OutcomeUnknown, Later | WithALeader, Unavailable,
		"Read, and decide. A client repeats within its session, where nothing happens twice; give it more time. Writes with a condition can simply be repeated."},

	ErrNotFound: {Settled, never, NotMet,
		"Nothing has changed. See that the name is right: `starling resource list` has all."},
	ErrConditionFailed: {Settled, never, NotMet,
		"Nothing has changed. Read what is there now, and try with its version."},

	ErrInvalid: {NotAdmitted, never, Refused,
		"Change the request as the text says."},
	ErrTooLarge: {Settled, never, Refused,
		"Make it smaller, or cut it into parts; docs/limits.md has every limit."},
	ErrUnknownType: {Settled, never, Refused,
		"Pass the type, in that version, to the members (Config.Types): the program that they run lacks it."},
	ErrWrongType: {Settled, never, Refused,
		"Use a handle of the type that the resource has (`starling resource list`), another name, or delete the resource."},
	ErrUnknownOperation: {Settled, never, Refused,
		"Run a program on the members whose version of the type has the operation."},
	ErrUnsupported: {DidNotHappen, never, Refused,
		"Upgrade the member that answered: it is of a release that does not know the request. docs/format-level.md has the order."},
	ErrStaleVersion: {Settled, never, Refused,
		"Look at the configuration as it is now (`starling members`), and ask again if the change is still wanted."},
	ErrChangeInFlight: {Settled, never, Refused,
		"Wait until the change that runs is committed, which `starling status` shows, and ask again."},
	ErrNotLearner: {Settled, never, Refused,
		"Wait until the learner has caught up; `starling status` shows how far it is."},
	ErrNotEligible: {Settled, never, Refused,
		"See that the member lives, has a durable directory and wishes to be active; the text says what it lacks."},
	ErrNoTransferee: {Settled, never, Unavailable,
		"Wait until another voter has caught up, or name one that has; `starling status` shows how far each is."},
	ErrWouldLoseQuorum: {Settled, never, Refused,
		"Start the voters that do not run, or add members, before you take this one away."},
	ErrPanicked: {Settled, never, Failure,
		"Correct the type: the members' logs have the panic and where it was. Nothing of the command has remained."},
	ErrRefusedEntry: {NotAdmitted, never, Failure,
		"Send the command anew if it is still wanted: it was left out when the cluster was recovered, as an operator had said."},

	ErrSessionExpired: {NotAdmitted, never, Unavailable,
		"Send what has not happened in a new session; clients open one by themselves. If it happens often, raise the session timeout, or see why the client was cut off."},
	ErrStaleSequence: {DidNotHappen, never, Refused,
		"A fault of the client program: a session's sequence numbers are not used again."},
	ErrWindow: {DidNotHappen, Later, Refused,
		"Wait for answers before more is sent in one session, or open another one; clients wait by themselves."},
	ErrAnswerLost: {NotAdmitted, never, Unavailable,
		"The write has happened. Read what it has come to; answers that are smaller, or asked for sooner, are kept."},

	ErrViewExpired: {Settled, never, Unavailable,
		"Open the view again, and read less or faster: one lasts a minute behind the newest state."},
	ErrCompacted: {Settled, never, NotMet,
		"Read the state, and watch on from its index: `Map.Follow`, or `starling map watch --list`, do both."},
	ErrSlowWatcher: {Settled, never, Unavailable,
		"Read the events faster, in a goroutine of its own, or ask for the newest of each key only (latest)."},

	ErrMalformed: {DidNotHappen, never, Failure,
		"See that both ends are of releases that go together (`starling version`), and that the port is Starling's."},
	ErrWrongCluster: {DidNotHappen, never, Refused,
		"See that address and directory belong to the same cluster; a member of another one needs a new directory to join."},
	ErrWrongVersion: {DidNotHappen, never, Refused,
		"Run releases that go together; docs/format-level.md says which do."},
	ErrNameTaken: {Settled, never, Refused,
		"Choose another name, or take the seat back with --replace if the member that had it is gone."},
	ErrQuorumIntact: {Settled, never, Refused,
		"Start the members that are named: nothing is lost, and there is nothing to recover."},
	ErrRolledBack: {DidNotHappen, never, Refused,
		"Move the directory away, give the seat up (`starling remove` at a member that runs), and start with an empty one; see docs/refused-directories.md."},
	ErrTwoHistories: {DidNotHappen, never, Refused,
		"Stop, compare the directories (`starling verify`), and keep the newer history with `starling recover`; see docs/refused-directories.md."},
	ErrTwin: {DidNotHappen, never, Refused,
		"Stop the copy, and start it with a directory of its own; see docs/refused-directories.md."},
	ErrDirectory: {DidNotHappen, never, Failure,
		"The text says what is wrong with it: put back what is missing, name the right one, or start with an empty one."},
	ErrCorrupt: {DidNotHappen, never, Failure,
		"Leave the directory as it is and start the member: it fetches from the others what is damaged. `starling verify` says what that is."},
	ErrDiskFailed: {DidNotHappen, never, Failure,
		"See what the system says of the disk; then start the member again, or on another disk with an empty directory."},
}

// meanings and texts are the table by code.
var meanings, texts = byCode()

func byCode() (map[Code]Meaning, map[Code]string) {
	meanings, texts := make(map[Code]Meaning, len(table)), make(map[Code]string, len(table))
	for e, m := range table { // order does not matter: into maps
		meanings[e.Code], texts[e.Code] = m, e.Text
	}
	return meanings, texts
}

// Text returns the text of the protocol's error with a code, "" if there is none.
func (c Code) Text() string { return texts[c] }

// Meaning returns what a code means. One of a resource type, "type.reason", is a condition
// that was not met when the command was applied. One that is not known comes from a later
// version: nothing is said of what has happened.
func (c Code) Meaning() Meaning {
	if m, known := meanings[c]; known {
		return m
	}
	if strings.Contains(string(c), ".") {
		return Meaning{Settled, never, NotMet,
			"Nothing has changed: the operation of the resource type has refused it, as the text says."}
	}
	return Meaning{OutcomeUnknown, never, Failure,
		"This release does not know the code: look it up with the release that the members run."}
}

// Final reports whether whoever has sent a copy of a write need not send it again: what came of it
// is known, as far as it ever will be.
func (m Meaning) Final() bool { return m.Outcome == Settled || m.Outcome == NotAdmitted }

// AnswersEveryCopy reports whether what a command has come to when it was applied is the answer to
// every copy of it that the log holds.
func (c Code) AnswersEveryCopy() bool { return c == OK || c.Meaning().Outcome == Settled }

// Codes returns the codes of the protocol, in order.
func Codes() []Code {
	return slices.Sorted(maps.Keys(meanings))[1:] // without OK
}

// MayRetry reports whether a second attempt is good for any of what is said.
func (m Meaning) MayRetry(as Retry) bool { return m.Retry&as != 0 }
