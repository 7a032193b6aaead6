package attempt

import (
	"slices"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Endpoints is what a client of a cluster elsewhere knows of the members: addresses, who
// leads, who is asked last for a while. Safe for use from any number of goroutines. See
// NewEndpoints.
type Endpoints struct {
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
	// backedOff says until when an address is tried last. It holds no more
	// addresses than given and learned do.
	backedOff map[string]time.Time
	// orders are the answers of order, until something changes that they depend
	// on, or an address rests no more: a client of a hundred members must not
	// compare all with all for each request. Empty: not known.
	orders      [routes][]string
	ordersUntil time.Time // zero: for ever
}

// NewEndpoints begins with the addresses that were given. A cluster that is not zero is the
// only one that will do; turn is where the client begins among members that suit alike.
func NewEndpoints(given []string, cluster protocol.ClusterID, turn uint64) *Endpoints {
	return &Endpoints{given: given, cluster: cluster, turn: turn, backedOff: map[string]time.Time{}, news: make(chan struct{})}
}

// Cluster returns the only cluster that will do, zero for any so far.
func (e *Endpoints) Cluster() protocol.ClusterID {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cluster
}

// Route says which members suit a request.
type Route uint8

const (
	RouteAny    Route = iota // any, the last one that answered first
	RouteLeader              // any, the leader first
	RouteGiven               // those at the addresses given
	RouteNear                // any, one that has the least to do for the others first
	RouteNews                // any, one that hears first who leads, and is not the leader, first
	routes
)

// Order returns the addresses that suit, the best first. Those that are backed off from
// are last, not absent: they may be all there is. The list must not be changed.
func (e *Endpoints) Order(now time.Time, suits Route) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.ordersUntil.IsZero() && !e.ordersUntil.After(now) {
		e.changed()
	}
	if len(e.orders[suits]) == 0 {
		e.orders[suits] = e.orderAt(suits, now)
	}
	return e.orders[suits]
}

// changed forgets the orders.
func (e *Endpoints) changed() { e.orders, e.ordersUntil = [routes][]string{}, time.Time{} }

func (e *Endpoints) orderAt(suits Route, now time.Time) []string {
	var best, rest []string
	listed := make(map[string]bool, len(e.given)+len(e.learned))
	add := func(address string) {
		if address == "" || listed[address] || suits == RouteGiven && !slices.Contains(e.given, address) {
			return
		}
		listed[address] = true
		until := e.backedOff[address]
		if !until.After(now) {
			best = append(best, address)
			return
		}
		rest = append(rest, address)
		if e.ordersUntil.IsZero() || until.Before(e.ordersUntil) {
			e.ordersUntil = until
		}
	}
	switch suits {
	case RouteLeader:
		add(e.leader)
	case RouteNear, RouteNews:
		for _, address := range e.nearest(suits == RouteNews) {
			add(address)
		}
	}
	add(e.sticky)
	for _, address := range e.given {
		add(address)
	}
	if suits != RouteGiven {
		for _, address := range e.learned {
			add(address)
		}
	}
	return append(best, rest...)
}

// nearest returns the addresses known, the best for a read that any member can
// answer first: the one that answered last, then those given, then those
// learned, passives before voters, and the leader, who has the most to do, last.
// Of who leads voters know first: for that they come before passives.
func (e *Endpoints) nearest(voters bool) []string {
	var ranks [4][]string
	rank := func(address string, base int) {
		switch {
		case address == e.leader:
		case e.passive[address] != voters:
			ranks[base] = append(ranks[base], address)
		default:
			ranks[base+1] = append(ranks[base+1], address)
		}
	}
	for _, address := range e.given {
		rank(address, 0)
	}
	for _, address := range e.learned {
		rank(address, 2)
	}
	var out []string
	if e.near != e.leader && !voters {
		out = append(out, e.near)
	}
	for _, list := range ranks {
		if n := uint64(len(list)); n > 0 {
			k := e.turn % n
			out = append(append(out, list[k:]...), list[:k]...)
		}
	}
	return append(out, e.leader)
}

// informed returns whom to ask for the next leader, the best first: not the one
// that is known, or was, unless there is nobody else.
func (e *Endpoints) informed(now time.Time) []string {
	all := e.Order(now, RouteNews)
	e.mu.Lock()
	defer e.mu.Unlock()
	others := make([]string, 0, len(all))
	for _, address := range all {
		if address != e.leader && address != e.lost {
			others = append(others, address)
		}
	}
	if len(others) == 0 {
		return all
	}
	return others
}

// BackOff has an address tried last until then.
func (e *Endpoints) BackOff(address string, until time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.changed()
	e.backedOff[address] = until
	if e.sticky == address {
		e.sticky = ""
	}
	if e.near == address {
		e.near = ""
	}
}

// Unreachable is BackOff for an address where nobody answers. If the leader is
// there, others pass on what is for it.
func (e *Endpoints) Unreachable(address string, until time.Time) {
	e.BackOff(address, until)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.leader == address {
		e.leader, e.lost = "", address
		e.changed()
	}
}

// Reached takes note that there is a connection to an address.
func (e *Endpoints) Reached(address string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lost == address {
		e.lost = ""
	}
}

// Missing returns the leader that could not be reached, if that is so.
func (e *Endpoints) Missing() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost
}

// lead takes note of who leads a term, and reports whether the term is news.
func (e *Endpoints) lead(address string, term protocol.Term) (newer bool) {
	newer = term > e.term
	if term < e.term || !newer && (address == e.leader || address == e.lost) {
		return false
	}
	if newer || e.leader == "" {
		close(e.news)
		e.news = make(chan struct{})
	}
	if newer {
		// What it could not do before it led says nothing of what it can do now.
		delete(e.backedOff, address)
	}
	e.leader, e.term, e.lost = address, term, ""
	e.changed()
	return newer
}

// Leader returns who leads, if that is known, and the newest term whose leader was.
func (e *Endpoints) Leader() (leader string, term protocol.Term) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leader, e.term
}

// News returns the channel that the next news closes.
func (e *Endpoints) News() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.news
}

// Prefer makes a member that has answered the one to ask from now on, if there is
// none for what suits.
func (e *Endpoints) Prefer(address string, suits Route) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case suits == RouteNear && address != e.leader && e.near != address:
		e.near = address
		e.changed()
	case suits != RouteNear && suits != RouteLeader && e.sticky == "":
		e.sticky = address
		e.changed()
	}
}

// Learn takes from a response what it says of the cluster, and reports whether
// the leader of a newer term is known by it.
func (e *Endpoints) Learn(address string, response *protocol.Response) (newer bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if response.Leader != "" {
		newer = e.lead(response.Leader, response.Term)
	}
	if e.leader == address && response.Leader != address && leadsNot(response.Result.Code) {
		// Who has stepped down does not lead the same term again, whatever those
		// say who have not heard of it.
		e.leader, e.lost = "", address
		e.changed()
	}
	if join := response.Join; join != nil {
		e.pin(join.Cluster)
		for _, m := range join.Configuration.Configuration.Members {
			if !slices.Contains(e.learned, m.Address) {
				e.learned = append(e.learned, m.Address)
				e.changed()
			}
		}
	}
	if status := response.Status; status != nil {
		e.pin(status.Cluster)
		newer = e.learnMembers(status) || newer
	}
	for known := range e.backedOff {
		if known != e.leader && known != e.sticky && known != e.near && !slices.Contains(e.given, known) && !slices.Contains(e.learned, known) {
			delete(e.backedOff, known)
		}
	}
	return newer
}

// learnMembers replaces what was learned. Reserves, which answer nothing, are kept
// out, and so are the dead, but for the case that nobody is said to be alive.
func (e *Endpoints) learnMembers(status *protocol.Status) (newer bool) {
	var alive []string
	passive := map[string]bool{}
	for _, m := range status.Members {
		if !m.Alive || m.Address == "" || m.Role == protocol.RoleReserve.String() {
			continue
		}
		alive = append(alive, m.Address)
		passive[m.Address] = m.Role == protocol.RolePassive.String()
		if m.Leader {
			newer = e.lead(m.Address, status.Term) || newer
		}
	}
	if len(alive) > 0 {
		e.learned, e.passive = alive, passive
		e.changed()
	}
	return newer
}

// pin fixes the cluster: whoever answers later must belong to it.
func (e *Endpoints) pin(cluster protocol.ClusterID) {
	if e.cluster.IsZero() {
		e.cluster = cluster
	}
}
