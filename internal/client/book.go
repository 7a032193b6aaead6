package client

import (
	"slices"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// book is what a Remote knows of the members: addresses, who leads, who should
// rest. Safe for use from any number of goroutines.
type book struct {
	mu      sync.Mutex
	cluster protocol.ClusterID
	given   []string
	learned []string
	// passive are those of the members learned that do not vote.
	passive map[string]bool
	// leader is where commands go, sticky where the rest does, but for reads
	// that need no leader and watches, which go to near; each empty if there is
	// none yet.
	leader, sticky, near string
	// term is the newest whose leader was named. What names one of an older term
	// is stale and counts for nothing; and so does what names lost, the leader of
	// this term who could not be reached, until it is, or who says that it leads no
	// more.
	term protocol.Term
	lost string
	// news is closed when the leader of a newer term is named, or one where none
	// was known.
	news chan struct{}
	// turn is where this client begins among members that suit alike, so that
	// many clients with the same addresses do not meet at the same member.
	turn uint64
	// resting says until when an address is tried last. It holds no more
	// addresses than given and learned do.
	resting map[string]time.Time
	// orders are the answers of order, until something changes that they depend
	// on, or an address rests no more: a client of a hundred members must not
	// compare all with all for each request. Empty: not known.
	orders      [routes][]string
	ordersUntil time.Time // zero: for ever
}

func newBook(given []string, cluster protocol.ClusterID, turn uint64) *book {
	return &book{given: given, cluster: cluster, turn: turn, resting: map[string]time.Time{}, news: make(chan struct{})}
}

func (b *book) clusterID() protocol.ClusterID {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cluster
}

// route says which members suit a request.
type route uint8

const (
	routeAny    route = iota // any, the last one that answered first
	routeLeader              // any, the leader first
	routeGiven               // those at the addresses given
	routeNear                // any, one that has the least to do for the others first
	routeNews                // any, one that hears first who leads, and is not the leader, first
	routes
)

// order returns the addresses that suit, the best first. Those that rest are
// last, not absent: they may be all there is. The list must not be changed.
func (b *book) order(suits route) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !b.ordersUntil.IsZero() && !b.ordersUntil.After(now) {
		b.changed()
	}
	if len(b.orders[suits]) == 0 {
		b.orders[suits] = b.orderAt(suits, now)
	}
	return b.orders[suits]
}

// changed forgets the orders.
func (b *book) changed() { b.orders, b.ordersUntil = [routes][]string{}, time.Time{} }

func (b *book) orderAt(suits route, now time.Time) []string {
	var best, rest []string
	listed := make(map[string]bool, len(b.given)+len(b.learned))
	add := func(address string) {
		if address == "" || listed[address] || suits == routeGiven && !slices.Contains(b.given, address) {
			return
		}
		listed[address] = true
		until := b.resting[address]
		if !until.After(now) {
			best = append(best, address)
			return
		}
		rest = append(rest, address)
		if b.ordersUntil.IsZero() || until.Before(b.ordersUntil) {
			b.ordersUntil = until
		}
	}
	switch suits {
	case routeLeader:
		add(b.leader)
	case routeNear, routeNews:
		for _, address := range b.nearest(suits == routeNews) {
			add(address)
		}
	}
	add(b.sticky)
	for _, address := range b.given {
		add(address)
	}
	if suits != routeGiven {
		for _, address := range b.learned {
			add(address)
		}
	}
	return append(best, rest...)
}

// nearest returns the addresses known, the best for a read that any member can
// answer first: the one that answered last, then those given, then those
// learned, passives before voters, and the leader, who has the most to do, last.
// Of who leads voters know first: for that they come before passives.
func (b *book) nearest(voters bool) []string {
	var ranks [4][]string
	rank := func(address string, base int) {
		switch {
		case address == b.leader:
		case b.passive[address] != voters:
			ranks[base] = append(ranks[base], address)
		default:
			ranks[base+1] = append(ranks[base+1], address)
		}
	}
	for _, address := range b.given {
		rank(address, 0)
	}
	for _, address := range b.learned {
		rank(address, 2)
	}
	var out []string
	if b.near != b.leader && !voters {
		out = append(out, b.near)
	}
	for _, list := range ranks {
		if n := uint64(len(list)); n > 0 {
			k := b.turn % n
			out = append(append(out, list[k:]...), list[:k]...)
		}
	}
	return append(out, b.leader)
}

// informed returns whom to ask for the next leader, the best first: not the one
// that is known, or was, unless there is nobody else.
func (b *book) informed() []string {
	all := b.order(routeNews)
	b.mu.Lock()
	defer b.mu.Unlock()
	others := make([]string, 0, len(all))
	for _, address := range all {
		if address != b.leader && address != b.lost {
			others = append(others, address)
		}
	}
	if len(others) == 0 {
		return all
	}
	return others
}

// rest has an address tried last for a while.
func (b *book) rest(address string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changed()
	b.resting[address] = time.Now().Add(d)
	if b.sticky == address {
		b.sticky = ""
	}
	if b.near == address {
		b.near = ""
	}
}

// unreachable is rest for an address where nobody answers. If the leader is
// there, others pass on what is for it.
func (b *book) unreachable(address string, d time.Duration) {
	b.rest(address, d)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leader == address {
		b.leader, b.lost = "", address
		b.changed()
	}
}

// reached takes note that there is a connection to an address.
func (b *book) reached(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost == address {
		b.lost = ""
	}
}

// missing returns the leader that could not be reached, if that is so.
func (b *book) missing() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lost
}

// lead takes note of who leads a term, and reports whether the term is news.
func (b *book) lead(address string, term protocol.Term) (newer bool) {
	newer = term > b.term
	if term < b.term || !newer && (address == b.leader || address == b.lost) {
		return false
	}
	if newer || b.leader == "" {
		close(b.news)
		b.news = make(chan struct{})
	}
	if newer {
		// What it could not do before it led says nothing of what it can do now.
		delete(b.resting, address)
	}
	b.leader, b.term, b.lost = address, term, ""
	b.changed()
	return newer
}

// known returns who leads, if that is known, and the newest term whose leader was.
func (b *book) known() (leader string, term protocol.Term) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leader, b.term
}

// newsNow returns the channel that the next news closes.
func (b *book) newsNow() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.news
}

// stay makes a member that has answered the one to ask from now on, if there is
// none for what suits.
func (b *book) stay(address string, suits route) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case suits == routeNear && address != b.leader && b.near != address:
		b.near = address
		b.changed()
	case suits != routeNear && suits != routeLeader && b.sticky == "":
		b.sticky = address
		b.changed()
	}
}

// learn takes from a response what it says of the cluster, and reports whether
// the leader of a newer term is known by it.
func (b *book) learn(address string, response *protocol.Response) (newer bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if response.Leader != "" {
		newer = b.lead(response.Leader, response.Term)
	}
	disowns := response.Result.Code == protocol.ErrNotLeader.Code || response.Result.Code == protocol.ErrNoLeader.Code
	if b.leader == address && response.Leader != address && disowns {
		// Who has stepped down does not lead the same term again, whatever those
		// say who have not heard of it.
		b.leader, b.lost = "", address
		b.changed()
	}
	if join := response.Join; join != nil {
		b.pin(join.Cluster)
		for _, m := range join.Configuration.Configuration.Members {
			if !slices.Contains(b.learned, m.Address) {
				b.learned = append(b.learned, m.Address)
				b.changed()
			}
		}
	}
	if status := response.Status; status != nil {
		b.pin(status.Cluster)
		newer = b.learnMembers(status) || newer
	}
	for known := range b.resting {
		if known != b.leader && known != b.sticky && known != b.near && !slices.Contains(b.given, known) && !slices.Contains(b.learned, known) {
			delete(b.resting, known)
		}
	}
	return newer
}

// learnMembers replaces what was learned. Reserves, which answer nothing, are kept
// out, and so are the dead, but for the case that nobody is said to be alive.
func (b *book) learnMembers(status *protocol.Status) (newer bool) {
	var alive []string
	passive := map[string]bool{}
	for _, m := range status.Members {
		if !m.Alive || m.Address == "" || m.Role == protocol.RoleReserve.String() {
			continue
		}
		alive = append(alive, m.Address)
		passive[m.Address] = m.Role == protocol.RolePassive.String()
		if m.Leader {
			newer = b.lead(m.Address, status.Term) || newer
		}
	}
	if len(alive) > 0 {
		b.learned, b.passive = alive, passive
		b.changed()
	}
	return newer
}

// pin fixes the cluster: whoever answers later must belong to it.
func (b *book) pin(cluster protocol.ClusterID) {
	if b.cluster.IsZero() {
		b.cluster = cluster
	}
}
