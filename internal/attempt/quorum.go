package attempt

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// quorumPatience is how long operators wait where a quorum is missing: two elections, and
// time for others to be asked, which may hear more voters than the first one does.
const quorumPatience = 2 * time.Second

// QuorumLack is since when all members that have answered a request know no leader. It ends a
// call only where they lack a quorum by now: that takes an election to be known. The
// zero value: they know one.
type QuorumLack struct{ since time.Time }

// Lasts takes what became of an attempt, and reports whether to give up.
func (l *QuorumLack) Lasts(err error, now time.Time) bool {
	switch code := CodeIn(err); {
	case code == protocol.ErrNoQuorum.Code || code == protocol.ErrNoLeader.Code:
		if l.since.IsZero() {
			l.since = now
		}
		return code == protocol.ErrNoQuorum.Code && now.Sub(l.since) >= quorumPatience
	case code != protocol.OK && code != protocol.ErrUnavailable.Code: // another answer
		l.since = time.Time{}
	}
	return false
}
