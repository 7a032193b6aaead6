// Package swim is membership and datagrams: memberlist (SWIM with Lifeguard)
// and a slim transport of ours below it, beside the deterministic core in
// package gossip.
//
// Each member has an incarnation: a number that it alone raises, to contradict who says
// that it is dead. Of two reports about a member the one with the higher incarnation
// counts. It says nothing about Raft's terms, and none of it is in the log.
//
// It says which members live, and carries datagrams of up to
// protocol.DatagramBytesMax to them. What it says is a hint: no voter is
// chosen or removed because of it alone. memberlist's broadcast queue and its
// reliable sends carry nothing of ours: the queue is slow and loses what does
// not fit, the sends dial for every message.
//
// All of a cluster's packets and streams carry its id as memberlist's label,
// so that two clusters never mix. A member's node name is its id.
package swim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/starlinghq/starling/gossip/reunion"
	"github.com/starlinghq/starling/protocol"
)

const (
	// announceTimeout bounds how long a change of the own announcement waits
	// to be told to somebody; it spreads on either way.
	announceTimeout = 500 * time.Millisecond
	// reclaimTime is how long after a member's death its id may come back at
	// another address: at once. memberlist takes 0 for never.
	reclaimTime = time.Nanosecond
)

// Meta is what a member announces of itself. Encoded it must fit into 512 B.
type Meta struct {
	Name     string
	Zone     string
	HTTP     string // host:port, or empty
	Role     protocol.Role
	Eligible bool
	Wishes   bool
	Signs    bool
	Level    protocol.FormatLevel
}

// Config says who this member is and how it talks.
type Config struct {
	ID protocol.MemberID
	// Cluster is the label: packets and streams of another one are dropped.
	Cluster protocol.ClusterID
	// Versions are those of the protocol that this member speaks. Default
	// protocol.Spoken().
	Versions protocol.Versions
	Meta
	// Advertise is host:port at which the others reach Packets and, over TCP,
	// whoever calls Ingest. A name is announced beside what it means, so that the
	// others resolve it when they look for this member; this member looks now and
	// then whether it means something else, and announces that.
	Advertise string
	// Known are members that were heard before this start, and Addresses where
	// else there may be some. Those that are not heard are tried, at random and
	// for ever: the addresses, members for 24 h. So Join is not needed.
	Known     []Known
	Addresses []string
	// Packets is the datagram socket. It is closed by Shutdown.
	Packets net.PacketConn
	// Dial makes streams; required.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Resolve looks names up. Default: the system's resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Timing is the pace. Default LAN().
	Timing Timing
	// Logger hears memberlist at level debug, and conflicts as warnings.
	Logger *slog.Logger
	// OnPeers, if not nil, gets the live members except this one, sorted by
	// id, after each change; quick changes are told as one. The slice belongs
	// to it. One goroutine calls it; while it is busy, changes gather.
	OnPeers func([]protocol.Peer)
	// OnMessage, if not nil, gets each datagram; the bytes are valid until it
	// returns. The goroutine that reads the socket calls it, in the order of
	// arrival: it must not block. from is what the sender says of itself.
	OnMessage func(from protocol.MemberID, datagram []byte)
	// OnConflict, if not nil, hears that a live member's id is claimed at
	// another address: a copied directory, or a restart elsewhere that has not
	// been noticed. It must not block.
	OnConflict func(existing protocol.Peer, address string)
	// Conditions, for tests, spoils the network; nil leaves it alone.
	Conditions Conditions
}

// Swim is a member's view of the others. Any goroutine may use it.
type Swim struct {
	cfg       Config
	transport *transport
	// list is the memberlist in use. Another one follows when this member's own
	// address changes; moving is held by whoever replaces or ends it.
	list   atomic.Pointer[memberlist.Memberlist]
	moving sync.Mutex

	changed  chan struct{} // peers have changed
	announce chan struct{} // meta has changed
	returned chan struct{} // a claimed id is free
	died     chan struct{} // somebody has died, or left

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	meta []byte
	// flock decides who is looked for, where and when; routes are where packets to the
	// members go that it hears. missing is how many it does not: anybody may read it.
	flock   *reunion.Flock
	routes  map[protocol.MemberID]netip.AddrPort
	missing atomic.Int64
	started time.Time
	// strange are members that speak no version of the protocol that this one does.
	strange map[protocol.MemberID]protocol.Versions
	lists   uint64 // how many lists there were: what an old one tells is not heard
	// renumbered says that it was said that the names of all mean other addresses.
	renumbered bool
	left       bool
	down       bool

	sending sync.Mutex
	packet  []byte // reused by Send
}

// Start begins to listen and to answer; Join makes others known. Errors:
// protocol.ErrInvalid and ErrTooLarge for what is wrong in the Config. After an
// error Packets is still the caller's.
func Start(cfg Config) (*Swim, error) {
	if cfg.ID.IsZero() || cfg.Cluster.IsZero() || cfg.Packets == nil || cfg.Dial == nil {
		return nil, protocol.ErrInvalid.With("membership needs a member id, a cluster id, a datagram socket and what makes streams")
	}
	if cfg.Timing == (Timing{}) {
		cfg.Timing = LAN()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Resolve == nil {
		cfg.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	advertise, err := cfg.resolve()
	if err != nil {
		return nil, err
	}
	meta, err := cfg.encodeMeta(cfg.Meta)
	if err != nil {
		return nil, err
	}
	s := &Swim{
		cfg: cfg, meta: meta, routes: make(map[protocol.MemberID]netip.AddrPort), strange: make(map[protocol.MemberID]protocol.Versions),
		changed: make(chan struct{}, 1), announce: make(chan struct{}, 1), returned: make(chan struct{}, 1),
		died: make(chan struct{}, 1), started: time.Now(),
	}
	s.flock = reunion.New(s.now(), reunion.Config{
		Self: cfg.ID, Interval: cfg.Timing.TryInterval, Rand: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Known: s.toCore(cfg.Known), Addresses: cfg.Addresses,
	})
	s.missing.Store(int64(s.flock.Missing()))
	s.ctx, s.cancel = context.WithCancel(context.Background())
	cfg.OnMessage = s.heard
	s.transport = newTransport(s.ctx, cfg, advertise)
	s.transport.known = s.knows
	list, err := memberlist.Create(s.configure(s.lists))
	if err != nil {
		s.cancel()
		s.transport.abandon()
		return nil, fmt.Errorf("starting membership at %s: %w", cfg.Advertise, err)
	}
	s.list.Store(list)
	s.wg.Go(s.tellPeers)
	s.wg.Go(s.tellOthers)
	s.wg.Go(s.letIn)
	s.wg.Go(s.settle)
	s.wg.Go(s.reunite)
	s.wg.Go(s.exchange)
	if named(cfg.Advertise) != "" {
		s.wg.Go(s.followName)
	}
	return s, nil
}

// configure returns the configuration of a memberlist with a number.
func (s *Swim) configure(number uint64) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = s.cfg.ID.String()
	c.Label = s.cfg.Cluster.String()
	c.Transport = lease{s.transport}
	port := s.transport.advertise.Load().Port
	c.BindPort, c.AdvertisePort = port, port
	t := s.cfg.Timing
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = t.ProbeInterval, t.ProbeTimeout, t.SuspicionMult
	c.GossipInterval, c.PushPullInterval, c.TCPTimeout = t.GossipInterval, t.PushPullInterval, t.StreamTimeout
	c.GossipToTheDeadTime = t.DeadTime
	c.EnableCompression = false // slow, and what is small does not shrink
	c.DeadNodeReclaimTime = reclaimTime
	d := &delegate{s, number}
	c.Delegate, c.Events, c.Conflict, c.Alive, c.Merge = d, d, d, d, d
	out := io.Discard
	if s.cfg.Logger.Enabled(s.ctx, slog.LevelDebug) {
		out = logWriter{s.cfg.Logger}
	}
	c.LogOutput, c.Logger = nil, log.New(out, "", 0)
	return c
}

func (c *Config) encodeMeta(m Meta) ([]byte, error) {
	peer := protocol.Peer{
		Versions: c.Versions, ID: c.ID, Name: m.Name, Zone: m.Zone, HTTP: m.HTTP, Role: m.Role, Eligible: m.Eligible, Wishes: m.Wishes, Signs: m.Signs, Host: named(c.Advertise), Level: m.Level,
	}
	b := protocol.AppendPeer(nil, &peer)
	if len(b) > memberlist.MetaMaxSize {
		return nil, protocol.ErrTooLarge.With(fmt.Sprintf(
			"name, zone and addresses of a member take %d bytes together, the limit is %d", len(b), memberlist.MetaMaxSize))
	}
	if _, err := protocol.DecodePeer(b); err != nil {
		return nil, protocol.ErrInvalid.With("name, zone, HTTP address or role of the member").Because(err)
	}
	return b, nil
}

// Join exchanges what is known with the members at the addresses (host:port),
// all of them, and returns how many answered; an error only if none did. The
// own address is passed over. When ctx ends it returns; the attempt under way
// ends on its own within StreamTimeout.
func (s *Swim) Join(ctx context.Context, addresses []string) (int, error) {
	self := s.transport.address()
	others := slices.DeleteFunc(slices.Clone(addresses), func(a string) bool { return a == self || a == s.cfg.Advertise })
	if len(others) == 0 {
		return 0, protocol.ErrInvalid.With("there is no other member's address to join")
	}
	type outcome struct {
		n   int
		err error
	}
	done := make(chan outcome, 1)
	if !s.spawn(func() {
		n, err := s.list.Load().Join(others)
		done <- outcome{n, err}
	}) {
		return 0, protocol.ErrClosed.With("membership is shut down")
	}
	select {
	case o := <-done:
		if o.err != nil {
			return o.n, protocol.ErrUnavailable.With("no member answered").Because(o.err)
		}
		return o.n, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("joining: %w", ctx.Err())
	}
}

// spawn runs f in a goroutine that Shutdown waits for.
func (s *Swim) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return false
	}
	s.wg.Go(f)
	return true
}

// Update changes what this member announces. It does not wait for the others
// to hear of it.
func (s *Swim) Update(m Meta) error {
	b, err := s.cfg.encodeMeta(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	changed := !bytes.Equal(s.meta, b)
	s.meta = b
	s.mu.Unlock()
	if changed {
		poke(s.announce)
	}
	return nil
}

// Peers returns the live members except this one, sorted by id.
func (s *Swim) Peers() []protocol.Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flock.Peers()
}

// Send sends one datagram, at best effort. Errors: protocol.ErrTooLarge,
// ErrNotFound for who is not known to live, ErrClosed, or the socket's.
func (s *Swim) Send(to protocol.MemberID, datagram []byte) error {
	if len(datagram) > protocol.DatagramBytesMax {
		return protocol.ErrTooLarge.With(fmt.Sprintf("a datagram of %d bytes, the limit is %d", len(datagram), protocol.DatagramBytesMax))
	}
	s.mu.Lock()
	peer, ok := s.flock.Peer(to)
	at, down := s.routes[to], s.down
	s.mu.Unlock()
	if down {
		return protocol.ErrClosed.With("membership is shut down")
	}
	if !ok {
		return protocol.ErrNotFound.With("member " + to.Short() + " is not known to live")
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	version, err := s.cfg.Versions.Agree(peer.Versions, to.Short())
	if err != nil {
		return err // nobody is let in who has none in common
	}
	s.packet = appendDatagram(s.packet[:0], version, s.cfg.Cluster, s.cfg.ID, datagram)
	if err := s.transport.send(s.packet, peer.Address, at); err != nil {
		return fmt.Errorf("sending a datagram to %s: %w", peer.Address, err)
	}
	return nil
}

// heard takes a datagram of ours.
func (s *Swim) heard(from protocol.MemberID, datagram []byte) {
	s.News(from)
	if s.cfg.OnMessage != nil {
		s.cfg.OnMessage(from, datagram)
	}
}

// knows returns how many members are known, alive or not.
func (s *Swim) knows() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flock.Size() + s.flock.Missing()
}

// Ingest takes a stream that another member's membership has opened, from its
// first byte on. It owns the connection from now on.
func (s *Swim) Ingest(conn net.Conn) { s.transport.ingest(conn) }

// Sent returns how many bytes membership has sent, in packets and streams. What
// Send sends is not in it.
func (s *Swim) Sent() uint64 { return s.transport.sent.Load() }

// Leave tells the others that this member goes, so that nobody has to find
// out. It waits until somebody was told, or for timeout. Shutdown comes next.
func (s *Swim) Leave(timeout time.Duration) error {
	s.mu.Lock()
	down := s.down
	s.left = true
	s.mu.Unlock()
	if down {
		return protocol.ErrClosed.With("membership is shut down")
	}
	s.moving.Lock()
	defer s.moving.Unlock()
	list := s.list.Load()
	if !listed(list, s.cfg.ID.String()) {
		return nil // memberlist, which has lost this member, would panic; nobody knows of it
	}
	if err := list.Leave(timeout); err != nil {
		return fmt.Errorf("leaving: %w", err)
	}
	return nil
}

// listed reports whether a membership has a member, by its name there.
func listed(list *memberlist.Memberlist, name string) bool {
	return slices.ContainsFunc(list.Members(), func(n *memberlist.Node) bool { return n.Name == name })
}

// Shutdown ends everything, closes Packets, and returns when no goroutine of
// this package is left. The others find out by themselves unless Leave was
// called. It may be called many times.
func (s *Swim) Shutdown() error {
	s.mu.Lock()
	already := s.down
	s.down = true
	s.mu.Unlock()
	if already {
		s.wg.Wait()
		return nil
	}
	s.cancel()
	err := s.transport.Shutdown()
	s.moving.Lock()
	_ = s.list.Load().Shutdown() // it has nothing of its own that could fail
	s.moving.Unlock()
	s.wg.Wait()
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("ending membership: %w", err)
	}
	return nil
}

// tellPeers, tellOthers and letIn are the goroutines: memberlist calls its
// delegates under its locks, where nothing may wait.
func (s *Swim) tellPeers() {
	for {
		select {
		case <-s.changed:
			if s.cfg.OnPeers != nil {
				s.cfg.OnPeers(s.Peers())
			}
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Swim) tellOthers() {
	for {
		select {
		case <-s.announce:
			s.mu.Lock()
			left := s.left
			s.mu.Unlock()
			if left {
				continue
			}
			// The new announcement is queued in any case; an error says only
			// that nobody was there to be told in time.
			if err := s.list.Load().UpdateNode(announceTimeout); err != nil {
				s.cfg.Logger.Debug("announcing", "err", err)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// letIn joins the addresses that claimed an id whose death was noticed only
// afterwards. memberlist has refused them, and they would not ask again before
// their next exchange of everything, in PushPullInterval.
func (s *Swim) letIn() {
	for {
		select {
		case <-s.returned:
			s.mu.Lock()
			free := s.flock.Freed()
			s.mu.Unlock()
			if _, err := s.Join(s.ctx, free); err != nil {
				s.cfg.Logger.Debug("asking a member that came back", "err", err)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// logWriter hands memberlist's lines to slog.
type logWriter struct{ logger *slog.Logger }

// Write logs one line.
func (w logWriter) Write(line []byte) (int, error) {
	w.logger.Debug(string(bytes.TrimSpace(line)), "from", "memberlist")
	return len(line), nil
}
