package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/dev/freeport"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
)

// patience bounds what a test waits for. It is no measure of speed.
const patience = 3 * time.Minute

// cluster is members in this process over real loopback sockets.
type cluster struct {
	t       *testing.T
	ctx     context.Context
	members map[string]*Member
	configs map[string]Config
	first   string
	root    string
}

// dir returns a new directory.
func (c *cluster) dir() string {
	c.t.Helper()
	dir, err := os.MkdirTemp(c.root, "")
	if err != nil {
		c.t.Fatal(err)
	}
	return dir
}

func newCluster(t *testing.T) *cluster {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	// Before the end of the members is registered, so that their directories
	// are removed after it.
	root := t.TempDir()
	c := &cluster{t: t, ctx: ctx, root: root, members: map[string]*Member{}, configs: map[string]Config{}}
	t.Cleanup(func() {
		for _, m := range c.members {
			m.Kill()
		}
		cancel()
	})
	return c
}

func testRegistry(t *testing.T) *resources.Registry {
	t.Helper()
	registry, err := resources.NewRegistry(kvmap.Type, counter.Type)
	if err != nil {
		t.Fatal(err)
	}
	return registry
}

// start adds a member; the first one begins the cluster.
func (c *cluster) start(name string, role protocol.Role, change ...func(*Config)) *Member {
	c.t.Helper()
	cfg := Config{
		Config:   config.Config{Name: name, Bind: freeport.Address(c.t), Role: role, Election: 150 * time.Millisecond, Heartbeat: 50 * time.Millisecond},
		Security: security.Plaintext(), Registry: testRegistry(c.t), SegmentBytes: 1 << 20,
	}
	if c.first == "" {
		cfg.Bootstrap = true
	} else {
		cfg.Join = []string{c.members[c.first].Addr()}
	}
	for _, f := range change {
		f(&cfg)
	}
	return c.open(cfg)
}

func (c *cluster) open(cfg Config) *Member {
	c.t.Helper()
	m, err := Open(c.ctx, cfg)
	if err != nil {
		c.t.Fatalf("starting %s: %v", cfg.Name, err)
	}
	if c.first == "" {
		c.first = cfg.Name
	}
	cfg.Bind = m.Addr()
	c.members[cfg.Name], c.configs[cfg.Name] = m, cfg
	return m
}

// kill crashes a member; again starts it from its directory.
func (c *cluster) kill(name string) { c.members[name].Kill() }

func (c *cluster) again(name string) *Member {
	c.t.Helper()
	return c.open(c.configs[name])
}

// opening starts members at once, each in its own goroutine.
func (c *cluster) opening(ctx context.Context, names ...string) (await func() map[string]error) {
	type opened struct {
		name string
		m    *Member
		err  error
	}
	got := make(chan opened, len(names))
	for _, name := range names {
		cfg := c.configs[name]
		go func() {
			m, err := Open(ctx, cfg)
			got <- opened{cfg.Name, m, err}
		}()
	}
	return func() map[string]error {
		errs := map[string]error{}
		for range names {
			o := <-got
			if errs[o.name] = o.err; o.err == nil {
				c.members[o.name] = o.m
			}
		}
		return errs
	}
}

// openAll starts members that need each other to become ready.
func (c *cluster) openAll(names ...string) {
	c.t.Helper()
	for name, err := range c.opening(c.ctx, names...)() {
		if err != nil {
			c.t.Errorf("starting %s: %v", name, err)
		}
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// eventually waits for a condition.
func (c *cluster) eventually(what string, condition func() error) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			c.t.Fatalf("%s: %v", what, err)
		}
	}
}

func (c *cluster) client(m *Member) *client.Client {
	c.t.Helper()
	cl, err := client.New(m, client.Config{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

// voters waits until all members that run hold the final configuration of n voters as
// committed. While a change is joint for one of them, voters from before it decide
// there, too: who cuts off or kills a member then may stop all others.
func (c *cluster) voters(n int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%d voters", n), func() error {
		for _, m := range c.members {
			if m.stopping.Load() {
				continue
			}
			if err := IsNamed(m, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// equal waits until all running members have applied the same and says the same
// digest.
func (c *cluster) equal() {
	c.t.Helper()
	c.eventually("equal members", func() error {
		var want protocol.Status
		for _, m := range c.members {
			s := m.Status()
			if want.Name == "" {
				want = s
			}
			if s.Applied != want.Applied || s.Digest != want.Digest || s.Applied < s.Commit {
				return fmt.Errorf("%s has applied %d (%s), %s %d (%s)", want.Name, want.Applied, want.Digest, s.Name, s.Applied, s.Digest)
			}
		}
		return nil
	})
}

func (c *cluster) put(caller resources.Caller, key, value string) {
	c.t.Helper()
	_, err := kvmap.Put.Do(c.ctx, caller, "m", kvmap.PutRequest{Key: []byte(key), Value: []byte(value)})
	if err != nil {
		c.t.Fatalf("put %s: %v", key, err)
	}
}

func (c *cluster) get(caller resources.Caller, key string, opts ...resources.ReadOption) string {
	c.t.Helper()
	item, err := kvmap.Get.Do(c.ctx, caller, "m", kvmap.KeyRequest(key), opts...)
	if err != nil {
		c.t.Fatalf("get %s: %v", key, err)
	}
	return string(item.Value)
}

func TestGrowsToThreeVotersAndFeedsPassives(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive)
	c.start("a2", protocol.RoleActive)
	c.start("a3", protocol.RoleActive)
	c.start("p1", protocol.RolePassive)
	c.start("p2", protocol.RolePassive)
	c.voters(3)
	for i, name := range []string{"a1", "a2", "a3", "p1", "p2"} {
		caller := c.client(c.members[name])
		key := fmt.Sprint("k", i)
		c.put(caller, key, name)
		for _, reader := range c.members {
			if got := c.get(c.client(reader), key); got != name {
				t.Errorf("linearizable read of %s at %s: got %q, want %q", key, reader.Name(), got, name)
			}
		}
	}
	c.equal()
	if s := c.members["p1"].Status(); s.Role != "passive" || s.RaftRole != "none" {
		t.Errorf("p1 is %s, %s; want passive, none", s.Role, s.RaftRole)
	}
}

func TestLocalReadOfAPassiveSaysHowOldItIs(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	p := c.start("p1", protocol.RolePassive)
	caller := c.client(p)
	c.put(caller, "k", "v")
	c.eventually("a local read with an age", func() error {
		var info resources.Info
		item, err := kvmap.Get.Do(c.ctx, caller, "m", kvmap.KeyRequest("k"), resources.Local, resources.WithInfo(&info))
		switch {
		case err != nil:
			return err
		case string(item.Value) != "v":
			return fmt.Errorf("value %q", item.Value)
		case !info.AgeKnown:
			return errors.New("the age is not known")
		case info.Age <= 0 || info.Age > 10*time.Second:
			return fmt.Errorf("age %v", info.Age)
		}
		return nil
	})
}

func TestLeaderKilledUnderLoadLosesNothing(t *testing.T) {
	c := newCluster(t)
	for _, name := range []string{"a1", "a2", "a3"} {
		dir := c.dir()
		c.start(name, protocol.RoleActive, func(cfg *Config) { cfg.Dir = dir })
	}
	p := c.start("p1", protocol.RolePassive)
	c.voters(3)
	caller := c.client(p)
	const each = 50
	add := func() {
		t.Helper()
		for range each {
			if _, err := counter.Add.Do(c.ctx, caller, "hits", 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	add()
	leader := p.Status().Leader
	c.kill(leader)
	add()
	c.again(leader)
	add()
	got, err := counter.Get.Do(c.ctx, caller, "hits", struct{}{})
	if err != nil || got != 3*each {
		t.Errorf("got %d, %v, want %d: each add takes effect exactly once", got, err, 3*each)
	}
	c.equal()
}

func TestPassiveResumesAfterARestart(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	dir := c.dir()
	p := c.start("p1", protocol.RolePassive, func(cfg *Config) { cfg.Dir = dir })
	caller := c.client(c.members["a1"])
	for i := range 200 {
		c.put(caller, fmt.Sprint("k", i), "before")
	}
	c.equal()
	id := p.ID()
	c.kill("p1")
	for i := range 200 {
		c.put(caller, fmt.Sprint("k", 1000+i), "after")
	}
	p = c.again("p1")
	if p.ID() != id {
		t.Error("the member came back with another id")
	}
	c.equal()
}

func TestWholeClusterRestartsFromItsDirectories(t *testing.T) {
	c := newCluster(t)
	names := []string{"a1", "a2", "a3"}
	for _, name := range names {
		dir := c.dir()
		c.start(name, protocol.RoleActive, func(cfg *Config) { cfg.Dir = dir })
	}
	c.voters(3)
	caller := c.client(c.members["a2"])
	for i := range 100 {
		c.put(caller, fmt.Sprint("k", i), "v")
	}
	for _, name := range names {
		c.kill(name)
	}
	c.openAll(names...)
	for _, name := range names {
		for i := range 100 {
			if got := c.get(c.client(c.members[name]), fmt.Sprint("k", i)); got != "v" {
				t.Fatalf("%s says %q of k%d after the restart, want v", name, got, i)
			}
		}
	}
}

func TestWatchOnAPassiveSeesEveryWriteOnce(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	p := c.start("p1", protocol.RolePassive)
	caller := c.client(c.members["a1"])
	c.put(caller, "k", "0")
	c.equal()
	stream, err := p.Watch(c.ctx, &protocol.Watch{Resource: "m", Type: "map"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	const n = 50
	for i := range n {
		c.put(caller, "k", fmt.Sprint(i+1))
	}
	for seen := 0; seen < n; {
		changes, err := stream.Next(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range changes.Changes {
			seen++
			if got, want := string(change.Value), fmt.Sprint(seen); string(change.Key) != "k" || got != want {
				t.Fatalf("change %d is %s=%s, want k=%s", seen, change.Key, got, want)
			}
		}
	}
}

func TestBadStarts(t *testing.T) {
	c := newCluster(t)
	a1 := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1; cfg.Dir = c.dir() })
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(c.ctx, 300*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	base := Config{Config: config.Config{Name: "x", Bind: "127.0.0.1:0"}, Security: security.Plaintext(), Registry: testRegistry(t)}
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   error
	}{
		{"join to nobody", func(cfg *Config) { cfg.Join = []string{"127.0.0.1:1"} }, protocol.ErrUnavailable},
		{"neither join nor bootstrap", func(*Config) {}, protocol.ErrInvalid},
		{"a name that is taken", func(cfg *Config) { cfg.Name = "a1"; cfg.Join = []string{a1.Addr()} }, protocol.ErrNameTaken},
		{"beyond loopback", func(cfg *Config) { cfg.Bind = "0.0.0.0:0"; cfg.Bootstrap = true }, protocol.ErrInvalid},
		{"a directory in use", func(cfg *Config) { *cfg = c.configs["a1"]; cfg.Bind = "127.0.0.1:0" }, protocol.ErrDirectory},
		{"another member's directory", func(cfg *Config) { cfg.Dir = c.configs["a1"].Dir }, protocol.ErrDirectory},
	} {
		cfg := base
		test.change(&cfg)
		m, err := Open(short(), cfg)
		if err == nil {
			m.Kill()
		}
		if !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
	cfg := base
	cfg.Bind, cfg.Bootstrap = a1.Addr(), true
	if m, err := Open(short(), cfg); err == nil {
		m.Kill()
		t.Error("two members at one port")
	}
}
