package runtime

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// repairTold is how often a member that waits says so.
const repairTold = 10 * time.Second

// repairing gives a member that has no role yet, because its log is damaged, what a
// repair.Start needs: a membership, streams, a server and the store of checkpoints. All
// of it ends before the member starts.
type repairing struct {
	m        *Member
	rec      *storage.Opened
	start    *repair.Start
	box      *mailbox
	installs snapshotter.Installation

	peers    int
	began    protocol.Instant
	told     protocol.Instant
	touched  protocol.Instant
	helpers  []string // names of those whose entries or chunks were used, sorted
	progress atomic.Pointer[string]
}

func newRepairing(m *Member, log *wal.Log, rec *storage.Opened, own []storage.Begin) *repairing {
	now := m.clock.Now()
	g := &repairing{m: m, rec: rec, box: newMailbox(), began: now, told: now}
	cfg := repair.Config{ID: m.identity.Member, Seed: seed(m.identity.Member, m.identity.Starts), Run: m.run, Zone: m.cfg.Zone}
	g.start = repair.NewStart(now, cfg, rec, log, own)
	g.say("looking for other members")
	return g
}

func (g *repairing) say(text string) { g.progress.Store(&text) }

// run serves until there is a verdict. It closes the sockets.
func (g *repairing) run(ctx context.Context, tcp net.Listener, udp net.PacketConn) (*storage.RepairPlan, error) {
	m := g.m
	if err := g.start.Lost(); err != nil {
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
	for _, id := range g.start.Helpers() {
		g.helpers = append(g.helpers, m.nameOf(id))
	}
	slices.Sort(g.helpers)
	g.helpers = slices.Compact(g.helpers)
	cancel()
	g.box.close()
	_ = m.server.Close()
	_ = s.Shutdown()
	workers.Wait()
	m.transport.close()
	m.transport, m.server, m.swim = nil, nil, nil
	return plan, err
}

func (g *repairing) datagram(from protocol.MemberID, packet []byte) {
	msg, err := protocol.DecodeMessage(packet)
	if err == nil && msg.Kind().Datagram() && repair.Takes(msg) {
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

// loop drives the repair until there is a plan.
func (g *repairing) loop(ctx context.Context) (*storage.RepairPlan, error) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var in mail
	for {
		g.box.take(&in)
		now := g.m.clock.Now()
		g.handle(now, &in)
		if b := g.m.dirs.barred.Load(); b != nil {
			return nil, b.err
		}
		if plan, err := g.serve(ctx, now); plan != nil || err != nil {
			return plan, err
		}
		g.tell(now)
		if now >= g.touched.Add(touchEvery) {
			g.touched = now
			g.m.dirs.keepInTouch()
		}
		at := min(g.start.Deadline(), g.told.Add(repairTold), g.touched.Add(touchEvery))
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
func (g *repairing) handle(now protocol.Instant, in *mail) {
	for _, tell := range in.completions {
		tell(now)
	}
	if in.peersSet {
		g.peers = len(in.peers)
		var conf protocol.Configuration
		if at, ok := g.rec.Configurations.Latest(); ok {
			conf = at.Configuration
		}
		g.m.transport.know(in.peers, conf)
		g.start.SetPeers(now, in.peers)
	}
	for _, x := range in.messages {
		g.start.Receive(now, x.from, x.message)
	}
	if now >= g.start.Deadline() {
		g.start.Tick(now)
	}
}

// serve does what the repair wants done, until nothing more comes of it. The disk is
// written here: nothing else has to be served fast.
func (g *repairing) serve(ctx context.Context, now protocol.Instant) (*storage.RepairPlan, error) {
	m := g.m
	for {
		e := g.start.Effects()
		var out []replica.Send
		for _, x := range e.Send {
			out = append(out, replica.Send{Envelope: x})
		}
		for _, x := range e.Datagrams {
			out = append(out, replica.Send{Envelope: x, Datagram: true})
		}
		m.transport.send(out)
		for _, x := range e.Events {
			m.logger.Warn("repairing the log", "index", x.Index, "why", x.Text)
		}
		if e.Write != nil || len(e.Install) == 0 {
			return e.Write, g.start.Lost()
		}
		for i := range e.Install {
			step := &e.Install[i]
			missing, err := g.installs.Step(ctx, m.checkpoints.store, m.emptyMachine, step, m.logProgress("building the state of a fetched checkpoint"))
			g.start.Installed(now, step, missing, err)
		}
	}
}

// tell says in the log, now and then, what is waited for.
func (g *repairing) tell(now protocol.Instant) {
	text := g.start.String()
	if g.peers == 0 {
		text += " at " + strings.Join(g.m.otherAddresses(), ", ")
	}
	g.say(text)
	if now >= g.told.Add(repairTold) {
		g.told = now
		g.m.logger.Warn("the log is not repaired yet", "why", text, "for", now.Sub(g.began))
	}
}

// repairHandler is what the wire server hands its streams to while a log is repaired.
type repairHandler struct{ g *repairing }

// Welcome implements wire.Handler.
func (h repairHandler) Welcome(peer protocol.Hello, from net.Addr) error {
	return handler{h.g.m}.Welcome(peer, from)
}

// Receive takes what a repair needs.
func (h repairHandler) Receive(from protocol.MemberID, msg protocol.Message) {
	if repair.Takes(msg) {
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

// reason names the member: who asks for something may have asked several.
func (g *repairing) reason() string {
	return "the log of member " + g.m.identity.Name + " is damaged and is being repaired: " + *g.progress.Load()
}

// status is what a member says of itself while it repairs. Any goroutine may call
// it.
func (g *repairing) status() *protocol.Status {
	m := g.m
	s := &protocol.Status{
		Cluster: m.identity.Cluster, ID: m.identity.Member, Name: m.identity.Name, Address: m.advertise, HTTP: m.http,
		Role: protocol.RoleNone.String(), RaftRole: "none", Term: g.rec.State.Term, Commit: g.rec.State.Commit,
		Version: m.cfg.Version, Uptime: int64(m.clock.Now().Sub(m.started)), Reason: g.reason(),
	}
	s.Members = append(s.Members, protocol.MemberStatus{ID: s.ID, Name: s.Name, Address: s.Address, Role: s.Role, Alive: true})
	for _, p := range m.swim.Peers() {
		s.Members = append(s.Members, protocol.MemberStatus{ID: p.ID, Name: p.Name, Address: p.Address, Role: p.Role.String(), Alive: true})
	}
	return s
}
