package sim

import (
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// watermarkEvery is how often a member says on its streams how far its directory
// has come, as the runtime does.
const watermarkEvery = time.Second

// speaker is one use of a stream: the connection and the run of the process at
// one of its ends.
type speaker struct{ stream, run uint64 }

// hello is how a member introduces itself.
func (m *member) hello() protocol.Hello {
	return protocol.Hello{
		Cluster: clusterID, Member: m.id, Name: m.label(),
		Starts: m.wal.Identity().Starts, Run: m.runID, Sequence: m.wal.Opened().Sequence,
	}
}

func (m *member) watermark() *protocol.Watermark {
	return &protocol.Watermark{Starts: m.wal.Identity().Starts, Run: m.runID, Sequence: m.wal.DurableSequence()}
}

// stand keeps streams to all others in the latest configuration, if this member
// is in it, so that followers see of each other how far their directories have
// come; says that on the streams of others; and keeps what it has seen.
func (m *member) stand() {
	conf, known := m.latest()
	for _, other := range m.s.members {
		if other.number == m.number || other.id == m.id {
			continue
		}
		if known && conf.Configuration.Names(m.id) && conf.Configuration.Names(other.id) && m.route(other.id) == other {
			m.send(other, m.watermark(), false)
		}
		m.standBack(other)
	}
	m.saveWatermarks()
	m.later(watermarkEvery, m.stand)
}

// standBack says on a stream that another member has dialled how far this
// directory has come. Only from there does that one believe it.
func (m *member) standBack(other *member) {
	n := m.s.network
	l, back := n.link(other, m), n.link(m, other)
	ends := n.meeting(l)
	if !other.up() || ends.met != (speaker{l.Stream, m.run}) || ends.spoken != (speaker{l.Stream, other.run}) || back.Cut {
		return
	}
	stream, run, hello := l.Stream, other.run, m.hello()
	hello.Sequence = m.wal.DurableSequence()
	n.s.schedule.after(n.Travel(m.number, other.number), func() {
		if other.up() && other.run == run && l.Stream == stream {
			other.remembers(m, hello)
		}
	})
}

// remembers takes what a member says of its directory on a stream to it.
func (m *member) remembers(other *member, hello protocol.Hello) {
	if m.watches(other) {
		_ = m.watermarks.Says(hello) // one that is refused is, at its next handshake
	}
}

// watches reports whether a stream to another member goes to the address that the
// configuration has for it: only there does what is remembered of it rise.
func (m *member) watches(other *member) bool {
	if !m.up() {
		return false // it repairs its log
	}
	conf, known := m.latest()
	line, named := conf.Configuration.Find(other.id)
	return known && named && line.Address == other.address
}

// greeting is what the first message of a stream brings along.
type greeting struct {
	hello protocol.Hello
	run   uint64 // of the sender's process
}

// greet notes with whose hello a stream begins.
func (m *meeting) greet(from *member, stream uint64) greeting {
	if now := (speaker{stream, from.run}); m.spoken != now {
		m.spoken, m.greeting = now, greeting{from.hello(), from.run}
	}
	return m.greeting
}

// welcomes reports whether a message of a stream may pass: its run has to hold
// the sender's id. A new stream is let in if both ends take each other's
// directory for one that has not gone back, and no other run holds the id. What
// is left of a broken stream passes until another run holds it.
func (n *network) welcomes(l *link, stream uint64, g *greeting, from, to *member) bool {
	holds := to.holders.Holds(g.hello.Member, g.hello.Run)
	if l.Stream != stream || !from.runs() || from.run != g.run {
		return holds
	}
	met, ends := speaker{stream, to.run}, n.meeting(l)
	if ends.met == met && ends.entered == g.hello.Run {
		if !holds {
			n.Reset(l) // it was superseded, and its stream is closed: it dials again
		}
		return holds
	}
	d := &door{n: n, ends: ends, to: to}
	host := handshake.Host{Own: to.hello(), Welcome: to.watermarks.Check, Enter: d.enter, Leave: d.leave}
	if _, err := host.Answer(g.hello); err != nil {
		n.refuse(g, from, to, err)
		return false
	}
	to.letIn(g.hello.Member, g.hello.Run)
	guest := handshake.Guest{Own: g.hello, Meant: to.id, Check: func(peer protocol.Hello) error {
		return from.watermarks.Answers(peer, from.watches(to))
	}}
	if _, err := guest.Judge(to.hello()); err != nil {
		d.leave(g.hello)
		n.s.trace.note(tagRefused, from.number, uint64(to.number), 1)
		if !to.suspect() {
			n.s.fail(violated(RuleFault, "%s refuses %s without a cause: %v", from.name, to.name, err))
		}
		return false // it is not told: it finds out when it speaks
	}
	ends.met, ends.entered = met, g.hello.Run
	n.s.judgeWelcome(from, to)
	return true
}

// door is a member to which a new stream has come.
type door struct {
	n     *network
	ends  *meeting
	to    *member
	asked bool // a rival was
}

// enter counts the stream, or returns the other run that has some.
func (d *door) enter(peer protocol.Hello) (handshake.Rival, error) {
	if d.ends.entered == peer.Run && d.ends.met.run == d.to.run {
		d.leave(peer) // its stream that broke
	}
	other, ok, err := d.to.holders.Arrive(peer)
	if err != nil || ok {
		return nil, err
	}
	if d.asked {
		return nil, violated(RuleFault, "%s does not let in %s, and nobody else is there", d.to.name, d.n.s.nameOf(peer.Member))
	}
	d.asked = true
	return &rival{d: d, id: peer.Member, run: other, m: d.n.s.byRun(other)}, nil
}

func (d *door) leave(peer protocol.Hello) { d.to.holders.Leave(peer.Member, peer.Run) }

// rival is another run of the member that comes; m is nil if it has ended.
type rival struct {
	d   *door
	id  protocol.MemberID
	run protocol.RunID
	m   *member
}

// Ask takes no time here: what is known of processes and links says what would come of it.
func (r *rival) Ask() (handshake.Answer, error) {
	if r.m != nil && r.d.n.answers(r.m, r.d.to) {
		return handshake.Answers, nil
	}
	return handshake.Silent, nil
}

// At implements handshake.Rival.
func (r *rival) At() string { return r.m.address }

// Supersede implements handshake.Rival.
func (r *rival) Supersede() { r.d.to.holders.Supersede(r.id, r.run) }

// letIn tells the replica, if there is one: a repairing member has none.
func (m *member) letIn(id protocol.MemberID, run protocol.RunID) {
	if m.replica != nil {
		m.replica.LetIn(m.now(), id, run)
	}
}

// answers reports whether a process answers the pings of another one.
func (n *network) answers(m, to *member) bool {
	election := n.s.plan.election
	forth, back := n.link(to, m), n.link(m, to)
	return !(m.paused && n.s.schedule.now > m.pausedAt.Add(election)) && !forth.Cut && !back.Cut &&
		max(forth.Clogged, back.Clogged) <= n.s.schedule.now.Add(election)
}

// byRun returns the member whose process has a run's number, or nil.
func (s *cluster) byRun(run protocol.RunID) *member {
	for _, m := range s.members {
		if m.runs() && m.runID == run {
			return m
		}
	}
	return nil
}

// judgeWelcome checks that nobody who may vote lets in what it could know to be no
// more than a copy.
func (s *checkers) judgeWelcome(from, to *member) {
	if from.copies != nil {
		s.counts.add(countCopiesWelcomed, 1)
		from.copies.welcome = true
	}
	switch {
	case to.wish != protocol.RoleActive:
	case from.rolledBack != nil && !from.barred: // one that was told says nothing that counts
		s.fail(violated(RuleRolledBack, "%s takes the restored directory of %s for the one that it knows", to.name, from.name))
	case from.copies != nil && from.copies.refused:
		s.fail(violated(RuleTwin, "%s lets in a copy of %s beside the original", to.name, from.copies.of.name))
	}
}

// refuse tells the sender that its directory has gone back, or is a copy. One
// that has died meanwhile is not there to hear it.
func (n *network) refuse(g *greeting, from, to *member, err error) {
	n.s.trace.note(tagRefused, to.number, uint64(from.number), 0)
	if !replica.Refused(err) {
		n.s.fail(violated(RuleFault, "%s refuses %s: %v", to.name, from.name, err))
		return
	}
	if !from.suspect() || errors.Is(err, protocol.ErrTwin) && to.wish == protocol.RoleActive && !from.isTwin() {
		n.s.fail(violated(RuleFault, "%s refuses %s without a cause: %v", to.name, from.name, err))
		return
	}
	n.s.schedule.after(n.delay, func() {
		if from.run == g.run && from.up() {
			from.refusedBy(to, err)
		}
	})
}

// suspect reports whether a member's directory may be refused: an old one was put
// back, it is a copy, or there is a copy of it.
func (m *member) suspect() bool {
	return m.s.forked || m.rolledBack != nil || m.copies != nil || m.copied != nil
}

// isTwin reports whether a member is to be told that another process runs under
// its id: not an original of which a copy runs that is to be refused.
func (m *member) isTwin() bool {
	return m.s.forked || m.copies != nil || m.copied != nil && !m.copied.refused
}

// refusedBy is what a member does that is refused. By an active of its
// configuration, at its address there: it says nothing of Raft any more, also
// after a restart. By a majority, or as a copy: it stops.
func (m *member) refusedBy(by *member, err error) {
	conf, known := m.latest()
	if !known || !m.refusals.Hear(conf.Configuration, by.id, by.address, err) {
		m.unheard = by.name // it says so in its log, and goes on
		return
	}
	if !m.barred {
		m.barred = true
		if m.replica != nil {
			m.replica.Bar(m.now())
			m.serve()
		}
		m.tell(colorFault, "is told by %s: %v; it votes and acknowledges no more", by.name, err)
		m.bar(by, err)
		m.later(operatorLooks, func() { m.s.turnedAway(m, "somebody who looks") })
	}
	if m.refusals.Ends(conf.Configuration) {
		m.s.turnedAway(m, by.name)
	}
}

// operatorLooks is how long a member that was refused by fewer than end it waits
// until somebody reads its status.
const operatorLooks = 10 * time.Second

// turnedAway ends a member that was refused.
func (s *directories) turnedAway(m *member, by string) {
	switch {
	case s.forked:
		m.tell(colorFault, "x is refused by %s", by)
		m.stop()
		m.disk.crash(false)
	case m.rolledBack != nil:
		s.foundRolledBack(m, by)
	case m.copies != nil:
		s.copyRefused(m, by)
	case m.copied != nil:
		s.originalRefused(m, by)
	default:
		s.fail(violated(RuleFault, "%s is refused without a cause", m.name))
	}
}
