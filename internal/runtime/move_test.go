package runtime

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/starlinghq/starling/internal/dev/freeport"
	"github.com/starlinghq/starling/protocol"
)

// located waits until the configuration of every member says where every voter
// is, and nobody is noted to be elsewhere.
func (c *cluster) located(voters ...string) {
	c.t.Helper()
	c.eventually("the configuration has everybody's address", func() error {
		for _, m := range c.members {
			conf, err := latestConfiguration(m)
			if err != nil {
				return err
			}
			for _, name := range voters {
				want := c.members[name].Addr()
				if line, _ := conf.Find(c.members[name].ID()); line.Address != want || line.Name != name || line.Suffrage != protocol.SuffrageVoter {
					return fmt.Errorf("%s has %s at %q as %s, want a voter at %s", m.Name(), line.Name, line.Address, line.Suffrage, want)
				}
				if x, _ := line(m, name); x.Moved || x.Configured != "" || x.Address != want {
					return fmt.Errorf("%s says %+v", m.Name(), x)
				}
			}
		}
		return nil
	})
}

// latestConfiguration is the latest one in a member's log.
func latestConfiguration(m *Member) (protocol.Configuration, error) {
	got := make(chan protocol.Configuration, 1)
	m.mailbox.put(func(in *mail) {
		in.calls = append(in.calls, func() {
			conf, _ := m.replica.Configurations().Latest()
			got <- conf.Configuration
		})
	})
	select {
	case conf := <-got:
		return conf, nil
	case <-m.loopDone:
		return protocol.Configuration{}, errors.New("it has stopped")
	}
}

// A voter that is started again at another port, and one that was the leader, are
// found there in the configuration of every member.
func TestConfigurationFollowsAVoterToAnotherPort(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	voters := []string{"a1", "a2", "a3"}
	for _, name := range voters {
		c.start(name, protocol.RoleActive, in(c.dir()))
	}
	c.start("p1", protocol.RolePassive)
	c.voters(3)
	c.located(voters...)
	first := c.members["a1"].Status().Leader
	for _, mover := range []string{first, map[bool]string{false: "a2", true: "a3"}[first == "a2"]} {
		witness := "a3"
		if mover == "a3" {
			witness = "a1"
		}
		c.kill(mover)
		cfg := c.configs[mover]
		cfg.Bind, cfg.Bootstrap, cfg.Join = "127.0.0.1:0", false, []string{c.members[witness].Addr()}
		c.open(cfg)
		c.located(voters...)
	}
	c.put(c.client(c.members["p1"]), "k", "v")
	c.equal()
}

// All members get other addresses at once, as when a whole site is renumbered:
// each new leader enters those that answer it, and its own. Until then, and so as
// long as there is none, it is said who is not where the configuration says.
func TestConfigurationFollowsAllVotersAtOnce(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	voters := []string{"a1", "a2", "a3"}
	for _, name := range voters {
		c.start(name, protocol.RoleActive, in(c.dir()))
	}
	c.voters(3)
	p1 := c.start("p1", protocol.RolePassive)
	c.put(c.client(c.members["a1"]), "k", "v")
	c.located(voters...)
	for _, name := range voters {
		c.kill(name)
	}
	join := []string{p1.Addr()}
	for _, name := range voters {
		cfg := c.configs[name]
		for cfg.Bind == c.configs[name].Bind {
			cfg.Bind = freeport.Address(t)
		}
		join = append(join, cfg.Bind)
	}
	opened := make([]*Member, len(voters))
	var group sync.WaitGroup
	for i, name := range voters {
		cfg := c.configs[name]
		cfg.Bind, cfg.Bootstrap, cfg.Join = join[1+i], false, join
		group.Go(func() {
			m, err := Open(c.ctx, cfg)
			if err != nil {
				t.Errorf("starting %s: %v", cfg.Name, err)
			}
			opened[i] = m
		})
		if i > 0 {
			continue
		}
		c.eventually("it is said that a1 has moved", func() error { // alone it enters nothing
			if x, _ := line(p1, "a1"); !x.Moved || x.Configured != c.configs["a1"].Bind || x.Address != cfg.Bind {
				return fmt.Errorf("%+v", x)
			}
			return nil
		})
	}
	group.Wait()
	for i, m := range opened {
		if m == nil {
			t.FailNow()
		}
		c.members[voters[i]] = m
	}
	c.located(voters...)
	if got := c.get(c.client(p1), "k"); got != "v" {
		t.Errorf("got %q, want v", got)
	}
}
