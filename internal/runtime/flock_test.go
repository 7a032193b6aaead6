package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// What is written down of the others is read back; lines that are not understood
// are passed over.
func TestTheFileOfAddresses(t *testing.T) {
	want := []swim.Known{
		{ID: protocol.MemberID{1}, Name: "a 1\n\"x", Role: protocol.RoleActive, Address: "a1.example.org:7600", Number: "10.0.0.1:7600", Heard: time.Unix(1700000000, 0)},
		{ID: protocol.MemberID{2}, Role: protocol.RolePassive, Address: "p1.example.org:7600"},
	}
	given := []string{"seed.example.org:7600", "10.0.0.7:7600"}
	b := encodeMembers(want, given)
	b = slices.Concat([]byte("10.0.0.9:7600\nx\n"), b, []byte("1 2 3 4 5\n\n"), bytes.Replace(encodeMembers(want[:1], given[:0]), []byte(":7600"), nil, 1))
	b = append(b, fmt.Sprintf("join nowhere\nat %s 10.0.0.1:7600\nat %s 10.0.0.1\n", protocol.MemberID{9}, protocol.MemberID{2})...)
	if got, addresses := decodeMembers(b); !slices.Equal(got, want) || !slices.Equal(addresses, given) {
		t.Errorf("got %+v and %v, want %+v and %v", got, addresses, want, given)
	}
}

// line is what a member says of another.
func line(m *Member, name string) (protocol.MemberStatus, bool) {
	list := m.Status().Members
	i := slices.IndexFunc(list, func(x protocol.MemberStatus) bool { return x.Name == name })
	if i < 0 {
		return protocol.MemberStatus{}, false
	}
	return list[i], true
}

// Who dies stays on the list, with the time since when it is not heard, also
// after a restart of who lists it; its name is free. Who leaves goes.
func TestTheDeadAreListedAndThoseWhoLeftAreNot(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	a1 := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Dir = c.dir() })
	dead := c.start("p1", protocol.RolePassive)
	left := c.start("p2", protocol.RolePassive)
	c.eventually("both are heard", func() error {
		for _, name := range []string{"p1", "p2"} {
			if x, _ := line(a1, name); !x.Alive {
				return fmt.Errorf("%s is not", name)
			}
		}
		return nil
	})
	if err := left.Shutdown(c.ctx); err != nil {
		t.Fatal(err)
	}
	c.kill("p1")
	missed := func(m *Member) error {
		x, listed := line(m, "p1")
		if !listed || x.Alive || !x.SilenceKnown || x.Silence < 0 || time.Duration(x.Silence) > patience || x.ID != dead.ID() || x.Role != "passive" {
			return fmt.Errorf("p1 is %+v", x)
		}
		if x, listed := line(m, "p2"); listed {
			return fmt.Errorf("p2 has left and is %+v", x)
		}
		return nil
	}
	c.eventually("p1 is missed", func() error { return missed(a1) })
	c.eventually("it is written down", func() error {
		if list, _ := recallMembers(a1.ID(), a1.Dir(), a1.logger); len(list) != 1 || list[0].ID != dead.ID() {
			return fmt.Errorf("%+v is", list)
		}
		return nil
	})
	c.kill("a1")
	c.eventually("p1 is missed after a restart", func() error { return missed(c.again("a1")) })
	c.start("p1", protocol.RolePassive, func(cfg *Config) { cfg.Join = []string{c.members["a1"].Addr()} })
	c.eventually("the name lives again", func() error {
		if x, _ := line(c.members["a1"], "p1"); !x.Alive || x.ID == dead.ID() {
			return fmt.Errorf("p1 is %+v", x)
		}
		return nil
	})
}

// What was given as --join once is looked at after a restart without it, even if
// nothing else is remembered, until something else is given.
func TestTheAddressesGivenAreRemembered(t *testing.T) {
	c := newCluster(t)
	a1 := c.start("a1", protocol.RoleActive)
	p := c.start("p1", protocol.RolePassive, func(cfg *Config) { cfg.Dir = c.dir() })
	path := filepath.Join(p.Dir(), addressesFile)
	c.eventually("it is written down", func() error {
		b, err := os.ReadFile(path)
		if err == nil && !strings.Contains(string(b), "join "+a1.Addr()+"\n") {
			err = fmt.Errorf("%q", b)
		}
		return err
	})
	c.kill("p1")
	if err := os.WriteFile(path, encodeMembers(nil, []string{a1.Addr()}), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := c.configs["p1"]
	cfg.Join = nil
	p = c.open(cfg)
	if got, want := p.given, []string{a1.Addr()}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.kill("p1")
	cfg.Join = []string{"127.0.0.1:1", a1.Addr()}
	if got := c.open(cfg).given; !slices.Equal(got, cfg.Join) {
		t.Errorf("got %v, want %v", got, cfg.Join)
	}
}

// safeBuffer takes a log.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write appends.
func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) count(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), text)
}

// A passive whose actives are gone knows the leader's name still; but it follows
// nobody, says so once, and is not ready. When they are back it follows.
func TestAPassiveThatFollowsNobodySaysSo(t *testing.T) {
	c := newCluster(t)
	var log safeBuffer
	c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Dir = c.dir() })
	p := c.start("p1", protocol.RolePassive, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	if err := p.Ready(); err != nil {
		t.Fatal(err)
	}
	c.kill("a1")
	c.eventually("it is not ready", func() error {
		err := p.Ready()
		s := p.Status()
		if err == nil || s.Serving || !errors.Is(err, protocol.ErrNotServing) || !strings.Contains(s.Reason, "follows nobody") || log.count("level=WARN msg=\"this member follows nobody") == 0 {
			return fmt.Errorf("ready: %v, serving %t, %s", err, s.Serving, s.Reason)
		}
		return nil
	})
	c.again("a1")
	c.eventually("it follows again", func() error {
		if err := p.Ready(); err != nil {
			return err
		}
		if log.count("level=INFO msg=\"this member follows again") == 0 {
			return errors.New("it does not say so")
		}
		return nil
	})
	if got := log.count("follows nobody"); got != 1 {
		t.Errorf("it said %d times that it follows nobody, want 1", got)
	}
}

// What a passive is told of a leader is as old as it says: it is not ready as soon as
// that is older than voters take to find out, also while its loop stands still, and
// follows nobody once it is as old as ten elections, not ten elections later.
func TestNewsOfALeaderIsAsOldAsItSays(t *testing.T) {
	var boot time.Duration // since the member was made
	m := &Member{server: wire.NewServer(wire.ServerConfig{}), cfg: Config{Config: config.Config{Election: 500 * time.Millisecond}}, syncs: newSyncWatch(time.Second)}
	m.clock = newClock(func() time.Duration { return boot }, func() (time.Duration, time.Time) { return boot, time.Unix(1700000000, 0).Add(boot) })
	m.source.led.Store(int64(m.clock.Now()))
	s, at := &replica.Situation{Role: protocol.RolePassive, RaftRole: "none", Leader: protocol.MemberID{1}, Proven: true}, &replica.Position{Applied: 1}
	for _, step := range []struct {
		boot, source time.Duration // no source: the loop has not turned
		ready        bool
		orphan       bool
	}{
		{10 * time.Second, 100 * time.Millisecond, true, false}, // at 9.9 s a leader was known
		{11300 * time.Millisecond, 1400 * time.Millisecond, true, false},
		{11500 * time.Millisecond, 1600 * time.Millisecond, false, false},
		{12 * time.Second, 20 * time.Millisecond, true, false},
		{13600 * time.Millisecond, 0, false, false},
		{16900 * time.Millisecond, 4920 * time.Millisecond, false, false},
		{17 * time.Second, 5020 * time.Millisecond, false, true},
		{17100 * time.Millisecond, 50 * time.Millisecond, true, false},
	} {
		boot = step.boot
		if step.source > 0 {
			m.source.note(m.clock.Now(), s, step.source, true, m.cfg.orphanAfter())
		}
		if err := m.readyNow(s, at); (err == nil) != step.ready || err != nil && !strings.Contains(err.Error(), "follows nobody") {
			t.Errorf("at %v, with news %v old: got %v, want ready %t", step.boot, step.source, err, step.ready)
		}
		if got := m.source.orphan.Load(); got != step.orphan {
			t.Errorf("at %v, with news %v old: it follows nobody: got %t, want %t", step.boot, step.source, got, step.orphan)
		}
	}
	voter := *s
	voter.Role, voter.RaftRole, boot = protocol.RoleActive, "follower", time.Minute
	if err := m.readyNow(&voter, at); err != nil { // it finds out by itself
		t.Errorf("a voter that knows a leader: %v", err)
	}
	voter.RaftRole = "learner"
	if err := m.readyNow(&voter, at); err == nil {
		t.Error("a learner that nobody tells of a leader is ready")
	}
}

// A member that follows nobody says so again, less and less often.
func TestTheAlarmIsRepeatedSeldom(t *testing.T) {
	var log safeBuffer
	m := &Member{logger: slog.New(slog.NewTextHandler(&log, nil)), swim: lonely(t)}
	boot := time.Duration(0)
	m.clock = newClock(func() time.Duration { return boot }, func() (time.Duration, time.Time) { return boot, time.Unix(1700000000, 0).Add(boot) })
	m.source.led.Store(int64(m.clock.Now()))
	boot = 5 * time.Second // when it is known to follow nobody
	m.source.orphan.Store(true)
	var a orphanAlarm
	at := time.Unix(1700000000, 0)
	for range 4 * 60 {
		a.look(m, at)
		at = at.Add(time.Second)
	}
	if log.count("for=5s") != 1 || log.count("for=1m5s") != 1 {
		t.Error("the lines do not say for how long no leader was known")
	}
	if got, want := log.count("level=WARN"), 3; got != want { // after 0, 1 and 3 minutes
		t.Errorf("got %d lines in four minutes, want %d", got, want)
	}
	m.source.orphan.Store(false)
	a.look(m, at)
	a.look(m, at)
	if got, want := log.count("level=INFO"), 1; got != want {
		t.Errorf("got %d lines that it follows again, want %d", got, want)
	}
}

// lonely is a membership without others.
func lonely(t *testing.T) *swim.Swim {
	t.Helper()
	tcp, udp, err := listen(t.Context(), security.Plaintext(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := swim.Start(swim.Config{
		ID: protocol.MemberID{1}, Cluster: protocol.ClusterID{1}, Advertise: tcp.Addr().String(), Packets: udp, Dial: security.Plaintext().Dial,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Shutdown()
		_ = tcp.Close()
	})
	return s
}
