//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// networked is actives and passives, each a host of its own: a network namespace
// with one link to a bridge. The tests are at the bridge.
type networked struct {
	*cluster
	book   *book
	hosts  string  // what all the hosts' addresses begin with: the bridge is the first, the members follow
	bridge *member // where the clients of the tests are, as a side of a cut; its host is the link's name
}

// newNetworked starts three actives and a passive, or those that are named: an
// active's name begins with an a, a passive's with a p.
func newNetworked(t *testing.T, names ...string) *networked {
	t.Helper()
	if names == nil {
		names = []string{"a1", "a2", "a3", "p1"}
	}
	n := layNetwork(t, names)
	n.begin()
	return n
}

// layNetwork makes the hosts and their members, none of which is started.
func layNetwork(t *testing.T, names []string) *networked {
	t.Helper()
	need(t, "ip")
	number := networks.Add(1) % 250 // of this network: tests run side by side
	n := &networked{book: newBook(), hosts: fmt.Sprintf("10.77.%d.", number)}
	n.bridge = &member{name: "clients", host: fmt.Sprint("field-", number), addr: n.hosts + "1:" + memberPort}
	steps := [][]string{
		{"link", "add", n.bridge.host, "type", "bridge"},
		{"addr", "add", n.hosts + "1/24", "dev", n.bridge.host},
		{"link", "set", n.bridge.host, "up"},
	}
	t.Cleanup(func() { _ = tool("ip", "link", "del", n.bridge.host) }) // it goes with the tests' own namespace anyhow
	host := func(name string) string { return fmt.Sprintf("%s-%d", name, number) }
	actives := 0
	for i, name := range names {
		host, link := host(name), "to-"+host(name)
		steps = append(steps,
			[]string{"netns", "add", host},
			[]string{"link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", host},
			[]string{"link", "set", link, "master", n.bridge.host, "up"},
			[]string{"-n", host, "addr", "add", n.hosts + strconv.Itoa(11+i) + "/24", "dev", "eth0"},
			[]string{"-n", host, "link", "set", "lo", "up"},
			[]string{"-n", host, "link", "set", "eth0", "up"},
		)
		if name[0] == 'a' {
			actives++
		}
		t.Cleanup(func() {
			_ = tool("ip", "link", "del", link) // at once; with the namespace it goes when the kernel finds time
			_ = tool("ip", "netns", "del", host)
		})
	}
	for _, args := range steps {
		if err := tool("ip", args...); err != nil {
			t.Skipf("no networks of their own: %v", err)
		}
	}
	n.cluster = newCluster(t) // last: its members are gone when the networks go
	for i, name := range names {
		role := protocol.RoleActive
		if name[0] == 'p' {
			role = protocol.RolePassive
		}
		m := n.add(name, role, nil)
		m.actives = actives
		m.host, m.agent, m.addr = host(name), true, n.hosts+strconv.Itoa(11+i)+":"+memberPort
		if i > 0 {
			m.join = []string{n.members[0].addr}
		}
	}
	return n
}

// cut makes a link one that works in one direction only: what from sends to to
// is lost without a word, what to sends arrives. The address has a neighbour
// that is not there.
func (n *networked) cut(from, to *member) {
	n.t.Helper()
	n.neighbour("replace", from, to, "lladdr", "02:00:00:00:de:ad", "dev", "eth0", "nud", "permanent")
}

func (n *networked) heal(from, to *member) {
	n.t.Helper()
	n.neighbour("del", from, to, "dev", "eth0")
}

// part cuts all links between two sides, in both directions; join heals them.
func (n *networked) part(left, right []*member) {
	n.t.Helper()
	n.between(left, right, func(host, dev string) string {
		return "neigh replace " + host + " lladdr 02:00:00:00:de:ad dev " + dev + " nud permanent\n"
	})
}

func (n *networked) join(left, right []*member) {
	n.t.Helper()
	n.between(left, right, func(host, dev string) string { return "neigh del " + host + " dev " + dev + "\n" })
}

// between runs a command of ip for each link between two sides, in all hosts at
// once.
func (n *networked) between(left, right []*member, command func(host, dev string) string) {
	n.t.Helper()
	var work sync.WaitGroup
	var failed atomic.Pointer[error]
	for _, sides := range [][2][]*member{{left, right}, {right, left}} {
		for _, from := range sides[0] {
			work.Go(func() {
				args, dev := []string{"-n", from.host, "-batch", "-"}, "eth0"
				if from == n.bridge {
					args, dev = args[2:], from.host
				}
				var batch strings.Builder
				for _, to := range sides[1] {
					batch.WriteString(command(strings.TrimSuffix(to.addr, ":"+memberPort), dev))
				}
				c := exec.Command("ip", args...)
				c.Stdin = strings.NewReader(batch.String())
				if out, err := c.CombinedOutput(); err != nil {
					err = fmt.Errorf("%w: %s", err, out)
					failed.Store(&err)
				}
			})
		}
	}
	work.Wait()
	if err := failed.Load(); err != nil {
		n.t.Fatal(*err)
	}
}

func (n *networked) neighbour(what string, from, to *member, more ...string) {
	n.t.Helper()
	host := to.addr[:len(to.addr)-len(":"+memberPort)]
	if err := tool("ip", append([]string{"-n", from.host, "neigh", what, host}, more...)...); err != nil {
		n.t.Fatal(err)
	}
}

// others returns the actives beside one.
func (n *networked) others(m *member) []*member {
	var list []*member
	for _, o := range n.members[:3] {
		if o != m {
			list = append(list, o)
		}
	}
	return list
}

// register is a number that only grows, and what is known of it: floor is the
// highest value that was acknowledged.
type register struct {
	floor atomic.Int64
	stop  context.CancelFunc
	done  sync.WaitGroup
}

// keepWriting lets a client of some members count on.
func (n *networked) keepWriting(to ...*member) *register {
	n.t.Helper()
	var addresses []string
	for _, m := range to {
		addresses = append(addresses, m.addr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: addresses})
	if err != nil {
		cancel()
		n.t.Fatal(err)
	}
	r := &register{stop: cancel}
	counter := starling.NewCounter(client, "register")
	r.done.Go(func() {
		for ctx.Err() == nil {
			if value, err := counter.Add(ctx, 1); err == nil {
				r.floor.Store(value)
			}
		}
	})
	n.t.Cleanup(func() { r.end(); _ = client.Close() })
	return r
}

func (r *register) end() {
	r.stop()
	r.done.Wait()
}

// grows waits until so many more writes are acknowledged.
func (r *register) grows(n *networked, by int64) {
	n.t.Helper()
	goal := r.floor.Load() + by
	n.eventually(func() error {
		if got := r.floor.Load(); got < goal {
			return fmt.Errorf("%d writes are acknowledged, want %d", got, goal)
		}
		return nil
	})
}

// readAt reads at one member and checks that the value is none from before the
// read began.
func (r *register) readAt(n *networked, client *starling.Client, at string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	floor := r.floor.Load()
	got, err := starling.NewCounter(client, "register").Get(ctx)
	if err == nil && got < floor {
		n.t.Errorf("a stale read at %s: got %d, %d was acknowledged before", at, got, floor)
	}
	return err
}

// pause is how long a leader is stopped: long enough for another one.
const pause = 5 * time.Second

// The leader's process stands still for five seconds and goes on as if nothing
// had been. Others have led and written meanwhile: it must not answer from its
// old state, and nothing is lost.
func TestStoppedLeaderServesNoStaleRead(t *testing.T) {
	t.Parallel()
	n := newNetworked(t)
	old := n.leader(n.members...)
	client, err := n.client(old)
	if err != nil {
		t.Fatal(err)
	}
	r := n.keepWriting(n.others(old)...)
	r.grows(n, 20)
	if err := r.readAt(n, client, old.name); err != nil {
		t.Fatal(err)
	}
	old.signal(syscall.SIGSTOP)
	began := time.Now()
	n.eventually(func() error {
		s, err := n.status(n.others(old)[0])
		if err == nil && (s.Leader == old.name || s.Leader == "") {
			err = fmt.Errorf("%q leads", s.Leader)
		}
		return err
	})
	r.grows(n, 50)
	// Reads that wait in the stopped leader's socket when it goes on.
	var reads sync.WaitGroup
	ends := make(chan struct{})
	for range 4 {
		reads.Go(func() {
			for {
				_ = r.readAt(n, client, old.name) // it may refuse; it may not lie
				select {
				case <-ends:
					return
				default:
				}
			}
		})
	}
	n.eventually(func() error {
		if time.Since(began) < pause {
			return errors.New("the pause is not over")
		}
		return nil
	})
	old.signal(syscall.SIGCONT)
	r.grows(n, 50)
	n.eventually(func() error { return r.readAt(n, client, old.name) })
	close(ends)
	reads.Wait()
	r.end()
	n.settled()
}

// The leader's process is killed, and started again, while clients write.
func TestKilledLeaderLosesNothing(t *testing.T) {
	t.Parallel()
	n := newNetworked(t)
	l := n.startLoad(n.book, "kill", 100, n.members[3])
	for range 2 {
		l.acknowledged(n.cluster, l.count.Load()+50)
		old := n.leader(n.members[3])
		old.kill()
		l.acknowledged(n.cluster, l.count.Load()+50)
		old.start()
	}
	l.stop()
	n.settled()
	for _, m := range n.members {
		n.book.complete(n.cluster, m)
	}
	t.Logf("%d writes acknowledged, 0 lost", n.book.len())
}

// What the leader sends no longer arrives anywhere, but all that is sent to it
// does: it must notice that nobody hears it. Another one leads; when the links
// work again it follows.
func TestLeaderThatOnlyHearsIsReplaced(t *testing.T) {
	t.Parallel()
	n := newNetworked(t)
	old := n.leader(n.members...)
	for _, m := range n.members {
		if m != old {
			n.cut(old, m)
		}
	}
	rest := n.others(old)
	n.eventually(func() error {
		for _, m := range rest {
			s, err := n.status(m)
			if err != nil {
				return err
			}
			if s.Leader == old.name || s.Leader == "" {
				return fmt.Errorf("%s says that %q leads", m.name, s.Leader)
			}
		}
		return nil
	})
	l := n.startLoad(n.book, "mute", 100, rest...)
	l.acknowledged(n.cluster, 50)
	l.stop()
	for _, m := range n.members {
		if m != old {
			n.heal(old, m)
		}
	}
	n.settled()
	n.book.complete(n.cluster, old)
}

// A follower hears nothing of the leader, in one direction only, but is heard,
// and talks to the other follower. It must neither depose the leader for ever
// nor stay behind for ever: writes go on, and it catches up when the link works.
func TestFollowerThatHearsNoLeaderDoesNotStopWrites(t *testing.T) {
	t.Parallel()
	n := newNetworked(t)
	leader := n.leader(n.members...)
	deaf := n.others(leader)[0]
	n.cut(leader, deaf)
	l := n.startLoad(n.book, "deaf", 100, n.members[3])
	l.acknowledged(n.cluster, 200)
	l.stop()
	n.heal(leader, deaf)
	n.settled()
	for _, m := range n.members {
		n.book.complete(n.cluster, m)
	}
}
