package sim

import (
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// watermarkEvery is how often a member says on its streams how far its directory
// has come, as the runtime does.
const watermarkEvery = time.Second

// speaker is one use of a stream: the connection and the run of the process at
// one of its ends.
type speaker struct{ stream, run uint64 }

// greeter is how a member meets others, and what it and they hold of each other's
// directories. What it remembers of theirs is in its own, and so is that it was refused.
type greeter struct {
	*witnessed
	network *network
	// watermarks are what it remembers of the others' directories; holders are which of
	// their runs it listens to, refusals and barred what others say of its own.
	watermarks *driver.Watermarks
	holders    handshake.Holders
	refusals   replica.Refusals
	barred     bool
	unheard    string // who refuses it and does not count
}

// begins begins a run that has met nobody. What it remembers is on its disk: a file that
// has rotted is as good as none.
func (x *greeter) begins() {
	x.starts++
	x.runID, x.told = protocol.RunID(x.s.random.members.Uint64()), nil
	x.watermarks = &driver.Watermarks{}
	_ = x.watermarks.Recall(x.disk.fs, directory)
	x.holders, x.refusals, x.barred, x.unheard = handshake.Holders{}, replica.Refusals{}, false, ""
}

// saveWatermarks writes what is remembered, as far as there is room.
func (x *greeter) saveWatermarks() {
	if x.watermarks.Wanted(x.now()) {
		x.mustKeep("what it has seen", x.watermarks.Keep(x.disk.fs, directory, x.now))
	}
}

// bar writes into the directory that it was refused.
func (x *greeter) bar(by *host, err error) {
	code, _ := protocol.CodeOf(err)
	x.mustKeep("that it was refused", wal.WriteRefusal(x.disk.fs, directory, wal.Refusal{Code: code, By: by.id, Address: by.address, Text: err.Error()}))
}

// mustKeep checks that there is a reason why something was not kept.
func (x *greeter) mustKeep(what string, err error) {
	if err != nil && !errors.Is(err, vfs.ErrNoSpace) && !x.disk.stopped() && !x.disk.ails() {
		x.s.fail(violated(RuleDurable, "%s cannot keep %s: %v", x.name, what, err))
	}
}

// hello is how a member introduces itself.
func (x *greeter) hello() protocol.Hello {
	return protocol.Hello{
		Cluster: clusterID, Member: x.id, Name: x.label(),
		Starts: x.wal.Identity().Starts, Run: x.runID, Sequence: x.wal.Opened().Sequence,
	}
}

// stand keeps streams to all others in the latest configuration, if this member
// is in it, so that followers see of each other how far their directories have
// come; says that on the streams of others; and keeps what it has seen.
func (x *greeter) stand() {
	conf, known := x.latest()
	mark := protocol.Watermark{Starts: x.wal.Identity().Starts, Run: x.runID, Sequence: x.wal.DurableSequence()}
	for _, other := range x.s.members {
		if other.number == x.number || other.id == x.id {
			continue
		}
		if known && conf.Configuration.Names(x.id) && conf.Configuration.Names(other.id) && x.route(other.id) == other {
			x.send(other, &mark, false)
		}
		x.standBack(other)
	}
	x.saveWatermarks()
	x.later(watermarkEvery, x.stand)
}

// standBack says on a stream that another member has dialled how far this
// directory has come. Only from there does that one believe it.
func (x *greeter) standBack(other *member) {
	n := x.network
	l, back := n.Link(other.number, x.number), n.Link(x.number, other.number)
	ends := n.meeting(l)
	if !other.up() || ends.met != (speaker{l.Stream, x.run}) || ends.spoken != (speaker{l.Stream, other.run}) || !back.ReachesByStream() {
		return
	}
	stream, run, hello := l.Stream, other.run, x.hello()
	hello.Sequence = x.wal.DurableSequence()
	n.s.schedule.after(n.Travel(x.number, other.number), func() {
		if other.up() && other.run == run && l.Stream == stream {
			other.greeter.remembers(&x.host, hello)
		}
	})
}

// remembers takes what a member says of its directory on a stream to it.
func (x *greeter) remembers(other *host, hello protocol.Hello) {
	if x.watches(other) {
		_ = x.watermarks.Says(hello) // one that is refused is, at its next handshake
	}
}

// watches reports whether a stream to another member goes to the address that the
// configuration has for it: only there does what is remembered of it rise.
func (x *greeter) watches(other *host) bool {
	if !x.up() {
		return false // it repairs its log
	}
	conf, known := x.latest()
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
		m.spoken, m.greeting = now, greeting{from.greeter.hello(), from.run}
	}
	return m.greeting
}

// welcomes reports whether a message of a stream may pass: its run has to hold
// the sender's id. A new stream is let in if both ends take each other's
// directory for one that has not gone back, and no other run holds the id. What
// is left of a broken stream passes until another run holds it.
func (n *network) welcomes(l *link, stream uint64, g *greeting, from, to *member) bool {
	holds := to.greeter.holders.Holds(g.hello.Member, g.hello.Run)
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
	host := handshake.Host{Own: to.greeter.hello(), Welcome: to.greeter.watermarks.Check, Enter: d.enter, Leave: d.leave}
	if _, err := host.Answer(g.hello); err != nil {
		n.refuse(g, from, to, err)
		return false
	}
	to.greeter.letIn(g.hello.Member, g.hello.Run)
	guest := handshake.Guest{Own: g.hello, Meant: to.id, Check: func(peer protocol.Hello) error {
		return from.greeter.watermarks.Answers(peer, from.greeter.watches(&to.host))
	}}
	if _, err := guest.Judge(to.greeter.hello()); err != nil {
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
	other, ok, err := d.to.greeter.holders.Arrive(peer)
	if err != nil || ok {
		return nil, err
	}
	if d.asked {
		return nil, violated(RuleFault, "%s does not let in %s, and nobody else is there", d.to.name, d.n.s.nameOf(peer.Member))
	}
	d.asked = true
	return &rival{d: d, id: peer.Member, run: other, m: d.n.s.byRun(other)}, nil
}

func (d *door) leave(peer protocol.Hello) { d.to.greeter.holders.Leave(peer.Member, peer.Run) }

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
func (r *rival) Supersede() { r.d.to.greeter.holders.Supersede(r.id, r.run) }

// letIn tells the replica, if there is one: a repairing member has none.
func (x *greeter) letIn(id protocol.MemberID, run protocol.RunID) {
	if x.replica != nil {
		x.replica.LetIn(x.now(), id, run)
	}
}

// answers reports whether a process answers the pings of another one.
func (n *network) answers(m, to *member) bool {
	election := n.s.plan.election
	forth, back := n.link(to, m), n.link(m, to)
	return !(m.paused && n.s.schedule.now > m.pausedAt.Add(election)) && forth.ReachesByStream() && back.ReachesByStream() &&
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
	}
	switch {
	case to.wish != protocol.RoleActive:
	case from.rolledBack != nil && !from.greeter.barred: // one that was told says nothing that counts
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
			from.greeter.refusedBy(&to.host, err)
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
func (x *greeter) refusedBy(by *host, err error) {
	conf, known := x.latest()
	if !known || !x.refusals.Hear(conf.Configuration, by.id, by.address, err) {
		x.unheard = by.name // it says so in its log, and goes on
		return
	}
	if !x.barred {
		x.barred = true
		if x.replica != nil {
			x.replica.Bar(x.now())
			x.serve()
		}
		x.tell(colorFault, "is told by %s: %v; it votes and acknowledges no more", by.name, err)
		x.bar(by, err)
		x.later(operatorLooks, func() { x.refused("somebody who looks") })
	}
	if x.refusals.Ends(conf.Configuration) {
		x.refused(by.name)
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
		m.ends()
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
