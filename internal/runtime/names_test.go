package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/starlinghq/starling/protocol"
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
		cfg.Advertise, cfg.Insecure, cfg.Actives, cfg.resolve = "a1.test:0", true, 1, n.resolve
	})
	cfg := c.configs["a1"]
	_, port, _ := net.SplitHostPort(cfg.Bind)
	cfg.Bind, cfg.Advertise = "127.0.0.1:"+port, "a1.test:"+port
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
			cfg.Advertise, cfg.Insecure, cfg.resolve = name+".test:0", true, n.resolve
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
		}
		return nil
	})
	for _, name := range all {
		c.kill(name)
		n.set(name+".test", "127.0.0.2")
	}
	var group sync.WaitGroup
	for _, name := range all[1:] {
		cfg := c.configs[name]
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
}

func TestAMemberThatNobodyReachesSaysSo(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	wrong := elsewherePort(t)
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
