package runtime

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// aliveFor is how long a turn of the loop counts as a sign of life.
const aliveFor = 50 * time.Millisecond

// Do serves one request of a client in this process; it makes a Member a
// client's transport. It returns when the answer is there or ctx is done; but a
// query runs on the caller's goroutine, and only its next read ends it. What has
// waited until ctx ended says what it has waited for. An error means that there
// is no answer: the request may have been executed.
func (m *Member) Do(ctx context.Context, req *protocol.Request) (*protocol.Response, error) {
	if req.Kind == protocol.RequestQuery && req.Validate() == nil {
		return &protocol.Response{ID: req.ID, Kind: req.Kind, Result: m.query(ctx, ctx, req.Query)}, nil
	}
	got := make(chan *protocol.Response, 1)
	forget := m.serveRequest(ctx, req, func(r *protocol.Response) { got <- r })
	select {
	case r := <-got:
		return r, nil
	case <-ctx.Done():
		forget()
		return nil, m.notAnswered(req.Kind, ctx.Err())
	}
}

// notAnswered is the error of a request of this process that has no answer when
// its context ends.
func (m *Member) notAnswered(kind protocol.RequestKind, ended error) error {
	if kind == protocol.RequestCommand || kind == protocol.RequestSeats {
		return protocol.ErrUnknownOutcome.With("the outcome is unknown, the write may have happened: " + waitsFor(m)).Because(ended)
	}
	return protocol.ErrUnavailable.With("this member has not answered so far: it is very busy, or hangs").Because(ended)
}

// waitsFor says whose answer a request at this member waits for.
func waitsFor(m *Member) string {
	p := m.published.Load()
	switch {
	case p == nil || p.status.Leader.IsZero():
		return m.dirs.noLeader(leaderless(p)).Error()
	case p.status.Leads:
		return "this member leads, and a majority of the voters has not answered it"
	}
	return fmt.Sprintf("the leader, %s at %s, has not answered", m.nameOf(p.status.Leader), cmp.Or(m.addressOf(p.status.Leader), "an address that is not known"))
}

func leaderless(p *published) string {
	if p == nil {
		return ""
	}
	return p.status.Leaderless
}

// Watch follows the changes of a resource from this member's state.
func (m *Member) Watch(_ context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	return m.watchWithin(w, 0)
}

// watchWithin is Watch for one who can be told at most so many bytes at once.
func (m *Member) watchWithin(w *protocol.Watch, bytesMax int) (resources.WatchStream, error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	if p := m.doubted.Load(); p != nil {
		return nil, *p
	}
	return m.machine.WatchWithin(w, bytesMax)
}

// Close makes a Member a client's transport. The member goes on.
func (m *Member) Close() error { return nil }

// serveRequest begins one request that is no query, or one that is not valid,
// whoever made it: what no member may take ends here, before it is asked of the
// state or of other members, and no link between members breaks on it. respond is
// called once, on any goroutine, and must not block. The returned function says
// that nobody waits any more.
func (m *Member) serveRequest(ctx context.Context, req *protocol.Request, respond func(*protocol.Response)) (forget func()) {
	nothing := func() {}
	reply := func(result protocol.Result) {
		respond(&protocol.Response{ID: req.ID, Kind: req.Kind, Result: result})
	}
	if err := req.Validate(); err != nil {
		reply(protocol.Failed(err))
		return nothing
	}
	switch req.Kind {
	case protocol.RequestCommand:
		return m.serveCommand(req.Command, reply)
	case protocol.RequestSeats:
		return m.serveSeats(req.Seats, reply)
	case protocol.RequestAutopilot:
		return m.serveAutopilot(func(report *protocol.AutopilotReport) {
			respond(&protocol.Response{ID: req.ID, Kind: req.Kind, Autopilot: report})
		}, reply)
	case protocol.RequestDigest:
		return m.serveDigest(ctx, req.At, func(d *protocol.DigestReport) {
			respond(&protocol.Response{ID: req.ID, Kind: req.Kind, Digest: d})
		}, reply)
	case protocol.RequestStatus:
		m.call(func(st *protocol.Status) {
			respond(&protocol.Response{ID: req.ID, Kind: req.Kind, Status: st})
		}, reply)
	case protocol.RequestJoin:
		m.joinInfo(func(info *protocol.JoinInfo) {
			respond(&protocol.Response{ID: req.ID, Kind: req.Kind, Join: info})
		}, reply)
	default:
		reply(protocol.Failed(protocol.ErrInvalid.With(fmt.Sprintf("a request of kind %d is not answered once", req.Kind))))
	}
	return nothing
}

// serveCommand hands a command to the loop.
func (m *Member) serveCommand(c *protocol.Command, reply func(protocol.Result)) func() {
	id, err := m.submit(m.submission(c), reply)
	if err != nil {
		reply(protocol.Failed(err))
		return func() {}
	}
	return func() { m.waiters.forget(id) }
}

// serveCommandOf hands a command that came over a connection to the loop, when it
// is that connection's turn. The returned function says that nobody waits any more:
// what has not had its turn is not done then. A command that has counts as in hand
// until it is answered, so that nobody gets more turns by giving up.
func (m *Member) serveCommandOf(stream uint64, c *protocol.Command, reply func(protocol.Result)) (forget func()) {
	s := m.submission(c)
	p := &pass{stream: stream, bytes: len(s.Command), refuse: func(err error) { reply(protocol.Failed(err)) }}
	p.start = func() error {
		_, err := m.submit(s, func(result protocol.Result) {
			m.gate.done(p)
			reply(result)
		})
		return err
	}
	m.gate.enter(p)
	return func() { m.gate.leave(p) }
}

func (m *Member) submission(c *protocol.Command) replica.Submission {
	return replica.Submission{
		Command: protocol.EncodeCommand(c), Checked: c.Operation != protocol.SessionKeepAlive && m.accepts(c) == nil,
	}
}

// submit hands a command to the loop, and reply hears its answer; if it fails,
// reply hears nothing.
func (m *Member) submit(s replica.Submission, reply func(protocol.Result)) (id uint64, err error) {
	if b := m.dirs.barred.Load(); b != nil {
		return 0, protocol.ErrNotServing.With(b.err.Error())
	}
	if id = m.waiters.command(reply); id == 0 {
		return 0, m.stopped()
	}
	s.Request = id
	if err := m.mailbox.submit(s); err != nil && m.waiters.forget(id) {
		return 0, err
	}
	return id, nil
}

// query reads at once, or after what the query's level asks for. It waits no
// longer than wait lasts, and then says for what; the query itself stops at its
// next read after ctx has ended.
func (m *Member) query(ctx, wait context.Context, q *protocol.Query) protocol.Result {
	if result, ok := m.state.AtHand(ctx, q); ok {
		return result
	}
	if q.Level != protocol.Linearizable {
		return m.queryLater(ctx, wait, q)
	}
	type answer struct {
		began protocol.Instant
		err   error
	}
	answers := make(chan answer, 1)
	forget := m.atReadIndex(func(began protocol.Instant, err error) { answers <- answer{began, err} })
	select {
	case a := <-answers:
		if a.err != nil {
			return protocol.Failed(a.err)
		}
		return m.state.After(ctx, a.began, q)
	case <-wait.Done():
		forget()
		return protocol.Failed(protocol.ErrUnavailable.With("a linearizable read needs the leader's word: " + waitsFor(m)))
	}
}

// atReadIndex calls then once, with an error or when the state has everything
// that was acknowledged before began, which is before the call. then must not
// block. The returned function says that nobody waits any more.
func (m *Member) atReadIndex(then func(began protocol.Instant, err error)) (forget func()) {
	nothing := func() {}
	if p := m.doubted.Load(); p != nil {
		then(0, *p)
		return nothing
	}
	began := m.clock.Longest()
	id := m.waiters.read(func(_ protocol.Index, err error) { then(began, err) })
	if id == 0 {
		then(0, m.stopped())
		return nothing
	}
	if !m.mailbox.put(func(in *mail) { in.reads = append(in.reads, id) }) && m.waiters.forget(id) {
		then(0, m.stopped())
	}
	return func() { m.waiters.forget(id) }
}

// alive calls answer as a proof that the loop runs: at once if it has just been
// seen to, else from the loop itself. It is how clients tell a member at work from
// one that hangs. The clients of a busy member cost its loop nothing.
func (m *Member) alive(answer func()) {
	if m.clock.Now().Sub(protocol.Instant(m.turned.Load())) < aliveFor {
		answer()
		return
	}
	m.mailbox.put(func(in *mail) { in.calls = append(in.calls, answer) })
}

// call asks the loop for the status.
func (m *Member) call(answer func(*protocol.Status), failed func(protocol.Result)) {
	ok := m.mailbox.put(func(in *mail) {
		in.calls = append(in.calls, func() { answer(m.status()) })
	})
	if !ok {
		failed(protocol.Failed(m.stopped()))
	}
}

// stopped is the error of a member that no longer serves.
func (m *Member) stopped() error {
	if err := m.Err(); err != nil {
		return err
	}
	return protocol.ErrClosed.With("the member has stopped")
}
