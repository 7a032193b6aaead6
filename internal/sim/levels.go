package sim

import (
	"context"
	"time"

	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// Beside what else they do, clients read at the levels session and stale, at any
// member, as runtime does: a member answers when its state is what the level
// asks for, and after some patience with ErrTooStale. These reads ask no leader
// (resources.NoForwarding) and so tell the members nothing: with them a seed has the
// history that it has without.

const (
	// weakReadEvery is the mean time between two such reads of a client.
	weakReadEvery = 400 * time.Millisecond
	// weakReadAgain is between two looks of a read that waits for its level.
	weakReadAgain = 100 * time.Millisecond
	// staleMax is the largest age that is asked for.
	staleMax = time.Second
)

// weakRead is one read at a level that one member serves from what it has.
type weakRead struct {
	call   *call
	query  protocol.Query
	member *member
	run    uint64 // of the member's process
	until  Time   // its patience ends
	waited bool
}

// weakReads lets a client read at those levels until the faults stop.
func (c *client) weakReads() {
	s := c.s
	s.schedule.after(around(s.random.readers, weakReadEvery), func() {
		if s.quiet || s.mute || s.forked {
			return
		}
		s.weakRead(c)
		c.weakReads()
	})
}

// weakRead sends one read to any member.
func (s *load) weakRead(c *client) {
	r := s.random.readers
	k := &call{client: c, began: s.schedule.now, seen: c.seen, op: &op{object: r.IntN(objects), consistency: protocol.Session}}
	switch {
	case k.op.object < mapKeys:
		k.op.kind = opGet
	case k.op.object < mapKeys+counters:
		k.op.kind = opCount
	case isAwkward(k.op.object):
		k.op.kind = opRecall
	default:
		k.op.kind = opPeek
	}
	if chance(r, 0.5) {
		k.op.consistency = protocol.MaxStale
	}
	g := &weakRead{call: k, query: k.op.query(), member: s.members[r.IntN(len(s.members))]}
	g.query.Consistency, g.query.Seen, g.query.NoForwarding = k.op.consistency, 0, true
	if k.op.consistency == protocol.Session || chance(r, 0.3) {
		g.query.Seen = c.seen
	}
	if age := between(r, 0, staleMax); k.op.consistency == protocol.MaxStale {
		g.query.MaxAge = int64(age)
	}
	s.schedule.after(s.weakReadWay(), func() {
		if m := g.member; m.up() {
			g.run, g.until = m.run, s.schedule.now.Add(driver.Patience(s.plan.election))
			s.look(g)
		}
	})
}

// weakReadWay is how long a read, or its answer, is on its way.
func (s *load) weakReadWay() time.Duration {
	return s.network.delay + around(s.random.readers, s.network.jitter)
}

// look answers a read if the member's state is what it asks for, and else looks
// again a little later. A member that stands still looks when it goes on, before
// anything else.
func (s *load) look(g *weakRead) {
	m := g.member
	if m.run != g.run || !m.up() {
		return // the client hears nothing
	}
	if m.paused {
		m.glancing = append(m.glancing, func() { s.look(g) })
		return
	}
	reads := m.serving.reads()
	r, ok := reads.NoForwarding(context.Background(), &g.query)
	if !ok {
		want, err := reads.Wants(&g.query)
		switch {
		case err != nil:
			r = protocol.Failed(err)
		case s.schedule.now < g.until:
			g.waited = true
			s.schedule.after(weakReadAgain, func() { s.look(g) })
			return
		case m.machine.Applied() < want:
			r = reads.Behind(want)
		default:
			r = reads.TooOld(&g.query, protocol.ErrNoLeader)
		}
	}
	if m.divergedState != nil {
		return // a wrong answer that nobody knows to be wrong is covered by no promise
	}
	s.fail(s.leveled(g, &r))
	s.schedule.after(s.weakReadWay(), func() { s.weakReadAnswered(g, r) })
}

// reads is what answers reads at a level from what this run of the member has.
func (x *serving) reads() *driver.Reads {
	return &driver.Reads{
		Machine: x.machine, Longest: func() protocol.Instant { return replica.FreshOf(x.replica, x.now()).At },
		Sight: func() driver.Sight {
			sight := driver.Sight{Fresh: x.fresh, Differs: replica.SituationOf(x.replica).Differs}
			if x.quarantined() || x.diverged || x.unconfirmed() {
				sight.Suspended = protocol.ErrNotServing
			}
			return sight
		},
	}
}

// level is the time of which a run of a member has first known everything, if it has.
type level struct {
	known bool
	since Time
}

// leveled checks an answer where it is made: what it says of its age, and that
// an old state is never served silently.
func (s *load) leveled(g *weakRead, r *protocol.Result) error {
	m := g.member
	var age int64
	if !s.plan.wild { // else ages mean nothing
		age = s.ledger.trueAge(s.schedule.now, r.Index)
	}
	if err := levelKept(m.name, &g.query, r, age); err != nil {
		return err
	}
	if err := m.serving.level.kept(m.name, &g.query, r, age, s.schedule.now); err != nil {
		return err
	}
	switch {
	case r.Code == protocol.ErrTooStale.Code:
		s.counts.add(countTooStale, 1)
	case refusedRead(r.Code):
		s.counts.add(countNotServed, 1)
	case g.query.Consistency == protocol.Session:
		s.counts.add(countSessionReads, 1)
	default:
		s.counts.add(countStaleReads, 1)
	}
	if g.waited && r.Code != protocol.ErrTooStale.Code {
		s.counts.add(countLevelWaits, 1)
	}
	return nil
}

// refusedRead reports whether a member answers no read of what was asked for.
func refusedRead(code protocol.Code) bool {
	return code == protocol.ErrNotServing.Code || code == protocol.ErrDisputed.Code || code == protocol.ErrUnavailable.Code
}

// levelKept checks an answer against what its level promises; age is the true
// one of a state at its index.
func levelKept(name string, q *protocol.Query, r *protocol.Result, age int64) error {
	if r.Code == protocol.ErrTooStale.Code || refusedRead(r.Code) {
		return nil
	}
	if r.AgeKnown && r.Age < age {
		return violated(RuleAge, "%s answers at %d and says that is at most %d ns old, it is %d", name, r.Index, r.Age, age)
	}
	if r.Index < q.Seen {
		return violated(RuleSession, "%s answers at %d, the session has seen %d", name, r.Index, q.Seen)
	}
	if q.Consistency == protocol.MaxStale && (!r.AgeKnown || r.Age > q.MaxAge || age > q.MaxAge) {
		return violated(RuleStale, "%s answers at %d, %d ns old and said to be %d (known: %v); at most %d was asked for",
			name, r.Index, age, r.Age, r.AgeKnown, q.MaxAge)
	}
	return nil
}

// kept checks that a session is answered by no member that has just started and has
// what it had long ago: only by one that is as far as the others were when it heard of
// them.
func (l *level) kept(name string, q *protocol.Query, r *protocol.Result, age int64, now Time) error {
	if q.Consistency != protocol.Session || r.Code == protocol.ErrTooStale.Code || refusedRead(r.Code) {
		return nil
	}
	if !l.known || age > int64(now.Sub(l.since)) {
		return violated(RuleSession, "%s answers at %d, which is %d ns old; since it has started it has known of what was there by %v (%v)", name, r.Index, age, time.Duration(l.since), l.known)
	}
	return nil
}

// weakReadAnswered takes an answer to the client: a session never reads backwards,
// whatever the member took it to have seen.
func (s *load) weakReadAnswered(g *weakRead, r protocol.Result) {
	k, c := g.call, g.call.client
	s.trace.note(tagWeakRead, c.number, uint64(r.Index), uint64(r.Age))
	if s.trace.messages() {
		g.member.tell(colorPlain, "%s< %s: %s at %d", c.name, k, orOK(r.Code), r.Index)
	}
	if r.Code == protocol.ErrTooStale.Code || refusedRead(r.Code) {
		return
	}
	s.fail(s.state.readAnswered(k, r))
	c.seen = max(c.seen, r.Index)
}
