package runtime

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// portTries is how often a free port is looked for that is free for both TCP
// and UDP.
const portTries = 20

// Open starts a member. It returns when the member has joined, knows a leader
// and has applied what was committed then; a reserve when it has joined. ctx bounds only the start; when it
// ends before, everything is stopped and the error says how far it came.
func Open(ctx context.Context, cfg Config) (*Member, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Config = cfg.Filled()
	if cfg.Registry == nil {
		cfg.Registry, _ = config.Registry(cfg.Types) // which Validate has found well
	}
	cfg.sendNext()
	if cfg.logDisk == nil {
		cfg.logDisk = vfs.OS()
	}
	m := &Member{
		cfg: cfg, changed: newBroadcast(),
		intake:   intake{mailbox: newMailbox(), answers: member.NewAnswers(), gate: newGate(), clock: newClock(bootTime, awakeAndWall)},
		writes:   make(chan *replica.Persist, 2),
		applying: applying{applies: make(chan replica.Apply, 4), applier: applier{ended: make(chan struct{})}},
		repairs:  newRepairs(),
		repairer: newRepairer(),
		display:  display{announcing: make(chan struct{}, 1)},
		syncs:    newSyncWatch(cfg.activeConfig().Election),
		care:     care{remembered: remembered{wake: make(chan struct{}, 1)}},
	}
	m.dirs = newDirectories(m)
	m.barred, m.accepts, m.ended = &m.dirs.barred, m.takes, m.stopped
	for l := range m.lanes {
		m.lanes[l] = newQueue[func() member.Done]()
	}
	m.http = cfg.HTTPAddress
	m.begin()
	m.logger = cfg.Logger.With("member", cfg.Name)
	m.observer.Logger, m.observer.Name = m.logger, m.nameOf
	m.started = m.clock.Now()
	tcp, udp, err := listen(ctx, cfg.Security, cfg.Bind)
	if err != nil {
		return nil, err
	}
	m.advertise = cmp.Or(cfg.Advertise, tcp.Addr().String())
	start := opening{m}
	if err := start.openAll(ctx, tcp, udp); err != nil {
		_ = tcp.Close()
		_ = udp.Close()
		start.closeStores()
		m.endLife()
		return nil, vfs.Explained(err)
	}
	if cfg.Opening != nil {
		cfg.Opening(m)
	}
	if err := m.awaitReady(ctx); err != nil {
		m.Kill()
		return nil, err
	}
	return m, nil
}

// opening is the start of a member: what it finds on disk, who it is, and what it joins.
// It is over before anything else runs.
type opening struct{ *Member }

// openAll opens what the member has on disk, makes its replica and starts its
// goroutines.
func (m opening) openAll(ctx context.Context, tcp net.Listener, udp net.PacketConn) error {
	others, done := ctx, context.CancelFunc(func() {}) // for as long as a start waits for others
	if m.cfg.StartTimeout > 0 {
		others, done = context.WithTimeout(ctx, m.cfg.StartTimeout)
	}
	defer done()
	if err := m.openDirectory(others, tcp); err != nil {
		return err
	}
	m.recall(m.identity.Member, m.advertise, m.cfg.Join, m.cfg.Dir, m.logger)
	if err := awaitOwnName(others, m.Member); err != nil {
		return err
	}
	if err := m.dirs.loadWatermarks(); err != nil {
		return err
	}
	if err := m.openCheckpoints(); err != nil {
		return err
	}
	tcp, udp, err := m.repairLog(others, tcp, udp)
	if err != nil {
		return err
	}
	if err = m.premises.take(m.cfg.Dir); err == nil {
		err = m.openReplica(ctx)
	}
	if err == nil {
		err = m.start(tcp, udp)
	}
	if err != nil { // repairing may have opened them anew
		_ = tcp.Close()
		_ = udp.Close()
	}
	return err
}

// closeStores closes what openAll has opened on disk.
func (m opening) closeStores() {
	if m.log != nil {
		_ = m.log.Close()
	}
	m.premises.close()
	if m.checkpoints.store != nil {
		_ = m.checkpoints.store.Close()
	}
}

// listen opens the member's one port, TCP and UDP.
func listen(ctx context.Context, secure *security.Security, bind string) (net.Listener, net.PacketConn, error) {
	host, port, err := net.SplitHostPort(bind)
	if err != nil {
		return nil, nil, protocol.ErrInvalid.With(fmt.Sprintf("%q is not an address: want host:port", bind))
	}
	for try := 1; ; try++ {
		tcp, err := secure.Listen(ctx, bind)
		if err != nil {
			return nil, nil, listenError(bind, err)
		}
		_, picked, _ := net.SplitHostPort(tcp.Addr().String())
		udp, err := secure.ListenPacket(ctx, net.JoinHostPort(host, picked))
		if err == nil {
			return tcp, udp, nil
		}
		_ = tcp.Close()
		if n, _ := strconv.Atoi(port); n != 0 || try == portTries {
			return nil, nil, listenError(bind, err)
		}
	}
}

func listenError(bind string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("cannot listen at %s: another process has the port; stop it, or choose another address with --bind (port 0 picks a free one): %w", bind, err)
	}
	return fmt.Errorf("cannot listen at %s: %w", bind, err)
}

// openReplica joins the log and the checkpoints that were found to a state
// machine and a replica.
func (m opening) openReplica(ctx context.Context) error {
	m.machine = machine.New(machine.Config{Registry: m.cfg.Registry, Logger: m.logger, Track: true, Behind: m.openChanges()})
	if err := m.newRun(); err != nil {
		return err
	}
	rec, restored, err := snapshotter.Start(ctx, m.log, m.checkpoints.store, m.machine, snapshotter.Options{
		Progress: m.logProgress("reading the checkpoint"), Tell: m.tellStart, Elsewhere: m.elsewhere,
	})
	if err != nil {
		return err
	}
	if err := m.machine.Stopped(); err != nil {
		m.suspended.Store(&err)
	}
	if m.cfg.Dir != "" {
		if restored.Quarantine, err = wal.ReadQuarantine(m.cfg.logDisk, m.cfg.Dir); err != nil {
			return err
		}
	}
	raft := m.cfg.activeConfig()
	rand.Read(raft.Secret[:]) // never fails
	r, err := replica.New(m.clock.Now(), replica.Config{
		ID: m.identity.Member, Run: m.run, Seed: seed(m.identity.Member, m.identity.Starts),
		Name: m.identity.Name, Address: reach(m.advertise), Zone: m.cfg.Zone, Unwilling: !m.cfg.eligible(), Reserve: m.cfg.Role == protocol.RoleReserve,
		Active: raft, Gossip: m.cfg.gossipConfig(m.identity.Cluster),
		CheckpointBytes: m.cfg.CheckpointBytes, CheckpointEvery: m.cfg.CheckpointEvery, RetainEntries: m.cfg.RetainEntries, RetainBytes: m.cfg.RetainBytes,
		BehindBytes: m.cfg.behindBytes, PinBytes: m.cfg.pinBytes,
		Policy: true, Accepts: m.takes, Frees: m.cfg.Registry.Frees, Types: m.cfg.types(), Used: m.machine.Used,
	}, rec, restored)
	if err != nil {
		return err
	}
	m.replica = r
	m.state = member.Reads{Machine: m.machine, Sight: m.sight, Longest: m.clock.Longest}
	m.driver = member.New(member.Config{
		Answers: m.answers,
		Context: m.life, Replica: r, Machine: m.machine, Log: m.log, Store: m.checkpoints.store, Hands: hands{m.Member},
		Progress:   func() func(snapshotter.Progress) { return m.logProgress(string(member.Installed)) },
		Quarantine: quarantineOn(m.Member),
	})
	begins := replica.SituationOf(r)
	m.gateServing(&begins) // before anybody can ask
	if err := m.machine.Stopped(); err != nil {
		r.CannotApply(m.clock.Now(), err)
	}
	return nil
}

// seed makes the core's random choices differ between members and starts.
func seed(id protocol.MemberID, starts uint64) uint64 {
	return binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:])*0x9e3779b97f4a7c15 ^ starts*0xbf58476d1ce4e5b9
}

// takes refuses commands that must not reach the log. A disk that is nearly full takes
// what frees space, and what keeps sessions: that must not cost clients theirs.
func (m *Member) takes(c *protocol.Command) error {
	if !m.cfg.Registry.Frees(c) {
		if m.guard.full.Load() {
			return protocol.ErrNoSpaceHere.With(m.guard.text(m))
		}
		if why, _ := m.guard.waiting(); why != "" {
			return protocol.ErrNoSpace.With(m.cfg.Name + ", which leads, takes no writes now: " + why)
		}
	}
	return m.cfg.Registry.Check(c)
}

// start begins the goroutines and joins the membership.
func (m opening) start(tcp net.Listener, udp net.PacketConn) error {
	m.transport = newTransport(m.Member)
	m.server = wire.NewServer(wire.ServerConfig{
		Hello: m.hello, Handler: handler{m.Member}, Logger: m.logger,
		Gossip: func(c net.Conn) { m.swim.Ingest(c) }, Alive: m.alive, Favours: m.favours.member, FavoursAddress: m.favours.address,
		Sessions: sessions{m.Member},
		Refused:  m.dirs.refused, Identity: m.dirs.identityRule(m.transport), Options: m.dirs.wireOptions(),
	})
	s, err := swim.Start(swim.Config{
		ID: m.identity.Member, Cluster: m.identity.Cluster, Meta: m.meta(&m.cfg, replica.SituationOf(m.replica).Role),
		Advertise: m.advertise, Packets: udp, Timing: m.cfg.membershipPace(m.advertise), Logger: m.logger,
		OnPeers: m.setPeers, OnMessage: m.datagram, Known: m.known, Addresses: m.given, Dial: m.cfg.Security.Dial,
		OnConflict: m.dirs.twins.claimed, Resolve: m.cfg.resolve,
	})
	if err != nil {
		return fmt.Errorf("membership: %w", err)
	}
	m.swim = s
	rec := m.log.Opened()
	seated, _ := rec.Configurations.Latest()
	m.namedSaid.swim = s
	m.namedSaid.tell(&seated.Configuration)
	m.source.led.Store(int64(m.clock.Now()))
	for _, work := range []func(){
		m.writeLog, func() { m.repairs.answer(m.Member) }, m.lookAround,
		func() { m.repairer.run(m.Member) }, func() { lookForStrangers(m.Member) }, func() { m.remembered.keep(m.Member) }, func() { writeChanges(m.Member) }, func() { m.server.Serve(tcp) },
	} {
		m.workers.Go(work)
	}
	for l := range member.Lanes {
		m.workers.Go(func() { m.lane(l) })
	}
	m.workers.Go(func() { m.applier.watch(m.Member) })
	go m.applier.work(m.Member)
	go m.loop() // which is waited for first
	return nil
}

// awaitReady waits until the member serves, or stands by, for as long as it gets any
// further within Config.StartTimeout.
func (m *Member) awaitReady(ctx context.Context) error {
	patience := m.cfg.StartTimeout
	if patience <= 0 {
		return awaitReadyFor(ctx, m)
	}
	for last := progressOf(m); ; {
		trying, cancel := context.WithTimeout(ctx, patience)
		err := awaitReadyFor(trying, m)
		late := trying.Err() != nil && ctx.Err() == nil
		cancel()
		now := progressOf(m)
		if err == nil || !late || now == last {
			return err
		}
		m.logger.Info("still catching up: the start takes longer than its time limit, but gets on", "limit", patience, "why", m.Ready())
		last = now
	}
}

// progressOf is how far a member that catches up has come: what it has applied, and has
// of a checkpoint that it installs.
func progressOf(m *Member) (p struct {
	applied, installing protocol.Index
	left                int
}) {
	if s := m.published.Load(); s != nil {
		p.applied, p.installing, p.left = s.Applied, s.Installing, s.ChunksLeft
	}
	return p
}

// awaitReadyFor waits for as long as trying lasts.
func awaitReadyFor(trying context.Context, m *Member) error {
	for {
		changed := m.changed.wait()
		err := m.Ready()
		if p := m.published.Load(); err == nil || p != nil && p.standsBy() {
			if err := nameTaken(m); err != nil {
				return err
			}
			m.wasReady.Store(true)
			return nil
		}
		if b := m.dirs.barred.Load(); b != nil { // it will never be
			return b.err
		}
		select {
		case <-changed:
		case <-m.done:
			if err := m.Err(); err != nil {
				return err
			}
			return protocol.ErrClosed
		case <-trying.Done():
			if err = m.Ready(); err == nil {
				return nil
			}
			late := fmt.Sprintf("member %s did not become ready in time", m.cfg.Name)
			p, lost := m.published.Load(), ""
			if p != nil {
				lost = p.DatagramsLost
			}
			if p != nil && p.Behind != "" && !p.Leader.IsZero() {
				late += ": give it more time; with a directory it goes on where it was when it is started again"
			}
			if why := cmp.Or(unreached(m), lost); why != "" {
				late += ": " + why
			}
			return protocol.ErrUnavailable.With(late).Because(outOfTime(trying, err))
		}
	}
}
