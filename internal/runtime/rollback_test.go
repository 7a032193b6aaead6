package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// refused starts a member that must be refused, and returns the error of its start, or
// of its end if it was ready before it met the others.
func (c *cluster) refused(cfg Config) error {
	c.t.Helper()
	m, err := Open(c.ctx, cfg)
	if err != nil {
		return err
	}
	defer m.Kill()
	select {
	case <-m.Done():
		return m.Err()
	case <-c.ctx.Done():
		c.t.Fatalf("%s goes on: %s", cfg.Name, m.Status().Reason)
		return nil
	}
}

// refusedTwice fails unless a directory is refused with an error, and at the next
// start as well, before anything of it is opened.
func (c *cluster) refusedTwice(cfg Config, want error) {
	c.t.Helper()
	for start := range 3 {
		starts := c.starts(cfg.Dir)
		if err := c.refused(cfg); !errors.Is(err, want) || !strings.Contains(err.Error(), "empty directory") {
			c.t.Errorf("start %d: got %v, want %v and the way out", start+1, err, want)
		}
		if now := c.starts(cfg.Dir); start > 0 && now != starts {
			c.t.Errorf("start %d opened the directory", start+1)
		}
	}
}

func (c *cluster) starts(dir string) uint64 {
	c.t.Helper()
	id, err := wal.ReadIdentity(vfs.OS(), dir)
	if err != nil {
		c.t.Fatal(err)
	}
	return id.Starts
}

// copyOf copies a member's directory, whether it runs or not.
func (c *cluster) copyOf(name string) string {
	c.t.Helper()
	to := filepath.Join(c.dir(), "copy")
	c.eventually("a copy of the directory of "+name, func() error { // a file may vanish meanwhile
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		return os.CopyFS(to, os.DirFS(c.configs[name].Dir))
	})
	return to
}

// watched waits until members have met the present run of another at its address.
func (c *cluster) watched(name string, by ...string) {
	c.t.Helper()
	m := c.members[name]
	for _, snapshotter := range by {
		c.eventually(snapshotter+" has met "+name, func() error {
			if last := c.members[snapshotter].dirs.seen.Seen(m.ID()); last.Run != m.run {
				return fmt.Errorf("start %d is known", last.Starts)
			}
			return nil
		})
	}
}

// A directory that was restored from an old copy has forgotten entries that it
// acknowledged and votes that it gave: its member could elect a leader that
// lacks them. Whoever has seen a newer one refuses it, and it stops; so does its next
// start, which would be a newer one than any that was seen. The newer directory is
// not harmed by that.
func TestRolledBackDirectoryMayNotTakePart(t *testing.T) {
	c := newCluster(t)
	c.actives()
	caller := c.client(c.members["a1"])
	c.put(caller, "k", "old")
	c.equal()
	c.kill("a3")
	old := c.copyOf("a3")
	c.again("a3")
	c.watched("a3", "a1", "a2")
	for i := range 50 {
		c.put(caller, fmt.Sprint("k", i), "new")
	}
	c.equal()
	c.kill("a3")

	cfg := c.configs["a3"]
	cfg.Dir = old
	c.refusedTwice(cfg, protocol.ErrRolledBack)
	c.again("a3")
	c.put(caller, "k", "still served")
	c.equal()
}

// The same with real members: those that have seen the directory restart before the
// old copy comes.
func TestRolledBackDirectoryIsKnownAfterARestart(t *testing.T) {
	c := newCluster(t)
	c.actives()
	c.kill("a3")
	old := c.copyOf("a3")
	c.again("a3")
	c.watched("a3", "a1", "a2")
	c.put(c.client(c.members["a1"]), "k", "v")
	id, starts := c.members["a3"].ID(), c.members["a3"].identity.Starts
	for _, snapshotter := range []string{"a1", "a2"} {
		c.eventually(snapshotter+" writes what it has seen", func() error {
			var s member.Watermarks
			err := s.Recall(vfs.OS(), c.configs[snapshotter].Dir)
			if err == nil && s.Seen(id).Starts != starts {
				err = fmt.Errorf("start %d", s.Seen(id).Starts)
			}
			return err
		})
	}
	for _, name := range []string{"a1", "a2", "a3"} {
		c.kill(name)
	}
	c.openAll("a1", "a2")
	cfg := c.configs["a3"]
	cfg.Dir = old
	c.refusedTwice(cfg, protocol.ErrRolledBack)
	delete(c.members, "a3")
}

// What a voter has acknowledged to a leader is remembered by that leader alone, if
// nobody was told of it since: an answer of the next run that lacks it is proof, and
// its member is told.
func TestALeadersOwnMemoryProvesADirectoryPutBack(t *testing.T) {
	c := newCluster(t)
	// Nobody else may lead meanwhile, and the member must not ask the others for what it
	// lacks because the leader is late: it would have it before it is asked.
	c.actives(func(cfg *Config) { cfg.Election, cfg.Heartbeat = 5*time.Second, 50*time.Millisecond })
	caller := c.client(c.members["a1"])
	c.put(caller, "k", "old")
	c.equal()
	leader, back := c.leaderAndFollower()
	dir := c.configs[back].Dir
	c.kill(back)
	old := filepath.Join(c.dir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	c.again(back)
	l := c.members[leader]
	for i := range 50 {
		c.put(c.client(l), fmt.Sprint("k", i), "new")
	}
	c.equal()
	if got := c.members[leader].Status().RaftRole; got != "leader" {
		t.Fatalf("%s is a %s now: the test tests nothing", leader, got)
	}
	c.kill(back)
	for name, m := range c.members {
		if name != back {
			forgetDirectories(m)
		}
	}
	cfg := c.configs[back]
	cfg.Dir = old
	defer c.writing(c.client(l), 3, 10, 20*time.Millisecond)() // the proof is an answer to an append
	m, err := Open(c.ctx, cfg)
	if err == nil {
		defer m.Kill()
		c.eventually("it is told", func() error {
			if err = m.Err(); err == nil && m.dirs.barred.Load() != nil {
				err = m.dirs.barred.Load().err
			}
			if err == nil {
				return errors.New("it goes on")
			}
			return nil
		})
	}
	if !errors.Is(err, protocol.ErrRolledBack) || !strings.Contains(err.Error(), "acknowledged to this leader") {
		t.Errorf("got %v, want %v, by what it has acknowledged", err, protocol.ErrRolledBack)
	}
	if r, err := wal.ReadRefusal(vfs.OS(), old); err != nil || r == nil || r.By != l.ID() {
		t.Errorf("in the directory: got %+v, %v, want the word of %s", r, err, leader)
	}
	delete(c.members, back)
	c.put(c.client(l), "k", "still served")
}

// A directory is put back to before its member was the only voter, and nobody remembers. The
// member comes, on its way to where it was, to what could not be committed without it, and stops there, before it
// elects itself; so does each later start.
func TestADirectoryPutBackMeetsWhatNeededItsVote(t *testing.T) {
	c := newCluster(t)
	c.actives()
	back, _ := c.leaderAndFollower()
	caller := c.client(c.members[back])
	c.put(caller, "k", "old")
	old := c.copyOf(back)
	change := func(what string, draw func(now protocol.Configuration, m *protocol.MembershipChange)) {
		c.eventually(what, func() error {
			report, err := caller.Autopilot(c.ctx)
			if err != nil {
				return err
			}
			m := protocol.MembershipChange{Version: report.Configuration.Index, Autopilot: &protocol.Autopilot{Off: true}}
			draw(report.Configuration.Configuration, &m)
			_, err = caller.ChangeMembership(c.ctx, m)
			return err
		})
	}
	change("one voter", func(now protocol.Configuration, m *protocol.MembershipChange) {
		for _, id := range now.Voters() {
			if id != c.members[back].ID() {
				m.Demote = append(m.Demote, id)
			}
		}
	})
	c.put(caller, "k", "alone")
	change("three voters", func(_ protocol.Configuration, m *protocol.MembershipChange) {
		for name, member := range c.members {
			if name != back {
				m.Promote = append(m.Promote, member.ID())
			}
		}
	})
	c.voters(3)
	cfg := c.configs[back]
	c.kill(back)
	delete(c.members, back)
	for _, m := range c.members {
		forgetDirectories(m)
		caller = c.client(m)
	}
	c.put(caller, "k", "new")
	cfg.Dir = old
	if err := c.refused(cfg); !errors.Is(err, protocol.ErrRolledBack) || !strings.Contains(err.Error(), "could not be committed without this member") || !strings.Contains(err.Error(), "starling remove "+back) {
		t.Errorf("got %v, want %v, why, and the way out", err, protocol.ErrRolledBack)
	}
	if err := c.refused(cfg); !errors.Is(err, protocol.ErrRolledBack) || !strings.Contains(err.Error(), "refused by its own member") {
		t.Errorf("the next start: got %v, want %v", err, protocol.ErrRolledBack)
	}
	c.put(caller, "k", "still served")
}
