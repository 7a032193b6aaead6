package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/install"
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
		own, err = snapshotter.Sound(context.Background(), m.checkpoints.store, m.newMachine(), snapshotter.Options{Level: m.format})
	}
	if err == nil {
		err = m.wal.CountStart()
	}
	if err != nil {
		m.tell(colorFault, "x cannot repair its log: %v", err)
		if !m.noRoom(err) && !m.disk.ails() {
			return true
		}
		m.s.schedule.after(time.Second, func() { m.s.restart(m) })
		return false
	}
	m.starts++
	m.greeter.meets()
	m.runID = protocol.RunID(m.s.random.members.Uint64())
	m.seen, m.told, m.role = make([]bool, len(m.s.members)), nil, protocol.RolePassive
	g := &repairing{start: repair.NewStart(m.now(), repair.Config{ID: m.id, Seed: mix(m.s.seed ^ uint64(m.number)), Run: m.runID}, rec, m.wal, own)}
	if err := g.start.Lost(); err != nil {
		m.tell(colorFault, "x its log is lost: %v", err)
		return true
	}
	m.repairing = g
	m.repairLook()
	m.repairServe()
	return false
}

// repairLater schedules something for this run of the process, while it repairs.
func (m *member) repairLater(d time.Duration, do func()) {
	run := m.run
	m.s.schedule.after(d, func() {
		if m.run == run && m.repairing != nil && !m.s.failed() {
			do()
		}
	})
}

// repairLook tells the process who is alive, again and again.
func (m *member) repairLook() {
	w, g := m.s.membership, m.repairing
	var peers []protocol.Peer
	for i, other := range m.s.machines() {
		if other == m {
			continue
		}
		if lives := w.lives(other, m); m.seen[i] != lives && chance(m.s.random.membership, w.learn) {
			m.seen[i] = lives
		}
		if m.seen[i] {
			peers = append(peers, w.peer(other))
		}
	}
	m.told = peers
	g.start.SetPeers(m.now(), peers)
	m.repairLater(w.every/2+around(m.s.random.membership, w.every/2), func() { m.repairLook(); m.repairServe() })
}

// repairReceive takes a message.
func (m *member) repairReceive(from protocol.MemberID, msg protocol.Message) {
	m.repairing.start.Receive(m.now(), from, msg)
	m.repairServe()
}

// repairServe carries out what the repair wants done, until nothing more comes of it.
func (m *member) repairServe() {
	g := m.repairing
	if g.over {
		return
	}
	if now := m.now(); now >= g.start.Deadline() {
		g.start.Tick(now)
	}
	for m.repairing == g && !m.s.failed() {
		e := g.start.Effects()
		m.repairSend(e.Send)
		m.repairSend(e.Datagrams)
		for i := range e.Events {
			m.tell(colorQuiet, "repairing: %s", e.Events[i].Text)
		}
		if err := g.start.Lost(); err != nil {
			m.tell(colorFault, "x its log is lost: %v", err)
			m.ends()
			m.s.lose(m)
			return
		}
		if e.Write != nil {
			g.over = true
			m.repairLater(m.syncTime(), func() { m.carryOut(e.Write) })
			return
		}
		if len(e.Install) == 0 {
			m.repairWake(g)
			return
		}
		for i := range e.Install {
			if m.repairing == g {
				m.repairStep(g, &e.Install[i])
			}
		}
	}
}

// repairWake sees to it that the repair goes on when it wants to.
func (m *member) repairWake(g *repairing) {
	when := max(m.clock.when(g.start.Deadline()), m.s.schedule.now+1)
	if g.wake > m.s.schedule.now && g.wake <= when {
		return
	}
	g.wake = when
	m.repairLater(when.Sub(m.s.schedule.now), func() {
		if m.repairing == g && g.wake == when {
			g.wake = 0
			m.repairServe()
		}
	})
}

// repairStep does a step on the store. It accepts no failure but a full disk and a
// checkpoint that is bad.
func (m *member) repairStep(g *repairing, step *install.Step) {
	missing, err := g.installs.Step(context.Background(), m.checkpoints.store, m.newMachine, step, nil)
	switch {
	case err == nil:
		if step.Chunk != nil {
			m.s.counts.add(countChunks, 1)
		}
	case errors.Is(err, protocol.ErrDiskFailed) && m.disk.ails():
		m.ill.startFails(err)
		return
	case errors.Is(err, protocol.ErrDiskFailed):
		m.s.fail(violated(RuleFault, "%s: the disk fails without a cause: %v", m.name, err))
		return
	}
	g.start.Installed(m.now(), step, missing, err)
}

// repairSend hands messages to the network. A member that repairs promises nothing.
func (m *member) repairSend(list []protocol.Envelope) {
	for i := range list {
		e := &list[i]
		switch e.Message.(type) {
		case *protocol.RepairWant, *protocol.Repair, *protocol.Have, *protocol.ManifestWant, *protocol.ChunkWant, *protocol.Busy,
			*protocol.Graft, *protocol.Prune: // gossip places it among the others; it promises nothing
		default:
			m.s.fail(violated(RuleRepairing, "%s sends a %s", m.name, e.Message.Kind()))
			return
		}
		if to := m.route(e.To); to != nil {
			m.send(to, e.Message, false)
		}
	}
}

// carryOut writes the repaired log, and starts the member on it.
func (m *member) carryOut(plan *storage.RepairPlan) {
	if b := plan.Begin; b != nil && b.Index > 0 && !slices.ContainsFunc(m.checkpoints.store.Kept(), func(d storage.Manifest) bool { return d.Index >= b.Index }) {
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
		m.s.schedule.after(time.Second, func() { m.s.restart(m) })
		return
	case err != nil && m.disk.ails() && !errors.Is(err, protocol.ErrCorrupt):
		m.ill.startFails(err)
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

// repairs answers a member that repairs its log.
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
func (m *member) repaired(rec *storage.Opened, log *wal.Log) error {
	own, l, last := m.log.durable, m.s.ledger, rec.LogTerms.LastIndex()
	mine, same := m.log.ended(last, rec.LastSum)
	if !same && last > 0 && !l.isCommitted(last, rec.LastSum) {
		return violated(RuleDurable, "%s has repaired its log to %d (%s), which is neither its own to %d nor what is committed", m.name, last, rec.LastSum, own.last())
	}
	for i := last + 1; i <= own.last(); i++ {
		if l.isCommitted(i, own.sumAt(i)) {
			return violated(RuleDurable, "%s has repaired its log to %d, and held %d, which is committed", m.name, last, i)
		}
	}
	if !newer(protocol.HardState{Term: own.state.Term, Vote: own.state.Vote}, rec.State) || rec.State.Commit < min(own.state.Commit, last) {
		return violated(RuleHardState, "%s has repaired its log: %v after %v", m.name, rec.State, own.state)
	}
	if same {
		own = *mine
	} else {
		own = shadow{}
		for i := protocol.Index(1); i <= last; i++ {
			c := l.at(i)
			own.terms, own.sums = append(own.terms, c.term), append(own.sums, c.sum)
		}
	}
	own.state = rec.State
	for i := rec.LogTerms.FirstIndex(); i <= last; {
		entries, err := log.Read(i, last, 1<<20)
		if err != nil {
			return violated(RuleDurable, "%s has repaired its log, and cannot read %d: %v", m.name, i, err)
		}
		for k := range entries {
			if entries[k].Sum != own.sumAt(entries[k].Index) {
				return violated(RuleDurable, "%s has repaired its log: %s is another entry", m.name, &entries[k])
			}
		}
		i += protocol.Index(len(entries))
	}
	m.log.durable, m.log.pending = own, nil
	m.log.written = *own.clone()
	m.log.commit = min(m.log.commit, last)
	for m.log.commit > 0 && !l.isCommitted(m.log.commit, own.sumAt(m.log.commit)) {
		m.log.commit--
	}
	m.patched, m.repairs = false, 0
	m.s.counts.add(countRepaired, 1)
	if m.ill.unreadable { // the places are not the log's any more
		m.disk.fs.ReadsWork()
		m.ill.unreadable = false
	}
	return nil
}
