package attempt

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Question is the attempts at a request that may be executed any number of times.
type Question struct {
	Request protocol.Request
	refusal error // the last one that a member has sent
}

// Until says how long the caller of a question waits: the zero value is for ever.
type Until struct {
	// Ended is the error of the caller's context, or nil.
	Ended error
	// Left is how much of its time is left, and All how much there was when the attempt
	// began, if it has a limit.
	Limited   bool
	Left, All time.Duration
}

// cutShort reports whether an answer was given because the caller's time ends, or was
// about to; see protocol.Request.Wait.
func (u Until) cutShort() bool {
	return u.Ended != nil || u.Limited && u.Left <= protocol.WaitMargin(u.All)
}

// Took takes what came of an attempt. With Done a response without an error is for the
// caller; it may say an error in its result, but none that is worth a retry. With Again
// the error is why.
func (q *Question) Took(response *protocol.Response, err error, until Until) (Verdict, error) {
	switch {
	case err == nil:
		if err = response.Result.Err(); !retryable(err) && !q.behind(err, until) {
			return Done, nil
		}
		if saysMore(q.refusal, err) {
			err = q.refusal
		}
		q.refusal = err
	case Permanent(err):
		return Done, err
	case until.Ended != nil && q.refusal != nil:
		err = q.refusal // it says more than that there was no time for another
	}
	return Again, err
}

// behind reports whether a member has answered that it has not caught up with
// what the session has seen. It, or another one, will. So it is with an age that
// was not waited for as long as it might have been, because the caller's time ends.
func (q *Question) behind(err error, until Until) bool {
	query := q.Request.Query
	if query == nil || CodeIn(err) != protocol.ErrTooStale.Code {
		return false
	}
	return query.Consistency == protocol.Session || until.cutShort()
}

// NeverReached is the error of a read from an index that no member is known to
// have reached; err is what came instead of an answer when the caller's time ended, had
// the highest index that the client had heard of.
func NeverReached(ended error, q *protocol.Query, had protocol.Index, err error) error {
	if ended == nil || q.Seen <= had || CodeIn(err) == protocol.ErrTooStale.Code {
		return err
	}
	return protocol.ErrTooStale.With(fmt.Sprintf(
		"index %d was asked for, and the highest that this client has heard of is %d", q.Seen, had)).Because(err)
}
