package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// Role is what a member does with the log.
type Role uint8

const (
	// RoleNone is a member that does not know the configuration at its
	// commit index although it holds a log: it keeps its log, neither votes
	// nor acknowledges, and fetches.
	RoleNone Role = iota
	// RolePassive follows: it takes committed entries only.
	RolePassive
	// RoleActive runs Raft, as a voter or as a learner.
	RoleActive
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case RolePassive:
		return "passive"
	case RoleActive:
		return "active"
	}
	return "none"
}

// Seat is what a configuration gives to a member that it names.
type Seat uint8

const (
	// SeatLearner receives the log from the leader and does not vote.
	SeatLearner Seat = 1
	// SeatVoter votes and counts for quorums.
	SeatVoter Seat = 2
)

// String returns the seat's name.
func (s Seat) String() string {
	switch s {
	case SeatLearner:
		return "learner"
	case SeatVoter:
		return "voter"
	}
	return fmt.Sprintf("seat(%d)", uint8(s))
}

// ActiveMember is one line of a configuration.
type ActiveMember struct {
	ID MemberID
	// Name is a label for people; Address is host:port of the member's one
	// port. Neither decides anything in a core.
	Name    string
	Address string
	Seat    Seat
}

// Configuration says who is active. Members are sorted by id, each at most
// once, and at least one of them is a voter.
type Configuration struct {
	Members []ActiveMember
	// Target is the number of voters that the policy aims at.
	Target int
}

// Find returns the line of a member.
func (c Configuration) Find(id MemberID) (ActiveMember, bool) {
	i, ok := slices.BinarySearchFunc(c.Members, id, func(m ActiveMember, id MemberID) int { return m.ID.Compare(id) })
	if !ok {
		return ActiveMember{}, false
	}
	return c.Members[i], true
}

// Names reports whether the configuration names the member, in any seat.
func (c Configuration) Names(id MemberID) bool { _, ok := c.Find(id); return ok }

// IsVoter reports whether the member counts for quorums.
func (c Configuration) IsVoter(id MemberID) bool {
	m, ok := c.Find(id)
	return ok && m.Seat == SeatVoter
}

// Voters returns the ids of the voters, sorted.
func (c Configuration) Voters() []MemberID {
	var ids []MemberID
	for _, m := range c.Members {
		if m.Seat == SeatVoter {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// With returns a copy in which m has its line, sorted.
func (c Configuration) With(m ActiveMember) Configuration {
	out := c.Without(m.ID)
	out.Members = append(out.Members, m)
	slices.SortFunc(out.Members, func(a, b ActiveMember) int { return a.ID.Compare(b.ID) })
	return out
}

// Without returns a copy that does not name the member.
func (c Configuration) Without(id MemberID) Configuration {
	out := c
	out.Members = slices.DeleteFunc(slices.Clone(c.Members), func(m ActiveMember) bool { return m.ID == id })
	return out
}

// Equal reports whether both say the same.
func (c Configuration) Equal(d Configuration) bool {
	return c.Target == d.Target && slices.Equal(c.Members, d.Members)
}

// Validate reports the first violated invariant.
func (c Configuration) Validate() error {
	if len(c.Members) > ActivesMax {
		return fmt.Errorf("a configuration names at most %d members, this one %d", ActivesMax, len(c.Members))
	}
	if c.Target < 0 || c.Target > ActivesMax {
		return fmt.Errorf("the target of a configuration is between 0 and %d voters, this one's is %d", ActivesMax, c.Target)
	}
	voters := 0
	for i, m := range c.Members {
		if len(m.Name) > NameBytesMax || len(m.Address) > NameBytesMax {
			return fmt.Errorf("member %s has a name of %d and an address of %d bytes, the limit is %d", m.ID.Short(), len(m.Name), len(m.Address), NameBytesMax)
		}
		if m.ID.IsZero() {
			return fmt.Errorf("member %d of the configuration has no id", i)
		}
		if i > 0 && !c.Members[i-1].ID.Less(m.ID) {
			return fmt.Errorf("members of the configuration are not sorted by id, each once, at %s", m.ID.Short())
		}
		if m.Seat != SeatLearner && m.Seat != SeatVoter {
			return fmt.Errorf("member %s has an unknown seat %d", m.ID.Short(), m.Seat)
		}
		if m.Seat == SeatVoter {
			voters++
		}
	}
	if voters == 0 {
		return fmt.Errorf("a configuration needs a voter")
	}
	return nil
}

// String lists names (or short ids) and seats.
func (c Configuration) String() string {
	var b strings.Builder
	for i, m := range c.Members {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(m.Label())
		if m.Seat != SeatVoter {
			b.WriteString("(" + m.Seat.String() + ")")
		}
	}
	return b.String()
}

// Label returns the name, or the short id of a member without one.
func (m ActiveMember) Label() string {
	if m.Name != "" {
		return m.Name
	}
	return m.ID.Short()
}

// ConfigurationAt is a configuration and the index of the entry that brought
// it, which is also its version.
type ConfigurationAt struct {
	Index         Index
	Configuration Configuration
}

// Configurations is what a log says about who is active: the configuration in
// force where the log begins, if it is known, and every configuration entry
// above, in order of index. The zero value knows nothing.
type Configurations struct {
	list []ConfigurationAt
}

// NewConfigurations returns the history with the given lines, which must be in
// order of index.
func NewConfigurations(list ...ConfigurationAt) Configurations {
	return Configurations{list: slices.Clone(list)}
}

// All returns the lines in order of index. The caller must not change them.
func (c *Configurations) All() []ConfigurationAt { return c.list }

// Clone returns an independent copy.
func (c *Configurations) Clone() Configurations { return Configurations{list: slices.Clone(c.list)} }

// At returns the configuration in force at an index.
func (c *Configurations) At(i Index) (ConfigurationAt, bool) {
	for k := len(c.list) - 1; k >= 0; k-- {
		if c.list[k].Index <= i {
			return c.list[k], true
		}
	}
	return ConfigurationAt{}, false
}

// Latest returns the last configuration of the log, committed or not.
func (c *Configurations) Latest() (ConfigurationAt, bool) {
	if len(c.list) == 0 {
		return ConfigurationAt{}, false
	}
	return c.list[len(c.list)-1], true
}

// Append adds a configuration above all others.
func (c *Configurations) Append(at ConfigurationAt) { c.list = append(c.list, at) }

// TruncateAfter forgets the configurations above an index.
func (c *Configurations) TruncateAfter(i Index) {
	for len(c.list) > 0 && c.list[len(c.list)-1].Index > i {
		c.list = c.list[:len(c.list)-1]
	}
}

// RoleOf is the rule "a member's role follows its log". A member is active if
// the configuration at its commit index names it, or if any later one in its
// log does, committed or not; otherwise it is passive. A member that holds a
// log but does not know the configuration at its commit index has no role.
func (c *Configurations) RoleOf(id MemberID, commit Index, logEmpty bool) Role {
	at, known := c.At(commit)
	if known && at.Configuration.Names(id) {
		return RoleActive
	}
	for _, later := range c.list {
		if later.Index > commit && later.Configuration.Names(id) {
			return RoleActive
		}
	}
	if known || logEmpty {
		return RolePassive
	}
	return RoleNone
}
