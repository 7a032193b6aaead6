package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// A voter that dies, and one that comes back, is one line each, with its name; and so
// is the lack of a quorum.
func TestTheLogSaysWhichVoterIsLost(t *testing.T) {
	c := newCluster(t)
	var log safeBuffer
	for _, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, func(cfg *Config) {
			cfg.Dir = c.dir()
			if name == "a1" {
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			}
		})
	}
	c.voters(3)
	says := func(what, text string) {
		t.Helper()
		c.eventually(what, func() error {
			if log.count(text) != 1 {
				return fmt.Errorf("it says %d times %q", log.count(text), text)
			}
			return nil
		})
	}
	c.kill("a3")
	says("a voter is lost", `level=WARN msg="a voter is not heard any more" member=a1 voter=a3`)
	c.again("a3")
	says("it is back", `level=INFO msg="a voter is heard again" member=a1 voter=a3`)
	c.kill("a2")
	says("another one is lost", `msg="a voter is not heard any more" member=a1 voter=a2`)
	c.kill("a3")
	says("the quorum is lost", `msg="a voter is not heard any more, and without it there is no quorum: nobody can write" member=a1 voter=a3`)
	c.openAll("a2", "a3")
	c.eventually("a leader is known", func() error { return c.members["a1"].Ready() })
}

// A member that is left behind in the old cluster knows why nobody leads it.
func TestNoLeaderHasTheRightReason(t *testing.T) {
	c := newCluster(t)
	m := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	if got := m.dirs.noLeader(""); !errors.Is(got, protocol.ErrNoLeader) || strings.Contains(got.Error(), "another cluster") {
		t.Errorf("got %v", got)
	}
	m.linkState(protocol.MemberID{7}, "h:7", protocol.ErrWrongCluster.With("the caller belongs to cluster x"))
	if got := m.dirs.noLeader(""); !errors.Is(got, protocol.ErrNoLeader) || !strings.Contains(got.Error(), "the member at h:7 belongs to another cluster now") {
		t.Errorf("got %v, want where the other cluster is, and what to do", got)
	}
}

// lateMember is one that is not ready, and whose log calls said for each line.
func lateMember(limit time.Duration, said func()) *Member {
	m := &Member{cfg: Config{Config: config.Config{Name: "p1", StartTimeout: limit}.Filled()}, changed: newBroadcast(), intake: intake{clock: newClock(bootTime, awakeAndWall)}, server: wire.NewServer(wire.ServerConfig{}),
		syncs: newSyncWatch(0), logger: slog.New(handlerFunc(said))}
	m.dirs = newDirectories(m)
	m.published.Store(&published{outlook: &outlook{Situation: replica.Situation{Role: protocol.RoleActive, Leader: protocol.MemberID{1}, Behind: "applied 1 of 1000"}}})
	return m
}

type handlerFunc func()

// Enabled says yes.
func (h handlerFunc) Enabled(context.Context, slog.Level) bool { return true }

// Handle calls the function.
func (h handlerFunc) Handle(context.Context, slog.Record) error { h(); return nil }

// WithAttrs changes nothing.
func (h handlerFunc) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup changes nothing.
func (h handlerFunc) WithGroup(string) slog.Handler { return h }

// A start takes as long as it gets on: the limit is for a stretch in which it does not.
func TestStartTimeoutIsForAStretchWithoutProgress(t *testing.T) {
	if err := lateMember(10*time.Millisecond, func() {}).awaitReady(t.Context()); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "applied 1 of 1000") {
		t.Errorf("got %v, want the end of the time, and how far it came", err)
	}
	var lines atomic.Int32
	m := lateMember(200*time.Millisecond, func() { lines.Add(1) })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := protocol.Index(2); ; i++ {
			s := replica.Situation{Role: protocol.RoleActive, Leader: protocol.MemberID{1}, Behind: "applied 2 of 1000"}
			if lines.Load() == 2 { // longer than the limit twice over
				s.Behind, s.Proven = "", true
			}
			m.published.Store(&published{replica.Position{Applied: i}, &outlook{Situation: s}})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := m.awaitReady(t.Context()); err != nil {
		t.Errorf("got %v, want none: it got on", err)
	}
}
