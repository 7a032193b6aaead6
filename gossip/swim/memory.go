package swim

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
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
	// Heard is when it was last heard, now for one that is; zero: never.
	Heard time.Time
	// Named says that the configuration names it: it is not forgotten.
	Named bool
}

// memory is who is not heard and should be: the members that were cut off, are
// down, or have not been found yet. It belongs to whoever holds Swim.mu.
type memory struct {
	started time.Time
	lost    map[protocol.MemberID]*lost
	size    *atomic.Int64               // of lost, readable by anybody
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
	news    time.Time // when it was last tried because of news
	// means is what each of its names means that does not mean its number any more.
	means map[string]string
}

// given is an address at which there should be a member, nobody knows which.
type given struct {
	address string
	at      []string // what it was last resolved to
	trying  int
}

func newMemory(list []Known, addresses []string) memory {
	m := memory{started: time.Now(), lost: make(map[protocol.MemberID]*lost), size: new(atomic.Int64), named: make(map[protocol.MemberID]Known)}
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

// lose takes note of a member that is not heard, any more or so far.
func (m *memory) lose(k Known, settled bool) {
	if _, known := m.lost[k.ID]; !known && len(m.lost) >= rememberedMax && !m.evict() {
		return
	}
	m.lost[k.ID] = &lost{Known: k, settled: settled}
	m.size.Store(int64(len(m.lost)))
}

// drop forgets that a member is not heard, if it is not.
func (m *memory) drop(id protocol.MemberID) {
	delete(m.lost, id)
	m.size.Store(int64(len(m.lost)))
}

// evict forgets the member that was not heard for the longest, and reports
// whether there was one that may be forgotten.
func (m *memory) evict() bool {
	var oldest *lost
	for id, l := range m.lost {
		_, seated := m.named[id]
		if !seated && (oldest == nil || l.Heard.Before(oldest.Heard)) {
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
func (m *memory) found(peer protocol.Peer) {
	m.drop(peer.ID)
	for id, l := range m.lost {
		if _, seated := m.named[id]; !seated && peer.Name != "" && l.Name == peer.Name {
			m.drop(id)
		}
	}
}

// left forgets who has left by its own will. A seat remains, and with it the
// wish to hear its member.
func (m *memory) left(id protocol.MemberID) {
	if _, seated := m.named[id]; !seated {
		m.drop(id)
	}
}

// expire forgets who was not heard for too long.
func (m *memory) expire(now time.Time) {
	for id, l := range m.lost {
		_, seated := m.named[id]
		last := l.Heard
		if last.Before(m.started) {
			last = m.started
		}
		if !seated && now.Sub(last) > rememberedFor {
			m.drop(id)
		}
	}
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
		if m.lost[k.ID] == nil && !lives(k.ID) {
			m.lose(k, true)
		}
	}
	m.named = next
	for id, l := range m.lost {
		if _, seated := next[id]; !seated && l.Heard.IsZero() {
			m.drop(id) // it was known for its seat alone
		}
	}
}

// missing returns who is not heard, those heard last first.
func (m *memory) missing() []Known {
	list := make([]Known, 0, len(m.lost))
	for id, l := range m.lost { // sorted below
		if l.settled {
			_, l.Named = m.named[id]
			list = append(list, l.Known)
		}
	}
	slices.SortFunc(list, func(a, b Known) int { return cmp.Or(b.Heard.Compare(a.Heard), a.ID.Compare(b.ID)) })
	return list
}

// idle returns the members and the addresses that could be tried now: those that
// are being tried await an outcome, and an address where somebody lives who
// is heard needs none.
func (m *memory) idle(live map[protocol.MemberID]known) (members []*lost, addresses []*given) {
	for _, l := range m.lost { // one of them is drawn
		if l.trying < triesEach {
			members = append(members, l)
		}
	}
	var heard map[string]bool
	for i := range m.given {
		if heard == nil {
			heard = make(map[string]bool, len(live))
			for _, k := range live {
				heard[k.peer.Address] = true
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
func (s *Swim) Unheard() []Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory.missing()
}

// Remembered returns whom to know at the next start, at most 1,024: those that
// are not heard first, but so that half of it at least is left for the others.
func (s *Swim) Remembered() []Known {
	s.mu.Lock()
	lost := s.memory.missing()
	live := make([]Known, 0, len(s.nodes))
	for _, k := range s.nodes { // sorted below
		live = append(live, knownOf(k.peer))
	}
	s.mu.Unlock()
	slices.SortFunc(live, func(a, b Known) int { return a.ID.Compare(b.ID) })
	room := rememberedMax - min(len(live), rememberedMax/2)
	lost = lost[:min(len(lost), room)]
	return append(lost, live[:min(len(live), rememberedMax-len(lost))]...)
}

// Name says whom the configuration names: they are looked for until they are
// heard, whether this member ever knew them or not.
func (s *Swim) Name(members []Known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	members = slices.DeleteFunc(slices.Clone(members), func(k Known) bool { return k.ID == s.cfg.ID })
	s.memory.name(members, func(id protocol.MemberID) bool { _, live := s.nodes[id]; return live })
}

// Forget says that a member is not expected back: it was removed. If it is heard
// again it is known again.
func (s *Swim) Forget(id protocol.MemberID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.drop(id)
}

// knownOf is what is remembered of a live member.
func knownOf(peer protocol.Peer) Known {
	return Known{ID: peer.ID, Name: peer.Name, Role: peer.Role, Address: peer.Reach(), Number: peer.Address, Heard: time.Now()}
}

// isNumber reports whether a host is an IP address, which may have a zone.
func isNumber(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// named returns an address whose host is a name, or else nothing.
func named(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil || isNumber(host) {
		return ""
	}
	return address
}
