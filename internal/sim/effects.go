package sim

import (
	"context"
	"strings"
	"time"

	"github.com/starlinghq/starling/gossip"
	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// hands are what one run of a member's process acts with: the schedule, and a disk and
// a network that fail. The process may die at each boundary between two effects.
type hands struct {
	*serving
	greeter *greeter
	writer  logWriter
	live    liveRepair
	lanes   [driver.Lanes]lane
	of      uint64 // that run
}

// drive makes what carries out the effects of a member's replica.
func drive(m *member) {
	m.serving.answers = driver.NewAnswers()
	m.hands = &hands{serving: &m.serving, greeter: &m.greeter, of: m.run}
	m.hands.writer = logWriter{witnessed: &m.witnessed, LogWriter: driver.NewLogWriter(m.wal), rests: m.rots}
	m.hands.live.logWriter = &m.hands.writer
	m.serve, m.finish = m.hands.serve, m.hands.finish
	m.driver = driver.New(driver.Config{
		Context: context.Background(), Replica: m.replica, Machine: m.machine, Log: m.wal, Store: m.store,
		Hands: m.hands, Answers: m.serving.answers, Watch: m.hands.watch,
		Quarantine: func(q storage.Quarantine) error { return wal.WriteQuarantine(m.disk.fs, directory, q) },
	})
}

// serve carries out the effects of a step.
func (h *hands) serve() {
	if h.driver.Serve(); h.Alive() {
		h.turned()
	}
}

// finish tells the replica what has come of a step on a disk. One that fails has a
// cause.
func (h *hands) finish(done driver.Done) {
	if done.Failed != nil && !h.failing {
		h.failing = true
		switch {
		case h.doomed:
			h.s.counts.add(countFailedSyncs, 1)
		case h.disk.ails():
			h.s.counts.add(countEndedByACall, 1)
		default:
			h.s.fail(violated(RuleFault, "%s: the disk fails without a cause: %v", h.name, done.Failed))
			return
		}
		h.tell(colorFault, "x its disk has failed: %v", done.Failed)
	}
	if h.driver.Complete(h.now(), done) {
		h.turned()
	}
}

// turned ends a step: readers see what came of it, and the checkers since when the
// member may take itself to be level.
func (h *hands) turned() {
	h.looks()
	h.schedule()
}

// watch lets the checkers follow before anything is done.
func (h *hands) watch(fx *replica.Effects) {
	h.observe(fx.Events)
	h.checkAnswers(fx)
	h.s.counts.add(countLogReads, uint64(len(fx.ReadLog)))
	for i := range fx.Install {
		if fx.Install[i].Chunk != nil {
			h.s.counts.add(countChunks, 1)
		}
	}
}

// observe counts and traces what the replica tells of itself.
func (h *hands) observe(events []protocol.Event) {
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case protocol.EventBecameCandidate:
			h.s.counts.add(countElections, 1)
		case protocol.EventBecameLeader:
			if h.leads(e.Term); h.s.ledger.ahead[e.Term] {
				h.s.counts.add(countElectedAhead, 1)
			}
		case protocol.EventSteppedDown:
			h.s.counts.add(countStepDowns, 1)
		case protocol.EventTransfer:
			if strings.HasSuffix(e.Text, replica.WithoutRoom) {
				h.s.counts.add(countFullHandOvers, 1)
			}
		case protocol.EventSlow:
			h.s.counts.add(countSlowHandOvers, 1)
		case protocol.EventRejected:
			h.s.counts.add(countRejected, 1)
		case protocol.EventTruncated:
			h.truncates(e)
		case protocol.EventBecamePassive:
			at := e.Index
			h.log.sheds = &at
		case protocol.EventConfiguration:
			h.proposes(e.Index)
		case protocol.EventBehind:
			h.s.counts.add(countFarBehind, 1)
		case protocol.EventDatagramsLost:
			h.s.counts.add(countDatagramsLost, 1)
		case protocol.EventDatagramsBack:
			h.s.counts.add(countDatagramsBack, 1)
		case protocol.EventDiverged, protocol.EventRepaired:
			if !h.s.forked {
				h.quarantine()
			}
		case protocol.EventAhead:
			if !h.s.forked {
				h.s.fail(violated(RuleHistory, "%s says of a member: %s", h.name, e.Text))
			}
		}
		if h.s.trace.on() {
			if text, c := h.traced(e); text != "" {
				h.tell(c, "%s", text)
			}
		}
	}
}

// Alive implements driver.Hands.
func (h *hands) Alive() bool { return h.alive(h.of) }

// Persist brings a change to the writer of the log.
func (h *hands) Persist(p *replica.Persist) { h.writer.persist(p) }

// Apply queues batches for the state machine.
func (h *hands) Apply(list []replica.Apply) {
	for i := range list {
		if len(list[i].Entries) > 0 {
			h.learns(list[i].Entries)
		}
	}
	h.applies = append(h.applies, list...)
	h.startApply()
}

// Repair does a step of repairing.
func (h *hands) Repair(step *repair.Step) { h.live.step(step) }

// Tell does nothing: the checkers have seen it.
func (h *hands) Tell([]protocol.Event) {}

// DiskFailed ends the process: it has said what it still had to say.
func (h *hands) DiskFailed(error) { h.dies(false, "its disk has failed") }

// Expel refuses a run whose directory was put back.
func (h *hands) Expel(back protocol.RunOf) {
	id := back.Member
	h.s.counts.add(countCondemned, 1)
	h.greeter.watermarks.Condemn(id, back.Run)
	if h.greeter.holders.Holds(id, back.Run) {
		h.greeter.holders.Expel(id)
	}
	other := h.s.byID(id)
	if other != nil { // its streams are closed: it dials again, and is refused
		h.greeter.network.Reset(h.greeter.network.Link(other.number, h.number))
	}
	if other == nil || !other.suspect() {
		h.s.fail(violated(RuleFault, "%s takes the directory of %s for one that was put back, without a cause", h.name, h.s.nameOf(id)))
	}
}

// SuspendServing says that the member's log is of another history: it serves nobody from now
// on, and keeps what it has.
func (h *hands) SuspendServing(d *gossip.Divergence) {
	if !h.s.forked {
		h.s.fail(violated(RuleHistory, "%s says: %s", h.name, d))
	}
	h.diverged = true
}

// Stop ends a process that says that it must stop.
func (h *hands) Stop(why error) {
	switch {
	case replica.Refused(why):
		h.greeter.refused("its own log")
		return
	case !h.s.forked:
		h.s.fail(violated(RuleStateMachine, "%s stops: %v", h.name, why))
		return
	}
	h.tell(colorFault, "x stops: %v", why)
	h.ends()
}

// lane is work that is done in order, each piece after a while.
type lane struct {
	queue []func() driver.Done
	busy  bool
}

// Work queues a step in a lane.
func (h *hands) Work(l driver.Lane, step func() driver.Done) {
	x := &h.lanes[l]
	x.queue = append(x.queue, step)
	if !x.busy {
		x.busy = true
		h.later(h.laneTime(l), func() { h.workOn(l) })
	}
}

// workOn does the oldest step of a lane. In the middle of one that changes the store
// the machine may stop.
func (h *hands) workOn(l driver.Lane) {
	x := &h.lanes[l]
	next := x.queue[0]
	x.queue = x.queue[1:]
	if l == driver.Store && h.atCrashPoint(amidCheckpoint) {
		h.disk.stopIn(h.s.random.faults.IntN(48))
	}
	done := next()
	if h.disk.stopped() {
		h.dies(h.torn, boundaryNames[amidCheckpoint])
		return
	}
	h.disk.goesOn()
	h.noted(&done.Note)
	h.finish(done)
	switch {
	case !h.Alive():
	case len(x.queue) > 0:
		h.later(h.laneTime(l), func() { h.workOn(l) })
	default:
		x.busy = false
	}
}

// laneTime is how long a piece of work takes.
func (h *host) laneTime(l driver.Lane) time.Duration {
	if l == driver.Store {
		return between(h.s.random.disk, 100*time.Microsecond, 2*time.Millisecond) + h.s.plan.sync
	}
	return h.readTime()
}

// Send hands messages to the network, and shows them to the checkers.
func (h *hands) Send(list []replica.Send) {
	if len(list) > 0 && !h.survives(beforeSend) {
		return
	}
	for i := range list {
		e := &list[i]
		if i > 0 && !h.survives(amidSend) {
			return
		}
		to := h.route(e.To)
		if _, gone := h.s.graves[e.To]; gone && e.From == h.id {
			continue // to a member that will never be again
		}
		if to == nil || e.From != h.id {
			h.s.fail(violated(RuleFault, "%s sends a %s from %s to %s", h.name, e.Message.Kind(), e.From.Short(), e.To.Short()))
			return
		}
		_, answer := e.Message.(*protocol.ForwardAnswer)
		if answer && h.isWrong() || h.greeter.barred && !e.Message.Kind().OfFlock() {
			continue
		}
		h.shows(e.Message)
		if err := h.log.promises(e.Message, e.To, h.id); err != nil && !h.s.forked {
			h.s.fail(err)
			return
		}
		if heard := h.sees(to); heard || h.seated(to) && !e.Message.Kind().NeverByStream() {
			h.send(to, e.Message, e.Datagram && heard)
		}
	}
	if len(list) > 0 {
		h.survives(afterSend)
	}
}

// shows draws what a message proves about its sender.
func (w *witnessed) shows(msg protocol.Message) {
	switch msg := msg.(type) {
	case *protocol.Append:
		w.leads(msg.Term)
		w.knows(msg.Commit)
	case *protocol.Heartbeat:
		w.leads(msg.Term)
		w.knows(msg.Commit)
	case *protocol.VoteAnswer:
		if !msg.Granted && msg.Pre {
			w.s.counts.add(countPreVotesRefused, 1)
		} else if !msg.Granted {
			w.s.counts.add(countVotesRefused, 1)
		}
	case *protocol.Have:
		w.knows(msg.LastIndex)
	case *protocol.Frame:
		w.s.counts.add(countFrames, 1)
		if msg.Origin == w.id {
			w.knows(msg.Commit)
		}
	case *protocol.Want:
		w.s.counts.add(countRepairs, 1)
	case *protocol.ReadIndex:
		w.s.counts.add(countForwardedReads, 1)
	}
}
