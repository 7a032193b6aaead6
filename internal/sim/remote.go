package sim

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
)

const (
	// backOff is how long a member that could not help is asked last, and followEvery the
	// time between questions who the members are; both are those of internal/client.
	backOff     = time.Second
	followEvery = 10 * time.Second
	// givenMembers is of how many members a client has the addresses at first.
	givenMembers = 3
	// leaderAgain is between two looks of a member that was asked who leads.
	leaderAgain = 20 * time.Millisecond
)

// remote is what a client of a cluster elsewhere has: what it knows of the members, who
// waits for a leader, and connections, of which only those that are broken are remembered.
type remote struct {
	c         *client
	endpoints *attempt.Endpoints
	search    attempt.Search
	inquiry   *attempt.Inquiry // who leads; nil: nobody is asked
	waiting   []pausing
	broken    map[string]bool
}

// pausing is a call that goes on as soon as there is news.
type pausing struct {
	k    *call
	goOn func()
}

func newRemote(c *client) *remote {
	r := c.s.random.clients
	var given []string
	for len(given) < min(givenMembers, len(c.s.members)) {
		if name := c.s.members[r.IntN(len(c.s.members))].name; !slices.Contains(given, name) {
			given = append(given, name)
		}
	}
	x := &remote{c: c, endpoints: attempt.NewEndpoints(given, protocol.ClusterID{}, r.Uint64()|1), broken: map[string]bool{}}
	c.s.schedule.after(between(r, 0, followEvery), x.follow)
	return x
}

// clock is virtual time as package attempt takes it.
func (s *stage) clock() time.Time { return time.Unix(0, int64(s.schedule.now)) }

func (s *cluster) named(address string) *member {
	return s.members[slices.IndexFunc(s.members, func(m *member) bool { return m.name == address })]
}

// begin makes an attempt at a call.
func (x *remote) begin(k *call) {
	k.news = x.endpoints.News()
	q := k.request()
	k.round = attempt.NewRound(x.endpoints, q, attempt.RouteOf(q), x.c.s.clock(), backOff)
	x.next(k)
}

// next asks the next member of a round.
func (x *remote) next(k *call) {
	s := x.c.s
	for {
		address, left := k.round.Next()
		if !left {
			if over, response, err := k.round.End(s.clock(), nil); over {
				k.took(response, err)
				return
			}
			continue
		}
		if x.broken[address] { // its kernel may take a connection all the same: others first
			delete(x.broken, address)
			x.endpoints.Unreachable(address, s.clock().Add(backOff))
			k.round.NotReached(address, errRefused)
			continue
		}
		k.send(s.named(address))
		if attempt.IsCommand(k.round.Request()) {
			x.setOut(k, address)
		}
		return
	}
}

// setOut has a command give up when another member is known to lead.
func (x *remote) setOut(k *call, address string) {
	_, term := x.endpoints.Leader()
	j := journey{k: k, turn: k.turn}
	k.errand = x.search.SetOut(address, term, func(err error) {
		x.c.s.schedule.after(0, func() { j.came(nil, err) })
	})
	x.tickLater()
}

// comeBack ends the call's errand, if there is one.
func (k *call) comeBack() {
	if k.errand != nil {
		k.client.remote.search.ComeBack(k.errand)
		k.errand = nil
	}
}

// came takes what came of asking a member.
func (x *remote) came(k *call, response *protocol.Response, err error) {
	s := x.c.s
	if err == errRefused {
		x.endpoints.Unreachable(k.last.name, s.clock().Add(backOff))
		k.round.NotReached(k.last.name, err)
		x.next(k)
		return
	}
	over, response, err := k.round.Took(s.clock(), k.last.name, response, err, nil, x.learn)
	if !over {
		x.next(k)
		return
	}
	k.took(response, err)
}

// reached takes note that a member takes connections, silent that one was lost.
func (c *client) reached(m *member) {
	if c.remote != nil {
		c.remote.endpoints.Reached(m.name)
	}
}

func (c *client) silent(m *member) {
	if c.remote != nil {
		c.remote.broken[m.name] = true
	}
}

// learn takes what a response says of the cluster. Whoever waits for that goes on.
func (x *remote) learn(address string, response *protocol.Response) {
	newer := x.endpoints.Learn(address, response)
	if newer {
		x.search.Leads(x.endpoints.Leader())
	}
	still := x.waiting[:0]
	for _, w := range x.waiting {
		select {
		case <-w.k.news:
			x.c.s.schedule.after(0, w.hurry)
		default:
			if !w.k.over && w.k.pausing {
				still = append(still, w)
			}
		}
	}
	x.waiting = still
}

// hurry ends a pause early.
func (w pausing) hurry() {
	if w.k.pausing {
		w.k.pause.Reset()
		w.goOn()
	}
}

// pause counts a call in that waits until a leader is known.
func (x *remote) pause(k *call, goOn func()) {
	k.pausing = true
	x.search.Pause()
	x.tickLater()
	x.waiting = append(x.waiting, pausing{k, goOn})
	x.learn("", &protocol.Response{}) // there may have been news since the attempt began
}

func (x *remote) tickLater() {
	if x.search.Begin() {
		x.c.s.schedule.after(attempt.SearchEvery, x.tick)
	}
}

func (x *remote) tick() {
	start, stop, again := x.search.Tick()
	switch {
	case start:
		x.inquiry = attempt.NewInquiry(x.endpoints)
		x.inquire(x.inquiry)
	case stop:
		x.inquiry = nil
		x.search.Ended()
	}
	if again {
		x.c.s.schedule.after(attempt.SearchEvery, x.tick)
	}
}

// inquire asks the next member who leads.
func (x *remote) inquire(q *attempt.Inquiry) {
	s := x.c.s
	if x.inquiry != q {
		return
	}
	if q.Answered() {
		x.inquiry = nil
		x.search.Ended()
		return
	}
	address, last := q.Next(s.clock())
	_, above := x.endpoints.Leader()
	until := s.schedule.now.Add(attempt.SearchPatience)
	x.whoLeads(s.named(address), above, until, func() {
		if last && !q.Answered() {
			s.schedule.at(until, func() { x.inquire(q) })
			return
		}
		x.inquire(q)
	})
}

// whoLeads asks a member, which answers as soon as it knows a leader of a term above one,
// until then.
func (x *remote) whoLeads(m *member, above protocol.Term, until Time, then func()) {
	s := x.c.s
	lost := s.lostOnTheWay()
	var look func()
	look = func() {
		switch {
		case !m.up():
			x.endpoints.Unreachable(m.name, s.clock().Add(backOff))
			then()
			return
		case s.schedule.now >= until:
			then()
			return
		}
		if !lost && !m.paused {
			if address, term := leaderAddressAt(m); term > above {
				s.schedule.after(s.wayTo(), func() {
					x.learn(m.name, &protocol.Response{Leader: address, Term: term})
					then()
				})
				return
			}
		}
		s.schedule.after(leaderAgain, look)
	}
	s.schedule.after(s.wayTo(), look)
}

// follow asks now and then who the members are.
func (x *remote) follow() {
	s := x.c.s
	s.schedule.after(followEvery, x.follow)
	for _, address := range x.endpoints.Order(s.clock(), attempt.RouteAny) {
		m := s.named(address)
		if !m.up() || m.paused {
			continue
		}
		x.learn(address, &protocol.Response{Status: membersAt(m)})
		return
	}
}

// membersAt says who the members are, as this one knows them.
func membersAt(m *member) *protocol.Status {
	status := m.replica.Status(m.now())
	all := &protocol.Status{Term: status.LeaderTerm}
	add := func(other *member, role protocol.Role) {
		all.Members = append(all.Members, protocol.MemberStatus{
			Address: other.name, Role: role.String(), Alive: true, Leader: other.id == status.Leader,
		})
	}
	add(m, status.Role)
	for _, p := range m.replica.Peers() {
		if other := m.route(p.ID); other != nil {
			add(other, p.Role)
		}
	}
	return all
}
