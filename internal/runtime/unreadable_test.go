package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// failing is a file system that reads nothing while it is broken.
type failing struct {
	vfs.FS
	broken *atomic.Bool
}

type failingFile struct {
	vfs.File
	broken *atomic.Bool
}

func (f failing) Create(name string) (vfs.File, error)    { return f.file(f.FS.Create(name)) }
func (f failing) Open(name string) (vfs.File, error)      { return f.file(f.FS.Open(name)) }
func (f failing) OpenWrite(name string) (vfs.File, error) { return f.file(f.FS.OpenWrite(name)) }

func (f failing) file(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return failingFile{file, f.broken}, nil
}

func (f failingFile) ReadAt(p []byte, at int64) (int, error) {
	if f.broken.Load() {
		return 0, syscall.EIO
	}
	return f.File.ReadAt(p, at)
}

// A voter that was away needs entries that the leader has on its disk only, and the
// disk returns errors: it gets a checkpoint and goes on, and the leader says, once and
// above debug, which file cannot be read. It was left behind, and nobody said so.
func TestVoterCatchesUpThoughItsLeaderCannotReadItsLog(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	broken, said := map[string]*atomic.Bool{}, map[string]*journal{}
	for _, name := range []string{"a1", "a2", "a3"} {
		broken[name], said[name] = new(atomic.Bool), new(journal)
		c.start(name, protocol.RoleActive, in(c.dir()), func(cfg *Config) {
			cfg.CheckpointBytes, cfg.CheckpointEvery = 4<<20, -1
			cfg.logDisk = failing{vfs.OS(), broken[name]}
			cfg.Logger = slog.New(slog.NewTextHandler(said[name], &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
	}
	c.voters(3)
	leader, away := c.leaderAndFollower()
	c.kill(away)
	delete(c.members, away)
	caller := c.client(c.members[leader])
	value := strings.Repeat("v", 256<<10)
	for i := range 80 { // more than the leader keeps in memory
		c.put(caller, fmt.Sprint("key", i%4), value)
	}
	c.eventually("a checkpoint", func() error {
		if s := c.members[leader].Status(); s.Checkpoint == 0 || s.First > 1 {
			return fmt.Errorf("at %d, and the log begins at %d", s.Checkpoint, s.First)
		}
		return nil
	})
	for name := range c.members { // whoever leads then
		broken[name].Store(true)
	}
	c.again(away)
	c.eventually("it is level", c.members[away].Ready)
	if got := c.members[away].published.Load().Installs; got == 0 {
		t.Error("it has installed no checkpoint: the test tests nothing")
	}
	places := 0
	for name := range c.members {
		if said[name].count("cannot read its log at ") == 0 {
			continue
		}
		places++
		c.eventually("it is heard what "+name+" cannot read", func() error { // in an election that is not the first thing to say
			if s := c.members[name].Status(); !strings.Contains(s.Reason, "offset") {
				return fmt.Errorf("it serves: %t, %q", s.Serving, s.Reason)
			}
			return nil
		})
	}
	if places == 0 {
		t.Error("nobody has said above debug that a log cannot be read")
	}
	c.put(caller, "key", "written")
	c.equal()
}

// A member that cannot read what it is to apply says where, and is not ready, though
// it knows a leader and is as far as it was told.
func TestMemberThatCannotApplyIsNotReady(t *testing.T) {
	c := newCluster(t)
	m := c.start("a1", protocol.RoleActive)
	s, at := m.published.Load().Situation, m.published.Load().Position
	if err := m.readyNow(&s, &at); err != nil {
		t.Fatal(err)
	}
	s.Stuck = "cannot read its log at 00000007.wal, offset 4096"
	if err := m.readyNow(&s, &at); !errors.Is(err, protocol.ErrNotServing) || !strings.Contains(err.Error(), s.Stuck) {
		t.Errorf("got %v, want %v with where", err, protocol.ErrNotServing)
	}
}
