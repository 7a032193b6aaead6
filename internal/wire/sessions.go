package wire

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Sessions says what becomes of sessions, for the bound of those that one
// connection opens. Any goroutine may ask; it must not block.
type Sessions interface {
	// Opened reads the answer to a command that opens a session.
	Opened(*protocol.Result) (protocol.SessionID, error)
	// Lives reports whether a session may be open: it is, or this member has not
	// come to where it was opened.
	Lives(protocol.SessionID) bool
}

// opened is the sessions that a connection has opened. It is guarded by the
// stream's lock.
type opened struct {
	all map[protocol.SessionID]struct{}
	// under are openings under way, and lost those whose answers nobody waited for:
	// their sessions cannot be used, and end soon.
	under int
	lost  []time.Time
	last  protocol.SessionID // that a command named
}

// mayOpen counts an opening in, if there is room. Sessions that have ended
// elsewhere are looked for only where there is none.
func (o *opened) mayOpen(now time.Time, sessions Sessions) error {
	if o.count(now) >= protocol.SessionsPerConnectionMax {
		for id := range o.all { // order does not matter: each by itself
			if !sessions.Lives(id) {
				delete(o.all, id)
			}
		}
	}
	if n := o.count(now); n >= protocol.SessionsPerConnectionMax {
		return protocol.ErrTooLarge.With(fmt.Sprintf(
			"this connection has opened %d sessions that have not ended, the limit: use those, or close them", n))
	}
	o.under++
	return nil
}

func (o *opened) count(now time.Time) int {
	for len(o.lost) > 0 && now.Sub(o.lost[0]) >= protocol.SessionUnusedMax {
		o.lost = o.lost[1:]
	}
	return len(o.all) + o.under + len(o.lost)
}

// note takes note of an answer to a command about sessions; nil: nobody waited for
// it.
func (o *opened) note(now time.Time, operation string, id protocol.SessionID, answer *protocol.Result, sessions Sessions) {
	ok := answer != nil && answer.Code == protocol.OK
	switch {
	case operation == protocol.SessionClose:
		if ok {
			delete(o.all, id)
		}
	case operation != protocol.SessionOpen:
	case ok:
		o.under--
		if id, err := sessions.Opened(answer); err == nil {
			if o.all == nil {
				o.all = map[protocol.SessionID]struct{}{}
			}
			o.all[id] = struct{}{}
		}
	default:
		o.under--
		if answer == nil || answer.Code == protocol.ErrUnknownOutcome.Code {
			o.lost = append(o.lost, now)
		}
	}
}

// holds reports whether the connection has a session that is open.
func (o *opened) holds(sessions Sessions) bool {
	if sessions == nil {
		return false
	}
	if o.last != 0 && sessions.Lives(o.last) {
		return true
	}
	for id := range o.all { // order does not matter: any
		if sessions.Lives(id) {
			return true
		}
	}
	return false
}
