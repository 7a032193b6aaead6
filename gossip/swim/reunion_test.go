package swim

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/starlinghq/starling/protocol"
)

// quick is a pace at which a cut, a death and its being forgotten take about a
// second.
func quick(dead time.Duration) func(*Config) {
	return func(c *Config) {
		c.Timing = Timing{
			ProbeInterval: 60 * time.Millisecond, ProbeTimeout: 30 * time.Millisecond, SuspicionMult: 2,
			GossipInterval: 20 * time.Millisecond, PushPullInterval: time.Hour, StreamTimeout: time.Second,
			DeadTime: dead, TryInterval: 60 * time.Millisecond,
		}
	}
}

// unforgotten and forgotten are how long memberlist remembers the dead: for
// longer than a test takes, or not at all.
const unforgotten, forgotten = time.Hour, time.Millisecond

// flockOf starts members that know each other. change may be nil.
func flockOf(t *testing.T, n int, pace func(*Config), change func(*Config)) []*node {
	t.Helper()
	var nodes []*node
	for i := range n {
		nodes = append(nodes, start(t, byte(i+1), func(c *Config) {
			pace(c)
			if i > 0 {
				c.Addresses = []string{nodes[0].address}
			}
			if change != nil {
				change(c)
			}
		}))
	}
	for _, x := range nodes {
		x.until("all see each other", count(n-1))
	}
	return nodes
}

// cut parts two sides, in both directions.
func cut(left, right []*node) {
	for _, x := range left {
		for _, y := range right {
			x.lost.Store(y.address, true)
			y.lost.Store(x.address, true)
		}
	}
}

func heal(nodes []*node) {
	for _, x := range nodes {
		x.lost.Clear()
	}
}

// apart waits until each side has lost the other, and no more.
func apart(left, right []*node) {
	for _, x := range left {
		x.until("the cut", count(len(left)-1))
	}
	for _, x := range right {
		x.until("the cut", count(len(right)-1))
	}
}

// together waits until all know all and miss nobody, and says how long that took.
// Both are asked at one moment: at the quick pace a member that gets no processor for
// 30 ms is suspected, and may be lost once more before it is found for good.
func together(t *testing.T, nodes []*node) {
	t.Helper()
	began := time.Now()
	for _, x := range nodes {
		x.eventually("the heal", func() bool { return len(x.Peers()) == len(nodes)-1 && len(x.Unheard()) == 0 })
	}
	t.Logf("together again after %v", time.Since(began).Round(time.Millisecond))
}

// seats returns a configuration.
func seats(list ...protocol.ActiveMember) *protocol.Configuration {
	return &protocol.Configuration{Members: list}
}

// trying returns how many tries are under way.
func (x *node) trying() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flock.Trying()
}

// hears reports whether another member is heard.
func (x *node) hears(id protocol.MemberID) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.flock.Hears(id)
}

// known returns how many members memberlist has, the dead included.
func (x *node) known() int {
	field := reflect.ValueOf(x.list.Load()).Elem().FieldByName("numNodes")
	return int((*atomic.Uint32)(unsafe.Pointer(field.UnsafeAddr())).Load())
}

// Two sides lose each other, each with several members, and are together again
// without anybody's help: while memberlist still holds the others dead, and has
// to be contradicted, and after it has forgotten them, when it would never look
// for them again.
func TestCutMembersLoseEachOtherAndFindBack(t *testing.T) {
	for name, dead := range map[string]time.Duration{"dead": unforgotten, "forgotten": forgotten} {
		for _, left := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s, %d of 6", name, left), func(t *testing.T) {
				nodes := flockOf(t, 6, quick(dead), nil)
				cut(nodes[:left], nodes[left:])
				apart(nodes[:left], nodes[left:])
				for i, x := range nodes {
					want := len(nodes) - left // that it does not hear
					if i >= left {
						want = left
					}
					x.eventually("the others are missed", func() bool { return len(x.Unheard()) == want })
					if dead == forgotten {
						x.eventually("memberlist has forgotten", func() bool { return x.known() == len(nodes)-want })
					}
				}
				heal(nodes)
				together(t, nodes)
			})
		}
	}
}

// Half of a large flock, at the pace of a network. STARLING_HALVES says how many
// members; it prints how long they need and what it costs.
func TestHalvesOfALargeFlock(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("STARLING_HALVES"))
	if err != nil {
		t.Skip("STARLING_HALVES is not set")
	}
	nodes := flockOf(t, n, func(c *Config) { c.Timing, c.Logger = LAN(), slog.New(slog.DiscardHandler) }, nil)
	left, right := nodes[:n/2], nodes[n/2:]
	cut(left, right)
	apart(left, right)
	var before uint64
	for _, x := range nodes {
		before += x.Sent()
	}
	heal(nodes)
	together(t, nodes)
	after := -before
	for _, x := range nodes {
		after += x.Sent()
	}
	t.Logf("each of %d members sent %d KB", n, after/uint64(n)/1000)
}

// eventually waits for what no change of the peers tells.
func (x *node) eventually(what string, ok func() bool) {
	x.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			x.t.Fatalf("%s: not within %s at %s", what, patience, x.id.Short())
		}
	}
}

// One side alone has noticed the cut. The others believe that they are heard, so
// nothing makes them ask; what they send is news for those who think them dead.
func TestADatagramOfTheDeadIsNews(t *testing.T) {
	seldom := func(c *Config) { c.Timing.TryInterval = time.Hour } // at the start, and then never by chance
	nodes := flockOf(t, 3, quick(forgotten), seldom)
	unaware := start(t, 4, func(c *Config) {
		quick(forgotten)(c)
		seldom(c)
		c.Timing.ProbeInterval = time.Hour // it finds nobody dead
		c.Addresses = []string{nodes[2].address}
	})
	for _, x := range append(nodes, unaware) {
		x.until("all see each other", count(3))
	}
	cut(nodes, []*node{unaware})
	for _, x := range nodes {
		x.until("the cut", count(2))
	}
	for _, x := range nodes { // it is not told that it is dead, either
		x.eventually("memberlist has forgotten", func() bool { return x.known() == 3 })
	}
	unaware.until("no cut", count(3))
	heal(append(nodes, unaware))
	unaware.eventually("somebody takes notice", func() bool {
		_ = unaware.Send(nodes[0].id, []byte("I am here"))
		for len(nodes[0].messages) > 0 {
			<-nodes[0].messages
		}
		return nodes[0].hears(unaware.id)
	})
	together(t, append(nodes, unaware))
}

// What a datagram says of its sender is not believed: a dead member is asked at
// the address that is remembered, and nobody at the address that the datagram
// came from. What a forger can cause is bounded.
func TestAForgedDatagramBringsNoAddress(t *testing.T) {
	var dials atomic.Int64
	nodes := flockOf(t, 2, quick(forgotten), nil)
	dead := nodes[1]
	dead.stop()
	nodes[0].until("the death", count(0))
	listener := start(t, 9, nil) // where the dead member was: nobody; where the forger is: this one
	watched := start(t, 3, func(c *Config) {
		quick(forgotten)(c)
		c.Timing.TryInterval = time.Hour
		c.Known = []Known{{ID: dead.id, Name: "n2", Address: dead.address, Heard: time.Now()}}
		conditions := c.Conditions
		c.Conditions = func(a string) (bool, time.Duration) {
			if a == dead.address {
				dials.Add(1)
			} else {
				t.Errorf("something was sent to %s", a)
			}
			return conditions(a)
		}
	})
	watched.eventually("the tries of the start have ended", func() bool { return watched.trying() == 0 && dials.Load() > 0 })
	before := dials.Load()
	forged := appendDatagram(nil, protocol.Version, cluster, dead.id, []byte("x"))
	stranger := appendDatagram(nil, protocol.Version, cluster, protocol.MemberID{77}, []byte("x"))
	c, err := net.Dial("udp", watched.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 200 {
		for _, b := range [][]byte{forged, stranger} {
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		<-watched.messages
		<-watched.messages
	}
	watched.eventually("the try has ended", func() bool { return watched.trying() == 0 })
	if got, want := dials.Load()-before, int64(1); got != want {
		t.Errorf("%d streams were opened because of 400 datagrams, want %d", got, want)
	}
	if got := listener.Peers(); len(got) != 0 {
		t.Errorf("the forger's neighbour knows %v, want nobody", got)
	}
}

// Who leaves, and who was removed, is not missed; who dies is, with the time at
// which it was heard last.
func TestOnlyTheDeadAreMissed(t *testing.T) {
	nodes := flockOf(t, 4, quick(unforgotten), nil)
	first, dying, leaving, removed := nodes[0], nodes[1], nodes[2], nodes[3]
	if err := leaving.Leave(patience); err != nil {
		t.Fatal(err)
	}
	leaving.stop()
	first.until("the leave", count(2))
	first.eventually("it is found out that it left", func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		_, lost := first.flock.Lost(leaving.id)
		return !lost
	})
	removed.stop()
	dying.stop()
	first.until("the deaths", count(0))
	first.eventually("both are missed", func() bool { return len(first.Unheard()) == 2 })
	first.Forget(removed.id)
	got := first.Unheard()
	if len(got) != 1 || got[0].ID != dying.id || got[0].Name != "n2" || got[0].Address != dying.address || time.Since(got[0].Heard) > patience {
		t.Errorf("got %+v, want the dead one", got)
	}
	again := start(t, 12, func(c *Config) { // another member with the dead one's name
		quick(unforgotten)(c)
		c.Name, c.Addresses = "n2", []string{first.address}
	})
	again.until("the first", count(1))
	first.until("its new life", count(1))
	first.eventually("nobody is missed: the name lives", func() bool { return len(first.Unheard()) == 0 })
}

// Nothing but what was remembered brings a member back that was started anew:
// it is told no address. A seat is looked for without ever having been heard.
func TestWhatIsRememberedIsEnough(t *testing.T) {
	nodes := flockOf(t, 3, quick(unforgotten), nil)
	remembered := nodes[2].Remembered()
	slices.SortFunc(remembered, func(a, b Known) int { return a.ID.Compare(b.ID) })
	if len(remembered) != 2 || remembered[0].Address != nodes[0].address || remembered[1].Name != "n2" {
		t.Fatalf("got %+v, want the two others", remembered)
	}
	nodes[2].stop()
	again := start(t, 3, func(c *Config) { quick(unforgotten)(c); c.Known = remembered })
	again.until("the others", count(2))
	seated := start(t, 5, quick(unforgotten))
	if got := seated.Unheard(); len(got) != 0 {
		t.Errorf("got %v, want nobody", got)
	}
	seated.Name(seats(protocol.ActiveMember{ID: nodes[1].id, Name: "n2", Address: nodes[1].address}, protocol.ActiveMember{ID: seated.id, Address: seated.address}))
	if got := seated.Unheard(); len(got) != 1 || !got[0].Named || !got[0].Heard.IsZero() {
		t.Errorf("got %+v, want the one with a seat", got)
	}
	seated.until("the others", count(3))
	seated.Name(seats())
	seated.eventually("nobody is missed", func() bool { return len(seated.Unheard()) == 0 })
}

// An address that was given as a name is announced as one.
func TestANameIsAnnounced(t *testing.T) {
	first := start(t, 1, quick(unforgotten))
	var name string
	second := start(t, 2, func(c *Config) {
		quick(unforgotten)(c)
		_, port, _ := net.SplitHostPort(c.Advertise)
		name = net.JoinHostPort("localhost", port)
		c.Advertise, c.Addresses = name, []string{first.address}
	})
	got := first.until("the second", count(1))[0]
	if got.Host != name || got.Address == name || got.Reach() != name {
		t.Errorf("got %+v, want the host %s", got, name)
	}
	second.until("the first", count(1))
	if got := first.Remembered(); len(got) != 1 || got[0].Address != name {
		t.Errorf("remembered is %+v, want the address %s", got, name)
	}
}

// All members get other addresses at once, under their names: nobody can be
// reached where it was, and nobody is started anew.
func TestAddressesThatChangeUnderTheirNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has all of 127.0.0.0/8")
	}
	const members = 4
	var moved atomic.Bool
	address := func(host string) netip.Addr { // n3.test is 127.0.1.3, then 127.0.2.3
		network := byte(1)
		if moved.Load() {
			network = 2
		}
		return netip.AddrFrom4([4]byte{127, 0, network, host[1] - '0'})
	}
	var nodes []*node
	var names []string
	for i := range members {
		l, packets := listen(t, "0.0.0.0")
		name := fmt.Sprintf("n%d.test:%d", i+1, l.Addr().(*net.TCPAddr).Port)
		nodes = append(nodes, startOn(t, l, packets, byte(i+1), func(c *Config) {
			quick(unforgotten)(c)
			c.Advertise = name
			if i > 0 {
				c.Addresses = names[:1]
			}
			c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) { return []netip.Addr{address(host)}, nil }
			c.Conditions = func(a string) (bool, time.Duration) {
				return netip.MustParseAddrPort(a).Addr().As4()[2] == 1 && moved.Load(), 0
			}
		}))
		names = append(names, name)
	}
	at := func(network byte) func([]protocol.Peer) bool {
		return func(list []protocol.Peer) bool {
			return len(list) == members-1 && !slices.ContainsFunc(list, func(p protocol.Peer) bool {
				return netip.MustParseAddrPort(p.Address).Addr().As4()[2] != network
			})
		}
	}
	for _, x := range nodes {
		x.until("all see each other", at(1))
	}
	moved.Store(true)
	for _, x := range nodes {
		x.until("all see each other where they are now", at(2))
	}
}

// A message is no reason to wait for a lock while nobody is missing. Whoever is lost, found
// or removed is counted.
func TestNewsWaitsForNothingWhileNobodyIsLost(t *testing.T) {
	x := flockOf(t, 2, quick(unforgotten), nil)[0]
	x.mu.Lock()
	x.News(protocol.MemberID{1}) // or it hangs
	x.mu.Unlock()
	counted := func(what string, want int64) {
		t.Helper()
		if got := x.missing.Load(); got != want || int64(len(x.Unheard())) != want {
			t.Errorf("%s: %d are counted of %d, want %d", what, got, len(x.Unheard()), want)
		}
	}
	x.Name(seats(protocol.ActiveMember{ID: protocol.MemberID{7}}, protocol.ActiveMember{ID: protocol.MemberID{8}}))
	counted("seated", 2)
	x.Forget(protocol.MemberID{7})
	counted("removed", 1)
	x.Name(seats())
	counted("the seat is gone", 0)
}

// A membership that has lost its own member, as one of a busy machine once had, makes
// memberlist panic when that leaves. It ends in silence: nobody knows of it.
func TestLeaveOfAMemberThatItsListHasLost(t *testing.T) {
	x := flockOf(t, 1, quick(unforgotten), nil)[0]
	list := reflect.ValueOf(x.list.Load()).Elem()
	of := func(name string) reflect.Value {
		f := list.FieldByName(name)
		return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem()
	}
	lock := (*sync.RWMutex)(unsafe.Pointer(list.FieldByName("nodeLock").UnsafeAddr()))
	lock.Lock()
	of("nodeMap").Clear()
	of("nodes").SetLen(0)
	lock.Unlock()
	if err := x.Leave(time.Second); err != nil {
		t.Error(err)
	}
}
