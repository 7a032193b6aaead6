package attempt

import (
	"errors"

	"github.com/starlinghq/starling/protocol"
)

// Command is the attempts at one command of a session. The zero value has made none.
type Command struct {
	received bool  // an attempt without an answer may have been received
	refusal  error // the last one that says most
}

// Verdict is what comes of an attempt: an end, or another attempt after a pause.
type Verdict uint8

// Verdicts.
const (
	// Again: the request is to be made again, after a pause.
	Again Verdict = iota
	// Done: the request has its answer, or its error.
	Done
	// Expired is Done for a command whose session is gone, and of which a copy may have
	// happened before: the next one needs a new one.
	Expired
	// Anew is for a command that has not happened and never will as it was sent, because its
	// session is gone, or, of a one-shot, because its client had seen too little when it drew
	// the number: it is to be sent in another session, or under another number.
	Anew
)

// Took takes what came of an attempt: a result, or an error instead of one. ended is the
// error of the caller's context, or nil. A result and an error with Done are for the
// caller; with Again the error is why.
//
// [S] A command is sent anew only when each copy of it was answered, so that none is on its
// way any more: each attempt makes one copy at most, and nobody sends it again.
func (c *Command) Took(result protocol.Result, err, ended error) (Verdict, protocol.Result, error) {
	answered := err == nil
	if answered {
		err = result.Err()
	} else if ended != nil && !NotSent(err) {
		return Done, result, unknownOutcome(ended, err)
	}
	switch {
	case err == nil:
		return Done, result, nil
	case errors.Is(err, protocol.ErrSessionExpired) && !c.received:
		return Anew, result, err
	case errors.Is(err, protocol.ErrSessionExpired):
		return Expired, result, protocol.ErrSessionExpired.Because(protocol.ErrUnknownOutcome)
	case !Dismissed(err) && (retryable(err) || !answered && !Permanent(err)):
		c.received = c.received || !NotSent(err)
	case c.received && !decided(err):
		return Done, result, protocol.ErrUnknownOutcome.Because(err)
	case answered:
		return Done, result, nil // what the command itself answered
	default:
		return Done, result, err
	}
	if saysMore(c.refusal, err) {
		err = c.refusal
	}
	c.refusal = err
	return Again, result, err
}

// GaveUp is the error of a command for which there is no other attempt; ended is the error
// of the caller's context, or nil if the client was closed.
func (c *Command) GaveUp(ended error) error {
	if c.received {
		return unknownOutcome(ended, c.refusal)
	}
	return GaveUp(ended, c.refusal)
}
