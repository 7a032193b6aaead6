package runtime

import (
	"errors"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// hands are a member's own: goroutines, sockets and clients.
type hands struct{ m *Member }

func (h hands) Alive() bool                                 { return h.m.cause.Load() == nil }
func (h hands) Persist(p *replica.Persist)                  { h.m.writes <- p } // one is under way at a time, and one vote: there is room
func (h hands) Send(list []replica.Send)                    { h.m.transport.send(list) }
func (h hands) Repair(step *repair.Step)                    { h.m.repairer.steps.add(*step) }
func (h hands) Work(l member.Lane, step func() member.Done) { h.m.lanes[l].add(step) }
func (h hands) SuspendServing(d *gossip.Divergence)         { h.m.suspendServing(d) }
func (h hands) Expel(back protocol.RunOf)                   { h.m.dirs.condemn(back) }
func (h hands) DiskFailed(err error)                        { h.m.failDisk(err) }

// Stop ends the member.
func (h hands) Stop(why error) {
	if replica.Refused(why) {
		why = h.m.dirs.forgotten(why)
	}
	h.m.fail(why)
}

func (h hands) Apply(list []replica.Apply) {
	for _, a := range list {
		h.m.applies <- a // at most applyFlights and one to take over: there is room
	}
}

func (h hands) Tell(list []protocol.Event) {
	for _, e := range list {
		h.m.observer.Event(e)
	}
}

// lane is the goroutine of a lane. The end of the member aborts what it is at.
func (m *Member) lane(l member.Lane) {
	m.lanes[l].serve(m.stop, func(step func() member.Done) bool {
		began := m.clock.Now()
		done := step()
		m.noted(&done.Note, m.clock.Now().Sub(began))
		return m.complete(done) && m.life.Err() == nil
	})
}

// complete has the loop tell the replica what has come of a step. It reports false if
// the member has stopped.
func (m *Member) complete(done member.Done) bool {
	if done.Tell == nil && done.Failed == nil {
		return true
	}
	return m.mailbox.put(func(in *mail) { in.done = append(in.done, done) })
}

// noted writes to the log how a step on the store went.
func (m *Member) noted(n *member.Note, took time.Duration) {
	switch {
	case n.Doing == member.ReadingOf && errors.Is(n.Err, protocol.ErrCorrupt):
		m.logger.Error("a checkpoint is damaged", "index", n.Index, "err", n.Err)
	case n.Doing == member.ReadingOf:
	case n.Err != nil:
		m.remembered.fails(m.logger, m.clock.Now(), string(n.Doing), "index", n.Index, "err", n.Err)
	case n.Doing == member.Taking:
		m.logger.Debug("checkpoint taken", "index", n.Index, "took", took)
	}
}
