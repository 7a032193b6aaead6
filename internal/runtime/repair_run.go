package runtime

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// repairTold is how often a member that waits says so.
const repairTold = 10 * time.Second

// repairing is a member that has no role yet because its log is damaged. It has a
// membership, streams and a server, and hands everything that comes to repair.Core.
// All of it ends before the member starts.
type repairing struct {
	m    *Member
	rec  *storage.Recovered
	core *repair.Core
	box  *mailbox

	peers []protocol.Peer
	// own is the newest checkpoint of this member, 0 without one.
	own      protocol.Index
	began    protocol.Instant
	told     protocol.Instant
	touched  protocol.Instant
	entries  int // from others
	helped   map[protocol.MemberID]string
	fetch    fetching
	progress atomic.Pointer[string]
}

func newRepairing(m *Member, log *wal.Log, rec *storage.Recovered, own []storage.Begin) *repairing {
	now := m.clock.Now()
	g := &repairing{m: m, rec: rec, box: newMailbox(), began: now, told: now, helped: map[protocol.MemberID]string{}}
	g.core = repair.New(now, repair.Config{ID: m.identity.Member, Seed: seed(m.identity.Member, m.identity.Starts)}, rec, log, own)
	for _, b := range own {
		g.own = max(g.own, b.Index)
	}
	g.say("looking for other members")
	return g
}

func (g *repairing) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	g.progress.Store(&text)
}

// run serves until there is a verdict. It closes the sockets.
func (g *repairing) run(ctx context.Context, tcp net.Listener, udp net.PacketConn) (*storage.RepairPlan, error) {
	m := g.m
	if err := g.core.Verdict().Lost; err != nil {
		return nil, err
	}
	m.transport = newTransport(m)
	m.transport.box, m.transport.linkState = g.box, g.linkState
	if at, ok := g.rec.Configurations.Latest(); ok {
		m.configured.Store(&at.Configuration)
	}
	m.server = wire.NewServer(wire.ServerConfig{
		Hello: m.hello, Handler: repairHandler{g}, Logger: m.logger, Gossip: func(c net.Conn) { m.swim.Ingest(c) },
		Favours: m.favours.member, FavoursAddress: m.favours.address,
		Refused: m.dirs.refused, Identity: m.dirs.identityRule(m.transport), Options: m.dirs.wireOptions(),
	})
	// A member without a role is nobody to ask for freshness, or to promote.
	meta := m.meta(&m.cfg, protocol.RolePassive)
	meta.Eligible = false
	s, err := swim.Start(swim.Config{
		ID: m.identity.Member, Cluster: m.identity.Cluster, Meta: meta,
		Advertise: m.advertise, Packets: udp, Timing: m.cfg.membershipPace(m.advertise), Logger: m.logger,
		OnPeers:   func(peers []protocol.Peer) { g.box.put(func(in *mail) { in.peers, in.peersSet = peers, true }) },
		OnMessage: g.datagram, Known: m.known, Addresses: m.otherAddresses(), Dial: m.cfg.Security.Dial, Resolve: m.cfg.resolve,
	})
	if err != nil {
		return nil, fmt.Errorf("membership: %w", err)
	}
	m.swim = s
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	workers.Go(func() { m.server.Serve(tcp) })
	plan, err := g.loop(ctx)
	cancel()
	g.box.close()
	_ = m.server.Close()
	_ = s.Shutdown()
	workers.Wait()
	m.transport.close()
	g.fetch.end()
	m.transport, m.server, m.swim = nil, nil, nil
	return plan, err
}

func (g *repairing) datagram(from protocol.MemberID, packet []byte) {
	msg, err := protocol.DecodeMessage(packet)
	if err == nil && msg.Kind().Datagram() {
		g.box.message(from, msg, true)
	}
}

// linkState hears how an attempt to reach another member went. A refusal that counts
// ends the start: see loop.
func (g *repairing) linkState(to protocol.MemberID, address string, err error) {
	if err != nil {
		g.m.logger.Debug("a link, while the log is repaired", "err", err)
		g.m.dirs.refusal(g.box, to, address, err, func(error) {})
	}
}

// loop drives the core until it has a verdict.
func (g *repairing) loop(ctx context.Context) (*storage.RepairPlan, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var in mail
	for {
		g.box.take(&in)
		now := g.m.clock.Now()
		g.handle(ctx, now, &in)
		if b := g.m.dirs.barred.Load(); b != nil {
			return nil, b.err
		}
		v := g.core.Verdict()
		if v.Plan != nil || v.Lost != nil {
			return v.Plan, v.Lost
		}
		g.tell(now, v.Checkpoint)
		if now >= g.touched.Add(touchEvery) {
			g.touched = now
			g.m.dirs.keepInTouch()
		}
		at := min(g.core.Deadline(), g.told.Add(repairTold), g.fetch.deadline(), g.touched.Add(touchEvery))
		timer.Reset(max(at.Sub(g.m.clock.Now()), 0))
		select {
		case <-g.box.wake:
		case <-timer.C:
		case <-ctx.Done():
			return nil, g.interrupted(ctx)
		}
	}
}

// interrupted is the error of a start that ended before the log was repaired.
func (g *repairing) interrupted(ctx context.Context) error {
	return protocol.ErrUnavailable.With(fmt.Sprintf(
		"the log of member %s is damaged and is not repaired yet (%s); nothing is lost by that: start it again, with other members running",
		g.m.cfg.Name, *g.progress.Load())).Because(ctx.Err())
}

// handle serves one round of mail.
func (g *repairing) handle(ctx context.Context, now protocol.Instant, in *mail) {
	for _, tell := range in.completions {
		tell(now)
	}
	if in.peersSet {
		g.peers = in.peers
		var conf protocol.Configuration
		if at, ok := g.rec.Configurations.Latest(); ok {
			conf = at.Configuration
		}
		g.m.transport.know(g.peers, conf)
		g.core.SetPeers(now, g.peers)
		g.fetch.setPeers(now, g.peers)
	}
	for _, x := range in.messages {
		switch msg := x.message.(type) {
		case *protocol.RepairWant:
			g.core.Receive(now, x.from, msg)
		case *protocol.Repair:
			if len(msg.Entries) > 0 {
				g.helpedBy(x.from)
				g.entries += len(msg.Entries)
			}
			g.core.Receive(now, x.from, msg)
		default:
			g.fetch.step(now, x.from, msg)
		}
	}
	if now >= g.core.Deadline() {
		g.core.Tick(now)
	}
	g.fetchCheckpoint(ctx, now)
	g.serve()
}

func (g *repairing) helpedBy(id protocol.MemberID) {
	name := id.Short()
	for _, p := range g.peers {
		if p.ID == id {
			name = p.Name
		}
	}
	g.helped[id] = name
}

// serve sends what the cores say.
func (g *repairing) serve() {
	r := g.core.Ready()
	var out []replica.Send
	for _, e := range r.Messages {
		if want, ok := e.Message.(*protocol.RepairWant); ok {
			g.say("asking %d members for entries %d to %d", len(g.peers), want.First, want.Last)
		}
		out = append(out, replica.Send{Envelope: e})
	}
	g.m.transport.send(out)
	for _, e := range r.Events {
		g.m.logger.Warn("repairing the log", "index", e.Index, "why", e.Text)
	}
}

// tell says in the log, now and then, what is waited for.
func (g *repairing) tell(now protocol.Instant, checkpoint protocol.Index) {
	if len(g.peers) == 0 {
		g.say("no other member answers at %s", strings.Join(g.m.otherAddresses(), ", "))
	} else if checkpoint != 0 && !g.fetch.active() {
		g.say("the %d members that answer do not have the entries; waiting for a checkpoint at %d or above", len(g.peers), checkpoint)
	}
	if now >= g.told.Add(repairTold) {
		g.told = now
		g.m.logger.Warn("the log is not repaired yet", "why", *g.progress.Load(), "for", now.Sub(g.began))
	}
}

// repairHandler is what the wire server hands its streams to while a log is repaired.
type repairHandler struct{ g *repairing }

// Welcome implements wire.Handler.
func (h repairHandler) Welcome(peer protocol.Hello, from net.Addr) error {
	return handler{h.g.m}.Welcome(peer, from)
}

// Receive takes what repairing needs. [S] Votes, entries and the rest are for a
// role, which is not there: nothing is answered, as if the member were down.
func (h repairHandler) Receive(from protocol.MemberID, msg protocol.Message) {
	switch msg := msg.(type) {
	case *protocol.RepairWant, *protocol.Repair, *protocol.Have, *protocol.Busy, *protocol.Description, *protocol.Chunk:
		h.g.box.message(from, msg, false)
	}
}

// Serve refuses all requests but that for the status.
func (h repairHandler) Serve(q *protocol.Request, to *wire.Responder) {
	if q.Kind != protocol.RequestStatus {
		_ = to.Fail(protocol.ErrNotServing.With(h.g.reason()))
		return
	}
	_ = to.Respond(&protocol.Response{ID: q.ID, Kind: q.Kind, Status: h.g.status()})
}

func (g *repairing) reason() string {
	return "its log is damaged and is being repaired: " + *g.progress.Load()
}

// status is what a member says of itself while it repairs. Any goroutine may call
// it.
func (g *repairing) status() *protocol.Status {
	m := g.m
	s := &protocol.Status{
		Cluster: m.identity.Cluster, ID: m.identity.Member, Name: m.identity.Name, Address: m.advertise,
		Role: protocol.RoleNone.String(), RaftRole: "none", Term: g.rec.State.Term, Commit: g.rec.State.Commit,
		Version: m.cfg.Version, Uptime: int64(m.clock.Now().Sub(m.started)), Reason: g.reason(),
	}
	s.Members = append(s.Members, protocol.MemberStatus{ID: s.ID, Name: s.Name, Address: s.Address, Role: s.Role, Alive: true})
	for _, p := range m.swim.Peers() {
		s.Members = append(s.Members, protocol.MemberStatus{ID: p.ID, Name: p.Name, Address: p.Address, Role: p.Role.String(), Alive: true})
	}
	return s
}

// noEntries is the log of a gossip core that only looks for checkpoints.
type noEntries struct{}

// Entries implements gossip.Log.
func (noEntries) Entries(protocol.Index, protocol.Index, int) []protocol.Entry { return nil }

// SumBefore implements gossip.Log.
func (noEntries) SumBefore(protocol.Index) (protocol.LogSum, bool) { return protocol.LogSum{}, false }

var _ gossip.Log = noEntries{}
