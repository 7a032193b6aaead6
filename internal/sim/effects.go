package sim

import (
	"context"
	"time"

	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// hands are what one run of a member's process acts with: the schedule, and a disk and
// a network that fail. The process may die at each boundary between two effects. The
// methods of driver.Hands are the member's.
type hands struct {
	*member
	of uint64 // a run
}

// drive makes what carries out the effects of a member's replica.
func drive(m *member) {
	m.driver = driver.New(driver.Config{
		Context: context.Background(), Replica: m.replica, Machine: m.machine, Log: m.wal, Store: m.checkpoints.store,
		Hands: hands{m, m.run}, Answers: m.serving.answers, Watch: m.watch,
	})
	m.writer = logWriter{witnessed: &m.witnessed, LogWriter: driver.NewLogWriter(m.wal), rests: m.rots}
}

// serve carries out the effects of a step.
func (m *member) serves() {
	run := m.run
	if m.driver.Serve(); m.alive(run) {
		m.turned()
	}
}

// finish tells the replica what has come of a step on a disk. One that fails has a
// cause.
func (m *member) finishes(done driver.Done) {
	if done.Failed != nil && !m.failing {
		m.failing = true
		switch {
		case m.doomed:
			m.s.counts.add(countFailedSyncs, 1)
		case m.disk.ails():
			m.s.counts.add(countEndedByACall, 1)
		default:
			m.s.fail(violated(RuleFault, "%s: the disk fails without a cause: %v", m.name, done.Failed))
			return
		}
		m.tell(colorFault, "x its disk has failed: %v", done.Failed)
	}
	if m.driver.Complete(m.now(), done) {
		m.turned()
	}
}

// turned ends a step: readers see what came of it, and the checkers since when the
// member may take itself to be level.
func (m *member) turned() {
	m.serving.looks()
	m.schedule()
}

// watch lets the checkers follow before anything is done.
func (m *member) watch(fx *replica.Effects) {
	m.observe(fx.Events)
	m.serving.checkAnswers(fx)
	m.s.counts.add(countLogReads, uint64(len(fx.ReadLog)))
	for i := range fx.Install {
		if fx.Install[i].Chunk != nil {
			m.s.counts.add(countChunks, 1)
		}
	}
}

// Alive implements driver.Hands.
func (h hands) Alive() bool { return h.alive(h.of) }

// Persist brings a change to the writer of the log.
func (m *member) Persist(p *replica.Persist) { m.writer.persist(p) }

// Apply queues batches for the state machine.
func (m *member) Apply(list []replica.Apply) {
	for i := range list {
		if len(list[i].Entries) > 0 {
			m.learns(list[i].Entries)
		}
	}
	m.applies = append(m.applies, list...)
	m.startApply()
}

// Repair does a step of repairing.
func (m *member) Repair(step *repair.Step) { m.live.step(step) }

// Tell does nothing: the checkers have seen it.
func (m *member) Tell([]protocol.Event) {}

// DiskFailed ends the process: it has said what it still had to say.
func (m *member) DiskFailed(error) { m.dies(false, "its disk has failed") }

// lane is work that is done in order, each piece after a while.
type lane struct {
	queue []func() driver.Done
	busy  bool
}

// Work queues a step in a lane.
func (m *member) Work(l driver.Lane, step func() driver.Done) {
	x := &m.lanes[l]
	x.queue = append(x.queue, step)
	if !x.busy {
		x.busy = true
		m.later(laneTime(m, l), func() { m.workOn(l) })
	}
}

// workOn does the oldest step of a lane. In the middle of one that changes the store
// the machine may stop.
func (m *member) workOn(l driver.Lane) {
	x := &m.lanes[l]
	next, run := x.queue[0], m.run
	x.queue = x.queue[1:]
	if l == driver.Store && m.atCrashPoint(amidCheckpoint) {
		m.disk.stopIn(m.s.random.faults.IntN(48))
	}
	done := next()
	if m.disk.stopped() {
		m.dies(m.torn, boundaryNames[amidCheckpoint])
		return
	}
	m.disk.goesOn()
	m.noted(&done.Note)
	m.finish(done)
	switch {
	case !m.alive(run):
	case len(x.queue) > 0:
		m.later(laneTime(m, l), func() { m.workOn(l) })
	default:
		x.busy = false
	}
}

// laneTime is how long a piece of work takes.
func laneTime(m *member, l driver.Lane) time.Duration {
	if l == driver.Store {
		return between(m.s.random.disk, 100*time.Microsecond, 2*time.Millisecond) + m.s.plan.sync
	}
	return m.readTime()
}

// Send hands messages to the network, and shows them to the checkers.
func (m *member) Send(list []replica.Send) {
	if len(list) > 0 && !m.survives(beforeSend) {
		return
	}
	for i := range list {
		e := &list[i]
		if i > 0 && !m.survives(amidSend) {
			return
		}
		to := m.route(e.To)
		if _, gone := m.s.graves[e.To]; gone && e.From == m.id {
			continue // to a member that will never be again
		}
		if to == nil || e.From != m.id {
			m.s.fail(violated(RuleFault, "%s sends a %s from %s to %s", m.name, e.Message.Kind(), e.From.Short(), e.To.Short()))
			return
		}
		if _, answer := e.Message.(*protocol.ForwardAnswer); answer && m.divergedState != nil && !m.quarantined() {
			continue // of a wrong state: see isWrong
		}
		if m.barred && !e.Message.Kind().OfFlock() {
			continue
		}
		m.shows(e.Message)
		if err := m.log.promises(e.Message, e.To, m.id); err != nil && !m.s.forked {
			m.s.fail(err)
			return
		}
		m.send(to, e.Message, e.Datagram)
	}
	if len(list) > 0 {
		m.survives(afterSend)
	}
}

// shows draws what a message proves about its sender.
func (m *member) shows(msg protocol.Message) {
	switch msg := msg.(type) {
	case *protocol.Append:
		m.leads(msg.Term)
		m.knows(msg.Commit)
	case *protocol.Heartbeat:
		m.leads(msg.Term)
		m.knows(msg.Commit)
	case *protocol.VoteAnswer:
		if !msg.Granted && msg.Pre {
			m.s.counts.add(countPreVotesRefused, 1)
		} else if !msg.Granted {
			m.s.counts.add(countVotesRefused, 1)
		}
	case *protocol.Have:
		m.knows(msg.LastIndex)
	case *protocol.Frame:
		m.s.counts.add(countFrames, 1)
		if msg.Origin == m.id {
			m.knows(msg.Commit)
		}
	case *protocol.Want:
		m.s.counts.add(countRepairs, 1)
	case *protocol.ReadIndex:
		m.s.counts.add(countForwardedReads, 1)
	}
}

// startApply gives the next batch to the state machine, unless it is at work.
func (x *applying) startApply() {
	if x.busy || len(x.applies) == 0 || !x.survives(beforeApply) {
		return
	}
	x.busy = true
	x.later(x.applyTime(len(x.applies[0].Entries)), x.apply)
}

// applyTime is how long a state machine takes for a batch.
func (x *applying) applyTime(entries int) time.Duration {
	return between(x.s.random.members, 10*time.Microsecond, x.s.plan.apply) + time.Duration(entries)*2*time.Microsecond
}
