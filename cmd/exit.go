package cmd

import (
	"context"
	"errors"

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
	// no quorum, timed out, outcome unknown, or a signal has stopped it before it was
	// done. What runs until it is stopped (dev, agent, map watch) is done then.
	exitUnavailable = 3
	// exitNotFound says that something is not there, or a condition was not
	// met. Nothing has changed.
	exitNotFound = 4
	// exitRefused says that the cluster will not do this as asked: a limit, a
	// wrong type, a stale version, another cluster.
	exitRefused = 5
)

// exitCodes are those of what the protocol says has to change.
var exitCodes = map[protocol.Condition]int{
	protocol.Failure:     exitFailure,
	protocol.Unavailable: exitUnavailable,
	protocol.NotMet:      exitNotFound,
	protocol.Refused:     exitRefused,
}

// usageError is a command line that cannot be understood.
type usageError struct{ text string }

// Error returns what is wrong and how it should look.
func (e *usageError) Error() string { return e.text }

// exitCode returns what the process says to its caller about an error.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if u := (*usageError)(nil); errors.As(err, &u) {
		return exitUsage
	}
	if e := (*protocol.Error)(nil); errors.As(err, &e) {
		if e.Code == starling.ErrOverflow.Code {
			return exitRefused // the number would not fit: it is what was asked for
		}
		return exitCodes[e.Code.Meaning().Condition]
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return exitUnavailable
	}
	return exitFailure
}
