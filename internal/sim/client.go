package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/protocol"
)

const (
	// patience is how long a client tries before it gives up, while there are
	// faults. Afterwards every call must be answered.
	patience = 25 * time.Second
	// retryMin and retryMax bound its pauses; they are those of internal/client.
	retryMin, retryMax = 5 * time.Millisecond, 500 * time.Millisecond
	// callAgain is how long a program waits, when there are no faults any more, before it
	// calls again what failed.
	callAgain = 100 * time.Millisecond
)

// oneShots is the share of its commands that a client sends without its session.
const oneShots = 0.2

// client is one session and the calls that it has in flight. What it decides, package
// attempt decides, as in production: whom it asks, what an answer means, whether it asks
// again. Here it gets virtual time, and connections that are lost.
type client struct {
	s      *load
	number int
	name   string
	// remote is a client of a cluster elsewhere. One that is nil is embedded: it asks the
	// member of its process, home, and now and then its program starts it anew elsewhere.
	remote  *remote
	home    *member
	session protocol.SessionID
	window  *attempt.Window // of the session
	opening bool
	flying  []*call        // commands that are executed once, in the order of their calls
	nap     Time           // until when it does nothing, not even keep its session alive
	seen    protocol.Index // the highest index that an answer came from
}

// call is one operation of a client, from its invocation to its answer.
type call struct {
	op      *op
	client  *client
	session protocol.SessionID
	seq     uint64
	window  *attempt.Window // of the session
	oneShot bool            // it is a command that belongs to none
	attempt int
	turn    uint64  // what was begun for an earlier one comes too late
	last    *member // that was asked last
	aim     *member // that is asked first; nil: whoever suits
	began   Time
	floor   protocol.Index // of what was acknowledged before it began
	seen    protocol.Index // by the client before it began
	over    bool
	then    func()

	command  attempt.OneShot  // and the attempts at a command of the session
	question attempt.Question // of what is no command of the session
	pause    attempt.Pause
	round    *attempt.Round // of a remote client
	errand   *attempt.Errand
	news     <-chan struct{} // closed when a leader is known that was not
	pausing  bool            // until there is news, at most

	// For the history: the steps of invocation and answer.
	invoked, returned uint64
	unanswered        bool
	// copied says that another copy of the command came to be applied after it.
	copied bool
	// full says that the command was refused because the state was full.
	full bool
	// refused says that the client was told that the command has not happened.
	refused bool
}

func (s *load) addClient(i int) {
	r := s.random.clients
	c := &client{s: s, number: i, name: fmt.Sprintf("c%d", i+1), home: s.members[r.IntN(len(s.members))]}
	if i%2 == 0 {
		c.remote = newRemote(c)
	}
	s.clients = append(s.clients, c)
	for range s.plan.depth {
		c.think()
	}
	c.keepAlive()
	c.weakReads()
}

// think waits a while and then calls the next operation.
func (c *client) think() {
	r := c.s.random.clients
	if chance(r, 0.004) && c.nap < c.s.schedule.now {
		c.nap = c.s.schedule.now.Add(c.s.plan.session + between(r, 0, 5*time.Second))
		if c.s.trace.messages() {
			c.s.trace.say("%s naps until %v", c.name, time.Duration(c.nap).Round(time.Millisecond))
		}
	}
	wait := max(around(r, c.s.plan.think), c.nap.Sub(c.s.schedule.now))
	c.s.schedule.after(wait, c.next)
}

// next calls one operation. Without a session it first opens one.
func (c *client) next() {
	if c.s.quiet {
		return
	}
	if chance(c.s.random.clients, 0.05) {
		c.home = c.s.members[c.s.random.clients.IntN(len(c.s.members))]
	}
	o := c.s.drawOp(c)
	if !o.command() {
		c.call(&call{op: o, then: c.think})
		return
	}
	if chance(c.s.random.clients, oneShots) {
		c.executeAlone(o, c.think)
		return
	}
	if c.session == 0 || !c.window.Room() {
		c.open()
		c.think()
		return
	}
	c.execute(o, c.think)
}

// execute calls an operation in the session.
func (c *client) execute(o *op, then func()) {
	k := &call{op: o, session: c.session, seq: c.window.Take(), window: c.window, then: then}
	c.flying = append(c.flying, k)
	c.s.state.issue(k)
	c.call(k)
}

// executeAlone calls an operation as a one-shot.
func (c *client) executeAlone(o *op, then func()) {
	k := &call{op: o, client: c, oneShot: true, then: then}
	k.draw(c.seen)
	c.flying = append(c.flying, k)
	c.call(k)
}

// draw gives a one-shot a number.
func (k *call) draw(seen protocol.Index) {
	var number protocol.OneShotNumber
	binary.BigEndian.PutUint64(number[:], k.client.s.random.clients.Uint64())
	binary.BigEndian.PutUint64(number[8:], k.client.s.random.clients.Uint64())
	k.command.Draw(number, seen)
	k.client.s.state.issue(k)
}

// open opens a session, once.
func (c *client) open() {
	if c.opening || c.session != 0 {
		return
	}
	c.opening = true
	c.call(&call{op: &op{kind: opOpen, timeout: c.s.plan.session}, then: func() { c.opening = false }})
}

// begin begins with a session that has been opened.
func (c *client) begin(session protocol.SessionID) {
	c.session, c.window = session, attempt.NewWindow()
}

// keepAlive keeps the session alive, except during a nap.
func (c *client) keepAlive() {
	c.s.schedule.after(c.s.plan.session/3, c.keepAlive)
	if c.session == 0 || c.nap > c.s.schedule.now || c.s.quiet {
		return
	}
	c.call(&call{op: &op{kind: opKeepAlive}, session: c.session, window: c.window, then: func() {}})
}

// call begins a call.
func (c *client) call(k *call) {
	k.client, k.pause = c, attempt.NewPause(retryMin, retryMax)
	k.began, k.invoked = c.s.schedule.now, c.s.schedule.steps
	k.floor = c.s.state.acknowledged
	k.question = attempt.Question{Request: *k.request()}
	k.try()
}

// request is what the call asks of a member.
func (k *call) request() *protocol.Request {
	if k.op.command() {
		command := k.encode()
		return &protocol.Request{Kind: protocol.RequestCommand, Command: &command}
	}
	query := k.op.query()
	return &protocol.Request{Kind: protocol.RequestQuery, Query: &query}
}

// inSession reports whether the call is a command with a number of the session.
func (k *call) inSession() bool { return k.op.command() && k.seq != 0 }

// once reports whether the call is a command that is executed once.
func (k *call) once() bool { return k.oneShot || k.inSession() }

// try makes an attempt.
func (k *call) try() {
	c, s := k.client, k.client.s
	k.attempt++
	k.pausing = false
	if k.attempt > 1 && k.op.command() {
		s.counts.add(countRetries, 1)
	}
	s.trace.note(tagAsk, c.number, k.seq, uint64(k.attempt))
	k.round = nil
	switch {
	case k.aim != nil && k.attempt == 1:
		k.send(k.aim)
	case c.remote == nil:
		k.send(c.home)
	default:
		c.remote.begin(k)
	}
}

// took takes what came of an attempt: a response, or an error.
func (k *call) took(response *protocol.Response, err error) {
	c, s := k.client, k.client.s
	var result protocol.Result
	if err == nil {
		result = response.Result
	}
	s.trace.note(tagAnswer, c.number, k.seq, uint64(result.Index))
	if s.trace.messages() {
		k.last.tell(colorPlain, "%s< %s: %s at %d", c.name, k, orOK(codeOf(result, err)), result.Index)
	}
	verdict := attempt.Again
	switch {
	case k.oneShot:
		verdict, result, err = k.command.Took(result, err, nil)
	case k.inSession():
		verdict, result, err = k.command.Command.Took(result, err, nil)
	default:
		verdict, err = k.question.Took(response, err, attempt.Until{})
	}
	switch {
	case verdict == attempt.Again:
		k.again(err)
	case verdict == attempt.Anew && k.oneShot:
		k.draw(result.Index)
		k.again(err)
	case verdict == attempt.Anew:
		k.anew()
	case verdict == attempt.Expired || result.Code == protocol.ErrSessionExpired.Code:
		if c.session == k.session && !k.oneShot {
			s.counts.add(countSessionsExpired, 1)
			c.session, c.window = 0, nil
		}
		k.leave()
	case err != nil:
		k.errored(err)
	default:
		k.answered(result)
	}
}

// anew calls the operation in another session: its own is gone, and it has not happened.
func (k *call) anew() {
	c, s := k.client, k.client.s
	s.counts.add(countAnotherSession, 1)
	if c.session == k.session {
		s.counts.add(countSessionsExpired, 1)
		c.session, c.window = 0, nil
	}
	o, then := *k.op, k.then
	k.then = func() { c.inAnother(&o, then) }
	k.refused = true
	s.fail(s.state.refused(k))
	k.leave()
}

// inAnother calls an operation as soon as there is a session.
func (c *client) inAnother(o *op, then func()) {
	switch {
	case c.s.quiet:
		then()
	case c.session == 0 || !c.window.Room():
		c.open()
		c.s.schedule.after(around(c.s.random.clients, c.s.plan.think), func() { c.inAnother(o, then) })
	default:
		c.execute(o, then)
	}
}

func codeOf(result protocol.Result, err error) protocol.Code {
	if err != nil {
		return attempt.CodeIn(err)
	}
	return result.Code
}

// answered takes an answer that the caller gets. Some say that nothing has happened.
func (k *call) answered(r protocol.Result) {
	s := k.client.s
	switch m := r.Code.Meaning(); {
	case r.Code == protocol.ErrAnswerLost.Code:
		k.leave()
		return
	case r.Code != protocol.OK && !m.Final():
		k.errored(r.Err())
		return
	}
	c := k.client
	k.end()
	c.seen = max(c.seen, r.Index)
	s.fail(s.state.answered(k, r, &s.counts))
	if k.op.kind == opOpen {
		c.begin(protocol.SessionID(k.op.got.number))
	}
	k.then()
}

// errored takes an error that the caller gets. Unless it says that the outcome is not known,
// the command has not happened, and does not happen later. When there are no faults any
// more, the program calls again.
func (k *call) errored(err error) {
	s := k.client.s
	if s.trace.messages() {
		s.trace.say("%s: %s failed: %v", k.client.name, k, err)
	}
	if !s.quiet {
		k.leaveAs(err)
		return
	}
	then := k.then
	k.then = func() {}
	k.leaveAs(err)
	s.schedule.after(callAgain, func() { k.client.callAgain(k, then) })
}

// callAgain calls an operation again, as another one.
func (c *client) callAgain(k *call, then func()) {
	o := *k.op
	o.executed, o.got = 0, output{}
	switch {
	case k.oneShot:
		c.executeAlone(&o, then)
	case !k.inSession():
		c.call(&call{op: &o, session: k.session, window: k.window, then: then})
	case c.session != 0:
		c.execute(&o, then)
	default:
		then()
	}
}

// again repeats a call after a pause, or gives it up.
func (k *call) again(why error) {
	c, s := k.client, k.client.s
	if !s.quiet && s.schedule.now.Sub(k.began) > patience {
		err := attempt.GaveUp(context.DeadlineExceeded, why)
		if k.once() {
			err = k.command.GaveUp(context.DeadlineExceeded)
		}
		if s.trace.messages() {
			s.trace.say("%s gives up: %s: %v", c.name, k, err)
		}
		k.leaveAs(err)
		return
	}
	if c.home == k.last && chance(s.random.clients, 0.7) {
		c.home = s.members[s.random.clients.IntN(len(s.members))]
	}
	k.turn++
	turn := k.turn
	goOn := func() {
		if !k.over && k.turn == turn {
			if k.pausing {
				c.remote.search.GoOn()
			}
			k.try()
		}
	}
	if c.remote != nil && attempt.LacksLeader(why) {
		c.remote.pause(k, goOn)
	}
	s.schedule.after(k.pause.Next(s.random.clients), goOn)
}

// leaveAs ends a call with an error that its caller gets.
func (k *call) leaveAs(err error) {
	s := k.client.s
	if attempt.CodeIn(err).Meaning().Outcome == protocol.DidNotHappen {
		k.refused = true
		s.fail(s.state.refused(k))
	}
	k.leave()
}

// leave ends a call whose outcome stays open.
func (k *call) leave() {
	s := k.client.s
	if k.op.command() {
		s.counts.add(countUnknown, 1)
	}
	k.end()
	s.state.open(k)
	k.then()
}

// end takes a call from those in flight.
func (k *call) end() {
	s := k.client.s
	k.over = true
	k.turn++
	k.returned = s.schedule.steps
	k.comeBack()
	if k.inSession() {
		k.window.Release(k.seq)
	}
	k.client.flying = slices.DeleteFunc(k.client.flying, func(o *call) bool { return o == k })
}

// String names a call for the trace.
func (k *call) String() string {
	switch {
	case k.oneShot:
		return fmt.Sprintf("alone %s", k.op)
	case k.seq == 0:
		return k.op.String()
	}
	return fmt.Sprintf("%d.%d %s", k.session, k.seq, k.op)
}
