package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// A leader that has committed an entry of its term holds everything that was ever
// committed. If a member holds committed entries above the leader's log all the
// same, this cluster has lost them: its actives were put back to an old copy. The
// leader says so to people, who decide what to keep. Nothing stops because of it:
// it is one member's word, and that may be a lie.

const (
	// aheadElections is for how many election timeouts a member has to say so: a
	// leader that was deposed, and has not heard of it, sees the like for one.
	aheadElections = 4
	// aheadPause is how long a leader that has spoken of a member says no more of
	// it, whatever that says: it could say something else each time.
	aheadPause = time.Minute
)

// Ahead is a member that holds committed entries which this cluster does not have.
type Ahead struct {
	Member protocol.MemberID
	// Holds is what it holds as committed, Ends where the log of this cluster's
	// leader ended when that was seen first. Diverged is where the histories part,
	// as far as the member knows, or 0.
	Holds, Ends, Diverged protocol.Index
}

// String says what it means, and what to do.
func (a Ahead) String() string {
	what := fmt.Sprintf("holds committed entries up to %d, this cluster's log ended at %d", a.Holds, a.Ends)
	if a.Diverged != 0 {
		what = fmt.Sprintf("holds committed entries up to %d, which differ from this cluster's log at %d", a.Holds, a.Diverged)
	}
	return what + ": `starling recover` from its directory keeps them; to discard them start it with an empty directory"
}

// aheads are the members that are ahead of the leader of a term, by id.
type aheads struct {
	ground
	gossip interface{ Heard() []gossip.Heard }

	term protocol.Term
	list []ahead
}

// ahead is an Ahead, since when it is so, and when it was told of this member last
// that it holds what; 0: not yet. One that is over is kept for a while, so that it is
// not told again and again.
type ahead struct {
	Ahead
	since, told protocol.Instant
	what        protocol.Index
	over        bool
}

// look follows who holds more than this cluster has.
func (s *aheads) look(now protocol.Instant) {
	if t := s.log.lead().Term(); s.term != t || !s.log.lead().HasCommittedOwnTerm() {
		s.term, s.list = t, nil
		return
	}
	last := s.log.logTerms().LastIndex()
	var next []ahead
	for _, h := range s.gossip.Heard() {
		a := ahead{Ahead: Ahead{Member: h.ID, Holds: max(h.LastIndex, h.Applied), Ends: last, Diverged: h.Diverged}, since: now}
		a.over = a.Holds <= last && a.Diverged == 0
		if i := slices.IndexFunc(s.list, func(a ahead) bool { return a.Member == h.ID }); i >= 0 {
			a = s.list[i].follow(a)
		}
		if a.over && (a.told == 0 || now >= a.told.Add(aheadPause)) {
			continue
		}
		news := a.told == 0 || a.what != a.Holds && now >= a.told.Add(aheadPause)
		if !a.over && news && a.lasts(now, s.cfg.Active.Election, &h) {
			a.told, a.what = now, a.Holds
			s.out.Events = append(s.out.Events, protocol.Event{Kind: protocol.EventAhead, Term: s.term, Index: a.Holds, Member: h.ID, Text: "this member " + a.String()})
		}
		next = append(next, a)
	}
	s.list = next
}

// follow returns what becomes of an earlier sight with the next one.
func (was *ahead) follow(next ahead) ahead {
	next.told, next.what = was.told, was.what
	if next.Holds == was.Holds && !was.over {
		next.since, next.Ends = was.since, was.Ends
	}
	return next
}

// lasts reports whether a member has been ahead for long, and has said so again
// since it was first seen.
func (a *ahead) lasts(now protocol.Instant, election time.Duration, h *gossip.Heard) bool {
	return now >= a.since.Add(aheadElections*election) && h.At > a.since
}

// now lists the members that have been ahead for long, by id.
func (s *aheads) now() []Ahead {
	var out []Ahead
	for i := range s.list {
		if a := &s.list[i]; s.log.leads() && a.told != 0 && !a.over {
			out = append(out, a.Ahead)
		}
	}
	return out
}
