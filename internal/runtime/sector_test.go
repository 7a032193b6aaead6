package runtime

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// badDisk is a disk with bad sectors: reads that touch them fail, also after a
// restart, until another file has taken the place of the one that they are in.
type badDisk struct {
	vfs.FS
	starts atomic.Int64 // that were counted here
	mu     sync.Mutex
	files  map[string]*badSectors
}

// badSectors are those of one file, whatever its name.
type badSectors struct {
	mu  sync.Mutex
	bad []badSector
}

// badSector is bad as soon as so many starts have been counted on its disk: a log is
// read before that.
type badSector struct {
	from, to, starts int64
}

func newBadDisk() *badDisk { return &badDisk{FS: vfs.OS(), files: map[string]*badSectors{}} }

// Sleep implements vfs.Sleeper: what is bad does not pass.
func (d *badDisk) Sleep(time.Duration) {}

func (d *badDisk) of(name string) *badSectors {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		d.files[name] = &badSectors{}
	}
	return d.files[name]
}

// fail makes the bytes from at on bad, with the block that they lie in, when so many
// starts more have read the log.
func (d *badDisk) fail(name string, at, n, starts int64) {
	s := d.of(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, badSector{at &^ 4095, (at + n - 1) | 4095 + 1, d.starts.Load() + starts})
}

func (d *badDisk) Create(name string) (vfs.File, error)    { return d.open(name, d.FS.Create) }
func (d *badDisk) Open(name string) (vfs.File, error)      { return d.open(name, d.FS.Open) }
func (d *badDisk) OpenWrite(name string) (vfs.File, error) { return d.open(name, d.FS.OpenWrite) }

func (d *badDisk) open(name string, how func(string) (vfs.File, error)) (vfs.File, error) {
	f, err := how(name)
	if err != nil {
		return nil, err
	}
	return badFile{f, d.of(name), &d.starts}, nil
}

func (d *badDisk) Rename(from, to string) error {
	if err := d.FS.Rename(from, to); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[to] = d.files[from]
	delete(d.files, from)
	if filepath.Base(to) == "identity-2" {
		d.starts.Add(1)
	}
	return nil
}

func (d *badDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
	return d.FS.Remove(name)
}

type badFile struct {
	vfs.File
	sectors *badSectors
	starts  *atomic.Int64
}

func (f badFile) ReadAt(p []byte, at int64) (int, error) {
	f.sectors.mu.Lock()
	defer f.sectors.mu.Unlock()
	for k := range f.sectors.bad {
		b := &f.sectors.bad[k]
		if at >= b.to || b.from >= at+int64(len(p)) {
			continue
		}
		if f.starts.Load() >= b.starts {
			return 0, &os.PathError{Op: "read", Path: "a bad sector", Err: syscall.EIO}
		}
	}
	return f.File.ReadAt(p, at)
}

// spoil makes the record bad that a part of a log lies in, from 0 to 1; see fail.
func (d *badDisk) spoil(t *testing.T, dir string, part float64, starts int64) wal.Record {
	t.Helper()
	all, _ := records(t, dir)
	r := all[int(part*float64(len(all)))]
	d.fail(filepath.Join(dir, "log", r.Segment), r.Offset+headerBytes+5, 1, starts)
	return r
}

// Three members have sectors that cannot be read, in different places of their logs, in
// a copy of an identity and in the header of a segment: they start, and each has what
// another lacks. No one of them started.
func TestMembersWithBadSectorsStartAndHealOneAnother(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	disks := map[string]*badDisk{}
	c.three(smallSegments, func(cfg *Config) {
		disks[cfg.Name] = newBadDisk()
		cfg.logDisk = disks[cfg.Name]
	})
	c.fill(c.client(c.members["a1"]), "x", 150)
	c.equal()
	names := []string{"a1", "a2", "a3"}
	for i, name := range names {
		c.kill(name)
		dir, disk := c.configs[name].Dir, disks[name]
		disk.spoil(t, dir, 0.2+0.3*float64(i), 0)
		disk.fail(filepath.Join(dir, fmt.Sprint("identity-", 1+i%2)), 0, 1, 0)
		_, report := records(t, dir)
		disk.fail(filepath.Join(dir, "log", report.Segments[1+i].Name), 0, 1, 0)
		if _, err := wal.Verify(disk, dir); err == nil {
			t.Fatalf("%s: the log verifies as sound", name)
		}
	}
	c.openAll(names...)
	for _, name := range names {
		for i := range 150 {
			if got := c.get(c.client(c.members[name]), fmt.Sprint("x", i)); len(got) != 1024 {
				t.Fatalf("%s: x%d has %d bytes", name, i, len(got))
			}
		}
	}
	c.equal()
	for _, name := range names {
		c.kill(name)
		if _, err := wal.Verify(disks[name], c.configs[name].Dir); err != nil {
			t.Errorf("the log of %s after it was repaired: %v", name, err)
		}
	}
}

// sick starts three voters, and a passive beside them, with disks that are to get bad
// sectors, and returns those and what each says above debug.
func (c *cluster) sick(change ...func(*Config)) (map[string]*badDisk, map[string]*journal) {
	c.t.Helper()
	disks, said := map[string]*badDisk{}, map[string]*journal{}
	sick := func(cfg *Config) {
		disks[cfg.Name], said[cfg.Name] = newBadDisk(), new(journal)
		cfg.logDisk = disks[cfg.Name]
		cfg.CheckpointBytes, cfg.CheckpointEvery = 1<<30, -1
		cfg.Election, cfg.Heartbeat = time.Second, 100*time.Millisecond
		cfg.Logger = slog.New(slog.NewTextHandler(said[cfg.Name], &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	c.three(append([]func(*Config){sick}, change...)...)
	c.start("p1", protocol.RolePassive, append([]func(*Config){in(c.dir()), sick}, change...)...)
	return disks, said
}

// healthy waits until a member serves and has nothing to say of its log.
func (c *cluster) healthy(name string) {
	c.t.Helper()
	c.eventually(name+" is healthy", func() error {
		if s := c.members[name].Status(); !s.Serving || s.Reason != "" {
			return fmt.Errorf("serving %t: %s", s.Serving, s.Reason)
		}
		return nil
	})
}

// rested ends a member and looks whether its log is sound, with its disk.
func (c *cluster) rested(name string, disk *badDisk) {
	c.t.Helper()
	c.kill(name)
	delete(c.members, name)
	if p, err := wal.Verify(disk, c.configs[name].Dir); err != nil || len(p.Unreadable) > 0 || p.Corrupt > 0 {
		c.t.Errorf("the log of %s: %v, unreadable %v, %d corrupt", name, err, p.Unreadable, p.Corrupt)
	}
}

// The leader has sectors that it cannot read, just where a voter that was away needs
// them; the other voter has some, too, elsewhere. The leader repairs its log from the
// others while it leads, and feeds the voter: no checkpoint, no restart. Writes go on.
func TestLeaderRepairsWhatItHasToFeed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	disks, said := c.sick()
	leader, away := c.leaderAndFollower()
	if away == "p1" {
		t.Fatal("a passive is no voter")
	}
	c.kill(away)
	delete(c.members, away)
	caller := c.client(c.members[leader])
	value := strings.Repeat("v", 256<<10)
	for i := range 80 { // more than it keeps in memory
		c.put(caller, fmt.Sprint("key", i%4), value)
	}
	for name := range c.members { // whoever leads then
		part := 0.1
		if name != leader {
			part = 0.3
		}
		disks[name].spoil(t, c.configs[name].Dir, part, 0)
		disks[name].spoil(t, c.configs[name].Dir, part+0.1, 0)
	}
	stop := c.load(caller)
	m := c.again(away)
	n := stop()
	c.equal()
	if got, err := counter.Get.Do(c.ctx, c.client(m), "hits", struct{}{}); err != nil || got != n {
		t.Errorf("got %d, %v, want %d: what was acknowledged meanwhile", got, err, n)
	}
	if got := m.published.Load().Installs; got != 0 {
		t.Errorf("it has installed %d checkpoints", got)
	}
	repaired := 0
	leads, _ := c.leaderAndFollower()
	for name := range disks {
		if said[name].count("which are written again, from") > 0 {
			repaired++
			c.healthy(name)
			if name == leader && name == leads { // who fed the voter for a part only has met a part
				c.rested(name, disks[name])
			}
		}
	}
	if repaired == 0 {
		t.Error("nobody says that its log was repaired: the test tests nothing")
	}
}

// grown writes a log of several segments, which all members apply, and names a follower.
func (c *cluster) grown(caller resources.Caller) (follower string) {
	c.t.Helper()
	value := strings.Repeat("v", 256<<10)
	for i := range 60 {
		c.put(caller, fmt.Sprint("key", i%4), value)
	}
	c.equal()
	_, follower = c.leaderAndFollower()
	return follower
}

// A voter and a passive start with logs that are sound, and find sectors bad when they
// apply them: they repair them while they run, and serve.
func TestMembersRepairWhatTheyHaveToApply(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	disks, said := c.sick()
	caller := c.client(c.members["a1"])
	follower := c.grown(caller)
	for i, name := range []string{follower, "p1"} {
		c.kill(name)
		disks[name].spoil(t, c.configs[name].Dir, 0.2+0.2*float64(i), 1)
	}
	c.openAll(follower, "p1")
	for _, name := range []string{follower, "p1"} {
		c.healthy(name)
		if said[name].count("which are written again, from") == 0 {
			t.Errorf("%s has repaired nothing: the test tests nothing", name)
		}
	}
	c.put(caller, "key", "written")
	c.equal()
	for _, name := range []string{follower, "p1"} {
		c.rested(name, disks[name])
	}
}

// What a voter has to apply nobody can read any more, but the others have the state: it
// fetches a checkpoint of theirs by itself, keeps its log, and serves. It waited.
func TestMemberThatCannotApplyFetchesACheckpoint(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	disks, said := c.sick()
	caller := c.client(c.members["a1"])
	follower := c.grown(caller)
	c.kill(follower)
	delete(c.members, follower)
	all, _ := records(t, c.configs[follower].Dir)
	lost := all[len(all)/4]
	disks[follower].fail(filepath.Join(c.configs[follower].Dir, "log", lost.Segment), lost.Offset+headerBytes+5, 1, 1)
	var names []string
	for name := range c.members { // all begin anew, with checkpoints at once
		c.kill(name)
		cfg := c.configs[name]
		cfg.CheckpointBytes = 1 << 20
		c.configs[name] = cfg
		names = append(names, name)
	}
	c.openAll(names...)
	caller = c.client(c.members[names[0]])
	for i := range 8 {
		c.put(caller, fmt.Sprint("key", i%4), strings.Repeat("v", 256<<10))
	}
	c.eventually("checkpoints", func() error {
		for _, name := range names {
			if s := c.members[name].Status(); s.Checkpoint < lost.Last {
				return fmt.Errorf("%s has none", name)
			}
		}
		return nil
	})
	for _, name := range names {
		held, _ := records(t, c.configs[name].Dir)
		for _, r := range held {
			if r.First <= lost.Last && lost.First <= r.Last {
				disks[name].fail(filepath.Join(c.configs[name].Dir, "log", r.Segment), r.Offset+headerBytes+5, 1, 0)
			}
		}
	}
	m := c.again(follower)
	if got := m.published.Load().Installs; got == 0 || said[follower].count("which are written again") > 0 {
		t.Errorf("it has installed %d checkpoints, or repaired its log: the test tests nothing", got)
	}
	c.equal()
	if s := m.Status(); !s.Serving {
		t.Errorf("it does not serve: %s", s.Reason)
	}
}
