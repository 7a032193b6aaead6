package memberlist

import (
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	library "github.com/hashicorp/memberlist"

	"github.com/starlinghq/starling/internal/virtual"
)

// quick is a pace at which a death, and its being forgotten, take some seconds, and an answer
// may take long enough for a busy machine: who is forgotten by mistake is not found again.
func quick(dead time.Duration) Timing {
	return Timing{
		ProbeInterval: 400 * time.Millisecond, ProbeTimeout: 150 * time.Millisecond, SuspicionMult: 2,
		GossipInterval: 30 * time.Millisecond, PushPullInterval: 500 * time.Millisecond, StreamTimeout: 5 * time.Second,
		DeadTime: dead,
	}
}

// remembered and forgotten are for how long the dead are: longer than a test, or not at all.
const remembered, forgotten = time.Hour, time.Millisecond

// open says which links there are.
type open func(from, to int, datagram bool) bool

func whole(int, int, bool) bool { return true }

// view is whom a member takes to be alive, with their addresses, and how many it knows.
type view struct {
	Alive []string
	Known int
}

// world is a network with members, each at a place.
type world interface {
	start(name, place int)
	join(from, to int) // places
	stop(place int)
	leave(place int)
	links(open)
	// settle returns what the members see when nothing changes any more, by place.
	settle(what string) map[int]view
}

// modelled has the model in virtual time.
type modelled struct {
	timing Timing
	rand   *rand.Rand
	queue  virtual.Queue[int64, func()]
	now    int64
	open   open
	at     map[int]*process
}

// process is a member of the model; it is its Host.
type process struct {
	w     *modelled
	place int
	list  *List
}

func nameOf(i int) string    { return fmt.Sprintf("n%d", i) }
func addressOf(i int) string { return fmt.Sprintf("10.0.0.%d:7946", i+1) }
func placeOf(address string) (place int) {
	_, _ = fmt.Sscanf(address, "10.0.0.%d:", &place)
	return place - 1
}

func (w *modelled) after(d time.Duration, do func()) { w.queue.Push(w.now+int64(d), do) }
func (w *modelled) links(o open)                     { w.open = o }

func (p *process) Now() time.Duration { return time.Duration(p.w.now) }
func (p *process) After(d time.Duration, do func()) {
	p.w.after(d, func() {
		if p.w.at[p.place] == p {
			do()
		}
	})
}

func (p *process) Packet(to string, packet Packet) {
	if place := placeOf(to); p.w.open(p.place, place, true) {
		p.w.after(time.Millisecond, func() {
			if other := p.w.at[place]; other != nil {
				other.list.Receive(packet)
			}
		})
	}
}

func (p *process) Stream(to string, packet Packet, within time.Duration, took func(Packet)) {
	place := placeOf(to)
	if !p.w.open(p.place, place, false) || !p.w.open(place, p.place, false) {
		p.After(min(within, 100*time.Millisecond), func() { took(nil) })
		return
	}
	p.w.after(3*time.Millisecond, func() {
		var reply Packet
		if other := p.w.at[place]; other != nil {
			reply = other.list.Answer(packet)
		}
		p.After(time.Millisecond, func() { took(reply) })
	})
}

func (w *modelled) start(name, place int) {
	p := &process{w: w, place: place}
	w.at[place] = p
	p.list = New(p, Node{Name: nameOf(name), Address: addressOf(place)}, w.timing, w.rand, Events{})
}

func (w *modelled) join(from, to int) {
	w.at[from].list.Join(addressOf(to), func(bool) {})
	w.run(100 * time.Millisecond)
}

func (w *modelled) stop(place int) { delete(w.at, place) }

func (w *modelled) leave(place int) {
	w.at[place].list.Leave()
	w.run(500 * time.Millisecond)
	w.stop(place)
}

func (w *modelled) run(d time.Duration) {
	end := w.now + int64(d)
	for {
		if at, ok := w.queue.First(); !ok || at > end {
			w.now = end
			return
		}
		var do func()
		w.now, do = w.queue.Pop()
		do()
	}
}

func (w *modelled) settle(string) map[int]view {
	w.run(30 * time.Second)
	views := map[int]view{}
	for place, p := range w.at {
		v := view{Known: p.list.Known()}
		for _, name := range p.list.Members() {
			v.Alive = append(v.Alive, name+"@"+p.list.find(name).Address)
		}
		views[place] = v
	}
	return views
}

// real has the library, over a network in memory.
type real struct {
	t      *testing.T
	name   string
	timing Timing
	want   map[string]map[int]view // what the model saw
	failed bool                    // what follows is not looked at

	mu   sync.Mutex
	open open
	at   map[int]*socket
}

// socket is the library's transport.
type socket struct {
	w       *real
	place   int
	list    *library.Memberlist
	packets chan *library.Packet
	streams chan net.Conn

	mu    sync.Mutex
	alive map[string]string // addresses, by name: what Members returns changes while it is read
}

// NotifyJoin, NotifyUpdate and NotifyLeave keep what the library tells.
func (s *socket) NotifyJoin(n *library.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive[n.Name] = n.Address()
}

func (s *socket) NotifyUpdate(n *library.Node) { s.NotifyJoin(n) }

func (s *socket) NotifyLeave(n *library.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.alive, n.Name)
}

func (w *real) links(o open) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = o
}

// way returns who is at a place, if there is a way to it.
func (w *real) way(from int, address string, datagram bool) *socket {
	w.mu.Lock()
	defer w.mu.Unlock()
	to := placeOf(address)
	if !w.open(from, to, datagram) || !datagram && !w.open(to, from, false) {
		return nil
	}
	return w.at[to]
}

func (s *socket) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	host, port, _ := net.SplitHostPort(addressOf(s.place))
	n, err := strconv.Atoi(port)
	return net.ParseIP(host), n, err
}

func (s *socket) PacketCh() <-chan *library.Packet { return s.packets }
func (s *socket) StreamCh() <-chan net.Conn        { return s.streams }
func (s *socket) Shutdown() error                  { return nil }

func (s *socket) WriteTo(b []byte, address string) (time.Time, error) {
	now := time.Now()
	if to := s.w.way(s.place, address, true); to != nil {
		from, _ := net.ResolveUDPAddr("udp", addressOf(s.place))
		select {
		case to.packets <- &library.Packet{Buf: slices.Clone(b), From: from, Timestamp: now}:
		default: // lost
		}
	}
	return now, nil
}

func (s *socket) DialTimeout(address string, timeout time.Duration) (net.Conn, error) {
	to := s.w.way(s.place, address, false)
	if to == nil {
		timer := time.NewTimer(min(timeout, 100*time.Millisecond))
		defer timer.Stop()
		<-timer.C
		return nil, errors.New("no way")
	}
	near, far := net.Pipe()
	select {
	case to.streams <- far:
		return near, nil
	default:
		return nil, errors.New("refused")
	}
}

func (w *real) start(name, place int) {
	s := &socket{w: w, place: place, packets: make(chan *library.Packet, 1024), streams: make(chan net.Conn, 64), alive: map[string]string{}}
	w.mu.Lock()
	w.at[place] = s
	w.mu.Unlock()
	c, t := library.DefaultLANConfig(), w.timing
	c.Name, c.Transport, c.BindPort, c.AdvertisePort = nameOf(name), s, 7946, 7946
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = t.ProbeInterval, t.ProbeTimeout, t.SuspicionMult
	c.GossipInterval, c.PushPullInterval, c.TCPTimeout = t.GossipInterval, t.PushPullInterval, t.StreamTimeout
	c.GossipToTheDeadTime, c.DeadNodeReclaimTime, c.EnableCompression = t.DeadTime, time.Nanosecond, false
	c.Events = s
	c.LogOutput, c.Logger = nil, log.New(io.Discard, "", 0)
	list, err := library.Create(c)
	if err != nil {
		panic(err)
	}
	s.list = list
	w.t.Cleanup(func() { _ = list.Shutdown() })
}

// join tries again while there is a way: the machine may be busy.
func (w *real) join(from, to int) {
	for range 10 {
		if _, err := w.at[from].list.Join([]string{addressOf(to)}); err == nil || w.way(from, addressOf(to), false) == nil {
			return
		}
	}
}

func (w *real) stop(place int) {
	w.mu.Lock()
	s := w.at[place]
	delete(w.at, place)
	w.mu.Unlock()
	_ = s.list.Shutdown()
}

func (w *real) leave(place int) {
	_ = w.at[place].list.Leave(5 * time.Second)
	w.stop(place)
}

func (w *real) views() map[int]view {
	views := map[int]view{}
	for place, s := range w.at {
		v := view{Known: known(s.list)}
		s.mu.Lock()
		for name, address := range s.alive {
			v.Alive = append(v.Alive, name+"@"+address)
		}
		s.mu.Unlock()
		slices.Sort(v.Alive)
		views[place] = v
	}
	return views
}

// settle waits until the members see what those of the model saw.
func (w *real) settle(what string) map[int]view {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	want := fmt.Sprint(w.want[what])
	for !w.failed && fmt.Sprint(w.views()) != want {
		select {
		case <-tick.C:
		case <-deadline:
			w.failed = true
			w.t.Errorf("%s: %s: the library sees %v, the model %v", w.name, what, w.views(), want)
		}
	}
	return w.want[what]
}
