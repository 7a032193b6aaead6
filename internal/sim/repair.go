package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// A member whose log is found damaged when it starts has a process, speaks and is
// seen alive, but has no role until its log is repaired, as in the runtime.

// repairing is such a process.
type repairing struct {
	*ailing
	lost   func()                    // the disk cannot be used any more
	writes func(*storage.RepairPlan) // carries out the plan

	of       uint64 // its run
	start    *repair.Start
	installs snapshotter.Installation
	wake     Time
	over     bool // the plan is being carried out
}

// runs reports whether there is a process, with or without a role.
func (m *member) runs() bool { return m.up() || m.repairing != nil }

// beginRepair starts the process on a damaged log. It reports whether the member
// is to get an empty disk: nothing can be repaired.
func (m *member) beginRepair(rec *storage.Opened) (lost bool) {
	err := m.openStore()
	var own []storage.Begin
	if err == nil {
		own, err = snapshotter.Sound(context.Background(), m.store, m.newMachine(behind{}), snapshotter.Options{Level: m.format})
	}
	if err == nil {
		err = m.wal.CountStart()
	}
	if err != nil {
		m.tell(colorFault, "x cannot repair its log: %v", err)
		if !m.noRoom(err) && !m.disk.ails() {
			return true
		}
		m.s.schedule.after(time.Second, m.restart)
		return false
	}
	m.greeter.begins()
	m.role = protocol.RolePassive
	g := &repairing{
		ailing: &m.ailing, lost: func() { m.s.lose(m) }, writes: m.carryOut, of: m.run,
		start: repair.NewStart(m.now(), repair.Config{ID: m.id, Seed: mix(m.s.seed ^ uint64(m.number)), Run: m.runID}, rec, m.wal, own),
	}
	if err := g.start.Lost(); err != nil {
		m.tell(colorFault, "x its log is lost: %v", err)
		return true
	}
	m.repairing = g
	m.s.membership.open(m, func(peers []protocol.Peer) {
		g.start.SetPeers(g.now(), peers)
		g.serve()
	})
	g.serve()
	return false
}

// goesOn reports whether the process does.
func (g *repairing) goesOn() bool { return g.run == g.of && !g.s.failed() }

// later schedules something for the process.
func (g *repairing) later(d time.Duration, do func()) {
	g.s.schedule.after(d, func() {
		if g.goesOn() {
			do()
		}
	})
}

// receive takes a message.
func (g *repairing) receive(from protocol.MemberID, msg protocol.Message) {
	g.start.Receive(g.now(), from, msg)
	g.serve()
}

// serve carries out what the repair wants done, until nothing more comes of it.
func (g *repairing) serve() {
	if g.over {
		return
	}
	if now := g.now(); now >= g.start.Deadline() {
		g.start.Tick(now)
	}
	for g.goesOn() {
		e := g.start.Effects()
		g.sends(e.Send)
		g.sends(e.Datagrams)
		for i := range e.Events {
			g.tell(colorQuiet, "repairing: %s", e.Events[i].Text)
		}
		if err := g.start.Lost(); err != nil {
			g.tell(colorFault, "x its log is lost: %v", err)
			g.ends()
			g.lost()
			return
		}
		if e.Write != nil {
			g.over = true
			g.later(g.syncTime(), func() { g.writes(e.Write) })
			return
		}
		if len(e.Install) == 0 {
			g.sleep()
			return
		}
		for i := range e.Install {
			if g.goesOn() {
				g.step(&e.Install[i])
			}
		}
	}
}

// sleep sees to it that the repair goes on when it wants to.
func (g *repairing) sleep() {
	when := max(g.clock.when(g.start.Deadline()), g.s.schedule.now+1)
	if g.wake > g.s.schedule.now && g.wake <= when {
		return
	}
	g.wake = when
	g.later(when.Sub(g.s.schedule.now), func() {
		if g.wake == when {
			g.wake = 0
			g.serve()
		}
	})
}

// step does a step on the store. It accepts no failure but a full disk and a
// checkpoint that is bad.
func (g *repairing) step(step *install.Step) {
	missing, err := g.installs.Step(context.Background(), g.store, func() *machine.Machine { return g.newMachine(behind{}) }, step, nil)
	switch {
	case err == nil:
		if step.Chunk != nil {
			g.s.counts.add(countChunks, 1)
		}
	case errors.Is(err, protocol.ErrDiskFailed) && g.disk.ails():
		g.startFails(err)
		return
	case errors.Is(err, protocol.ErrDiskFailed):
		g.s.fail(violated(RuleFault, "%s: the disk fails without a cause: %v", g.name, err))
		return
	}
	g.start.Installed(g.now(), step, missing, err)
}

// sends hands messages to the network. A member that repairs promises nothing.
func (g *repairing) sends(list []protocol.Envelope) {
	for i := range list {
		e := &list[i]
		switch e.Message.(type) {
		case *protocol.RepairWant, *protocol.Repair, *protocol.Have, *protocol.ManifestWant, *protocol.ChunkWant, *protocol.Busy,
			*protocol.Graft, *protocol.Prune, *protocol.Echo, *protocol.EchoAnswer, *protocol.StreamEcho, *protocol.StreamEchoAnswer: // gossip places it among the others; it promises nothing
		default:
			g.s.fail(violated(RuleRepairing, "%s sends a %s", g.name, e.Message.Kind()))
			return
		}
		if to := g.route(e.To); to != nil {
			g.send(to, e.Message, false)
		}
	}
}

// carryOut writes the repaired log, and starts the member on it.
func (m *member) carryOut(plan *storage.RepairPlan) {
	if b := plan.Begin; b != nil && b.Index > 0 && !slices.ContainsFunc(m.store.Kept(), func(d storage.Manifest) bool { return d.Index >= b.Index }) {
		m.s.fail(violated(RuleRepairing, "%s begins its log after %d, and keeps no checkpoint from there", m.name, b.Index))
		return
	}
	m.wal.Close()
	m.patched = true
	if chance(m.s.random.faults, 0.5) && !m.s.quiet && m.s.faultFreeFor == 0 {
		m.disk.stopIn(m.s.random.faults.IntN(30))
	}
	err := wal.Repair(context.Background(), m.disk.fs, directory, m.disk.options, *plan)
	stopped := m.disk.stopped()
	m.disk.goesOn()
	m.stop()
	switch {
	case stopped:
		m.s.counts.add(countRepairsCut, 1)
		m.s.crashOpening(m)
		return
	case m.noRoom(err):
		m.disk.crash(false)
		m.s.schedule.after(time.Second, m.restart)
		return
	case err != nil && m.disk.ails() && !errors.Is(err, protocol.ErrCorrupt):
		m.startFails(err)
		return
	case err != nil:
		if m.repairs++; m.repairs > repair.Tries || !errors.Is(err, protocol.ErrCorrupt) {
			m.s.fail(violated(RuleDurable, "%s cannot be repaired: %v", m.name, err))
			return
		}
	default:
		m.tell(colorPlain, "its log is repaired to %d", plan.Last)
		if plan.Begin != nil && plan.Begin.Index > 0 {
			m.s.counts.add(countRepairedCheckpoint, 1)
		}
	}
	m.disk.crash(false)
	m.s.boot(m)
}

// answerRepair answers a member that repairs its log.
func (p *process) answerRepair(from protocol.MemberID, want *protocol.RepairWant) {
	to := p.route(from)
	if to == nil {
		return
	}
	held, run := p.replica.Held(), p.run
	p.later(p.readTime(), func() {
		if p.run == run {
			p.send(to, repair.Answer(p.wal, held, want), false)
		}
	})
}

// repaired checks what came of a damaged log: it is the member's own again, or what
// is committed, and nothing committed that it held is gone. Every entry is read.
func (x *ailing) repaired(rec *storage.Opened, log *wal.Log) error {
	own, l, last := x.log.durable, x.s.ledger, rec.LogTerms.LastIndex()
	mine, same := x.log.ended(last, rec.LastSum)
	if !same && last > 0 && !l.isCommitted(last, rec.LastSum) {
		return violated(RuleDurable, "%s has repaired its log to %d (%s), which is neither its own to %d nor what is committed", x.name, last, rec.LastSum, own.last())
	}
	for i := last + 1; i <= own.last(); i++ {
		if l.isCommitted(i, own.sumAt(i)) {
			return violated(RuleDurable, "%s has repaired its log to %d, and held %d, which is committed", x.name, last, i)
		}
	}
	if !newer(protocol.HardState{Term: own.state.Term, Vote: own.state.Vote}, rec.State) || rec.State.Commit < min(own.state.Commit, last) {
		return violated(RuleHardState, "%s has repaired its log: %v after %v", x.name, rec.State, own.state)
	}
	if same {
		own = *mine
	} else {
		own = *l.upTo(last)
	}
	own.state = rec.State
	for i := rec.LogTerms.FirstIndex(); i <= last; {
		entries, err := log.Read(i, last, 1<<20)
		if err != nil {
			return violated(RuleDurable, "%s has repaired its log, and cannot read %d: %v", x.name, i, err)
		}
		for k := range entries {
			if entries[k].Sum != own.sumAt(entries[k].Index) {
				return violated(RuleDurable, "%s has repaired its log: %s is another entry", x.name, &entries[k])
			}
		}
		i += protocol.Index(len(entries))
	}
	x.log.durable, x.log.pending = own, nil
	x.log.written = *own.clone()
	x.log.commit = min(x.log.commit, last)
	for x.log.commit > 0 && !l.isCommitted(x.log.commit, own.sumAt(x.log.commit)) {
		x.log.commit--
	}
	x.patched, x.repairs = false, 0
	x.s.counts.add(countRepaired, 1)
	if x.unreadable { // the places are not the log's any more
		x.disk.fs.ReadsWork()
		x.unreadable = false
	}
	return nil
}
