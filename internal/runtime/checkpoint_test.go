package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// compacting makes members take checkpoints often and keep little of the log.
func compacting(cfg *Config) {
	cfg.CheckpointBytes, cfg.CheckpointEvery = 64<<10, -1
	cfg.SegmentBytes, cfg.RetainEntries = 64<<10, -1
}

// in gives a member a directory.
func in(dir string) func(*Config) { return func(cfg *Config) { cfg.Dir = dir } }

// fill writes n values of 1 KiB.
func (c *cluster) fill(caller *client.Client, prefix string, n int) {
	c.t.Helper()
	for i := range n {
		c.put(caller, fmt.Sprintf("%s%d", prefix, i), strings.Repeat(prefix, 1024/len(prefix)))
	}
}

// compacted writes until a member's log begins above an index.
func (c *cluster) compacted(name string, above protocol.Index) protocol.Status {
	c.t.Helper()
	caller := c.client(c.members[name])
	var s protocol.Status
	c.eventually(name+" gives up its log's head", func() error {
		c.put(caller, "one key", strings.Repeat("v", 64<<10)) // the log grows, the state does not
		if s = c.members[name].Status(); s.First <= above+1 || s.Checkpoint == 0 {
			return fmt.Errorf("its log begins at %d, its checkpoint is at %d", s.First, s.Checkpoint)
		}
		return nil
	})
	return s
}

// verify counts a member's state again. Only the goroutine that applies may do
// so: the member is killed.
func (c *cluster) verify(m *Member) {
	c.t.Helper()
	m.Kill()
	if counted, kept := m.machine.Verify(); counted != kept {
		c.t.Errorf("%s: the state counts to %s and says %s", m.Name(), counted, kept)
	}
}

func TestRestartFromACheckpointWithATruncatedLog(t *testing.T) {
	c := newCluster(t)
	dir := c.dir()
	m := c.start("a1", protocol.RoleActive, compacting, in(dir), func(cfg *Config) { cfg.Actives = 1 })
	c.fill(c.client(m), "x", 600)
	before := c.compacted("a1", 100)
	c.kill("a1")
	m = c.again("a1")
	after := m.Status()
	if after.Checkpoint < before.Checkpoint || after.First <= 1 {
		t.Errorf("before the restart the checkpoint was at %d, after it at %d with a log from %d", before.Checkpoint, after.Checkpoint, after.First)
	}
	c.verify(m)
	m = c.again("a1")
	caller := c.client(m)
	for i := range 600 {
		if got := c.get(caller, fmt.Sprint("x", i)); len(got) != 1024 {
			t.Fatalf("x%d has %d bytes after the restart", i, len(got))
		}
	}
	c.fill(caller, "y", 500) // and it goes on to take them
	c.compacted("a1", after.First)
}

// A command that was answered before a checkpoint is not executed again when it
// is retried after a restart from it.
func TestRetryAcrossARestartFromACheckpoint(t *testing.T) {
	c := newCluster(t)
	m := c.start("a1", protocol.RoleActive, compacting, in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	open := sessionop.Open(time.Hour)
	opened := c.command(m, &open)
	session, err := sessionop.Opened(&opened)
	if err != nil {
		t.Fatal(err)
	}
	argument, err := resources.AppendValue(nil, int64(1))
	if err != nil {
		t.Fatal(err)
	}
	add := protocol.Command{Session: session, Sequence: 1, Floor: 1, Resource: "hits", Type: counter.Type.Name(),
		Version: counter.Type.Version(), Operation: counter.Add.Describe().Name, Argument: argument}
	first := c.command(m, &add)
	c.fill(c.client(m), "x", 400)
	c.compacted("a1", first.Index)
	c.kill("a1")
	m = c.again("a1")
	again := c.command(m, &add)
	if string(again.Data) != string(first.Data) {
		t.Errorf("the retry answers %x, the first one answered %x", again.Data, first.Data)
	}
	got, err := counter.Get.Do(c.ctx, c.client(m), "hits", struct{}{})
	if err != nil || got != 1 {
		t.Errorf("the counter is %d, %v; want 1: added once", got, err)
	}
}

// command sends a command as it is.
func (c *cluster) command(m *Member, command *protocol.Command) protocol.Result {
	c.t.Helper()
	r, err := m.Do(c.ctx, &protocol.Request{Kind: protocol.RequestCommand, Command: command})
	if err == nil {
		err = r.Result.Err()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return r.Result
}

// A member that was away while the others gave up the log that it needs gets a
// checkpoint, in chunks, and goes on from there.
func TestMemberThatWasAwayCatchesUpByChunks(t *testing.T) {
	t.Parallel()
	for _, role := range []protocol.Role{protocol.RoleActive, protocol.RolePassive} {
		t.Run(role.String(), func(t *testing.T) {
			c := newCluster(t)
			for _, name := range []string{"a1", "a2"} {
				c.start(name, protocol.RoleActive, compacting, in(c.dir()))
			}
			c.start("late", role, compacting, in(c.dir()))
			if role == protocol.RoleActive {
				c.voters(3)
			} else {
				c.voters(2)
			}
			caller := c.client(c.members["a1"])
			c.fill(caller, "x", 50)
			c.equal()
			behind := c.members["late"].Status()
			c.kill("late")
			delete(c.members, "late")
			c.fill(caller, "y", 600)
			c.compacted("a1", behind.Applied)
			c.compacted("a2", behind.Applied)
			m := c.again("late")
			c.equal()
			if s := m.Status(); s.First <= behind.Applied || s.Checkpoint <= behind.Applied {
				t.Errorf("it was at %d and has a log from %d and a checkpoint at %d: the test tests nothing", behind.Applied, s.First, s.Checkpoint)
			}
			c.verify(m)
			c.fill(caller, "z", 20)
			c.again("late") // and it restarts from what it has installed
			c.equal()
		})
	}
}

// A member that joins a cluster whose log has no beginning any more.
func TestNewMembersJoinACompactedCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, compacting, in(c.dir()))
	c.fill(c.client(c.members["a1"]), "x", 500)
	c.compacted("a1", 100)
	c.start("p1", protocol.RolePassive, compacting)
	c.start("p2", protocol.RolePassive, compacting, in(c.dir()))
	c.equal()
	c.start("a2", protocol.RoleActive, compacting, in(c.dir()))
	c.start("a3", protocol.RoleActive, compacting)
	c.voters(3)
	c.fill(c.client(c.members["p1"]), "y", 300)
	c.equal()
	if got := c.get(c.client(c.members["p2"]), "x1"); len(got) != 1024 {
		t.Errorf("x1 has %d bytes at p2", len(got))
	}
}

// Checkpoints of members that saw the same log are the same: their chunks can
// come from any of them.
func TestAllMembersTakeTheSameCheckpoint(t *testing.T) {
	c := newCluster(t)
	for _, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, compacting, in(c.dir()))
	}
	c.start("p1", protocol.RolePassive, compacting)
	c.voters(3)
	c.fill(c.client(c.members["a1"]), "x", 400)
	c.equal()
	more := 0
	c.eventually("the same checkpoint", func() error {
		// A member that is at one still when the next is due passes that over, and where
		// nobody writes any more there is no other.
		if more++; more%100 == 0 {
			c.fill(c.client(c.members["a1"]), fmt.Sprint("more", more), 50)
		}
		want := c.members["a1"].checkpoints.store.Kept()
		for name, m := range c.members {
			kept := m.checkpoints.store.Kept()
			if len(kept) == 0 || len(want) == 0 || kept[0].Index != want[0].Index || kept[0].Digest != want[0].Digest ||
				fmt.Sprint(kept[0].Chunks) != fmt.Sprint(want[0].Chunks) {
				return fmt.Errorf("%s has %d checkpoints, a1 %d, or others", name, len(kept), len(want))
			}
		}
		return nil
	})
}

// A member that stops while it takes or installs a checkpoint leaves no
// goroutine, and what it was at is as if it had never begun.
func TestStopsInTheMiddleOfACheckpoint(t *testing.T) {
	c := newCluster(t)
	dir := c.dir()
	m := c.start("a1", protocol.RoleActive, compacting, in(dir), func(cfg *Config) { cfg.Actives = 1 })
	caller := c.client(m)
	for round := range 3 {
		// Checkpoints follow one another, so one is under way most of the time.
		c.fill(caller, fmt.Sprint("r", round), 150)
		if round%2 == 0 {
			if err := m.Shutdown(c.ctx); err != nil {
				t.Fatal(err)
			}
		}
		m.Kill()
		m = c.again("a1")
		caller = c.client(m)
	}
	for round := range 3 {
		if got := c.get(caller, fmt.Sprintf("r%d149", round)); len(got) < 1000 {
			t.Errorf("round %d: %d bytes", round, len(got))
		}
	}
	m.Kill()
	if _, err := wal.Verify(vfs.OS(), dir); err != nil {
		t.Error(err)
	}
}

// A checkpoint without room costs that checkpoint. The member goes on, and takes
// the next one when there is room.
func TestCheckpointWithoutRoomIsSkipped(t *testing.T) {
	c := newCluster(t)
	tried := make(heard, 1)
	m := c.start("a1", protocol.RoleActive, compacting, in(c.dir()), func(cfg *Config) {
		cfg.Actives, cfg.spaceReserve, cfg.Logger = 1, 1<<60, slog.New(tried)
	})
	c.fill(c.client(m), "x", 200)
	select {
	case <-tried:
	case <-c.ctx.Done():
		t.Fatal("no checkpoint was tried")
	}
	c.put(c.client(m), "k", "v")
	if s := m.Status(); s.Checkpoint != 0 || !s.Serving {
		t.Errorf("checkpoint %d, serving %v; want none, and that it serves", s.Checkpoint, s.Serving)
	}
	c.kill("a1")
	cfg := c.configs["a1"]
	cfg.spaceReserve = 0
	m = c.open(cfg)
	c.fill(c.client(m), "y", 200)
	c.compacted("a1", 1)
}

// heard is a log that says when a checkpoint could not be taken.
type heard chan struct{}

func (heard) Enabled(context.Context, slog.Level) bool { return true }
func (h heard) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h heard) WithGroup(string) slog.Handler          { return h }
func (h heard) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "taking a checkpoint" {
		select {
		case h <- struct{}{}:
		default:
		}
	}
	return nil
}
