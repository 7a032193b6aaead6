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
	// leader is where commands go, sticky where the rest does; empty if there
	// is none yet.
	leader, sticky string
	// resting says until when an address is tried last. It holds no more
	// addresses than given and learned do.
	resting map[string]time.Time
}

func newBook(given []string, cluster protocol.ClusterID) *book {
	return &book{given: given, cluster: cluster, resting: map[string]time.Time{}}
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
)

// order returns the addresses that suit, the best first. Those that rest are
// last, not absent: they may be all there is.
func (b *book) order(suits route) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var best, rest []string
	now := time.Now()
	add := func(address string) {
		if address == "" || slices.Contains(best, address) || slices.Contains(rest, address) ||
			suits == routeGiven && !slices.Contains(b.given, address) {
			return
		}
		if b.resting[address].After(now) {
			rest = append(rest, address)
		} else {
			best = append(best, address)
		}
	}
	if suits == routeLeader {
		add(b.leader)
	}
	add(b.sticky)
	for _, address := range b.given {
		add(address)
	}
	for _, address := range b.learned {
		add(address)
	}
	return append(best, rest...)
}

// rest has an address tried last for a while.
func (b *book) rest(address string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.resting[address] = time.Now().Add(d)
	if b.sticky == address {
		b.sticky = ""
	}
}

// unreachable is rest for an address where nobody answers: nobody leads there.
func (b *book) unreachable(address string, d time.Duration) {
	b.rest(address, d)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.leader == address {
		b.leader = ""
	}
}

// learn takes from a response what it says of the cluster. With stick the
// member is the one to ask from now on, if there is none.
func (b *book) learn(address string, response *protocol.Response, stick bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if stick && b.sticky == "" {
		b.sticky = address
	}
	switch {
	case response.Leader != "":
		b.leader = response.Leader
	case b.leader == address && response.Result.Code == protocol.ErrNotLeader.Code:
		b.leader = ""
	}
	if join := response.Join; join != nil {
		b.pin(join.Cluster)
		for _, m := range join.Configuration.Configuration.Members {
			if !slices.Contains(b.learned, m.Address) {
				b.learned = append(b.learned, m.Address)
			}
		}
	}
	if status := response.Status; status != nil {
		b.pin(status.Cluster)
		b.learnMembers(status.Members)
	}
	for known := range b.resting {
		if known != b.leader && known != b.sticky && !slices.Contains(b.given, known) && !slices.Contains(b.learned, known) {
			delete(b.resting, known)
		}
	}
}

// learnMembers replaces what was learned. The dead are kept out, but for the
// case that nobody is said to be alive.
func (b *book) learnMembers(members []protocol.MemberStatus) {
	var alive []string
	for _, m := range members {
		if !m.Alive || m.Address == "" {
			continue
		}
		alive = append(alive, m.Address)
		if m.Leader {
			b.leader = m.Address
		}
	}
	if len(alive) > 0 {
		b.learned = alive
	}
}

// pin fixes the cluster: whoever answers later must belong to it.
func (b *book) pin(cluster protocol.ClusterID) {
	if b.cluster.IsZero() {
		b.cluster = cluster
	}
}
