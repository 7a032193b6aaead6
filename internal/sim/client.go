package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

const (
	// attemptTime is how long a client waits for an answer before it asks
	// again, elsewhere.
	attemptTime = 2 * time.Second
	// patience is how long a client tries before it gives up, while there are
	// faults. Afterwards every call must be answered.
	patience = 25 * time.Second
)

// client is one session and the calls that it has in flight. It does what
// internal/client does, in virtual time: a call is repeated with the same
// session and sequence until it is answered, at one member after another.
type client struct {
	s       *simulation
	number  int
	name    string
	home    *member
	session protocol.SessionID
	opening bool
	seq     uint64
	flying  []*call        // commands of the session, by sequence
	nap     Time           // until when it does nothing, not even keep its session alive
	seen    protocol.Index // the highest index that an answer came from
}

// call is one operation of a client, from its invocation to its answer.
type call struct {
	op      *op
	client  *client
	session protocol.SessionID
	seq     uint64
	attempt int
	last    *member // that was asked last
	aim     *member // that is asked first; nil: the client's home
	began   Time
	floor   protocol.Index // of what was acknowledged before it began
	seen    protocol.Index // by the client before it began
	over    bool
	then    func()

	// For the history: the steps of invocation and answer.
	invoked, returned uint64
	unanswered        bool
}

func (s *simulation) addClient(i int) {
	c := &client{s: s, number: i, name: fmt.Sprintf("c%d", i+1), home: s.members[s.random.clients.IntN(len(s.members))]}
	s.clients = append(s.clients, c)
	for range s.plan.depth {
		c.think()
	}
	c.keepAlive()
	c.glances()
}

// think waits a while and then calls the next operation.
func (c *client) think() {
	r := c.s.random.clients
	if chance(r, 0.004) && c.nap < c.s.schedule.now {
		c.nap = c.s.schedule.now.Add(c.s.plan.session + between(r, 0, 5*time.Second))
		if c.s.trace.messages() {
			c.s.trace.say("%s naps until %v", c.name, time.Duration(c.nap).Round(time.Millisecond))
		}
	}
	wait := max(around(r, c.s.plan.think), c.nap.Sub(c.s.schedule.now))
	c.s.schedule.after(wait, c.next)
}

// next calls one operation. Without a session it first opens one.
func (c *client) next() {
	if c.s.calm {
		return
	}
	if chance(c.s.random.clients, 0.05) {
		c.home = c.s.members[c.s.random.clients.IntN(len(c.s.members))]
	}
	o := c.s.drawOp(c)
	if !o.command() {
		c.call(&call{op: o, then: c.think})
		return
	}
	if c.session == 0 {
		c.open()
		c.think()
		return
	}
	c.command(o, c.think)
}

// command calls an operation in the session.
func (c *client) command(o *op, then func()) {
	c.seq++
	k := &call{op: o, session: c.session, seq: c.seq, then: then}
	c.flying = append(c.flying, k)
	c.s.state.issue(k)
	c.call(k)
}

// open opens a session, once.
func (c *client) open() {
	if c.opening {
		return
	}
	c.opening = true
	c.call(&call{op: &op{kind: opOpen, timeout: c.s.plan.session}, then: func() { c.opening = false }})
}

// keepAlive keeps the session alive, except during a nap.
func (c *client) keepAlive() {
	c.s.schedule.after(c.s.plan.session/3, c.keepAlive)
	if c.session == 0 || c.nap > c.s.schedule.now || c.s.calm {
		return
	}
	c.call(&call{op: &op{kind: opKeepAlive}, session: c.session, then: func() {}})
}

// call begins a call.
func (c *client) call(k *call) {
	k.client = c
	k.began, k.invoked = c.s.schedule.now, c.s.schedule.steps
	k.floor = c.s.state.acknowledged
	c.s.try(k)
}

// try asks one member, or asks again.
func (s *simulation) try(k *call) {
	c := k.client
	k.attempt++
	n, m := k.attempt, c.home
	if k.aim != nil && n == 1 {
		m = k.aim
	}
	k.last = m
	if n > 1 && k.op.command() {
		s.counts.add(countRetries, 1)
	}
	s.trace.note(markAsk, c.number, k.seq, uint64(n))
	if s.trace.messages() {
		s.trace.tell(m, colorPlain, "%s> %s", c.name, k)
	}
	s.schedule.after(attemptTime, func() { s.again(k, n, "no answer") })
	if s.lostOnTheWay() {
		return
	}
	s.schedule.after(s.wayTo(), func() {
		if !m.up() {
			s.reply(k, n, protocol.Failed(protocol.ErrUnavailable))
			return
		}
		run := m.run
		m.whenAwake(func() {
			if m.run == run && m.up() {
				m.ask(k, func(r protocol.Result) { s.reply(k, n, r) })
			}
		})
	})
}

// reply carries an answer back to the client.
func (s *simulation) reply(k *call, n int, r protocol.Result) {
	if s.lostOnTheWay() {
		return
	}
	s.schedule.after(s.wayTo(), func() {
		if !k.over && k.attempt == n {
			s.answered(k, r)
		}
	})
}

// Clients see the same weather as members.
func (s *simulation) lostOnTheWay() bool { return chance(s.random.clients, s.network.rough.Loss/2) }

func (s *simulation) wayTo() time.Duration {
	return s.network.delay + around(s.random.clients, s.network.jitter)
}

// answered takes an answer to the attempt that is under way.
func (s *simulation) answered(k *call, r protocol.Result) {
	c := k.client
	s.trace.note(markAnswer, c.number, k.seq, uint64(r.Index))
	if s.trace.messages() {
		s.trace.tell(k.last, colorPlain, "%s< %s: %s at %d", c.name, k, orOK(r.Code), r.Index)
	}
	switch m := r.Code.Meaning(); r.Code {
	case protocol.ErrSessionExpired.Code:
		if c.session == k.session {
			s.counts.add(countSessionsExpired, 1)
			c.session, c.seq = 0, 0
		}
		s.leave(k)
		return
	case protocol.ErrAnswerLost.Code, protocol.ErrStaleSequence.Code:
		s.leave(k)
		return
	case protocol.OK:
	default:
		if m.Outcome != protocol.Settled && m.Condition == protocol.Unavailable || r.Code == protocol.ErrDiskFailed.Code {
			s.again(k, k.attempt, string(r.Code))
			return
		}
	}
	s.end(k)
	c.seen = max(c.seen, r.Index)
	s.fail(s.state.answered(k, r, &s.counts))
	if k.op.kind == opOpen {
		c.session, c.seq = protocol.SessionID(k.op.got.number), 0
	}
	k.then()
}

// again repeats a call that was not answered, after a pause and mostly
// elsewhere, or gives it up.
func (s *simulation) again(k *call, n int, why string) {
	if k.over || k.attempt != n {
		return
	}
	c := k.client
	if !s.calm && s.schedule.now.Sub(k.began) > patience {
		if s.trace.messages() {
			s.trace.say("%s gives up: %s: %s", c.name, k, why)
		}
		s.leave(k)
		return
	}
	k.attempt++ // an answer to the attempt before comes too late from now on
	n = k.attempt
	if c.home == k.last && chance(s.random.clients, 0.7) {
		c.home = s.members[s.random.clients.IntN(len(s.members))]
	}
	s.schedule.after(between(s.random.clients, 10*time.Millisecond, 200*time.Millisecond), func() {
		if !k.over && k.attempt == n {
			s.try(k)
		}
	})
}

// leave ends a call whose outcome stays open.
func (s *simulation) leave(k *call) {
	if k.op.command() {
		s.counts.add(countUnknown, 1)
	}
	s.end(k)
	s.state.open(k)
	k.then()
}

// end takes a call from those in flight.
func (s *simulation) end(k *call) {
	k.over = true
	k.returned = s.schedule.steps
	k.client.flying = slices.DeleteFunc(k.client.flying, func(o *call) bool { return o == k })
}

// floorOf returns the lowest sequence of the session that is not answered.
func (c *client) floorOf(session protocol.SessionID, next uint64) uint64 {
	floor := next
	for _, k := range c.flying {
		if k.session == session {
			floor = min(floor, k.seq)
		}
	}
	return floor
}

// String names a call for the trace.
func (k *call) String() string {
	if k.seq == 0 {
		return k.op.String()
	}
	return fmt.Sprintf("%d.%d %s", k.session, k.seq, k.op)
}

// ask brings a call to the replica. The answer may never come.
func (m *member) ask(k *call, answer func(protocol.Result)) {
	answer = m.heard(answer)
	switch {
	case k.op.command() && m.nearlyFull(k.op):
		answer(protocol.Failed(protocol.ErrNoSpace))
	case k.op.command():
		n := m.request(answer)
		command := k.encode()
		m.replica.Submit(m.now(), replica.Submission{Request: n, Command: protocol.EncodeCommand(&command)})
		m.serve()
	case k.op.level == protocol.Linearizable:
		query := k.op.query()
		m.next++
		n := m.next
		m.asked[n] = asked{read: true, answer: answer, query: &query, step: m.s.schedule.steps}
		m.replica.Read(m.now(), n)
		m.serve()
	case m.quarantined() || m.diverged:
		answer(protocol.Failed(protocol.ErrNotServing))
	default:
		query := k.op.query()
		answer(m.query(&query))
	}
}

// nearlyFull reports whether the member's disk has so little room that it takes
// no commands but those that free some, and those on sessions, as in the runtime.
func (m *member) nearlyFull(o *op) bool {
	if !m.full || o.kind == opOpen || o.kind == opKeepAlive || o.kind == opDelete || o.kind == opPop {
		return false
	}
	space, err := m.wal.Space()
	return err == nil && space.Full
}
