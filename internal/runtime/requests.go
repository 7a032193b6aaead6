package runtime

import (
	"cmp"
	"context"
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// Do serves one request of a client in this process; it makes a Member a
// client's transport. It returns when the answer is there or ctx is done; but a
// query runs on the caller's goroutine, and only its next read ends it. What has
// waited until ctx ended says what it has waited for. An error means that there
// is no answer: the request may have been executed.
func (m *Member) Do(ctx context.Context, req *protocol.Request) (*protocol.Response, error) {
	if req.Kind == protocol.RequestQuery && req.Validate() == nil {
		return &protocol.Response{ID: req.ID, Kind: req.Kind, Result: m.query(ctx, ctx, req.Query)}, nil
	}
	if req.Kind == protocol.RequestCommand && req.Validate() == nil {
		result, ok := m.command(ctx, req)
		if !ok {
			return nil, notAnswered(req.Kind, ctx.Err(), waitsFor(m))
		}
		return &protocol.Response{ID: req.ID, Kind: req.Kind, Result: result}, nil
	}
	got := make(chan *protocol.Response, 1)
	forget := m.serveRequest(ctx, req, func(r *protocol.Response) { got <- r })
	select {
	case r := <-got:
		return r, nil
	case <-ctx.Done():
		forget()
		return nil, notAnswered(req.Kind, ctx.Err(), waitsFor(m))
	}
}

// waitsFor says whose answer a request at this member waits for.
func waitsFor(m *Member) string {
	p := m.published.Load()
	switch {
	case p == nil || p.Leader.IsZero():
		return m.dirs.noLeader(leaderless(p)).Error()
	case p.Leads:
		return "this member leads, and a majority of the voters has not answered it"
	}
	return fmt.Sprintf("the leader, %s at %s, has not answered", m.nameOf(p.Leader), cmp.Or(m.addressOf(p.Leader), "an address that is not known"))
}

func leaderless(p *published) string {
	if p == nil {
		return ""
	}
	return p.Leaderless
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
		return m.serveCommand(req, reply)
	case protocol.RequestMembershipChange:
		return m.serveMembershipChange(req.MembershipChange, reply)
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
	case protocol.RequestAge:
		if err := endOfWatch(m.sight().Suspended); err != nil {
			reply(protocol.Failed(err))
		} else {
			reply(m.state.Age())
		}
	case protocol.RequestJoin:
		m.joinInfo(func(info *protocol.JoinInfo) {
			respond(&protocol.Response{ID: req.ID, Kind: req.Kind, Join: info})
		}, reply)
	default:
		reply(protocol.Failed(protocol.ErrInvalid.With(fmt.Sprintf("a request of kind %d is not answered once", req.Kind))))
	}
	return nothing
}

// query reads at once, or after what the query's level asks for. It waits no
// longer than wait lasts, and then says for what; the query itself stops at its
// next read after ctx has ended.
func (m *Member) query(ctx, wait context.Context, q *protocol.Query) protocol.Result {
	if result, ok := m.state.NoForwarding(ctx, q); ok {
		return result
	}
	if q.Consistency != protocol.Linearizable {
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

// call asks the loop for the status.
func (m *Member) call(answer func(*protocol.Status), failed func(protocol.Result)) {
	m.inTurn(func() { answer(m.status()) }, failed)
}
