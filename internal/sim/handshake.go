package sim

import (
	"errors"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// standingEvery is how often a member says on its streams how far its directory
// has come, as the runtime does.
const standingEvery = time.Second

// speaker is one use of a stream: the connection and the run of the process at
// one of its ends.
type speaker struct{ stream, run uint64 }

// hello is how a member introduces itself.
func (m *member) hello() protocol.Hello {
	return protocol.Hello{
		Cluster: clusterID, Member: m.id, Name: m.label(),
		Starts: m.wal.Identity().Starts, Run: m.runID, Sequence: m.wal.DurableSequence(),
	}
}

// stand says on all streams how far the directory has come, again and again.
func (m *member) stand() {
	standing := &protocol.Standing{Starts: m.wal.Identity().Starts, Run: m.runID, Sequence: m.wal.DurableSequence()}
	for _, other := range m.s.members {
		l := m.s.network.links[m.number][other.number]
		if other != m && l.spoken == (speaker{l.stream, m.run}) {
			m.s.network.send(m, other, standing, false)
		}
	}
	m.later(standingEvery, m.stand)
}

// greeting is what the first message of a stream brings along.
type greeting struct {
	hello protocol.Hello
	run   uint64 // of the sender's process
}

// greet notes with whose hello a stream begins.
func (l *link) greet(from *member) greeting {
	if now := (speaker{l.stream, from.run}); l.spoken != now {
		l.spoken, l.greeting = now, greeting{from.hello(), from.run}
	}
	return l.greeting
}

// welcomes reports whether a message of a stream may pass: both ends have to
// take each other's directory for one that has not gone back. What is left of a
// broken stream passes if the sender's run was welcome before.
func (n *network) welcomes(l *link, stream uint64, g *greeting, from, to *member) bool {
	met := speaker{stream, to.run}
	known := to.welcome[g.hello.Run]
	if l.stream != stream && known || l.met == met && known {
		return true
	}
	if err := to.sightings.Check(g.hello); err != nil {
		n.refuse(g, from, to, err)
		return false
	}
	if from.runs() && from.run == g.run {
		if err := from.sightings.Check(to.hello()); err != nil {
			n.s.trace.note(markRefused, from.number, uint64(to.number), 1)
			if to.restored == nil {
				n.s.fail(violated(RuleFault, "%s refuses %s without a cause: %v", from.name, to.name, err))
			}
			return false // it is not told: it finds out when it speaks
		}
	}
	if from.restored != nil && from.run == g.run && to.wish == protocol.RoleActive {
		n.s.fail(violated(RuleRestored, "%s takes the restored directory of %s for the one that it knows", to.name, from.name))
		return false
	}
	to.welcome[g.hello.Run] = true
	if l.stream == stream {
		l.met = met
	}
	return true
}

// refuse tells the sender that its directory has gone back. One that has died
// meanwhile is not there to hear it: its last hello was only late.
func (n *network) refuse(g *greeting, from, to *member, err error) {
	n.s.trace.note(markRefused, to.number, uint64(from.number), 0)
	if !errors.Is(err, protocol.ErrRolledBack) {
		n.s.fail(violated(RuleFault, "%s refuses %s: %v", to.name, from.name, err))
		return
	}
	if !from.runs() || from.run != g.run {
		return
	}
	if from.restored == nil {
		n.s.fail(violated(RuleFault, "%s refuses %s without a cause: %v", to.name, from.name, err))
		return
	}
	n.s.schedule.after(n.delay, func() {
		if from.run == g.run && from.runs() {
			n.s.foundRestored(from, to)
		}
	})
}
