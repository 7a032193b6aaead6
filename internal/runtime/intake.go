package runtime

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// aliveFor is how long a turn of the loop counts as a sign of life.
const aliveFor = 50 * time.Millisecond

// intake hands what is asked of a member to its loop, and each answer back. Any goroutine
// may use it.
type intake struct {
	mailbox   *mailbox
	answers   *member.Answers
	gate      *gate
	clock     *clock
	turned    atomic.Int64 // the clock at the loop's last turn
	reached   atomic.Bool  // a member has sent this one something
	barred    *atomic.Pointer[bar]
	suspended atomic.Pointer[error] // why the state must not be served
	accepts   func(*protocol.Command) error
	ended     func() error // why nothing is answered any more
}

// serveCommand hands a command to the loop.
func (i *intake) serveCommand(q *protocol.Request, reply func(protocol.Result)) func() {
	id, err := i.submit(i.submission(q), reply)
	if err != nil {
		reply(protocol.Failed(err))
		return func() {}
	}
	return func() { i.answers.Forget(id) }
}

// ownCall is a goroutine of this process that waits for the answer to its command.
type ownCall struct {
	got   chan protocol.Result
	reply func(protocol.Result)
}

// ownCalls are used again: most of what a write costs its goroutine is memory.
var ownCalls = sync.Pool{New: func() any {
	w := &ownCall{got: make(chan protocol.Result, 1)}
	w.reply = func(r protocol.Result) { w.got <- r }
	return w
}}

// command hands a command of this process that is valid to the loop, and waits for its
// answer; false: ctx has ended, and there is none.
func (i *intake) command(ctx context.Context, q *protocol.Request) (protocol.Result, bool) {
	w := ownCalls.Get().(*ownCall)
	defer ownCalls.Put(w)
	id, err := i.submit(i.submission(q), w.reply)
	if err != nil {
		return protocol.Failed(err), true
	}
	select {
	case result := <-w.got:
		return result, true
	case <-ctx.Done():
		if i.answers.Forget(id) {
			return protocol.Result{}, false
		}
		return <-w.got, true // it is on its way, and w is somebody else's after this
	}
}

// serveCommandOf hands a command that came over a connection to the loop, when it
// is that connection's turn. The returned function says that nobody waits any more:
// what has not had its turn is not done then. A command that has counts as in hand
// until it is answered, so that nobody gets more turns by giving up.
func (i *intake) serveCommandOf(stream uint64, q *protocol.Request, reply func(protocol.Result)) (forget func()) {
	s := i.submission(q)
	p := &pass{stream: stream, bytes: len(s.Command), refuse: func(err error) { reply(protocol.Failed(err)) }}
	p.start = func() error {
		_, err := i.submit(s, func(result protocol.Result) {
			i.gate.done(p)
			reply(result)
		})
		return err
	}
	i.gate.enter(p)
	return func() { i.gate.leave(p) }
}

// submission is what the loop is given of a command. One that came over a connection goes
// into the log in the bytes that it came in, once it is known to be valid.
func (i *intake) submission(q *protocol.Request) replica.Submission {
	c := q.Command
	return replica.Submission{
		Command: q.EncodedCommand(), Checked: c.Operation != protocol.SessionKeepAlive && i.accepts(c) == nil,
		Session: c.Session, Sequence: c.Sequence,
	}
}

// submit hands a command to the loop, and reply hears its answer; if it fails,
// reply hears nothing.
func (i *intake) submit(s replica.Submission, reply func(protocol.Result)) (id uint64, err error) {
	if b := i.barred.Load(); b != nil {
		return 0, protocol.ErrNotServing.With(b.err.Error())
	}
	if id = i.answers.Command(reply); id == 0 {
		return 0, i.ended()
	}
	s.Request = id
	if err := i.mailbox.submit(s); err != nil && i.answers.Forget(id) {
		return 0, err
	}
	return id, nil
}

// atReadIndex calls then once, with an error or when the state has everything
// that was acknowledged before began, which is before the call. then must not
// block. The returned function says that nobody waits any more.
func (i *intake) atReadIndex(then func(began protocol.Instant, err error)) (forget func()) {
	nothing := func() {}
	if p := i.suspended.Load(); p != nil {
		then(0, *p)
		return nothing
	}
	began := i.clock.Longest()
	id := i.answers.Read(func(_ protocol.Index, err error) { then(began, err) })
	if id == 0 {
		then(0, i.ended())
		return nothing
	}
	if !i.mailbox.put(func(in *mail) { in.reads = append(in.reads, id) }) && i.answers.Forget(id) {
		then(0, i.ended())
	}
	return func() { i.answers.Forget(id) }
}

// inLoop has the loop do something under a new request number, and reply hears the
// replica's answer to that. The returned function says that nobody waits any more.
func (i *intake) inLoop(reply func(protocol.Result), do func(id uint64)) (forget func()) {
	id := i.answers.Command(reply)
	if id == 0 {
		reply(protocol.Failed(i.ended()))
		return func() {}
	}
	ok := i.mailbox.put(func(in *mail) { in.calls = append(in.calls, func() { do(id) }) })
	if !ok && i.answers.Forget(id) {
		reply(protocol.Failed(i.ended()))
	}
	return func() { i.answers.Forget(id) }
}

// alive calls answer as a proof that the loop runs: at once if it has just been
// seen to, else from the loop itself. It is how clients tell a member at work from
// one that hangs. The clients of a busy member cost its loop nothing.
func (i *intake) alive(answer func()) {
	if i.clock.Now().Sub(protocol.Instant(i.turned.Load())) < aliveFor {
		answer()
		return
	}
	i.mailbox.put(func(in *mail) { in.calls = append(in.calls, answer) })
}

// inTurn has the loop do something between two events, or says that it has ended.
func (i *intake) inTurn(do func(), failed func(protocol.Result)) {
	if !i.mailbox.put(func(in *mail) { in.calls = append(in.calls, do) }) {
		failed(protocol.Failed(i.ended()))
	}
}

// setPeers takes the live members from the membership.
func (i *intake) setPeers(peers []protocol.Peer) {
	i.mailbox.put(func(in *mail) { in.peers, in.peersSet = peers, true })
}

// datagram takes a message from the membership's socket; the packet is reused
// afterwards. What does not decode is dropped: datagrams may be anything.
func (i *intake) datagram(from protocol.MemberID, packet []byte) {
	if len(packet) > 0 && protocol.MessageKind(packet[0]).KeepsBytes() {
		packet = bytes.Clone(packet)
	}
	msg, err := protocol.DecodeMessage(packet)
	if err != nil || !msg.Kind().Datagram() {
		return
	}
	i.reached.Store(true)
	i.mailbox.message(from, msg, true)
}

// notAnswered is the error of a request of this process that has no answer when
// its context ends.
func notAnswered(kind protocol.RequestKind, ended error, waits string) error {
	if kind == protocol.RequestCommand || kind == protocol.RequestMembershipChange {
		return protocol.ErrUnknownOutcome.With("the outcome is unknown, the write may have happened: " + waits).Because(ended)
	}
	return protocol.ErrUnavailable.With("this member has not answered so far: it is very busy, or hangs").Because(ended)
}
