package replica

import (
	"slices"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// Hampered is what keeps a member from its work, as its owner sees it.
type Hampered struct {
	// Full says that its disk is nearly full: it takes no writes if it leads.
	Full bool
	// Stuck is the index of a command that does not return here, 0 without one, and
	// Why says so of this member, as in "is stuck".
	Stuck protocol.Index
	Why   string
}

// WithoutRoom says of a member that its disk is nearly full, in the event of a leader that
// hands over, and where it could be a transferee.
const WithoutRoom = "has no room on its disk"

// transferees knows to whom a leader gives the lead that cannot do its work, because it
// cannot read what it would apply, has lost its state, is stuck in a command, or has no room: it would
// answer nobody, and nobody would notice, since it says that it lives.
type transferees struct {
	ground
	places interface{ stuck() string }
	audit  interface {
		strandedAt(now protocol.Instant) protocol.Index
	}
	gossip interface{ Heard() []gossip.Heard }

	now Hampered
	// tried are those that were asked in the term for the cause, next when another one
	// may be.
	tried []protocol.MemberID
	term  protocol.Term
	why   string
	next  protocol.Instant
	slow  slowness
	// cramped says why no majority of voters could store more; empty if one could.
	cramped string
}

// full reports whether the disk is nearly full.
func (h *transferees) full() bool { return h.now.Full }

// begin forgets what was tried in another term.
func (h *transferees) begin(term protocol.Term) {
	if term != h.term {
		h.term, h.tried, h.why, h.next, h.cramped = term, nil, "", 0, ""
	}
}

// hindered says why a leader cannot do its work, and what a transferee must have applied for
// that to be otherwise; 0: it must have room. Empty: nothing hinders it.
func (h *transferees) hindered() (why string, applied protocol.Index) {
	switch stuck := h.places.stuck(); {
	case stuck != "":
		return stuck, h.log.handed + 1
	case h.now.Stuck != 0:
		return h.now.Why, h.now.Stuck
	case !h.standing.in[discarded] && !h.standing.may(mayApply):
		return "has no state that its log goes on from", h.log.logTerms().PrevIndex
	case h.now.Full:
		return WithoutRoom, 0
	}
	return "", 0
}

// handOver lets a leader that cannot do its work hand the lead over to the best
// voter that can. One that did not get it is asked again when all others were,
// as rarely as the policy asks.
func (h *transferees) handOver(now protocol.Instant) {
	why, applied := h.hindered()
	if from := h.audit.strandedAt(now); why == "" && from != 0 {
		why, applied = "has a state that its log does not confirm", from
	}
	s := h.log.lead().Status()
	if h.begin(s.Term); why != h.why {
		h.why, h.tried, h.next = why, nil, 0
	}
	if why == "" || now < h.next || !s.Transferee.IsZero() {
		return
	}
	to := transferee(&s, func(p *active.Progress) bool {
		return p.Answers && !slices.Contains(h.tried, p.ID) && h.canLead(p, applied)
	})
	if to.IsZero() {
		h.tried = nil // all begin anew, if there are any
		return
	}
	h.tried, h.next = append(h.tried, to), now.Add(handOverPause*h.cfg.Active.Election)
	// Refused only if the transferee has gone meanwhile: then another one is asked.
	if err := h.log.lead().Transfer(now, to); err == nil {
		h.out.Events = append(h.out.Events, protocol.Event{Kind: protocol.EventTransfer, Term: s.Term, Index: h.log.commit, Member: to, Text: "by a leader that " + why})
	}
}

// transferee returns the best of those that could take over and may lead for all that the
// caller knows; zero: there is none.
func transferee(s *active.Status, may func(*active.Progress) bool) protocol.MemberID {
	for _, id := range s.Transferees {
		if i := slices.IndexFunc(s.Progress, func(p active.Progress) bool { return p.ID == id }); may(&s.Progress[i]) {
			return id
		}
	}
	return protocol.MemberID{}
}

// canLead reports whether a voter that answers has said that it has what this one lacks.
func (h *transferees) canLead(p *active.Progress, applied protocol.Index) bool {
	if applied == 0 {
		return p.Room
	}
	heard := h.gossip.Heard()
	i, known := slices.BinarySearchFunc(heard, p.ID, compareHeard)
	return known && heard[i].Applied >= applied
}
