package attempt

import (
	"errors"

	"github.com/starlinghq/starling/protocol"
)

// Change is the attempts at a membership change: it is made again only while it has not been
// taken. The zero value has made none.
type Change struct {
	refusal error // the last one that a member has sent
}

// Took takes what came of an attempt. ended is the error of the caller's context, or nil.
// With Again the error is why.
func (c *Change) Took(response *protocol.Response, err, ended error) (Verdict, error) {
	if err == nil {
		err = response.Result.Err()
	}
	switch {
	case c.refusal != nil && (saysMore(c.refusal, err) || response == nil && ended != nil && NotSent(err)):
		err = c.refusal // it says more than that there was no time for another
	case response != nil:
		c.refusal = err
	}
	if err == nil || !NotSent(err) && !errors.Is(err, protocol.ErrChangeInFlight) {
		return Done, err
	}
	return Again, err
}
