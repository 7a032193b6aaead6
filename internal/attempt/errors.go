package attempt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// CodeIn returns the code that an error has in it, or protocol.OK for one without: a broken
// connection. protocol.CodeOf, for who answers, never says OK of an error.
func CodeIn(err error) protocol.Code {
	if err == nil {
		return protocol.OK
	}
	var e *protocol.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return protocol.OK
}

// retryable reports whether the same request may work later.
func retryable(err error) bool {
	return CodeIn(err).Meaning().MayRetry(protocol.Later)
}

// NotSent reports whether an error says that the request has not happened,
// and will not unless it is sent again.
func NotSent(err error) bool {
	code := CodeIn(err)
	m := code.Meaning()
	return m.Outcome == protocol.DidNotHappen && (m.MayRetry(protocol.Later) || code == protocol.ErrClosed.Code)
}

// saysMore reports whether what was heard before is worth more to people than what came
// then: a member that leads no more knows why nobody does, and one that has heard of it
// once sends everybody there.
func saysMore(before, then error) bool {
	return CodeIn(then) == protocol.ErrNotLeader.Code && CodeIn(before) != protocol.ErrNotLeader.Code && leadsNot(CodeIn(before))
}

// leadsNot reports whether a member has said that it does not lead.
func leadsNot(code protocol.Code) bool {
	switch code {
	case protocol.ErrNotLeader.Code, protocol.ErrNoLeader.Code, protocol.ErrNoQuorum.Code:
		return true
	}
	return false
}

// Permanent reports whether an error that came instead of a response will come
// again. One without a code is a broken connection of some kind.
func Permanent(err error) bool {
	return Dismissed(err) || CodeIn(err) != protocol.OK && !retryable(err)
}

// dismissal is an error that says that a member has ended the connection because of
// something that was sent over it.
type dismissal interface {
	error
	Dismissed()
}

// Dismissed reports whether the request may be why a member has ended the
// connection: sent again, it would end the next one. What never left, or was
// taken before, cannot be why, and is unavailable.
func Dismissed(err error) bool {
	is := (dismissal)(nil)
	return errors.As(err, &is) && CodeIn(err) != protocol.ErrUnavailable.Code
}

// decided reports whether an error ends the command: it is the command's own, made when it
// was applied, or the same for every copy, or no further copy would be let in. The others say
// only that this copy was not, and nothing of an earlier one.
func decided(err error) bool {
	return CodeIn(err).Meaning().Final()
}

// LacksLeader reports whether an attempt failed because it did not reach a leader, or
// may have lost it, or because another one is to lead.
func LacksLeader(err error) bool {
	return CodeIn(err).Meaning().MayRetry(protocol.WithALeader)
}

// TurnedAway reports whether a member has answered, and has not let the client in: for
// good, or because it has as many clients as it takes.
func TurnedAway(err error) bool {
	return RefusesClient(err) || errors.Is(err, protocol.ErrOverloaded)
}

// RefusesClient reports whether a member has turned the client away for good.
func RefusesClient(err error) bool {
	return errors.Is(err, protocol.ErrWrongCluster) || errors.Is(err, protocol.ErrWrongVersion)
}

// unknownOutcome returns the error of a command that may have happened.
func unknownOutcome(ended, last error) error {
	cause := because(ended, last)
	if CodeIn(cause) == protocol.ErrUnknownOutcome.Code && strings.Contains(cause.Error(), "may have happened") {
		return cause
	}
	return protocol.ErrUnknownOutcome.Because(cause)
}

// GaveUp returns the error of a request that has not happened, or that has no
// outcome: the last refusal, and why there was no other attempt, which is the error of
// the caller's context, or nil if the client was closed. Its code is
// the refusal's, or that of ErrUnavailable; a leader without room, with others that may
// have some, is ErrNoSpace in the end.
func GaveUp(ended, last error) error {
	switch CodeIn(last) {
	case protocol.ErrNoSpaceHere.Code:
		last = protocol.ErrNoSpace.With(last.Error() + "; another voter may have room, and does not lead yet")
	case protocol.OK, protocol.ErrUnknownOutcome.Code:
		unavailable := &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: last.Error()}
		if ended != nil && errors.Is(last, ended) {
			unavailable.Cause = ended // and its text is there already
		}
		last = unavailable
	}
	return because(ended, last)
}

// because adds why there was no other attempt: the context has ended, or the
// client was closed.
func because(ended, last error) error {
	if ended == nil {
		return fmt.Errorf("%w: %w", protocol.ErrClosed, last)
	}
	if errors.Is(last, ended) {
		return last
	}
	return fmt.Errorf("%w (%w)", last, ended)
}
