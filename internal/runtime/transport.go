package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// transport sends what the replica says: small gossip as datagrams, everything
// else over one stream per member. It belongs to the loop, except for close.
type transport struct {
	m        *Member
	box      *mailbox // of the loop that it belongs to
	links    map[protocol.MemberID]*wire.Peer
	places   map[protocol.MemberID]place
	known    atomic.Int64        // how many places there are
	streamed []protocol.MemberID // to whom datagrams do not get through
	single   [1]protocol.Message
	packet   []byte

	streamless streamless
	linkState  func(to protocol.MemberID, address string, err error)
	closing    sync.WaitGroup
}

func newTransport(m *Member) *transport {
	return &transport{m: m, box: m.mailbox, links: map[protocol.MemberID]*wire.Peer{}, places: map[protocol.MemberID]place{}, streamless: streamless{}, linkState: m.linkState}
}

// send passes messages on. What cannot be sent is lost: whoever needs it says
// it again.
func (t *transport) send(list []replica.Send) {
	if t.m.cfg.twist != nil {
		list = t.m.cfg.twist(t.m, list)
	}
	for i := range list {
		s := &list[i]
		if t.m.dirs.isBarred(s.Message) {
			continue
		}
		if s.Datagram && s.Message.Kind().Datagram() && t.datagram(s) {
			continue
		}
		if s.Message.Kind().NeverByStream() {
			continue
		}
		link := t.link(s.To)
		if link == nil {
			continue
		}
		t.single[0] = s.Message
		link.Send(t.single[:])
	}
}

// datagram sends a message that fits into one, and reports whether that was tried.
func (t *transport) datagram(s *replica.Send) bool {
	if protocol.MessageSize(s.Message) > protocol.DatagramBytesMax {
		return false
	}
	t.packet = protocol.AppendMessage(t.packet[:0], s.Message)
	if len(t.packet) > protocol.DatagramBytesMax {
		return false
	}
	if err := t.m.swim.Send(s.To, t.packet); err != nil {
		// A firewall of this host: it is lost as by one on the way, so that gossip finds out.
		return errors.Is(err, os.ErrPermission)
	}
	t.sent(s.Message, len(t.packet)+swim.DatagramHead)
	return true
}

// streams tells the membership to whom datagrams do not get through.
func (t *transport) streams(to []protocol.MemberID) {
	if !slices.Equal(to, t.streamed) {
		t.streamed = to
		t.m.swim.Streamed(to)
	}
}

// sent counts a message with the bytes that it takes. Links call it, too.
func (t *transport) sent(m protocol.Message, bytes int) {
	count, n := &t.m.observer.Counts, uint64(bytes)
	switch m.Kind().Class() {
	case protocol.ClassFrames:
		count.Add(observe.SentFrames, n)
		if f, ok := m.(*protocol.Frame); ok {
			count.Add(observe.SentCopies, uint64(len(f.Entries)))
		}
	case protocol.ClassControl:
		count.Add(observe.SentControl, n)
	case protocol.ClassCheckpoints:
		count.Add(observe.SentCheckpoints, n)
	case protocol.ClassRaft:
		count.Add(observe.SentRaft, n)
	}
}

// link returns the stream to a member, or nil if nobody knows where it is.
func (t *transport) link(id protocol.MemberID) *wire.Peer {
	if p := t.links[id]; p != nil {
		return p
	}
	at := t.places[id]
	if at.address == "" {
		return nil
	}
	state, attempts, options := t.linkState, t.streamless.begin(id), t.m.dirs.wireOptions()
	options.QueueFrames = mailSubmissionsMax // what clients submit at once, or are answered
	p := wire.NewPeer(wire.PeerConfig{
		ID: id, Address: at.address, Other: at.other, Hello: t.m.hello, Logger: t.m.logger,
		Check: t.m.dirs.checkPeer, OnState: func(address string, err error) {
			attempts.tried(t.m.logger, t.m.clock.Now(), func() string { return t.m.nameOf(id) }, address, err)
			state(id, address, err)
		},
		OnMessage: t.takesBack(id),
		Sent:      t.sent, Unsent: func(msg protocol.Message, why error) { t.m.unsent(at.address, msg, why) },
		BackoffMax: 500 * time.Millisecond, PingAfter: t.pingAfter,
		Options: options,
	}, t.m.cfg.Security.Dial)
	t.links[id] = p
	return p
}

// pingAfter is how often the streams are looked at on which nothing comes: twice in an election
// timeout, and in a large flock more rarely, so that what pings cost a member does not grow
// with it. Any goroutine may ask.
func (t *transport) pingAfter() time.Duration {
	return t.m.cfg.activeConfig().Election / 2 * time.Duration(50+t.known.Load()) / 50
}

// takesBack returns what takes the other side's word on a link of ours: of its directory,
// and what only a later version knows.
func (t *transport) takesBack(id protocol.MemberID) func(string, protocol.Message) {
	dirs, box := t.m.dirs, t.box
	return func(address string, msg protocol.Message) {
		if standing, ok := msg.(*protocol.Watermark); ok {
			dirs.linkSays(id, address, standing)
		} else {
			box.message(id, msg, false)
		}
	}
}

// unsent tells the loop of what a link has dropped, where somebody waits for an
// answer to it.
func (m *Member) unsent(address string, msg protocol.Message, why error) {
	waits := false
	switch msg := msg.(type) {
	case *protocol.Forward:
		waits = msg.Run == m.run && len(msg.Command) > 0
	case *protocol.ReadIndex:
		waits = msg.Run == m.run && msg.Origin == m.identity.Member
	}
	if !waits {
		return
	}
	refusal := protocol.ErrNoLeader.With(fmt.Sprintf("the leader, at %s, cannot be reached from this member: %v", address, why))
	if errors.Is(why, wire.ErrQueueFull) {
		refusal = protocol.ErrOverloaded.With(fmt.Sprintf("the link to the leader, at %s, is full; try again later", address))
	}
	m.mailbox.complete(func(now protocol.Instant) { m.replica.Unsent(now, msg, refusal) })
}

// place is where a member is dialled, and where if that fails; other may be empty.
type place struct{ address, other string }

// placeOf joins what the configuration and the membership say of a member: of a name
// and what it meant when it was announced, the name. [S] What is said of directories
// counts from where the configuration has a member, only, and that is a name where
// names are used. But who can be found by its number is not lost with the names.
func placeOf(configured string, p *protocol.Peer) place {
	if configured != "" && p.Host == configured && p.Address != configured {
		return place{configured, p.Address}
	}
	return place{address: p.Address}
}

// know follows where the members are: membership knows better than the
// configuration, which may be old. Links to members that neither names end.
func (t *transport) know(peers []protocol.Peer, conf protocol.Configuration) {
	next := make(map[protocol.MemberID]string, len(peers)+len(conf.Members))
	places := make(map[protocol.MemberID]place, len(peers)+len(conf.Members))
	for _, a := range conf.Members {
		if a.Address != "" {
			next[a.ID], places[a.ID] = a.Address, place{address: a.Address}
		}
	}
	for i := range peers {
		p := &peers[i]
		next[p.ID], places[p.ID] = p.Address, placeOf(next[p.ID], p)
	}
	for id, link := range t.links {
		at, known := places[id]
		if !known {
			delete(t.links, id)
			delete(t.streamless, id)
			t.end(link)
			continue
		}
		link.SetAddress(at.address, at.other)
	}
	t.places = places
	t.known.Store(int64(len(places)))
	t.m.whereabouts.follow(next, conf)
}

// whereabouts are who has a seat and where members are, as the loop, or that of a repair,
// follows it. Any goroutine may ask.
type whereabouts struct {
	addresses atomic.Pointer[map[protocol.MemberID]string]
	favours   favours
	// configured is the latest configuration in the log.
	configured atomic.Pointer[protocol.Configuration]
}

func (w *whereabouts) follow(addresses map[protocol.MemberID]string, conf protocol.Configuration) {
	w.addresses.Store(&addresses)
	w.favours.follow(addresses, &conf)
	w.configured.Store(&conf)
}

// configuration is the latest one in this member's log. Any goroutine may ask.
func (w *whereabouts) configuration() protocol.Configuration {
	if c := w.configured.Load(); c != nil {
		return *c
	}
	return protocol.Configuration{}
}

// keep has links to all other members that a configuration names.
func (t *transport) keep(conf protocol.Configuration) {
	for _, a := range conf.Members {
		if a.ID == t.m.identity.Member {
			continue
		}
		if link := t.link(a.ID); link != nil {
			link.Connect()
		}
	}
}

// renew ends a link to another run of a member than the one that was let in.
func (t *transport) renew(id protocol.MemberID, run protocol.RunID) {
	if link := t.links[id]; link != nil {
		link.Renew(run)
	}
}

func (t *transport) end(link *wire.Peer) {
	t.closing.Add(1)
	go func() {
		defer t.closing.Done()
		_ = link.Close()
	}()
}

// close ends all links. The loop has ended.
func (t *transport) close() {
	for _, link := range t.links {
		t.end(link)
	}
	t.closing.Wait()
}

// handler is what the wire server hands its streams to.
type handler struct{ m *Member }

// Welcome refuses members whose directory is older than what was seen of it.
func (h handler) Welcome(peer protocol.Hello, _ net.Addr) error {
	if peer.Member.IsZero() {
		return nil
	}
	return h.m.dirs.seen.Check(peer)
}

// Receive takes a message from a member.
func (h handler) Receive(from protocol.MemberID, msg protocol.Message) {
	h.m.swim.News(from)
	h.m.reached.Store(true)
	switch msg := msg.(type) {
	case *protocol.Watermark: // anybody can say that of anybody: see linkSays
		h.m.observer.Add(observe.Unheard, 1)
	case *protocol.RepairWant:
		h.m.repairs.asked(h.m, from, msg)
	default:
		h.m.mailbox.message(from, msg, false)
	}
}

// Serve takes a request from a client. Users' queries have goroutines of their
// own, which end with the request: the stream goes on reading, pings above all.
func (h handler) Serve(req *protocol.Request, to *wire.Responder) {
	respond := func(r *protocol.Response) {
		switch {
		case req.Kind == protocol.RequestCommand, req.Kind == protocol.RequestStatus,
			r.Result.Code == protocol.ErrNotLeader.Code, r.Result.Code == protocol.ErrNoLeader.Code:
			r.Leader, r.Term = h.m.leaderAddress()
		}
		_ = to.Respond(r) // if nobody waits any more there is nothing to tell
	}
	switch {
	case req.Kind == protocol.RequestWatch:
		h.m.workers.Add(1)
		go h.watch(req.Watch, to)
	case req.Kind == protocol.RequestQuery && req.Validate() == nil:
		go func() {
			wait, cancel := to.Context(), context.CancelFunc(func() {})
			if req.Wait > 0 {
				wait, cancel = context.WithTimeout(wait, req.Wait-protocol.WaitMargin(req.Wait))
			}
			defer cancel()
			answer := &protocol.Response{Result: protocol.Failed(protocol.ErrPanicked)} // of a query that ends its goroutine
			defer func() { respond(answer) }()
			answer = &protocol.Response{Result: h.m.query(to.Context(), wait, req.Query)}
		}()
	case req.Kind == protocol.RequestCommand && req.Validate() == nil:
		to.OnCancel(h.m.serveCommandOf(to.Stream(), req, func(result protocol.Result) {
			respond(&protocol.Response{Result: result})
		}))
	case req.Kind == protocol.RequestLeader:
		go func() { _ = to.Respond(h.m.whoLeads(to.Context(), req.Term)) }()
	default:
		to.OnCancel(h.m.serveRequest(to.Context(), req, respond))
	}
}
