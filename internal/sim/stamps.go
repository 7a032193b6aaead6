package sim

import (
	"time"

	"github.com/starlinghq/starling/protocol"
)

// timeStep is how much of one pause of a leader may get into cluster time.
const timeStep = 333 * time.Millisecond

// reign is when a leader began, in the time for which it has run, and the cluster time that it
// began with: that of its first entry.
type reign struct {
	began   time.Duration
	stamped bool
	time    protocol.ClusterTime
}

// runFor is for how long a host has run, with so much only of each pause that its process was
// stopped for.
func (h *host) runFor() time.Duration { return time.Duration(h.s.schedule.now) - h.stood }

// stamps checks the cluster time of an entry that a leader has made: what clients could not
// use to say that they live, because their leader stood still, ends no session.
func (l *ledger) stamps(member int, e *protocol.Entry) error {
	r := l.reigns[e.Term]
	if r == nil || l.ran == nil || l.leaders[e.Term] != member {
		return nil
	}
	if !r.stamped {
		r.stamped, r.time = true, e.Time
	}
	ran := l.ran(member) - r.began
	if passed := time.Duration(e.Time - r.time); passed > ran+ran/500+10*time.Millisecond { // clocks drift
		return violated(RulePause, "%s stamps %s with %v of cluster time since its election, it has run for %v", l.names(member), e, passed, ran)
	}
	return nil
}
