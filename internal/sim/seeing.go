package sim

import (
	"time"

	"github.com/starlinghq/starling/internal/virtual/memberlist"
)

// What the model of memberlist has for a process and a network: that of the member, with its
// pauses, and the links of the cluster.

// Now is the virtual time.
func (e *eyes) Now() time.Duration { return time.Duration(e.w.s.schedule.now) }

// runs reports whether the run of the process goes on.
func (e *eyes) runs() bool { return e.m.run == e.run && e.m.runs() && !e.w.s.failed() }

// wake does something for the run, now or when it goes on. Nothing of it may be lost, as
// what comes over the network may while the process stands still.
func (e *eyes) wake(do func()) {
	act := func() {
		do()
		e.follow()
	}
	switch {
	case !e.runs():
	case e.m.paused:
		e.m.asleep = append(e.m.asleep, act)
	default:
		act()
	}
}

// After does something later.
func (e *eyes) After(d time.Duration, do func()) {
	e.w.s.schedule.after(d, func() { e.wake(do) })
}

// whoIsAt returns the member whose process is at an address, or nil.
func (w *membership) whoIsAt(address string) *member {
	for _, m := range w.s.members {
		if m.address == address && m.runs() && m.eyes != nil {
			return m
		}
	}
	return nil
}

// machineAt returns the member at an address, whether it runs or not.
func (w *membership) machineAt(address string) *member {
	for _, m := range w.s.members {
		if m.address == address {
			return m
		}
	}
	return nil
}

// travel draws how long something is on its way between two members.
func (w *membership) travel(from, to int) time.Duration {
	n := w.s.network
	return n.delay + around(w.s.random.membership, n.jitter) + n.Link(from, to).Slow
}

// Packet sends a datagram.
func (e *eyes) Packet(address string, p memberlist.Packet) {
	w := e.w
	to := w.machineAt(address)
	lost := chance(w.s.random.membership, w.s.network.rough.Loss)
	if to == nil || lost || !w.s.network.reaches(e.m.number, to.number, true) {
		return
	}
	at := max(w.s.schedule.now.Add(w.travel(e.m.number, to.number)), w.s.network.link(e.m, to).Clogged)
	w.s.schedule.at(at, func() {
		if other := w.whoIsAt(address); other != nil {
			eyes := other.eyes
			eyes.wake(func() { eyes.list.Receive(p) })
		}
	})
}

// Stream has a stream opened, and what it brings back. It waits for no longer than two tries
// take until it stands, as the transport of gossip/swim does.
func (e *eyes) Stream(address string, p memberlist.Packet, within time.Duration, took func(memberlist.Packet)) {
	w, over, stands := e.w, false, false
	end := func(reply memberlist.Packet) {
		if !over {
			over = true
			e.wake(func() { took(reply) })
		}
	}
	to := w.machineAt(address)
	w.s.schedule.after(within, func() { end(nil) })
	w.s.schedule.after(min(within, 2*w.pace.try), func() {
		if !stands {
			end(nil)
		}
	})
	if to == nil {
		return
	}
	until := w.s.schedule.now.Add(within)
	pass := func(from, to *member, then func()) {
		w.pass(from, to, until, retransmit, func() {
			if !over {
				then()
			}
		})
	}
	pass(e.m, to, func() {
		if w.whoIsAt(address) != to {
			end(nil) // nobody listens there
			return
		}
		eyes := to.eyes
		pass(to, e.m, func() {
			stands = true
			pass(e.m, to, func() {
				eyes.wake(func() {
					reply := eyes.list.Answer(p)
					pass(to, e.m, func() { end(reply) })
				})
			})
		})
	})
}

// pass brings a piece of a stream over, sending it again while the link is cut.
func (w *membership) pass(from, to *member, until Time, again time.Duration, then func()) {
	now := w.s.schedule.now
	if now > until || w.s.failed() {
		return
	}
	if !w.s.network.reaches(from.number, to.number, false) {
		w.s.schedule.after(again, func() { w.pass(from, to, until, 2*again, then) })
		return
	}
	late := w.travel(from.number, to.number)
	if chance(w.s.random.membership, w.s.network.rough.Loss) {
		late += retransmit
	}
	w.s.schedule.at(max(now.Add(late), w.s.network.link(from, to).Clogged), then)
}
