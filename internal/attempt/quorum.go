package attempt

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// quorumPatience is how long operators wait where a quorum is missing: two elections, and
// time for others to be asked, which may hear more voters than the first one does.
const quorumPatience = 2 * time.Second

// QuorumLack is since when all members that have answered a request lack a quorum. The
// zero value: they do not.
type QuorumLack struct{ since time.Time }

// Lasts takes what became of an attempt, and reports whether to give up.
func (l *QuorumLack) Lasts(err error, now time.Time) bool {
	switch code := CodeIn(err); {
	case code == protocol.ErrNoQuorum.Code && l.since.IsZero():
		l.since = now
	case code == protocol.ErrNoQuorum.Code:
		return now.Sub(l.since) >= quorumPatience
	case code != protocol.OK && code != protocol.ErrUnavailable.Code: // another answer
		l.since = time.Time{}
	}
	return false
}
