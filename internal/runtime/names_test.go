package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/dev/freeport"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// names is a resolver for tests: what names mean, and what is said while they mean
// nothing.
type names struct {
	mu    sync.Mutex
	means map[string]string
}

func (n *names) set(name, number string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.means[name] = number
}

func (n *names) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.means[host] == "" {
		return nil, fmt.Errorf("no such host: %s", host)
	}
	return []netip.Addr{netip.MustParseAddr(n.means[host])}, nil
}

// named is the port of an address, at the name of a member.
func named(name, address string) string {
	_, port, _ := net.SplitHostPort(address)
	return name + ".test:" + port
}

// waiting keeps what a start says that it waits for.
func waiting(cfg *Config) <-chan string {
	said := make(chan string, 1)
	cfg.Waits = func(why string) {
		select {
		case said <- why:
		default:
		}
	}
	return said
}

func TestAnOwnNameThatMeansNothingIsWaitedFor(t *testing.T) {
	c := newCluster(t)
	n := &names{means: map[string]string{"a1.test": "127.0.0.1"}}
	c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) {
		cfg.Bind, cfg.Actives, cfg.resolve = freeport.Address(t), 1, n.resolve
		cfg.Advertise, cfg.Insecure = named("a1", cfg.Bind), true
	})
	cfg := c.configs["a1"]
	cfg.Bind = cfg.Advertise // what it became is the name, and where it listens the number
	_, port, _ := net.SplitHostPort(cfg.Bind)
	cfg.Bind = "127.0.0.1:" + port
	c.kill("a1")
	n.set("a1.test", "")
	said := waiting(&cfg)
	opened := make(chan *Member, 1)
	go func() {
		m, err := Open(c.ctx, cfg)
		if err != nil {
			t.Error(err)
		}
		opened <- m
	}()
	select {
	case why := <-said:
		if !strings.Contains(why, "a1.test") || !strings.Contains(why, "no such host") {
			t.Errorf("it waits, and says %q", why)
		}
	case <-opened:
		t.Fatal("it does not wait for its name")
	}
	n.set("a1.test", "127.0.0.1")
	if m := <-opened; m != nil {
		c.members["a1"] = m
	}
}

// TestNamesStayAndAllNumbersChange renumbers a whole site while the member that began
// the cluster is down: the others find each other by their names.
func TestNamesStayAndAllNumbersChange(t *testing.T) {
	c := newCluster(t)
	n := &names{means: map[string]string{}}
	all := []string{"a1", "a2", "a3"}
	for _, name := range all {
		n.set(name+".test", "127.0.0.1")
		c.start(name, protocol.RoleActive, in(c.dir()), func(cfg *Config) {
			cfg.Bind, cfg.resolve = freeport.Address(t), n.resolve
			cfg.Advertise, cfg.Insecure = named(name, cfg.Bind), true
			if len(cfg.Join) > 0 {
				_, port, _ := net.SplitHostPort(c.members["a1"].Addr())
				cfg.Join = []string{"127.0.0.1:" + port}
			}
		})
	}
	c.voters(3)
	c.eventually("the change of the configuration is complete everywhere", func() error {
		for _, m := range c.members {
			if conf, err := latestConfiguration(m); err != nil || conf.Joint() || len(conf.Voters()) < len(all) {
				return fmt.Errorf("%s has %v, %v", m.Name(), conf, err)
			}
			list, _ := recallMembers(m.ID(), m.Dir(), m.logger)
			heard := slices.DeleteFunc(list, func(k swim.Known) bool { return k.Number == "" })
			if len(heard) < len(all)-1 {
				return fmt.Errorf("%s has written down where it hears %v", m.Name(), heard)
			}
		}
		return nil
	})
	for _, name := range all {
		c.kill(name)
		n.set(name+".test", "127.0.0.2")
	}
	var group sync.WaitGroup
	logs := map[string]*journal{}
	for _, name := range all[1:] {
		cfg := c.configs[name]
		logs[name] = &journal{}
		cfg.Logger = slog.New(slog.NewTextHandler(logs[name], nil))
		_, port, _ := net.SplitHostPort(cfg.Bind)
		cfg.Bind, cfg.Advertise = "127.0.0.2:"+port, name+".test:"+port
		group.Go(func() {
			m, err := Open(c.ctx, cfg)
			if err != nil {
				t.Errorf("starting %s: %v", name, err)
				return
			}
			t.Cleanup(m.Kill)
		})
	}
	group.Wait()
	for name, other := range map[string]string{"a2": "a3", "a3": "a2"} {
		c.eventually(name+" says what has changed", func() error {
			for who, words := range map[string]string{"a1": "the name of a member that is not heard means another address now", other: "a member is heard again, at another address"} {
				if !logs[name].hasLine(words, "name="+who+" ", "was=127.0.0.1:", "means=127.0.0.2:") {
					return fmt.Errorf("no line with %q of %s", words, who)
				}
			}
			return nil
		})
	}
}

func TestAMemberThatNobodyReachesSaysSo(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	wrong := freeport.Address(t)
	cfg := c.configs["a1"]
	cfg.Name, cfg.Dir, cfg.Role, cfg.Bootstrap = "p1", "", protocol.RolePassive, false
	cfg.Bind, cfg.Advertise, cfg.Join = "127.0.0.1:0", wrong, []string{c.members["a1"].Addr()}
	ctx, cancel := context.WithCancel(c.ctx)
	said := make(chan string, 1)
	cfg.Waits = func(why string) {
		if strings.Contains(why, "correct --advertise") {
			said <- why
			cancel()
		}
	}
	m, err := Open(ctx, cfg)
	if err == nil {
		m.Kill()
	}
	select {
	case why := <-said:
		if !strings.Contains(why, wrong) {
			t.Errorf("it says %q, without %s", why, wrong)
		}
	default:
		t.Fatalf("it says nothing: %v", err)
	}
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), wrong) {
		t.Errorf("got %v, want an error with %s", err, wrong)
	}
}

// TestWhoAnswersIsHeardWhileNamesAreLookedUp has a resolver that hangs until a member
// has been heard that starts meanwhile.
func TestWhoAnswersIsHeardWhileNamesAreLookedUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	later := freeport.Address(t)
	var calls atomic.Int64
	hangs, heard := make(chan struct{}), make(chan struct{})
	cfg := Config{
		Config: config.Config{Name: "a1", Bind: "127.0.0.1:0", Join: []string{later, "down.test:1"}}, Security: security.Plaintext(), Registry: testRegistry(t),
		resolve: func(context.Context, string) ([]netip.Addr, error) {
			if calls.Add(1) == 2 {
				close(hangs)
				select {
				case <-heard:
				case <-ctx.Done():
					t.Error("nobody is heard while a name is looked up")
				}
			}
			return nil, errors.New("no such host")
		},
	}
	once := sync.OnceFunc(func() { close(heard) })
	cfg.Waits = func(why string) {
		if why != "" && !strings.Contains(why, later) {
			once()
		}
	}
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	open := func(cfg Config) {
		group.Go(func() {
			if m, err := Open(ctx, cfg); err == nil {
				m.Kill()
				t.Errorf("%s has found a cluster, and there is none", cfg.Name)
			}
		})
	}
	open(cfg)
	<-hangs
	cfg.Name, cfg.Bind, cfg.Join, cfg.resolve, cfg.Waits = "a2", later, []string{"127.0.0.1:1"}, nil, nil
	open(cfg)
	select {
	case <-heard:
	case <-ctx.Done():
	}
}

// A first start whose own name is nobody's address, or means nothing, ends before a
// cluster begins: once it has begun one nobody could join that.
func TestANameThatCannotBeReachedBeginsNoCluster(t *testing.T) {
	for _, number := range []string{"0.0.0.0", "::", ""} {
		dir, n := t.TempDir(), &names{means: map[string]string{"a1.test": number}}
		m, err := Open(t.Context(), Config{
			Config:   config.Config{Name: "a1", Dir: dir, Bind: freeport.Address(t), Advertise: "a1.test:7600", Insecure: true, Bootstrap: true},
			Security: security.Plaintext(), Registry: testRegistry(t), resolve: n.resolve,
		})
		if err == nil {
			m.Kill()
		}
		if !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), "no cluster is begun") {
			t.Errorf("%q: got %v", number, err)
		}
		if _, err := wal.ReadIdentity(vfs.OS(), dir); !errors.Is(err, protocol.ErrNotFound) {
			t.Errorf("%q: the directory is a member's: %v", number, err)
		}
	}
}

// A member that was to take a seat over, was killed before it had it, and is started
// without the wish: the seat is the lost member's still, and nothing else is said.
func TestAReplacementThatIsStartedAsAnyOtherHearsWhoseSeatItIs(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.trio()
	lost := c.members["a3"].identity.Member
	c.kill("a3")
	cfg := c.configs["a1"]
	cfg.Name, cfg.Bind, cfg.Bootstrap, cfg.Dir, cfg.Replace, cfg.Join = "a3", "127.0.0.1:0", false, c.dir(), true, []string{c.members["a1"].Addr()}
	m, err := Open(c.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	m.Kill()
	cfg.Replace = false
	m, err = Open(c.ctx, cfg)
	if err == nil {
		m.Kill()
	}
	want := "in use by member " + lost.Short()
	if !errors.Is(err, protocol.ErrNameTaken) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "has the seat of that name") ||
		!strings.Contains(err.Error(), "start it again with --replace") || strings.Contains(err.Error(), "has taken the place") {
		t.Errorf("got %v, want one with %q, and the way out", err, want)
	}
}

// Who begins a cluster without asking anybody says what that means, unless it is to be
// alone.
func TestABeginningThatAsksNobodySaysSo(t *testing.T) {
	for actives, want := range map[int]bool{3: true, 1: false} {
		c, log := newCluster(t), &journal{}
		c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) { cfg.Actives, cfg.Logger = actives, slog.New(slog.NewTextHandler(log, nil)) })
		if got := log.has("with a lost directory this member would begin a second cluster"); got != want || !log.has("beginning a new cluster") {
			t.Errorf("%d actives: it is said: %t, want %t", actives, got, want)
		}
	}
}
