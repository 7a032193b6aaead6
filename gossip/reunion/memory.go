package reunion

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// rememberedMax is how many members that are not heard are remembered, and
	// givenMax how many addresses that were given.
	rememberedMax, givenMax = 1024, 1024
	// rememberedFor is how long a member that is not heard is remembered, counted
	// from the start if that was later: who was stopped for days does not find
	// the others gone from its memory.
	rememberedFor = 24 * time.Hour
)

// Known is a member that was heard once, or is named by the configuration.
type Known struct {
	ID   protocol.MemberID
	Name string
	Role protocol.Role
	// Address is host:port as the member announces it, or as the configuration
	// has it. The host may be a name; it is resolved at each try.
	Address string
	// Number is the address at which it was heard last; empty: it is not known.
	Number string
	// Heard is when it was last heard, now for one that is; 0: never.
	Heard protocol.Instant
	// Named says that the configuration names it: it is not forgotten.
	Named bool
}

// memory is who is not heard and should be: the members that were cut off, are
// down, or have not been found yet.
type memory struct {
	started protocol.Instant
	lost    []*lost                     // sorted by id
	named   map[protocol.MemberID]Known // that the configuration names
	given   []given
}

// lost is a member that is not heard.
type lost struct {
	Known
	// settled says that it has not left by its own will: that is found out after
	// its death.
	settled bool
	trying  int
	tried   bool             // because of news, at all
	news    protocol.Instant // when it was last
	// means is what each of its names means that does not mean its number any more.
	means map[string]string
}

// given is an address at which there should be a member, nobody knows which.
type given struct {
	address string
	at      []string // what it was last resolved to
	trying  int
}

func newMemory(now protocol.Instant, list []Known, addresses []string) memory {
	m := memory{started: now, named: make(map[protocol.MemberID]Known)}
	for _, k := range list {
		if !k.ID.IsZero() {
			m.lose(k, true)
		}
	}
	for _, a := range slices.Compact(slices.Sorted(slices.Values(addresses))) {
		if len(m.given) < givenMax {
			m.given = append(m.given, given{address: a})
		}
	}
	return m
}

// at returns where a member stands in the list, or would stand.
func (m *memory) at(id protocol.MemberID) (int, bool) {
	return slices.BinarySearchFunc(m.lost, id, func(l *lost, id protocol.MemberID) int { return l.ID.Compare(id) })
}

// of returns what is remembered of a member that is not heard, or nil.
func (m *memory) of(id protocol.MemberID) *lost {
	if i, ok := m.at(id); ok {
		return m.lost[i]
	}
	return nil
}

// seated reports whether the configuration names a member.
func (m *memory) seated(id protocol.MemberID) bool {
	_, ok := m.named[id]
	return ok
}

// lose takes note of a member that is not heard, any more or so far.
func (m *memory) lose(k Known, settled bool) {
	if m.of(k.ID) == nil && len(m.lost) >= rememberedMax && !m.evict() {
		return
	}
	next := &lost{Known: k, settled: settled}
	if i, ok := m.at(k.ID); ok {
		m.lost[i] = next
	} else {
		m.lost = slices.Insert(m.lost, i, next)
	}
}

// drop forgets that a member is not heard, if it is not.
func (m *memory) drop(id protocol.MemberID) {
	if i, ok := m.at(id); ok {
		m.lost = slices.Delete(m.lost, i, i+1)
	}
}

// evict forgets the member that was not heard for the longest, and reports
// whether there was one that may be forgotten.
func (m *memory) evict() bool {
	var oldest *lost
	for _, l := range m.lost {
		if !m.seated(l.ID) && (oldest == nil || l.Heard < oldest.Heard) {
			oldest = l
		}
	}
	if oldest != nil {
		m.drop(oldest.ID)
	}
	return oldest != nil
}

// found forgets that a member was not heard, and any other that had its name:
// names are unique among live members, so it was started anew, as another one.
func (m *memory) found(peer *protocol.Peer) {
	m.drop(peer.ID)
	m.lost = slices.DeleteFunc(m.lost, func(l *lost) bool { return !m.seated(l.ID) && peer.Name != "" && l.Name == peer.Name })
}

// expire forgets who was not heard for too long.
func (m *memory) expire(now protocol.Instant) {
	m.lost = slices.DeleteFunc(m.lost, func(l *lost) bool {
		return !m.seated(l.ID) && now.Sub(max(l.Heard, m.started)) > rememberedFor
	})
}

// name says whom the configuration names, except for the members that live.
func (m *memory) name(list []Known, lives func(protocol.MemberID) bool) {
	next := make(map[protocol.MemberID]Known, len(list))
	for _, k := range list {
		if k.ID.IsZero() {
			continue
		}
		k.Named = true
		next[k.ID] = k
		if m.of(k.ID) == nil && !lives(k.ID) {
			m.lose(k, true)
		}
	}
	m.named = next
	// Who was known for its seat alone goes with it.
	m.lost = slices.DeleteFunc(m.lost, func(l *lost) bool { return !m.seated(l.ID) && l.Heard == 0 })
}

// missing returns who is not heard, those heard last first.
func (m *memory) missing() []Known {
	list := make([]Known, 0, len(m.lost))
	for _, l := range m.lost {
		if l.settled {
			l.Named = m.seated(l.ID)
			list = append(list, l.Known)
		}
	}
	slices.SortStableFunc(list, func(a, b Known) int { return cmp.Compare(b.Heard, a.Heard) })
	return list
}

// idle returns the members and the addresses that could be tried now: those that
// are being tried await an outcome, and an address where somebody lives who
// is heard needs none.
func (m *memory) idle(live map[protocol.MemberID]protocol.Peer) (members []*lost, addresses []*given) {
	for _, l := range m.lost {
		if l.trying < triesEach {
			members = append(members, l)
		}
	}
	var heard map[string]bool
	for i := range m.given {
		if heard == nil {
			heard = make(map[string]bool, len(live))
			for _, p := range live { // order does not matter: it makes a set
				heard[p.Address] = true
			}
		}
		g := &m.given[i]
		if g.trying < triesEach && !slices.ContainsFunc(g.at, func(a string) bool { return heard[a] }) {
			addresses = append(addresses, g)
		}
	}
	return members, addresses
}

// addresses returns the addresses at which a member may be: that which it
// announced, and that which the configuration has.
func (m *memory) addresses(l *lost) []string {
	list := []string{l.Address}
	if s, ok := m.named[l.ID]; ok && s.Address != l.Address {
		list = append(list, s.Address)
	}
	return slices.DeleteFunc(list, func(a string) bool { return a == "" })
}

// Unheard returns the members that should be heard and are not, those heard last
// first: who died, was cut off, or is named by the configuration and was not
// found so far. Who has left is not among them, nor who was removed.
func (f *Flock) Unheard() []Known { return f.memory.missing() }

// Missing returns how many members are not heard, those included of whom it was not
// found out so far whether they have left.
func (f *Flock) Missing() int { return len(f.memory.lost) }

// Remembered returns whom to know at the next start, at most 1,024: those that
// are not heard first, but so that half of it at least is left for the others.
func (f *Flock) Remembered(now protocol.Instant) []Known {
	lost, live := f.memory.missing(), f.Peers()
	room := rememberedMax - min(len(live), rememberedMax/2)
	list := lost[:min(len(lost), room)]
	for i := range live[:min(len(live), rememberedMax-len(list))] {
		list = append(list, knownOf(&live[i], now))
	}
	return list
}

// Name says whom the configuration names: they are looked for until they are
// heard, whether this member ever knew them or not.
func (f *Flock) Name(members []Known) {
	members = slices.DeleteFunc(slices.Clone(members), func(k Known) bool { return k.ID == f.self })
	f.memory.name(members, f.Hears)
}

// Forget says that a member is not expected back: it was removed. If it is heard
// again it is known again.
func (f *Flock) Forget(id protocol.MemberID) { f.memory.drop(id) }

// Left forgets who has left by its own will. A seat remains, and with it the
// wish to hear its member.
func (f *Flock) Left(id protocol.MemberID) {
	if !f.memory.seated(id) {
		f.memory.drop(id)
	}
}

// Peers returns the members that are heard, sorted by id.
func (f *Flock) Peers() []protocol.Peer {
	return slices.SortedFunc(maps.Values(f.live), func(a, b protocol.Peer) int { return a.ID.Compare(b.ID) })
}

// knownOf is what is remembered of a live member.
func knownOf(peer *protocol.Peer, now protocol.Instant) Known {
	return Known{ID: peer.ID, Name: peer.Name, Role: peer.Role, Address: peer.Reach(), Number: peer.Address, Heard: now}
}

// Removed returns whose seats were taken away between two configurations, unless
// another got a vote in the same change: then the policy has replaced somebody
// who had failed, and is still expected back.
func Removed(last, next *protocol.Configuration) (ids []protocol.MemberID) {
	if slices.ContainsFunc(next.Members, func(a protocol.ActiveMember) bool {
		before, _ := last.Find(a.ID)
		return a.Suffrage == protocol.SuffrageVoter && !before.Outgoing && (last.Joint() || before.Suffrage != protocol.SuffrageVoter)
	}) {
		return nil
	}
	for _, a := range last.Members {
		if !next.Names(a.ID) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// Seats returns a configuration's members, as Name takes them.
func Seats(c *protocol.Configuration) []Known {
	list := make([]Known, 0, len(c.Members))
	for _, a := range c.Members {
		list = append(list, Known{ID: a.ID, Name: a.Name, Role: protocol.RoleActive, Address: a.Address})
	}
	return list
}
