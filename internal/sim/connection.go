package sim

import (
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// pingTimeout is how long a member may leave a ping unanswered; it is that of internal/wire.
const pingTimeout = time.Second

var (
	errRefused = protocol.ErrUnavailable.With("nobody takes a connection there")
	errLost    = protocol.ErrUnknownOutcome.With("the connection was lost, and the request may have been received")
)

// journey is a request on its way to a member, over a connection.
type journey struct {
	k      *call
	turn   uint64
	member *member
	run    uint64 // of the process that was there when it was sent
	lost   bool   // the request, or its answer
}

// send asks one member.
func (k *call) send(m *member) {
	s := k.client.s
	k.last = m
	k.turn++
	j := &journey{k: k, turn: k.turn, member: m, run: m.run, lost: s.lostOnTheWay()}
	q := k.request()
	if s.trace.messages() {
		m.tell(colorPlain, "%s> %s", k.client.name, k)
	}
	j.ping()
	if j.lost {
		return
	}
	s.schedule.after(s.wayTo(), func() {
		if !m.up() {
			s.schedule.after(s.wayTo(), func() { j.came(nil, errRefused) })
			return
		}
		k.client.reached(m)
		run := m.run
		m.whenAwake(func() {
			if m.run == run && m.up() {
				m.serving.ask(k.op, q, j.reply)
			}
		})
	})
}

// ping notices when the connection is lost: the member answers no pings, or its process is
// gone. One at work is waited for.
func (j *journey) ping() {
	s, m := j.k.client.s, j.member
	s.schedule.after(pingTimeout, func() {
		switch {
		case j.k.over || j.k.turn != j.turn:
		case !j.lost && m.up() && m.run == j.run && !m.paused:
			j.ping()
		default:
			j.k.client.silent(m)
			j.came(nil, errLost)
		}
	})
}

// reply carries an answer back to the client.
func (j *journey) reply(r protocol.Result) {
	s := j.k.client.s
	if s.lostOnTheWay() || j.member.isWrong() {
		j.lost = true
		return
	}
	response := &protocol.Response{Result: r}
	response.Leader, response.Term = leaderAddressAt(j.member)
	s.schedule.after(s.wayTo(), func() { j.came(response, nil) })
}

// came takes what came of the journey: a response, or an error.
func (j *journey) came(response *protocol.Response, err error) {
	k := j.k
	if k.over || k.turn != j.turn {
		return
	}
	k.turn++
	k.comeBack()
	if k.round == nil {
		k.took(response, err)
		return
	}
	k.client.remote.came(k, response, err)
}

// Clients see the same weather as members.
func (s *load) lostOnTheWay() bool { return chance(s.random.clients, s.network.rough.Loss/2) }

func (s *load) wayTo() time.Duration {
	return s.network.delay + around(s.random.clients, s.network.jitter)
}

// leaderAddressAt is where the leader takes requests, as this member knows it, and its term.
func leaderAddressAt(m *member) (string, protocol.Term) {
	status := m.replica.Status(m.now())
	if status.Leader.IsZero() {
		return "", 0
	}
	leader := m.route(status.Leader)
	if leader == nil {
		return "", 0
	}
	return leader.name, status.LeaderTerm
}

// ask brings a request for an operation to the replica. The answer may never come.
func (x *serving) ask(o *op, q *protocol.Request, answer func(protocol.Result)) {
	switch {
	case o.command() && x.nearlyFull(o):
		answer(protocol.Failed(protocol.ErrNoSpace))
	case o.command():
		n := x.request(answer)
		x.replica.Submit(x.now(), replica.Submission{
			Request: n, Command: q.EncodedCommand(), Session: q.Command.Session, Sequence: q.Command.Sequence,
		})
		x.serve()
	case o.consistency == protocol.Linearizable:
		x.replica.Read(x.now(), x.read(q.Query, answer))
		x.serve()
	case x.quarantined() || x.diverged || x.unconfirmed():
		answer(protocol.Failed(protocol.ErrNotServing))
	default:
		answer(x.query(q.Query))
	}
}

// nearlyFull reports whether the member's disk has so little room that it takes
// no commands but those that free some, and those on sessions, as in the runtime.
func (x *serving) nearlyFull(o *op) bool {
	if !x.full || x.s.plan.profile == profileRoom || o.kind == opOpen || o.kind == opKeepAlive || o.kind == opDelete || o.kind == opPop {
		return false
	}
	space, err := x.wal.Space()
	return err == nil && space.Full
}
