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
	ground
	who *hearing

	// toldConf is the configuration whose actives were told last, tellAt when
	// they are told again: messages are lost.
	toldConf protocol.Index
	tellAt   protocol.Instant

	// heard is who said what, by id: also from before this member led, because
	// it may lead when they are away.
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

// tell tells the other actives what this one can apply, when they are
// others, and now and then: whoever leads next must know.
func (t *types) tell(now protocol.Instant) {
	if !t.log.knows() || len(t.cfg.Types) == 0 {
		return
	}
	latest, known := t.log.configurations().Latest()
	if !known || latest.Index == t.toldConf && now < t.tellAt {
		return
	}
	t.toldConf, t.tellAt = latest.Index, now.Add(t.patience())
	for _, m := range latest.Configuration.Members {
		if m.ID != t.cfg.ID {
			t.out.send(m.ID, &protocol.Types{List: t.cfg.Types})
		}
	}
}

// onTypes takes what another member can apply.
func (t *types) onTypes(now protocol.Instant, from protocol.MemberID, m *protocol.Types) {
	if latest, known := t.log.configurations().Latest(); known && t.log.knows() && !latest.Configuration.Names(from) {
		return // ordinary: it has just got its seat, or lost it; it says it again when the log names it
	}
	list := slices.Clone(m.List)
	slices.SortFunc(list, compareTypes)
	i, known := slices.BinarySearchFunc(t.heard, from, func(a announcement, id protocol.MemberID) int { return a.member.Compare(id) })
	if !known {
		if len(t.heard) == typesHeardMax {
			t.heard, i = nil, 0 // they say it again
		}
		t.heard = slices.Insert(t.heard, i, announcement{member: from})
		t.tellAt = now // it does not know this one either, most likely
	}
	t.heard[i].list = list
}

// typesHeardMax bounds whose types are remembered. More actives there are not.
const typesHeardMax = 4 * protocol.ActivesMax

// lacks returns a voter that has not said that it can apply a type, if any.
func (t *types) lacks(x protocol.TypeVersion) (protocol.ActiveMember, bool) {
	latest, _ := t.log.configurations().Latest()
	for _, m := range latest.Configuration.Members {
		if m.ID == t.cfg.ID || m.Suffrage != protocol.SuffrageVoter && !m.Outgoing {
			continue
		}
		i, known := slices.BinarySearchFunc(t.heard, m.ID, func(a announcement, id protocol.MemberID) int { return a.member.Compare(id) })
		if known {
			if _, can := slices.BinarySearchFunc(t.heard[i].list, x, compareTypes); can {
				continue
			}
		}
		return m, true
	}
	return protocol.ActiveMember{}, false
}

// allCan reports whether all voters can apply everything that this member can:
// then no command needs a look.
func (t *types) allCan() bool {
	for _, x := range t.cfg.Types {
		if _, lacking := t.lacks(x); lacking {
			return false
		}
	}
	return true
}

// check refuses a command that not all voters can apply.
func (t *types) check(c *protocol.Command) error {
	if c.Type == protocol.SessionType {
		return nil
	}
	x := protocol.TypeVersion{Name: c.Type, Version: c.Version}
	m, lacking := t.lacks(x)
	if !lacking || t.cfg.Used != nil && t.cfg.Used(x) {
		return nil
	}
	return protocol.ErrUnavailable.With(fmt.Sprintf(
		"the voter %s has not said that it knows type %q version %d: it must run a program that does, before the type is used for the first time",
		m.Label(), x.Name, x.Version))
}
