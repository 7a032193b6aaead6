package replica

import (
	"fmt"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// types is what is known of the resource types that the voters can apply.
//
// [S] A leader proposes only what all voters can apply: one entry of a type that
// a majority lacks would stop all of them for good. A voter that has said
// nothing, because it is away, stands in the way of new types only: what has
// been applied before is in the log already, and one entry more does no harm.
type types struct {
	// A follower tells its leader, now and then, since messages are lost.
	told   leaderHint
	tellAt protocol.Instant

	// A leader remembers who said what, by id, in its term.
	term  protocol.Term
	heard []announcement
}

// announcement is what a member said that it can apply, in order.
type announcement struct {
	member protocol.MemberID
	list   []protocol.TypeVersion
}

func compareTypes(a, b protocol.TypeVersion) int {
	if a.Name != b.Name {
		if a.Name < b.Name {
			return -1
		}
		return 1
	}
	return int(int64(a.Version) - int64(b.Version))
}

// tellTypes tells a leader what this member can apply.
func (r *Replica) tellTypes(now protocol.Instant, leader protocol.MemberID, term protocol.Term) {
	t := &r.types
	to := leaderHint{term: term, leader: leader}
	if len(r.cfg.Types) == 0 || leader.IsZero() || leader == r.cfg.ID || t.told == to && now < t.tellAt {
		return
	}
	t.told, t.tellAt = to, now.Add(r.patience())
	r.out.Send = append(r.out.Send, Send{Envelope: protocol.Envelope{From: r.cfg.ID, To: leader, Message: &protocol.Types{List: r.cfg.Types}}})
}

// heardTypes takes what another member can apply.
func (r *Replica) heardTypes(from protocol.MemberID, m *protocol.Types) {
	if !r.leads() {
		return
	}
	t := &r.types
	t.follow(r.active.Term())
	list := slices.Clone(m.List)
	slices.SortFunc(list, compareTypes)
	i, known := slices.BinarySearchFunc(t.heard, from, func(a announcement, id protocol.MemberID) int { return a.member.Compare(id) })
	if !known {
		t.heard = slices.Insert(t.heard, i, announcement{member: from})
	}
	t.heard[i].list = list
}

// follow forgets what was said in an earlier term.
func (t *types) follow(term protocol.Term) {
	if t.term != term {
		t.term, t.heard = term, nil
	}
}

// lacks returns a voter that has not said that it can apply a type, if any.
func (r *Replica) lacks(x protocol.TypeVersion) (protocol.ActiveMember, bool) {
	r.types.follow(r.active.Term())
	latest, _ := r.active.Configurations().Latest()
	for _, m := range latest.Configuration.Members {
		if m.ID == r.cfg.ID || m.Seat != protocol.SeatVoter && !m.Outgoing {
			continue
		}
		i, known := slices.BinarySearchFunc(r.types.heard, m.ID, func(a announcement, id protocol.MemberID) int { return a.member.Compare(id) })
		if known {
			if _, can := slices.BinarySearchFunc(r.types.heard[i].list, x, compareTypes); can {
				continue
			}
		}
		return m, true
	}
	return protocol.ActiveMember{}, false
}

// allCan reports whether all voters can apply everything that this member can:
// then no command needs a look.
func (r *Replica) allCan() bool {
	for _, x := range r.cfg.Types {
		if _, lacking := r.lacks(x); lacking {
			return false
		}
	}
	return true
}

// checkType refuses a command that not all voters can apply.
func (r *Replica) checkType(c *protocol.Command) error {
	if c.Type == protocol.SessionType {
		return nil
	}
	x := protocol.TypeVersion{Name: c.Type, Version: c.Version}
	m, lacking := r.lacks(x)
	if !lacking || r.cfg.Used != nil && r.cfg.Used(x) {
		return nil
	}
	return protocol.ErrUnavailable.With(fmt.Sprintf(
		"the voter %s has not said that it knows type %q version %d: it must run a program that does, before the type is used for the first time",
		m.Label(), x.Name, x.Version))
}
