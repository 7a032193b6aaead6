package runtime

import (
	"context"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// loop is the only goroutine that touches the replica. It takes all
// that has gathered, hands it over, and serves the effects. The clock is read
// after the mail was taken, so nothing in it is newer than now.
func (m *Member) loop() {
	defer close(m.loopDone)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var rings protocol.Instant // when the timer does; in the past: it has, or should have
	var in mail
	gathering := newGathering(m.clock.Now)
	for {
		m.mailbox.take(&in)
		now, ahead := m.clock.read()
		m.replica.SetWallAhead(ahead)
		m.handle(now, &in)
		// A failure leaves mail unread, and what comes after it makes no sense then.
		if m.stopping.Load() || m.cause.Load() != nil {
			return
		}
		// Deadlines mostly move away, and then the timer rings too early, once: that is
		// cheaper than to set it, by a clock that is a system call, after each round.
		if at := m.replica.Deadline(); at < rings || rings <= now {
			rings = at
			timer.Reset(max(at.Sub(m.clock.Now()), 0))
		}
		select {
		case <-m.mailbox.wake:
			if m.answers.Commands() > 1 {
				gathering.gather(rings)
			}
		case <-timer.C:
			rings = 0
		case <-m.stop:
			return
		}
	}
}

// handle serves one round of mail. Completions come first: they release what
// others wait for. What was applied goes before what has come of steps: a checkpoint is
// of a checkpoint entry that the replica has heard of.
func (m *Member) handle(now protocol.Instant, in *mail) {
	for _, a := range in.applied {
		m.replica.Applied(now, a)
	}
	for _, done := range in.done {
		if !m.driver.Complete(now, done) {
			return
		}
	}
	for _, tell := range in.completions {
		tell(now)
		m.driver.Serve()
		if m.stopping.Load() {
			return
		}
	}
	for _, x := range in.messages {
		if m.dirs.isBarred(x.message) {
			continue
		}
		m.replica.Receive(now, x.from, x.message)
	}
	if in.peersSet {
		m.replica.SetPeers(now, in.peers)
		conf, _ := m.replica.Configurations().Latest()
		m.transport.know(in.peers, conf.Configuration)
	}
	if len(in.submissions) > 0 {
		m.replica.Submit(now, in.submissions...)
	}
	if len(in.reads) > 0 {
		m.replica.Read(now, in.reads...)
	}
	if now >= m.replica.Deadline() {
		m.replica.Tick(now)
	}
	m.driver.Serve()
	m.publish(now)
	for _, call := range in.calls {
		call()
	}
	m.driver.Serve()
	m.turned.Store(int64(now))
}

// published is what the loop has come to. All but the position changes seldom, and is
// shared by those that say the same.
type published struct {
	replica.Position
	*outlook
}

// outlook is what others should know of a member. It is comparable.
type outlook struct {
	replica.Situation
	// conf is the index of the latest configuration, and ready says that the member
	// serves.
	conf  protocol.Index
	ready bool
	// voters is how many voters that has, joint whether a change is under way in it.
	voters int
	joint  bool
	// alone says that no other member is alive, as far as this one knows.
	alone bool
}

// standsBy reports whether the member is a reserve that can be called.
func (o *outlook) standsBy() bool { return o.Role == protocol.RoleReserve && !o.alone }

// publish makes the loop's knowledge readable without the loop, and passes on
// what has changed.
func (m *Member) publish(now protocol.Instant) {
	next := outlook{Situation: replica.SituationOf(m.replica), alone: len(m.replica.Peers()) == 0}
	at := replica.PositionOf(m.replica, now)
	m.gateServing(&next.Situation)
	conf, _ := m.replica.Configurations().Latest()
	age, known := replica.SourceOf(m.replica, now)
	m.source.note(now, &next.Situation, age, known, m.cfg.orphanAfter())
	next.conf, next.ready = conf.Index, m.readyNow(&next.Situation, &at) == nil
	m.transport.streams(replica.Streamed(m.replica))
	last := m.published.Load()
	if last != nil && last.conf == conf.Index {
		next.voters, next.joint = last.voters, last.joint
	} else {
		next.voters, next.joint = len(conf.Configuration.Voters()), conf.Configuration.Joint()
	}
	if last != nil && *last.outlook == next {
		m.published.Store(&published{at, last.outlook})
	} else {
		kept := next // a copy on the heap, only where it is needed
		m.published.Store(&published{at, &kept})
	}
	if m.cfg.looks != nil {
		m.cfg.looks(m)
	}
	m.levels.fresher()
	if last == nil || last.conf != next.conf {
		reconfigured(m, conf.Configuration)
	}
	if last == nil || last.Role != next.Role {
		m.announce()
	}
	if last == nil || last.Leader != next.Leader || last.LeaderTerm != next.LeaderTerm || last.Role != next.Role || last.ready != next.ready || last.standsBy() != next.standsBy() {
		m.changed.tell()
	}
}

// reconfigured passes on the latest configuration, which is another one.
func reconfigured(m *Member, conf protocol.Configuration) {
	m.transport.know(m.replica.Peers(), conf)
	m.namedSaid.tell(&conf)
}

// IsNamed reports whether a member holds as committed, and with no change under way, a
// configuration of so many voters; if not, why not. Until all members do, those of the
// configuration before decide somewhere, too: whoever stops one of them may stop all.
func IsNamed(m *Member, voters int) error {
	p := m.published.Load()
	switch {
	case p == nil:
		return fmt.Errorf("%s holds no configuration yet", m.Name())
	case p.voters != voters || p.joint || p.conf > p.Commit:
		return fmt.Errorf("%s holds a configuration of %d voters at %d (a change under way: %t) and %d as committed, %d voters are wanted",
			m.Name(), p.voters, p.conf, p.joint, p.Commit, voters)
	}
	return nil
}

// announce lets the membership tell the others what has changed here.
func (m *Member) announce() {
	select {
	case m.announcing <- struct{}{}:
	default:
	}
}

// leaderAddress is where the leader takes requests, and which term it leads; empty
// if there is none, or nobody knows where it is.
func (m *Member) leaderAddress() (string, protocol.Term) {
	p := m.published.Load()
	if p == nil || p.Leader.IsZero() {
		return "", 0
	}
	address := m.advertise
	if p.Leader != m.identity.Member {
		address = m.addressOf(p.Leader)
	}
	if address == "" {
		return "", 0
	}
	return address, p.LeaderTerm
}

// whoLeads answers as soon as a leader is known whose term is above one.
func (m *Member) whoLeads(ctx context.Context, above protocol.Term) *protocol.Response {
	for {
		changed := m.changed.wait()
		if address, term := m.leaderAddress(); term > above {
			return &protocol.Response{Leader: address, Term: term}
		}
		select {
		case <-changed:
		case <-m.done:
			return &protocol.Response{Result: protocol.Failed(m.stopped())}
		case <-ctx.Done():
			return &protocol.Response{Result: protocol.Failed(protocol.ErrNoLeader)}
		}
	}
}

// News makes a client of this process try again as soon as something has changed
// here that may help, such as that another leader is known.
func (m *Member) News() <-chan struct{} { return m.changed.wait() }

// Seek does nothing: this member looks for a leader anyway.
func (m *Member) Seek() (stop func()) { return func() {} }

// addressOf returns where another member is, or empty.
func (m *Member) addressOf(id protocol.MemberID) string {
	p := m.addresses.Load()
	if p == nil {
		return ""
	}
	return (*p)[id]
}
