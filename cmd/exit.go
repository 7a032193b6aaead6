package cmd

import (
	"context"
	"errors"
	"strings"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// The exit codes. Scripts rely on them; they never change their meaning.
const (
	// exitOK says that all is as asked for, also where it was so already: commands that
	// change seats say which of the two.
	exitOK = 0
	// exitFailure is whatever has no better code: a port in use, a damaged
	// directory, a failed disk.
	exitFailure = 1
	// exitUsage is a command line that cannot be understood.
	exitUsage = 2
	// exitUnavailable says that the same command may work later: no leader,
	// no quorum, timed out, outcome unknown.
	exitUnavailable = 3
	// exitNotFound says that something is not there, or a condition was not
	// met. Nothing has changed.
	exitNotFound = 4
	// exitRefused says that the cluster will not do this as asked: a limit, a
	// wrong type, a stale version, another cluster.
	exitRefused = 5
)

// exitCodes is the one table from what went wrong to the exit code. A test
// walks all sentinels of the protocol and fails on one that is missing here.
var exitCodes = map[protocol.Code]int{
	protocol.ErrNotLeader.Code:      exitUnavailable,
	protocol.ErrNoLeader.Code:       exitUnavailable,
	protocol.ErrOverloaded.Code:     exitUnavailable,
	protocol.ErrNoSpace.Code:        exitUnavailable,
	protocol.ErrNoSpaceHere.Code:    exitUnavailable,
	protocol.ErrUnavailable.Code:    exitUnavailable,
	protocol.ErrClosed.Code:         exitUnavailable,
	protocol.ErrTooStale.Code:       exitUnavailable,
	protocol.ErrNotServing.Code:     exitUnavailable,
	protocol.ErrUnknownOutcome.Code: exitUnavailable,
	protocol.ErrSessionExpired.Code: exitUnavailable,
	protocol.ErrAnswerLost.Code:     exitUnavailable,
	protocol.ErrNoHeir.Code:         exitUnavailable,
	protocol.ErrViewExpired.Code:    exitUnavailable,
	protocol.ErrSlowWatcher.Code:    exitUnavailable,

	protocol.ErrNotFound.Code:        exitNotFound,
	protocol.ErrConditionFailed.Code: exitNotFound,
	protocol.ErrCompacted.Code:       exitNotFound,

	protocol.ErrInvalid.Code:          exitRefused,
	protocol.ErrTooLarge.Code:         exitRefused,
	protocol.ErrUnknownType.Code:      exitRefused,
	protocol.ErrWrongType.Code:        exitRefused,
	protocol.ErrUnknownOperation.Code: exitRefused,
	protocol.ErrUnsupported.Code:      exitRefused,
	protocol.ErrStaleVersion.Code:     exitRefused,
	protocol.ErrChangeInFlight.Code:   exitRefused,
	protocol.ErrNotLearner.Code:       exitRefused,
	protocol.ErrNotEligible.Code:      exitRefused,
	protocol.ErrWouldLoseQuorum.Code:  exitRefused,
	protocol.ErrStaleSequence.Code:    exitRefused,
	protocol.ErrWindow.Code:           exitRefused,
	protocol.ErrWrongCluster.Code:     exitRefused,
	protocol.ErrWrongVersion.Code:     exitRefused,
	protocol.ErrNameTaken.Code:        exitRefused,
	protocol.ErrRolledBack.Code:       exitRefused,
	protocol.ErrQuorumIntact.Code:     exitRefused,
	protocol.ErrTwin.Code:             exitRefused,
	protocol.ErrTwoHistories.Code:     exitRefused,

	// The built-in types. Those of other types are conditions that were not
	// met; see exitCode.
	starling.ErrEmpty.Code:    exitNotFound,
	starling.ErrOverflow.Code: exitRefused,

	protocol.ErrPanicked.Code:     exitFailure,
	protocol.ErrRefusedEntry.Code: exitFailure,
	protocol.ErrMalformed.Code:    exitFailure,
	protocol.ErrDirectory.Code:    exitFailure,
	protocol.ErrCorrupt.Code:      exitFailure,
	protocol.ErrDiskFailed.Code:   exitFailure,
}

// usageError is a command line that cannot be understood.
type usageError struct{ text string }

// Error returns what is wrong and how it should look.
func (e *usageError) Error() string { return e.text }

// exitCode returns what the process says to its caller about an error. The
// codes of resource types, "type.reason", are conditions that were not met.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if u := (*usageError)(nil); errors.As(err, &u) {
		return exitUsage
	}
	if e := (*protocol.Error)(nil); errors.As(err, &e) {
		if code, ok := exitCodes[e.Code]; ok {
			return code
		}
		if strings.Contains(string(e.Code), ".") {
			return exitNotFound
		}
		return exitFailure
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return exitUnavailable
	}
	return exitFailure
}
