package protocol

import (
	"fmt"
	"slices"
	"strings"
	"time"
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
	// RoleReserve stands by: it takes part in the membership only, and holds
	// nothing, until a leader asks it to follow. No log says so: it is how a
	// passive begins that wishes to be one only when it is needed.
	RoleReserve
)

// String returns the role's name.
func (r Role) String() string {
	return EnumText(r, "role", "none", "passive", "active", "reserve")
}

// Suffrage is what a configuration gives to a member that it names.
type Suffrage uint8

const (
	// SuffrageNone is no seat in the incoming half: of a voter that leaves, in a
	// joint configuration only.
	SuffrageNone Suffrage = 0
	// SuffrageLearner receives the log from the leader and does not vote.
	SuffrageLearner Suffrage = 1
	// SuffrageVoter votes and counts for quorums.
	SuffrageVoter Suffrage = 2
)

// String returns the seat's name.
func (s Suffrage) String() string {
	return EnumText(s, "suffrage", "leaving", "learner", "voter")
}

// ActiveMember is one line of a configuration.
type ActiveMember struct {
	ID MemberID
	// Name is a label for people; Address is host:port of the member's one
	// port. Neither decides anything in a core.
	Name    string
	Address string
	// Suffrage is the member's seat; in a joint configuration that in the incoming
	// half.
	Suffrage Suffrage
	// Outgoing says that the member is a voter of the outgoing half.
	Outgoing bool
}

// Configuration says who is active. Members are sorted by id, each at most
// once, and at least one of them is a voter.
//
// A configuration with outgoing voters is joint: it leads from one set of
// voters to another, and whatever is decided under it takes a majority of the
// outgoing voters and one of the incoming ones (the paper, section 6). It then
// has at least one voter in each half.
type Configuration struct {
	Members []ActiveMember
	// Target is the number of voters that the policy aims at.
	Target int
	// Lease is for how long a member that heard a leader gives no vote to
	// another, so that the leader may serve reads on its own (see package
	// active). Whole nanoseconds, at most LeaseMax; 0, the default, turns
	// lease reads off. Not over the shortest election timeout of any member,
	// or elections take longer.
	Lease time.Duration
	// Autopilot is what the policy goes by.
	Autopilot Autopilot
	// StateBytes is the limit of what all resources may hold, keys and values with
	// KeyOverhead for each key; 0, the default, is none. It holds for the entries above
	// the one that brings it.
	StateBytes int64
	// Level is the format level in force above the entry that brings the
	// configuration; 0 for the first.
	Level FormatLevel
}

// Find returns the line of a member.
func (c Configuration) Find(id MemberID) (ActiveMember, bool) {
	i, ok := slices.BinarySearchFunc(c.Members, id, func(m ActiveMember, id MemberID) int { return m.ID.Compare(id) })
	if !ok {
		return ActiveMember{}, false
	}
	return c.Members[i], true
}

// Names reports whether the configuration names the member, in any seat and in
// either half.
func (c Configuration) Names(id MemberID) bool { _, ok := c.Find(id); return ok }

// IsVoter reports whether the member counts for quorums, in either half.
func (c Configuration) IsVoter(id MemberID) bool {
	m, ok := c.Find(id)
	return ok && (m.Suffrage == SuffrageVoter || m.Outgoing)
}

// Voters returns the ids of the voters, sorted; of a joint configuration those
// of the incoming half.
func (c Configuration) Voters() []MemberID {
	return c.ids(func(m ActiveMember) bool { return m.Suffrage == SuffrageVoter })
}

// OutgoingVoters returns the ids of the outgoing half's voters, sorted; none
// unless the configuration is joint.
func (c Configuration) OutgoingVoters() []MemberID {
	return c.ids(func(m ActiveMember) bool { return m.Outgoing })
}

// Majority reports whether more than half of some voters are as asked; of none, none
// are.
func Majority(voters []MemberID, is func(MemberID) bool) bool {
	n := 0
	for _, id := range voters {
		if is(id) {
			n++
		}
	}
	return 2*n > len(voters)
}

// Needs reports whether a half of the configuration has no majority without a member.
func (c Configuration) Needs(id MemberID) bool {
	for _, voters := range [][]MemberID{c.Voters(), c.OutgoingVoters()} {
		if slices.Contains(voters, id) && !Majority(voters, func(other MemberID) bool { return other != id }) {
			return true
		}
	}
	return false
}

func (c Configuration) ids(which func(ActiveMember) bool) []MemberID {
	var ids []MemberID
	for _, m := range c.Members {
		if which(m) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// Joint reports whether the configuration leads from one set of voters to
// another.
func (c Configuration) Joint() bool {
	return slices.ContainsFunc(c.Members, func(m ActiveMember) bool { return m.Outgoing })
}

// Toward returns the joint configuration that leads from c to next, neither of
// which may be joint. Everything but the outgoing votes is as next says.
func (c Configuration) Toward(next Configuration) Configuration {
	out := next
	out.Members = slices.Clone(next.Members)
	for _, old := range c.Members {
		if old.Suffrage != SuffrageVoter {
			continue
		}
		line, named := next.Find(old.ID)
		if !named {
			line = old
			line.Suffrage = SuffrageNone
		}
		line.Outgoing = true
		out = out.With(line)
	}
	return out
}

// Final returns the configuration that a joint one leads to.
func (c Configuration) Final() Configuration {
	out := c
	out.Members = slices.DeleteFunc(slices.Clone(c.Members), func(m ActiveMember) bool { return m.Suffrage == SuffrageNone })
	for i := range out.Members {
		out.Members[i].Outgoing = false
	}
	return out
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
	return c.Target == d.Target && c.Lease == d.Lease && c.Autopilot == d.Autopilot && c.StateBytes == d.StateBytes && c.Level.Number() == d.Level.Number() && slices.Equal(c.Members, d.Members)
}

// Validate reports the first violated invariant.
func (c Configuration) Validate() error {
	if len(c.Members) > ActivesMax {
		return fmt.Errorf("a configuration names at most %d members, this one %d", ActivesMax, len(c.Members))
	}
	if c.Target < 0 || c.Target > ActivesMax {
		return fmt.Errorf("the target of a configuration is between 0 and %d voters, this one's is %d", ActivesMax, c.Target)
	}
	if c.Lease < 0 || c.Lease > LeaseMax {
		return fmt.Errorf("the lease of a configuration is between 0 and %v, this one's is %v", LeaseMax, c.Lease)
	}
	if err := CheckStateBytes(c.StateBytes); err != nil {
		return err
	}
	if c.Level > FormatLevelMax {
		return fmt.Errorf("a format level is between %d and %d, not %d", FormatFirst, FormatLevelMax, c.Level)
	}
	if err := c.Autopilot.Validate(); err != nil {
		return err
	}
	voters := 0
	for i, m := range c.Members {
		if i > 0 && !c.Members[i-1].ID.Less(m.ID) {
			return fmt.Errorf("members of the configuration are not sorted by id, each once, at %s", m.ID.Short())
		}
		if err := m.validate(); err != nil {
			return err
		}
		if m.Suffrage == SuffrageVoter {
			voters++
		}
	}
	if voters == 0 {
		return fmt.Errorf("a configuration needs a voter")
	}
	return nil
}

// CheckStateBytes reports a limit of the state that none can be.
func CheckStateBytes(n int64) error {
	if n != 0 && (n < StateBytesMin || n > StateBytesMax) {
		return fmt.Errorf("the limit of the state is 0, for none, or between %d and %d bytes, not %d", StateBytesMin, int64(StateBytesMax), n)
	}
	return nil
}

func (m ActiveMember) validate() error {
	switch {
	case len(m.Name) > NameBytesMax || len(m.Address) > NameBytesMax:
		return fmt.Errorf("member %s has a name of %d and an address of %d bytes, the limit is %d", m.ID.Short(), len(m.Name), len(m.Address), NameBytesMax)
	case m.ID.IsZero():
		return fmt.Errorf("a member of the configuration has no id")
	case m.Suffrage > SuffrageVoter:
		return fmt.Errorf("member %s has an unknown seat %d", m.ID.Short(), m.Suffrage)
	case m.Suffrage == SuffrageNone && !m.Outgoing:
		return fmt.Errorf("member %s has no seat in either half", m.ID.Short())
	}
	return nil
}

// String lists names (or short ids), learners marked as such. A joint
// configuration is both halves with an arrow in between: the outgoing voters,
// and what the configuration leads to, as in "a b c => b c d e(learner)".
func (c Configuration) String() string {
	var words []string
	if c.Joint() {
		for _, m := range c.Members {
			if m.Outgoing {
				words = append(words, m.Label())
			}
		}
		words = append(words, "=>")
	}
	for _, m := range c.Members {
		switch m.Suffrage {
		case SuffrageNone:
		case SuffrageVoter:
			words = append(words, m.Label())
		default:
			words = append(words, m.Label()+"("+m.Suffrage.String()+")")
		}
	}
	return strings.Join(words, " ")
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

// DropHead forgets the configurations that were replaced by the time of index
// i, where the log begins.
func (c *Configurations) DropHead(i Index) {
	for len(c.list) > 1 && c.list[1].Index <= i {
		c.list = c.list[1:]
	}
}

// RoleOf is the rule "a member's role follows its log". A member is active if
// the configuration at its commit index names it, in either half of a joint one,
// or if any later one in its log does, committed or not; otherwise it is passive. A member that holds a
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
