//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// patience bounds what a test waits for. It is no measure of speed.
const patience = 5 * time.Minute

// cluster is members as processes. The first one begins it.
type cluster struct {
	t       *testing.T
	network int // 127.0.network.0 is its members'
	members []*member
	clients map[string]*starling.Client // by address, to that member alone
	twins   int                         // copies of members that were made
}

// networks counts clusters: tests run side by side.
var networks atomic.Int32

func newCluster(t *testing.T) *cluster {
	t.TempDir() // before the end of the members is registered, so that directories are removed after it
	c := &cluster{t: t, network: int(networks.Add(1)) % 250, clients: map[string]*starling.Client{}}
	t.Cleanup(func() {
		c.kill()
		for _, m := range c.members {
			if n := m.log.seenRaces(); n > 0 { // who is killed has no exit code that says so
				t.Errorf("%s has %d data races:\n%s", m.name, n, m.log)
			}
			if t.Failed() {
				t.Logf("%s said at last:\n%s", m.name, tail(m.log.String(), 60))
			}
		}
		for _, client := range c.clients {
			// Nobody is left to hear that the session ends.
			_ = client.Close()
		}
	})
	return c
}

// kill ends all members, and returns when they are gone.
func (c *cluster) kill() {
	for _, m := range c.members {
		m.kill()
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// memberPort is every member's: each has an address of its own.
const memberPort = "7600"

// add makes a member with a directory on a disk of its own, or, if that is nil,
// on the machine's. It is not started.
func (c *cluster) add(name string, role protocol.Role, d *disk) *member {
	c.t.Helper()
	m := &member{t: c.t, name: name, role: role, disk: d, addr: fmt.Sprintf("127.0.%d.%d:%s", c.network, 11+len(c.members), memberPort), log: new(syncBuffer)}
	if d != nil {
		m.dir = d.dir
	} else {
		m.dir = c.t.TempDir()
	}
	if len(c.members) == 0 {
		m.bootstrap = true
	} else {
		m.join = []string{c.members[0].addr}
	}
	c.members = append(c.members, m)
	return m
}

// begin starts all members for the first time, and waits until each has its
// seat.
func (c *cluster) begin() {
	c.t.Helper()
	voters := 0
	for i, m := range c.members {
		m.start()
		if i == 0 {
			c.eventually(func() error { _, err := c.status(m); return err })
		}
		if m.role == protocol.RoleActive {
			voters++
		}
	}
	c.eventually(func() error {
		s, err := c.status(c.members[0])
		if err != nil {
			return err
		}
		seats := 0
		for _, line := range s.Members {
			if line.Suffrage == protocol.SuffrageVoter.String() {
				seats++
			}
		}
		if seats != voters {
			return fmt.Errorf("%d of %d voters", seats, voters)
		}
		return nil
	})
	c.joined()
	c.settled()
}

// joined has the change that gave the seats end: while it is joint, the one voter
// from before decides alone, too, and who cuts it off stops all. A write that is
// acknowledged now comes after the first half, so the second half is on its way,
// and the write after it comes after that.
func (c *cluster) joined() {
	c.t.Helper()
	client, err := c.client(c.members[0])
	if err != nil {
		c.t.Fatal(err)
	}
	for range 2 {
		if _, err := starling.NewCounter(client, "joined").Add(c.t.Context(), 1); err != nil {
			c.t.Fatal(err)
		}
	}
}

// client returns a client of one member alone.
func (c *cluster) client(m *member) (*starling.Client, error) {
	if client := c.clients[m.addr]; client != nil {
		return client, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{m.addr}})
	if err == nil {
		c.clients[m.addr] = client
	}
	return client, err
}

func (c *cluster) status(m *member) (starling.Status, error) {
	if !m.running() {
		return starling.Status{}, fmt.Errorf("%s has ended: %s", m.name, tail(m.log.String(), 3))
	}
	client, err := c.client(m)
	if err != nil {
		return starling.Status{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	s, err := client.Status(ctx)
	if err == nil && s.Name != m.name {
		err = fmt.Errorf("%s answers for %s", s.Name, m.name)
	}
	return s, err
}

// leader waits until the members given agree on one of all members.
func (c *cluster) leader(of ...*member) *member {
	c.t.Helper()
	var found *member
	c.eventually(func() error {
		name := ""
		for _, m := range of {
			s, err := c.status(m)
			if err != nil {
				return err
			}
			if s.Leader == "" || (name != "" && s.Leader != name) {
				return fmt.Errorf("%s says that %q leads, others %q", m.name, s.Leader, name)
			}
			name = s.Leader
		}
		for _, m := range c.members {
			if m.name == name {
				found = m
				return nil
			}
		}
		return fmt.Errorf("%s leads, which is nobody", name)
	})
	return found
}

// settled waits until all members have applied the same, with the same digest.
func (c *cluster) settled() {
	c.t.Helper()
	c.eventually(func() error {
		var want starling.Status
		for i, m := range c.members {
			s, err := c.status(m)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			if i == 0 {
				want = s
			}
			if s.Applied != want.Applied || s.Digest != want.Digest || s.Leader == "" {
				return fmt.Errorf("%s has applied %d (%s), %s %d (%s)", want.Name, want.Applied, want.Digest, s.Name, s.Applied, s.Digest)
			}
		}
		return nil
	})
}

// eventually polls until what returns nil.
func (c *cluster) eventually(what func() error) {
	c.t.Helper()
	if err := within(patience, what); err != nil {
		c.t.Fatalf("after %v: %v", patience, err)
	}
}

// within polls until what returns nil, and returns its last error.
func within(limit time.Duration, what func() error) error {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := what()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

// book remembers what was acknowledged.
type book struct {
	mu    sync.Mutex
	acked map[string]string
}

func newBook() *book { return &book{acked: map[string]string{}} }

func (b *book) note(key, value string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked[key] = value
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acked)
}

// mapName is what the load writes to.
const mapName = "field"

// missing reads everything at one member and returns the acknowledged keys that
// are not there, or not as they were acknowledged.
func (b *book) missing(c *cluster, at *member, opts ...starling.ReadOption) ([]string, error) {
	client, err := c.client(at)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	there := map[string]string{}
	for e, err := range starling.NewMap[string, string](client, mapName).Scan(ctx, starling.Range[string]{}, opts...) {
		if err != nil {
			return nil, err
		}
		there[e.Key] = e.Value
	}
	return b.lacks(there), nil
}

// lacks returns the acknowledged keys that are not among some, or not as they
// were acknowledged.
func (b *book) lacks(there map[string]string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var gone []string
	for key, value := range b.acked {
		if there[key] != value {
			gone = append(gone, key)
		}
	}
	return gone
}

// complete fails the test unless every acknowledged write can be read at a
// member.
func (b *book) complete(c *cluster, at *member) {
	c.t.Helper()
	var gone []string
	c.eventually(func() (err error) {
		gone, err = b.missing(c, at)
		return err
	})
	if len(gone) > 0 {
		c.t.Fatalf("%d of %d acknowledged writes are lost, %s among them", len(gone), b.len(), gone[0])
	}
}

// load writes keys that nobody wrote before, through real clients.
type load struct {
	count  atomic.Int64 // acknowledged
	failed atomic.Pointer[error]
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// writers is how many write at a time, over each client.
const writers = 4

// startLoad lets clients of the members write until stop. Keys begin with a
// prefix that is new; values have size bytes at least.
func (c *cluster) startLoad(b *book, prefix string, size int, to ...*member) *load {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	c.t.Cleanup(l.stop)
	for i, m := range to {
		client, err := c.client(m)
		if err != nil {
			c.t.Fatal(err)
		}
		writes := starling.NewMap[string, string](client, mapName)
		for j := range writers {
			l.done.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					key := fmt.Sprintf("%s-%d-%d-%06d", prefix, i, j, n)
					value := key + strings.Repeat(".", size)
					err := writes.Put(ctx, key, value)
					if err == nil {
						b.note(key, value)
						l.count.Add(1)
						continue
					}
					if ctx.Err() == nil {
						l.failed.Store(&err)
					}
					if errors.Is(err, starling.ErrNoSpace) {
						select { // the next one, when the disks have been looked at again
						case <-ctx.Done():
						case <-time.After(100 * time.Millisecond):
						}
					}
				}
			})
		}
	}
	return l
}

// acknowledged waits for at least n acknowledged writes of this load.
func (l *load) acknowledged(c *cluster, n int64) {
	c.t.Helper()
	c.eventually(func() error {
		if got := l.count.Load(); got < n {
			err := fmt.Errorf("%d of %d writes are acknowledged", got, n)
			if p := l.failed.Load(); p != nil {
				err = errors.Join(err, *p)
			}
			return err
		}
		return nil
	})
}

// stop ends the load. What is not acknowledged yet never will be.
func (l *load) stop() {
	l.cancel()
	l.done.Wait()
}
