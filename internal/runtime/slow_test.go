package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// A disk that does not answer makes its member not ready after as long as a command that
// hangs, and not for a moment longer than it does not answer.
func TestADiskThatHangsIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Config: config.Config{Name: "a1", Dir: "/d", Election: 500 * time.Millisecond}}
		m := &Member{server: wire.NewServer(wire.ServerConfig{}), intake: intake{clock: newClock(bootTime, awakeAndWall)}, cfg: cfg, syncs: newSyncWatch(time.Second)}
		voter, at := &replica.Situation{Role: protocol.RoleActive, RaftRole: "follower", Leader: protocol.MemberID{1}, Proven: true}, &replica.Position{Applied: 1}
		goOn, over := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(over)
			_ = m.syncs.during(func() error { <-goOn; return nil })
		}()
		synctest.Wait()
		time.Sleep(stuckAfter - time.Millisecond)
		if err := m.readyNow(voter, at); err != nil {
			t.Errorf("a disk that is slow: got %v", err)
		}
		time.Sleep(time.Millisecond)
		const want = "the disk of a1, which holds /d, has not answered a write, or a sync, of the log for 5s"
		if err := m.readyNow(voter, at); !errors.Is(err, protocol.ErrNotServing) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
		close(goOn)
		<-over
		if err := m.readyNow(voter, at); err != nil {
			t.Errorf("a disk that answers again: got %v", err)
		}
	})
}

// slowDisk is a disk whose syncs take a while, or do not return at all while it hangs.
type slowDisk struct {
	vfs.FS
	sync  atomic.Int64 // nanoseconds
	mu    sync.Mutex
	hangs chan struct{} // closed when it goes on; nil: it does not hang
	held  atomic.Int64  // syncs that hang
}

func newSlowDisk() *slowDisk { return &slowDisk{FS: vfs.OS()} }

// hang holds all syncs until the result is called.
func (d *slowDisk) hang() (goOn func()) {
	ch := make(chan struct{})
	d.mu.Lock()
	d.hangs = ch
	d.mu.Unlock()
	return sync.OnceFunc(func() {
		d.mu.Lock()
		d.hangs = nil
		d.mu.Unlock()
		close(ch)
	})
}

func (d *slowDisk) wait() {
	d.mu.Lock()
	hangs := d.hangs
	d.mu.Unlock()
	if hangs != nil {
		d.held.Add(1)
		<-hangs
	}
	if t := d.sync.Load(); t > 0 {
		timer := time.NewTimer(time.Duration(t))
		<-timer.C
	}
}

func (d *slowDisk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &slowFile{f, d}, nil
}

func (d *slowDisk) Create(name string) (vfs.File, error)    { return d.file(d.FS.Create(name)) }
func (d *slowDisk) OpenWrite(name string) (vfs.File, error) { return d.file(d.FS.OpenWrite(name)) }
func (d *slowDisk) SyncDir(name string) error               { d.wait(); return d.FS.SyncDir(name) }

func (d *slowDisk) OpenDir(name string) (vfs.Dir, error) {
	dir, err := d.FS.OpenDir(name)
	return &slowDir{dir, d}, err
}

type slowDir struct {
	vfs.Dir
	disk *slowDisk
}

func (d *slowDir) Sync() error { d.disk.wait(); return d.Dir.Sync() }

type slowFile struct {
	vfs.File
	disk *slowDisk
}

func (f *slowFile) Sync() error { f.disk.wait(); return f.File.Sync() }

// slowCluster is three actives, each on a disk of its own.
func slowCluster(t *testing.T, change ...func(*Config)) (*cluster, map[string]*slowDisk) {
	c := newCluster(t)
	disks := map[string]*slowDisk{}
	for _, name := range []string{"a1", "a2", "a3"} {
		d := newSlowDisk()
		disks[name] = d
		c.start(name, protocol.RoleActive, append([]func(*Config){in(c.dir()), func(cfg *Config) { cfg.logDisk = d }}, change...)...)
	}
	c.voters(3)
	return c, disks
}

// While the syncs of both followers hang, heartbeats and their answers go on: the leader leads, and serves linearizable reads everywhere. A
// write that hung is acknowledged when its disks go on.
func TestHeartbeatsAndReadsGoOnWhileSyncsHang(t *testing.T) {
	// A machine that stands still for an election timeout must not cost the leader:
	// nobody could be elected in its place.
	c, disks := slowCluster(t, func(cfg *Config) { cfg.Election, cfg.Heartbeat = 2*time.Second, 100*time.Millisecond })
	c.put(c.client(c.members["a1"]), "k", "before")
	leader := c.members["a1"].Status().Leader
	term := c.members[leader].Status().Term
	var goOn []func()
	for name, d := range disks {
		if name != leader {
			goOn = append(goOn, d.hang())
		}
	}
	written := make(chan error, 1)
	caller := c.client(c.members[leader])
	go func() {
		_, err := kvmap.Put.Do(c.ctx, caller, "m", kvmap.PutRequest{Key: []byte("k"), Value: []byte("after")})
		written <- err
	}()
	c.eventually("both followers' disks to hang", func() error {
		for name, d := range disks {
			if name != leader && d.held.Load() == 0 {
				return fmt.Errorf("%s has nothing to sync", name)
			}
		}
		return nil
	})
	m := c.members[leader]
	for until := m.clock.Now().Add(5 * m.cfg.Election / 2); m.clock.Now() < until; {
		for name, reader := range c.members {
			if got := c.get(c.client(reader), "k"); got != "before" {
				t.Fatalf("%s reads %q while nothing is committed", name, got)
			}
		}
	}
	if s := m.Status(); s.Term != term || s.Leader != leader {
		t.Errorf("%s leads term %d, want %s and %d still", s.Leader, s.Term, leader, term)
	}
	select {
	case err := <-written:
		t.Errorf("the write was answered by one disk of three: %v", err)
	default:
	}
	for _, f := range goOn {
		f()
	}
	if err := <-written; err != nil {
		t.Errorf("the write that hung: %v", err)
	}
	if got := c.get(caller, "k"); got != "after" {
		t.Errorf("got %q, want after", got)
	}
}

// What a member tells the others does not wait until its small files are written.
func TestMemberTellsOthersWhileItsBooksHang(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	d := newSlowDisk()
	p1 := c.start("p1", protocol.RolePassive, in(c.dir()), func(cfg *Config) { cfg.logDisk = d })
	goOn := d.hang()
	defer goOn()
	c.start("p2", protocol.RolePassive) // p1 writes down where it is
	c.eventually("the address book to hang", func() error {
		if d.held.Load() == 0 {
			return errors.New("nothing is synced")
		}
		return nil
	})
	for range 3 { // the channel holds one
		c.eventually("what p1 tells of itself to be taken", func() error {
			select {
			case p1.announcing <- struct{}{}:
				return nil
			default:
				return errors.New("nobody takes it")
			}
		})
	}
}

// A disk that does not answer does not hold the end of a member, nor whoever waits
// for it.
func TestEndIsNotHeldByASyncThatHangs(t *testing.T) {
	for _, graceful := range []bool{false, true} {
		c := newCluster(t)
		d := newSlowDisk()
		m := c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) {
			cfg.Actives, cfg.logDisk, cfg.endTimeout = 1, d, 100*time.Millisecond
		})
		caller := c.client(m)
		c.put(caller, "k", "v")
		goOn := d.hang()
		written := make(chan error, 1)
		go func() { written <- slowPut(c.ctx, caller, "hangs") }()
		c.eventually("the write to hang", func() error {
			if d.held.Load() == 0 {
				return errors.New("nothing is synced")
			}
			return nil
		})
		if graceful {
			ctx, cancel := context.WithTimeout(c.ctx, 100*time.Millisecond)
			_ = m.Shutdown(ctx) // it says that it has not waited for all
			cancel()
		} else {
			m.Kill()
		}
		<-m.Done()
		_ = caller.Close()
		if err := <-written; err == nil {
			t.Error("a write whose sync hangs was acknowledged")
		}
		goOn()
		m.workers.Wait()
	}
}

// A slow disk is said, with figures, and not with every write.
func TestSlowDiskIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		m := &Member{logger: slog.New(slog.NewTextHandler(&said, nil)), syncs: newSyncWatch(0)}
		lines := func() int { return bytes.Count(said.Bytes(), []byte("the disk is slow")) }
		write := func(d time.Duration) {
			if err := m.syncs.during(func() error { time.Sleep(d); return nil }); err != nil {
				t.Error(err)
			}
			m.syncs.look(m)
		}
		m.syncs.look(m)
		write(900 * time.Millisecond)
		if lines() != 0 {
			t.Errorf("below the limit: %s", &said)
		}
		for range 5 {
			write(2 * time.Second)
		}
		if lines() != 1 || !bytes.Contains(said.Bytes(), []byte("longest=2s slow=1 limit=1s under_way=0s")) {
			t.Errorf("got %s, want one line with the figures of the first slow write", &said)
		}
		time.Sleep(slowSaid)
		m.syncs.look(m)
		if lines() != 2 || !bytes.Contains(said.Bytes(), []byte("longest=2s slow=4")) {
			t.Errorf("got %s, want a second line with the rest", &said)
		}
		time.Sleep(slowSaid)
		go m.syncs.during(func() error { time.Sleep(time.Hour); return nil })
		time.Sleep(3 * time.Second)
		m.syncs.look(m)
		if lines() != 3 || !bytes.Contains(said.Bytes(), []byte("under_way=3s")) {
			t.Errorf("got %s, want a line about the write that hangs", &said)
		}
		time.Sleep(2 * time.Hour) // it ends
	})
}

// hesitant is a log that takes its time for each change.
type hesitant struct {
	storage.Log
	wait func()
}

func (l hesitant) DropHead(protocol.Index) (storage.Begin, error) {
	l.wait()
	return storage.Begin{}, nil
}

func (l hesitant) Idle() error { l.wait(); return nil }
func (hesitant) Settle() error { return nil }

// Whatever the log writer does on the disk is watched: a repair that ends a segment,
// or puts another in its place, was not, nor was a head that is dropped.
func TestAllThatTheLogWriterDoesIsWatched(t *testing.T) {
	for _, what := range []string{"a repair", "the head", "the note of what lasts"} {
		synctest.Test(t, func(t *testing.T) {
			wait := func() { time.Sleep(2 * time.Second) }
			m := &Member{
				log: hesitant{&fullLog{}, wait}, logger: slog.New(slog.DiscardHandler), intake: intake{mailbox: newMailbox()}, syncs: newSyncWatch(0),
				writes: make(chan *replica.Persist), repairer: newRepairer(), lifetime: lifetime{stop: make(chan struct{})},
			}
			m.workers.Go(m.writeLog)
			switch what {
			case "a repair":
				if err := m.repairer.byWriter(m, func() error { wait(); return nil }); err != nil {
					t.Error(err)
				}
			case "the head":
				m.writes <- &replica.Persist{Drop: 1}
			default:
				m.writes <- &replica.Persist{ID: 1, Write: protocol.Write{First: 1}}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			m.syncs.mu.Lock()
			if m.syncs.longest != 2*time.Second {
				t.Errorf("%s: the longest took %v, want 2s", what, m.syncs.longest)
			}
			m.syncs.mu.Unlock()
			close(m.writes)
			m.workers.Wait()
		})
	}
}

// TestMeasureSlowDisks prints what a cluster of three with the default times does
// when the syncs of two, or of all, take long: writes in a second, terms in a
// minute, and how long it takes from the end of the leader to the next write. It runs
// on demand: STARLING_SLOW=10ms,200ms,800ms,2s.
func TestMeasureSlowDisks(t *testing.T) {
	if os.Getenv("STARLING_SLOW") == "" {
		t.Skip("on demand: STARLING_SLOW=10ms,200ms,800ms,2s")
	}
	const minute = 60 * time.Second
	t.Log("| a sync takes | at | writes in a second | longest write | elections in 60 s | from the leader's end to the next write |")
	for _, text := range strings.Split(os.Getenv("STARLING_SLOW"), ",") {
		took, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, all := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,all=%t", text, all), func(t *testing.T) { measureSlowDisks(t, took, all, minute) })
		}
	}
}

func measureSlowDisks(t *testing.T, took time.Duration, all bool, minute time.Duration) {
	c, disks := slowCluster(t, func(cfg *Config) { cfg.Election, cfg.Heartbeat = 0, 0 })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c.ctx = ctx
	where := "two"
	leader := c.members["a1"].Status().Leader
	for name, d := range disks {
		if all || name != leader {
			d.sync.Store(int64(took))
		}
	}
	if all {
		where = "all"
	}
	term := c.members["a1"].Status().Term
	var writes atomic.Int64
	var longest atomic.Int64
	during, stop := context.WithTimeout(ctx, minute)
	var writers sync.WaitGroup
	for i := range 16 {
		caller := c.client(c.members[[]string{"a1", "a2", "a3"}[i%3]])
		writers.Go(func() {
			for n := 0; during.Err() == nil; n++ {
				began := time.Now()
				if slowPut(during, caller, fmt.Sprint(i, "-", n%100)) == nil {
					writes.Add(1)
				}
				if d := int64(time.Since(began)); d > longest.Load() {
					longest.Store(d)
				}
			}
		})
	}
	<-during.Done()
	stop()
	writers.Wait()
	elections := c.members["a1"].Status().Term - term
	// The one that ends is not asked.
	c.eventually("a leader", func() error {
		if leader = c.members["a1"].Status().Leader; leader == "" {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	var caller *client.Client
	for name, m := range c.members {
		if name != leader {
			caller = c.client(m)
			break
		}
	}
	began := time.Now()
	go c.kill(leader)
	over := time.Duration(-1)
	within, cancel := context.WithTimeout(ctx, 2*minute)
	defer cancel()
	if slowPut(within, caller, "after") == nil {
		over = time.Since(began)
	}
	for _, d := range disks {
		d.sync.Store(0)
	}
	t.Logf("| %v | %s | %.1f | %.1f s | %d | %.1f s |", took, where, float64(writes.Load())/minute.Seconds(),
		time.Duration(longest.Load()).Seconds(), elections, over.Seconds())
}

func slowPut(ctx context.Context, caller resources.Caller, key string) error {
	_, err := kvmap.Put.Do(ctx, caller, "m", kvmap.PutRequest{Key: []byte(key), Value: []byte("v")})
	return err
}
