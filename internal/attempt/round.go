package attempt

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// staleTriesMax is how many members may say that their state is too old for
	// a read before the client believes it.
	staleTriesMax = 3
	// lateTriesMax is how often a read is made again whose answer took too long.
	lateTriesMax = 2
)

// RouteOf says who may answer a request. What a member holds or says of itself
// is asked of the addresses given: the answer of another one would be an answer
// to another question.
func RouteOf(q *protocol.Request) Route {
	switch {
	case IsCommand(q), q.Kind == protocol.RequestAutopilot:
		return RouteLeader
	case q.Kind == protocol.RequestStatus, q.Kind == protocol.RequestDigest, q.Query != nil && q.Query.Consistency == protocol.Local:
		return RouteGiven
	case q.Query != nil && q.Query.Consistency != protocol.Linearizable:
		return RouteNear
	}
	return RouteAny
}

// IsCommand reports whether a request may have an effect, and so goes to one
// member only.
func IsCommand(q *protocol.Request) bool {
	return q.Kind == protocol.RequestCommand || q.Kind == protocol.RequestMembershipChange
}

// Round is one attempt at a request: one member after the other is asked, the one that
// suits best first, until one can help. A command goes to one member only.
type Round struct {
	endpoints *Endpoints
	request   *protocol.Request
	suits     Route
	backOff   time.Duration

	order  []string
	next   int
	failed Failures
	last   *protocol.Response // the one that says most of those that could not help
	stale  int
	late   int
}

// NewRound begins a round. backOff is how long a member that could not help is asked last.
func NewRound(e *Endpoints, q *protocol.Request, suits Route, now time.Time, backOff time.Duration) *Round {
	return &Round{endpoints: e, request: q, suits: suits, backOff: backOff, order: e.Order(now, suits)}
}

// Request is what is to be asked of the next member.
func (r *Round) Request() *protocol.Request { return r.request }

// Next returns the address of the member to ask, or none if all have been asked.
func (r *Round) Next() (address string, ok bool) {
	if r.next == len(r.order) {
		return "", false
	}
	r.next++
	return r.order[r.next-1], true
}

// Answered reports whether a member has answered, and could not help.
func (r *Round) Answered() bool { return r.last != nil }

// NotReached says that there is no connection to a member that was to be asked.
func (r *Round) NotReached(address string, err error) { r.failed.Add(address, err) }

// Took takes what came of asking the member at an address: its response, or an error; ended is the error
// of the caller's context, or nil. over reports whether the round is over; then response
// and error are its outcome. learn is called with a response that says something of the
// cluster.
func (r *Round) Took(now time.Time, address string, response *protocol.Response, err, ended error, learn func(address string, r *protocol.Response)) (over bool, _ *protocol.Response, _ error) {
	command := IsCommand(r.request)
	if err == nil && !helpless(response) {
		learn(address, response)
		r.endpoints.Prefer(address, r.suits)
		return r.again(now, response)
	}
	if err == nil || ended == nil && !Permanent(err) && !isSuperseded(err) {
		r.endpoints.BackOff(address, now.Add(r.backOff))
	}
	switch {
	case err == nil && response.Result.Code == protocol.ErrClosed.Code:
		// The member has stopped: nothing has happened there, and others may do it.
		r.failed.Add(address, protocol.ErrUnavailable.Because(response.Result.Err()))
	case err == nil:
		learn(address, response)
		if r.last == nil || !saysMore(r.last.Result.Err(), response.Result.Err()) {
			r.last = response
		}
		if response.Result.Code == protocol.ErrTooStale.Code {
			r.stale++
		}
		if command || r.stale == staleTriesMax {
			return r.again(now, response)
		}
	case Permanent(err): // the request's own fault: it would be everywhere
		return true, nil, err
	case ended != nil || command && !NotSent(err):
		return true, nil, atAddress(address, err)
	default:
		r.failed.Add(address, err)
	}
	return false, nil, nil
}

// End is the outcome of a round in which no member is left to ask, or that ends because
// the caller's context has, with this error.
func (r *Round) End(now time.Time, ended error) (over bool, _ *protocol.Response, _ error) {
	if r.last != nil {
		return r.again(now, r.last)
	}
	return true, nil, r.failed.Err(ended)
}

// again ends the round with a response, unless it is of a read whose answer took so long on
// its way that it is older than allowed: the read is made again then, for a younger state.
func (r *Round) again(now time.Time, response *protocol.Response) (over bool, _ *protocol.Response, _ error) {
	if r.late == lateTriesMax || !isLate(r.request, response) {
		return true, response, nil
	}
	query := *r.request.Query
	query.MaxAge = max(0, query.MaxAge-2*(response.Result.Age-query.MaxAge))
	again := NewRound(r.endpoints, &protocol.Request{Kind: r.request.Kind, Query: &query}, r.suits, now, r.backOff)
	again.late = r.late + 1
	*r = *again
	return false, nil, nil
}

// isLate reports whether an answer was young enough when it was made, and is not
// any more. At MaxAge 0 it came from the leader, later than the call began.
func isLate(q *protocol.Request, response *protocol.Response) bool {
	return q.Query != nil && q.Query.Consistency == protocol.MaxStale && q.Query.MaxAge > 0 &&
		response.Result.AgeKnown && response.Result.Code != protocol.ErrTooStale.Code && response.Result.Age > q.Query.MaxAge
}

// helpless reports whether a member's answer says that another one might do
// better.
func helpless(response *protocol.Response) bool {
	return response.Result.Code.Meaning().MayRetry(protocol.Elsewhere)
}
