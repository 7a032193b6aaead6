package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// sit opens connections to a member that say nothing, and each again as soon as it
// is closed, until the test ends.
func (c *cluster) sit(m *Member, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	var sitters, seated sync.WaitGroup
	seated.Add(n)
	for range n {
		sitters.Go(func() {
			for first := true; ctx.Err() == nil; {
				var d net.Dialer
				conn, err := d.DialContext(ctx, "tcp", m.Addr())
				if err != nil {
					continue
				}
				if first {
					seated.Done()
					first = false
				}
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				_, _ = io.Copy(io.Discard, conn)
				stop()
				_ = conn.Close()
			}
		})
	}
	c.t.Cleanup(func() {
		cancel()
		sitters.Wait()
	})
	seated.Wait()
}

// A flood of connections that say nothing, and come back at once, shuts out
// neither clients nor members that return.
func TestFloodShutsOutNeitherClientsNorMembers(t *testing.T) {
	c := newCluster(t)
	said := new(journal)
	one := c.start("one", protocol.RoleActive, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(said, nil)) })
	c.start("two", protocol.RolePassive, func(cfg *Config) { cfg.Dir = c.dir() })
	c.sit(one, 300)
	for range 3 {
		c.caller(one)
	}
	c.kill("two")
	two := c.again("two")
	mustPut(c, two)
	if one.server.Drops().Handshakes == 0 {
		t.Error("no handshake gave way: the slots were never all taken")
	}
	c.eventually("the log says so", func() error {
		if !said.has("connections give way") {
			return errors.New("not yet")
		}
		return nil
	})
}

// mustPut has a member forward a command to the leader.
func mustPut(c *cluster, m *Member) {
	c.t.Helper()
	open := sessionop.Open(0)
	c.eventually("a command at "+m.Name(), func() error {
		p, err := m.Do(c.ctx, &protocol.Request{Kind: protocol.RequestCommand, Command: &open})
		if err != nil {
			return err
		}
		return p.Result.Err()
	})
}

// The member knows whom it favours: those that its log names, and where members
// are.
func TestMembersOfTheConfigurationAreFavoured(t *testing.T) {
	c := newCluster(t)
	one := c.start("one", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 2 })
	two := c.start("two", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 2 })
	three := c.start("three", protocol.RolePassive)
	c.voters(2)
	at, _ := net.ResolveTCPAddr("tcp", one.Addr())
	for _, m := range []*Member{one, two, three} {
		c.eventually("what "+m.Name()+" knows", func() error {
			if !m.favours.member(one.ID()) || !m.favours.member(two.ID()) || m.favours.member(three.ID()) || !m.favours.address(at.AddrPort().Addr().Unmap()) {
				return fmt.Errorf("it favours %t %t %t %t", m.favours.member(one.ID()), m.favours.member(two.ID()), m.favours.member(three.ID()), m.favours.address(at.AddrPort().Addr().Unmap()))
			}
			return nil
		})
	}
}

// One connection cannot open sessions without end; another one still can.
func TestSessionsOfAConnectionAreBounded(t *testing.T) {
	c := newCluster(t)
	one := c.start("one", protocol.RoleActive)
	conn, err := wire.DialClient(c.ctx, one.Addr(), wire.ClientConfig{Dial: security.Plaintext().Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	open := sessionop.Open(protocol.SessionTimeoutMax)
	for n := range 2 * protocol.SessionsPerConnectionMax {
		p, err := conn.Do(c.ctx, &protocol.Request{Kind: protocol.RequestCommand, Command: &open})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Result.Err(); (err == nil) != (n < protocol.SessionsPerConnectionMax) || err != nil && !errors.Is(err, protocol.ErrTooLarge) {
			t.Fatalf("session %d: got %v", n+1, err)
		}
	}
	if got := one.Status().Sessions; got != protocol.SessionsPerConnectionMax {
		t.Errorf("got %d sessions, want %d", got, protocol.SessionsPerConnectionMax)
	}
	c.caller(one)
}
