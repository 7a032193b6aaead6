package swim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// A probe of memberlist's that is under way ends with its own timeout, which
// nobody can cut short.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

const patience = 60 * time.Second

var cluster = protocol.ClusterID{1}

// node is a Swim with a listener that stands for the member's server.
type node struct {
	*Swim
	t        *testing.T
	id       protocol.MemberID
	address  string
	listener net.Listener
	peers    chan []protocol.Peer
	messages chan string
	lost     *sync.Map // addresses that this node's packets and streams do not reach
	ended    sync.WaitGroup
	once     sync.Once
}

func start(t *testing.T, n byte, change func(*Config)) *node {
	t.Helper()
	l, packets := listen(t, "127.0.0.1")
	return startOn(t, l, packets, n, change)
}

func startOn(t *testing.T, l net.Listener, packets net.PacketConn, n byte, change func(*Config)) *node {
	t.Helper()
	x := &node{
		t: t, id: protocol.MemberID{n, 15: n}, address: l.Addr().String(), listener: l,
		peers: make(chan []protocol.Peer, 1000), messages: make(chan string, 1000), lost: &sync.Map{},
	}
	cfg := Config{
		ID: x.id, Cluster: cluster, Meta: Meta{Name: fmt.Sprint("n", n), Zone: "z", HTTP: "h:1", Role: protocol.RolePassive},
		Advertise: x.address, Packets: packets, Dial: security.Plaintext().Dial, Timing: Local(),
		Logger:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})),
		OnPeers:   func(p []protocol.Peer) { x.peers <- p },
		OnMessage: func(from protocol.MemberID, b []byte) { x.messages <- from.Short() + ":" + string(b) },
		Conditions: func(a string) (bool, time.Duration) {
			_, lost := x.lost.Load(a)
			return lost, 0
		},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	x.Swim = s
	x.ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.Ingest(c)
		}
	})
	t.Cleanup(x.stop)
	return x
}

// listen opens one port for both.
func listen(t *testing.T, host string) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", net.JoinHostPort(host, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
		if err == nil {
			return l, p
		}
		_ = l.Close()
	}
	t.Fatal("no port is free for both TCP and UDP")
	panic("unreachable")
}

// stop is a crash: nobody is told.
func (x *node) stop() {
	x.once.Do(func() {
		_ = x.listener.Close()
		if err := x.Shutdown(); err != nil {
			x.t.Error(err)
		}
		x.ended.Wait()
	})
}

// until waits for a list of peers that satisfies ok.
func (x *node) until(what string, ok func([]protocol.Peer) bool) []protocol.Peer {
	x.t.Helper()
	deadline := time.After(patience)
	for {
		if p := x.Peers(); ok(p) {
			return p
		}
		select {
		case <-x.peers:
		case <-deadline:
			x.t.Fatalf("%s: not within %s; peers of %s: %v", what, patience, x.id.Short(), x.Peers())
		}
	}
}

func (x *node) join(others ...*node) {
	x.t.Helper()
	var addresses []string
	for _, o := range others {
		addresses = append(addresses, o.address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if n, err := x.Join(ctx, addresses); err != nil || n != len(others) {
		x.t.Fatalf("joined %d of %d: %v", n, len(others), err)
	}
}

func count(n int) func([]protocol.Peer) bool {
	return func(p []protocol.Peer) bool { return len(p) == n }
}

func flock(t *testing.T, n int) []*node {
	nodes := []*node{start(t, 1, nil)}
	for i := 1; i < n; i++ {
		x := start(t, byte(i+1), nil)
		x.join(nodes[0])
		nodes = append(nodes, x)
	}
	for _, x := range nodes {
		x.until("all see each other", count(n-1))
	}
	return nodes
}

func TestMembersSeeEachOther(t *testing.T) {
	nodes := flock(t, 4)
	got := nodes[0].Peers()
	for i, p := range got {
		x := nodes[i+1]
		want := protocol.Peer{Versions: protocol.Spoken(), ID: x.id, Name: fmt.Sprint("n", i+2), Address: x.address, HTTP: "h:1", Zone: "z", Role: protocol.RolePassive}
		if p != want {
			t.Errorf("got %+v, want %+v", p, want)
		}
	}
}

func TestAnnouncementSpreads(t *testing.T) {
	nodes := flock(t, 3)
	if err := nodes[2].Update(Meta{Name: "n3", Role: protocol.RoleActive, Eligible: true, HTTP: "h:2"}); err != nil {
		t.Fatal(err)
	}
	for _, x := range nodes[:2] {
		x.until("the new role", func(peers []protocol.Peer) bool {
			for _, p := range peers {
				if p.ID == nodes[2].id && p.Role == protocol.RoleActive && p.Eligible && p.HTTP == "h:2" && p.Zone == "" {
					return true
				}
			}
			return false
		})
	}
}

func TestDeathIsNoticed(t *testing.T) {
	nodes := flock(t, 3)
	nodes[2].stop()
	for _, x := range nodes[:2] {
		x.until("the death", count(1))
	}
	if err := nodes[0].Send(nodes[2].id, []byte("x")); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("got %v, want %v", err, protocol.ErrNotFound)
	}
}

func TestLeavingIsTold(t *testing.T) {
	nodes := flock(t, 3)
	began := time.Now()
	if err := nodes[2].Leave(patience); err != nil {
		t.Fatal(err)
	}
	nodes[2].stop()
	for _, x := range nodes[:2] {
		x.until("the leave", count(1))
	}
	t.Logf("noticed after %s", time.Since(began))
	if err := nodes[2].Leave(patience); !errors.Is(err, protocol.ErrClosed) {
		t.Errorf("got %v, want %v", err, protocol.ErrClosed)
	}
}

func TestMemberComesBackAtAnotherAddress(t *testing.T) {
	nodes := flock(t, 2)
	nodes[1].stop()
	nodes[0].until("the death", count(0))
	again := start(t, 2, nil)
	again.join(nodes[0])
	nodes[0].until("the return", at(again.address))
}

// A restart at another address that is quicker than the failure detector is a
// conflict first. It must not wait for the next exchange of everything.
func TestQuickReturnAtAnotherAddressIsLetInAtTheDeath(t *testing.T) {
	patient := func(c *Config) { c.Timing.PushPullInterval = time.Hour }
	first, second := start(t, 1, patient), start(t, 2, patient)
	second.join(first)
	first.until("the second", count(1))
	second.stop()
	again := start(t, 2, patient)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = again.Join(ctx, []string{first.address})
	first.until("the return", at(again.address))
	again.until("the first", count(1))
}

func at(address string) func([]protocol.Peer) bool {
	return func(p []protocol.Peer) bool { return len(p) == 1 && p[0].Address == address }
}

func TestSecondMemberWithAnIDIsAConflict(t *testing.T) {
	conflict := make(chan string, 100)
	first := start(t, 1, func(c *Config) {
		c.OnConflict = func(_ protocol.Peer, address string) {
			select {
			case conflict <- address:
			default:
			}
		}
	})
	second := start(t, 2, nil)
	second.join(first)
	first.until("the second", count(1))
	copied := start(t, 2, nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, _ = copied.Join(ctx, []string{first.address})
	select {
	case got := <-conflict:
		if got != copied.address {
			t.Errorf("got %s, want %s", got, copied.address)
		}
	case <-time.After(patience):
		t.Error("nobody noticed")
	}
}

func TestDatagramsArrive(t *testing.T) {
	nodes := flock(t, 2)
	largest := strings.Repeat("x", protocol.DatagramBytesMax)
	for _, want := range []string{"", "hello", largest} {
		if err := nodes[0].Send(nodes[1].id, []byte(want)); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-nodes[1].messages:
			if want := nodes[0].id.Short() + ":" + want; got != want {
				t.Errorf("got %.40q, want %.40q", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("a datagram of %d bytes did not arrive", len(want))
		}
	}
	if err := nodes[0].Send(nodes[1].id, []byte(largest+"x")); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, protocol.ErrTooLarge)
	}
}

func TestDamagedAndStrangeDatagramsAreDropped(t *testing.T) {
	x := start(t, 1, nil)
	c, err := net.Dial("udp", x.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	from := protocol.MemberID{2}
	send := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	good := appendDatagram(nil, protocol.Version, cluster, from, []byte("good"))
	for bit := range 8 * len(good) { // the bits of the first byte make it none of ours
		bad := slices.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		send(bad)
	}
	send(appendDatagram(nil, protocol.Version, protocol.ClusterID{2}, from, []byte("of another cluster")))
	send(good[:DatagramHead-1])
	send(good)
	select {
	case got := <-x.messages:
		if want := from.Short() + ":good"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Error("the good one did not arrive")
	}
	if n := len(x.messages); n != 0 {
		t.Errorf("got %d more", n)
	}
}

func TestAnotherClusterIsRefused(t *testing.T) {
	a := start(t, 1, nil)
	b := start(t, 2, func(c *Config) { c.Cluster = protocol.ClusterID{2} })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if n, err := b.Join(ctx, []string{a.address}); n != 0 || !errors.Is(err, protocol.ErrUnavailable) {
		t.Errorf("got %d, %v, want %v", n, err, protocol.ErrUnavailable)
	}
	if got := len(a.Peers()) + len(b.Peers()); got != 0 {
		t.Errorf("got %d peers, want none", got)
	}
}

func TestMetaOverTheLimitIsRefused(t *testing.T) {
	x := start(t, 1, nil)
	long := strings.Repeat("x", protocol.NameBytesMax)
	if err := x.Update(Meta{Name: long, Zone: long}); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, protocol.ErrTooLarge)
	}
	if err := x.Update(Meta{Name: long + "x"}); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want %v", err, protocol.ErrInvalid)
	}
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	l, p := listen(t, "127.0.0.1")
	defer l.Close()
	defer p.Close()
	good := Config{ID: protocol.MemberID{1}, Cluster: cluster, Advertise: l.Addr().String(), Packets: p, Dial: security.Plaintext().Dial}
	for name, change := range map[string]func(*Config){
		"no id":         func(c *Config) { c.ID = protocol.MemberID{} },
		"no cluster":    func(c *Config) { c.Cluster = protocol.ClusterID{} },
		"no socket":     func(c *Config) { c.Packets = nil },
		"no streams":    func(c *Config) { c.Dial = nil },
		"any address":   func(c *Config) { c.Advertise = "0.0.0.0:7600" },
		"no port":       func(c *Config) { c.Advertise = "127.0.0.1" },
		"port 0":        func(c *Config) { c.Advertise = "127.0.0.1:0" },
		"name too long": func(c *Config) { c.Name = strings.Repeat("x", 256) },
	} {
		cfg := good
		change(&cfg)
		if s, err := Start(cfg); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v, want %v", name, err, protocol.ErrInvalid)
			if err == nil {
				_ = s.Shutdown()
			}
		}
	}
}

func TestGarbageDoesNoHarm(t *testing.T) {
	nodes := flock(t, 2)
	c, err := net.Dial("udp", nodes[0].address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	label := append([]byte{0xf4, 32}, cluster.String()...)
	for _, b := range [][]byte{{}, {0}, {8}, {0xf4}, label, append(label, 8), append(label, 7, 255), append(label, 4, 0xdd, 0xff, 0xff, 0xff, 0xff)} {
		_, _ = c.Write(b)
	}
	if err := nodes[1].Send(nodes[0].id, []byte("alive")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-nodes[0].messages:
	case <-time.After(patience):
		t.Error("it does not answer any more")
	}
}

func BenchmarkDatagram(b *testing.B) {
	la, pa := benchListen(b)
	lb, pb := benchListen(b)
	defer la.Close()
	defer lb.Close()
	got := make(chan struct{}, 4096)
	x, err := Start(Config{ID: protocol.MemberID{1}, Cluster: cluster, Advertise: la.Addr().String(), Packets: pa, Dial: security.Plaintext().Dial})
	if err != nil {
		b.Fatal(err)
	}
	defer x.Shutdown()
	y, err := Start(Config{
		ID: protocol.MemberID{2}, Cluster: cluster, Advertise: lb.Addr().String(), Packets: pb, Dial: security.Plaintext().Dial,
		OnMessage: func(protocol.MemberID, []byte) { got <- struct{}{} },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer y.Shutdown()
	go func() {
		for {
			c, err := lb.Accept()
			if err != nil {
				return
			}
			y.Ingest(c)
		}
	}()
	if _, err := x.Join(context.Background(), []string{lb.Addr().String()}); err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := x.Send(protocol.MemberID{2}, message); err != nil {
			b.Fatal(err)
		}
		<-got
	}
}

func benchListen(b *testing.B) (net.Listener, net.PacketConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	return l, p
}
