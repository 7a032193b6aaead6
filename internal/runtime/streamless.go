package runtime

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// streamless says which members are heard and take no streams: TCP is blocked, and UDP, or
// TCP in the other direction, is not. Each link has its attempts here. It belongs to the loop.
type streamless map[protocol.MemberID]*attempts

// attempts are those of one link to have a stream, since nobody has answered. Its goroutine
// tells of them, and the loop looks. A link that ends takes its own along: what it still says
// then counts for no later one.
type attempts struct {
	mu      sync.Mutex
	address string
	since   protocol.Instant // when the first one failed
	last    protocol.Instant // when the latest one failed
	why     error            // of the latest one; nil: none has failed
	said    bool

	heard      protocol.Instant // when the member was heard last
	heardSince protocol.Instant // when it was heard first, in and after since without a longer break than heardWithin
	isHeard    bool             // there is such a time
}

const (
	// heardWithin is the longest break between two words of a member that is heard. Where
	// some tens of members are, each says something to each many times in it. In a flock of
	// hundreds passives hear one another more rarely, and there nothing is said of those: who
	// restarts, or comes and goes, could not be told from them.
	heardWithin = 3 * time.Second
	// streamPatience is for how long at least attempts have to fail with a member that is
	// heard. A member that stops is heard for a moment after it has ceased to take streams,
	// and one that comes back within heardWithin for a moment before it takes them: for both
	// and a last attempt under way it has to be long enough.
	streamPatience = 2 * heardWithin
	// attemptsApart is longer than an attempt and the pause before it. Attempts between which
	// more time passes, because there was nothing to send, say nothing of that time.
	attemptsApart = 10 * time.Second
)

// begin has the attempts of a new link to a member.
func (s streamless) begin(id protocol.MemberID) *attempts {
	x := &attempts{}
	s[id] = x
	return x
}

// tried takes note of an attempt, or of the end of a stream. It says in the log that there
// is a stream again, if it was said that there is none.
func (x *attempts) tried(logger *slog.Logger, now protocol.Instant, name func() string, address string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !errors.Is(err, wire.ErrNoAnswer) { // there is a stream, or was one, or somebody answers
		if err == nil && x.said {
			logger.Info("streams (TCP) to a member get through again", "to", name(), "address", address, "for", now.Sub(x.since).Round(time.Millisecond))
		}
		x.why, x.said, x.isHeard = nil, false, false
		return
	}
	if x.why == nil || !x.said && now.Sub(x.last) > attemptsApart {
		x.since, x.isHeard = now, false
	}
	x.address, x.last, x.why = address, now, err
}

// blocked takes note of when the member was heard last, and reports whether it is to be said
// that streams do not get through: the attempts of a while have failed, and the member was
// heard all the while, and after the latest of them. Who is dead was not.
func (x *attempts) blocked(heard protocol.Instant, patience time.Duration) bool {
	if x.why == nil || heard < x.since {
		return false
	}
	if !x.isHeard || heard.Sub(x.heard) > heardWithin {
		x.heardSince, x.isHeard = heard, true
	}
	x.heard = heard
	return !x.said && heard >= x.last && x.last.Sub(x.heardSince) >= patience
}

// look says, once for each cause, to whom streams have not got through for a while although
// they were heard.
func (s streamless) look(logger *slog.Logger, patience time.Duration, heard []gossip.Heard, name func(protocol.MemberID) string) {
	for i := range heard {
		h := &heard[i]
		if x := s[h.ID]; x != nil {
			x.warn(logger, h.At, patience, func() string { return name(h.ID) })
		}
	}
}

func (x *attempts) warn(logger *slog.Logger, heard protocol.Instant, patience time.Duration, name func() string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.blocked(heard, patience) {
		x.said = true
		logger.Warn("streams (TCP) to a member do not get through, though it is heard: this member can send it datagrams only, thus no checkpoints, and no log while this member leads; let TCP through at its port, both ways",
			"to", name(), "address", x.address, "for", x.last.Sub(x.since).Round(time.Millisecond), "err", x.why)
	}
}

// lookForStreams has the links that fail looked at. Only the loop calls it.
func (t *transport) lookForStreams() {
	m := t.m
	t.streamless.look(m.logger, max(2*m.cfg.activeConfig().Election, streamPatience), m.replica.Heard(), m.nameOf)
}
