package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// smallSegments makes logs of several segments, and nothing is given up of them.
func smallSegments(cfg *Config) { cfg.SegmentBytes, cfg.CheckpointEvery = 32<<10, -1 }

// records returns the records of a log that hold entries.
func records(t *testing.T, dir string) (all []wal.Record, report wal.Report) {
	t.Helper()
	report, err := wal.Inspect(vfs.OS(), dir, func(r wal.Record) {
		if r.Kind == wal.KindEntries && r.Status == wal.StatusGood && r.First > 1 {
			all = append(all, r)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, report
}

// flip flips a bit of a file of the log.
func flip(t *testing.T, dir, segment string, at int64) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "log", segment), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// headerBytes is what a record has before its payload.
const headerBytes = 104

// damages are what can be damaged, by name: at a part of the log from 0 to 1.
var damages = []struct {
	name string
	do   func(t *testing.T, dir string, part float64)
}{
	{"entries", func(t *testing.T, dir string, part float64) {
		all, _ := records(t, dir)
		r := all[int(part*float64(len(all)))]
		flip(t, dir, r.Segment, r.Offset+headerBytes+5)
	}},
	{"record header", func(t *testing.T, dir string, part float64) {
		all, _ := records(t, dir)
		r := all[int(part*float64(len(all)))]
		flip(t, dir, r.Segment, r.Offset+20)
	}},
	{"segment header", func(t *testing.T, dir string, part float64) {
		_, report := records(t, dir)
		s := report.Segments[int(part*float64(len(report.Segments)))]
		flip(t, dir, s.Name, 20)
	}},
	{"last record", func(t *testing.T, dir string, _ float64) {
		all, _ := records(t, dir)
		r := all[len(all)-1]
		flip(t, dir, r.Segment, r.Offset+headerBytes+5)
	}},
}

func (c *cluster) damaged(name string) {
	c.t.Helper()
	if _, err := wal.Verify(vfs.OS(), c.configs[name].Dir); !errors.Is(err, protocol.ErrCorrupt) {
		c.t.Fatalf("the log of %s verifies as %v, want %v", name, err, protocol.ErrCorrupt)
	}
}

func (c *cluster) sound(names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.kill(name)
		delete(c.members, name)
		if _, err := wal.Verify(vfs.OS(), c.configs[name].Dir); err != nil {
			c.t.Errorf("the log of %s after it was repaired: %v", name, err)
		}
	}
}

// three starts three voters with directories.
func (c *cluster) three(change ...func(*Config)) {
	c.t.Helper()
	for _, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, append([]func(*Config){in(c.dir())}, change...)...)
	}
	c.voters(3)
}

// load adds to a counter until it is stopped, and returns how often.
func (c *cluster) load(caller *client.Client) (stop func() int64) {
	ctx, cancel := context.WithCancel(c.ctx)
	var n atomic.Int64
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := counter.Add.Do(c.ctx, caller, "hits", 1); err != nil {
				ended <- err
				return
			}
			n.Add(1)
		}
		ended <- nil
	}()
	return func() int64 {
		c.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			c.t.Fatal(err)
		}
		return n.Load()
	}
}

// statusOf asks over the network, as `starling status` does.
func (c *cluster) statusOf(name string) (*protocol.Status, error) {
	ctx, cancel := context.WithTimeout(c.ctx, 5*time.Second)
	defer cancel()
	conn, err := wire.DialClient(ctx, c.configs[name].Bind, wire.ClientConfig{Dial: security.Plaintext().Dial})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r, err := conn.Do(ctx, &protocol.Request{Kind: protocol.RequestStatus})
	if err != nil {
		return nil, err
	}
	return r.Status, r.Result.Err()
}

func TestDamagedMemberHealsUnderLoad(t *testing.T) {
	t.Parallel()
	for _, d := range damages {
		t.Run(d.name, func(t *testing.T) {
			c := newCluster(t)
			c.three(smallSegments)
			c.fill(c.client(c.members["a1"]), "x", 120)
			c.equal()
			c.kill("a3")
			delete(c.members, "a3")
			dir := c.configs["a3"].Dir
			before := must(wal.Verify(vfs.OS(), dir))
			d.do(t, dir, 0.5)
			if d.name != "segment header" { // what it says is said elsewhere, too
				c.damaged("a3")
			}
			stop := c.load(c.client(c.members["a1"]))
			m := c.again("a3")
			if m.identity.Starts <= before.Identity.Starts {
				t.Errorf("start %d after start %d", m.identity.Starts, before.Identity.Starts)
			}
			n := stop()
			c.equal()
			got, err := counter.Get.Do(c.ctx, c.client(m), "hits", struct{}{})
			if err != nil || got != n {
				t.Errorf("got %d, %v, want %d: what was acknowledged meanwhile", got, err, n)
			}
			c.sound("a3")
		})
	}
}

func must[T any](x T, err error) T {
	if err != nil {
		panic(err)
	}
	return x
}

// Three members are damaged in different places: each has what another lacks.
func TestAllDamagedMembersHealOneAnother(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.three(smallSegments)
	c.fill(c.client(c.members["a1"]), "x", 150)
	c.equal()
	names := []string{"a1", "a2", "a3"}
	for i, name := range names {
		c.kill(name)
		damages[i%2].do(t, c.configs[name].Dir, 0.2+0.3*float64(i))
	}
	for _, name := range names {
		c.damaged(name)
	}
	for name, err := range c.opening(c.ctx, names...)() {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, name := range names {
		for i := range 150 {
			if got := c.get(c.client(c.members[name]), fmt.Sprint("x", i)); len(got) != 1024 {
				t.Fatalf("%s: x%d has %d bytes", name, i, len(got))
			}
		}
	}
	c.equal()
	c.sound(names...)
}

// [S] A follower whose log is damaged does not know what it has acknowledged. The
// leader is dead and the two others have lost the same entries: if one of them
// voted for the other, those would be gone, which were committed. They wait.
func TestDamagedFollowersDoNotElectWhileTheLeaderIsDead(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.three(smallSegments)
	caller := c.client(c.members["a1"])
	c.fill(caller, "x", 100)
	c.equal()
	voted := map[string]protocol.HardState{}
	followers := []string{"a2", "a3"}
	for _, name := range []string{"a1", "a2", "a3"} {
		c.kill(name)
		delete(c.members, name)
	}
	all, _ := records(t, c.configs["a2"].Dir)
	lost := all[len(all)-20]
	for _, name := range followers {
		all, report := records(t, c.configs[name].Dir)
		voted[name] = report.State
		for _, r := range all {
			if r.First <= lost.Last && lost.First <= r.Last {
				flip(t, c.configs[name].Dir, r.Segment, r.Offset+headerBytes+5)
			}
		}
		c.damaged(name)
	}
	await := c.opening(c.ctx, followers...)
	for _, name := range followers {
		c.eventually(name+" says what it waits for", func() error {
			s, err := c.statusOf(name)
			if err != nil {
				return err
			}
			if s.Serving || !strings.Contains(s.Reason, "waiting for a checkpoint") {
				return fmt.Errorf("serving %v, %s", s.Serving, s.Reason)
			}
			return nil
		})
	}
	for _, name := range followers {
		if _, report := records(t, c.configs[name].Dir); report.State != voted[name] {
			t.Errorf("%s: hard state %+v, it was %+v before it was damaged", name, report.State, voted[name])
		}
	}
	awaitA1 := c.opening(c.ctx, "a1")
	for _, wait := range []func() map[string]error{await, awaitA1} {
		for name, err := range wait() {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	for i := range 100 {
		if got := c.get(c.client(c.members["a2"]), fmt.Sprint("x", i)); len(got) != 1024 {
			t.Fatalf("x%d has %d bytes", i, len(got))
		}
	}
	c.equal()
	c.sound("a1", "a2", "a3")
}

func TestDamagedPassiveHeals(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 }, in(c.dir()), smallSegments)
	c.start("p1", protocol.RolePassive, in(c.dir()), smallSegments)
	c.fill(c.client(c.members["a1"]), "x", 100)
	c.equal()
	c.kill("p1")
	damages[0].do(t, c.configs["p1"].Dir, 0.5)
	c.damaged("p1")
	c.again("p1")
	c.equal()
	c.sound("p1")
}

// A member that was damaged where nobody has the entries any more gets a
// checkpoint from the others: also the founder, of whose log the first entry is
// damaged, so that any checkpoint would do.
func TestDamagedMemberFetchesACheckpoint(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(t *testing.T, dir string){
		"a3": func(t *testing.T, dir string) { damages[0].do(t, dir, 0.7) },
		"a1": func(t *testing.T, dir string) {
			if _, err := wal.Inspect(vfs.OS(), dir, func(r wal.Record) {
				if r.First == 1 {
					if r.Last != 1 {
						t.Errorf("the first record has entries up to %d: the test tests nothing", r.Last)
					}
					flip(t, dir, r.Segment, r.Offset+20)
				}
			}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.three(compacting)
			c.fill(c.client(c.members["a2"]), "x", 30)
			c.equal()
			c.kill(name)
			delete(c.members, name)
			dir := c.configs[name].Dir
			_, report := records(t, dir)
			damage(t, dir)
			c.damaged(name)
			c.fill(c.client(c.members["a2"]), "y", 300)
			for other := range c.members {
				c.compacted(other, report.Last)
			}
			m := c.again(name)
			c.equal()
			if s := m.Status(); s.Checkpoint <= report.Last {
				t.Errorf("its checkpoint is at %d, its log ended at %d: the test tests nothing", s.Checkpoint, report.Last)
			}
			if counted, kept := m.machine.Verify(); counted != kept {
				t.Errorf("the state counts to %s and says %s", counted, kept)
			}
			c.sound(name)
		})
	}
}

// Nobody is there to ask: the member says so, and waits; an interrupt ends it at
// once; and it can be killed and started while it waits.
func TestDamagedMemberAloneSaysSoAndWaits(t *testing.T) {
	c := newCluster(t)
	c.three(smallSegments)
	c.fill(c.client(c.members["a1"]), "x", 60)
	c.equal()
	for _, name := range []string{"a1", "a2", "a3"} {
		c.kill(name)
		delete(c.members, name)
	}
	damages[0].do(t, c.configs["a3"].Dir, 0.5)
	for range 2 {
		ctx, cancel := context.WithCancel(c.ctx)
		await := c.opening(ctx, "a3")
		c.eventually("a3 says that it is alone", func() error {
			s, err := c.statusOf("a3")
			if err == nil && !strings.Contains(s.Reason, "no other member answers") {
				err = errors.New(s.Reason)
			}
			return err
		})
		cancel()
		began := time.Now()
		if err := await()["a3"]; !errors.Is(err, protocol.ErrUnavailable) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("got %v, want %v that says why", err, protocol.ErrUnavailable)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it took %v to stop", took)
		}
	}
	for name, err := range c.opening(c.ctx, "a1", "a2", "a3")() {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	c.equal()
}

// [S] What an active says is committed takes the place of what a damaged member
// had. Nobody else may say so: a passive's word, or that of a member whose own log
// is in doubt, would replace what was acknowledged.
func TestOnlyASoundActiveSaysWhatIsCommitted(t *testing.T) {
	c := newCluster(t)
	a := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	p := c.start("p1", protocol.RolePassive)
	c.fill(c.client(a), "x", 5)
	c.equal()
	held := func(m *Member) repair.Held {
		got := make(chan repair.Held, 1)
		m.mailbox.put(func(in *mail) { in.calls = append(in.calls, func() { got <- heldBy(m) }) })
		return <-got
	}
	if h := held(a); !h.Active || h.Commit < 5 || h.Commit > h.Last {
		t.Errorf("an active says %+v", h)
	}
	if h := held(p); h.Active || h.Last < 5 {
		t.Errorf("a passive says %+v", h)
	}
	doubt := error(protocol.ErrNotServing)
	a.suspended.Store(&doubt)
	if h := held(a); h.Active {
		t.Errorf("an active whose log is in doubt says %+v", h)
	}
}

// [S] Nothing is left of the last segment: what the member voted is not known, and
// it must never vote again under its id. It refuses, names the way out, and has
// changed nothing.
func TestMemberThatHasForgottenItsVoteNamesTheWayOut(t *testing.T) {
	c := newCluster(t)
	c.three(smallSegments)
	c.fill(c.client(c.members["a1"]), "x", 40)
	c.equal()
	c.kill("a3")
	delete(c.members, "a3")
	dir := c.configs["a3"].Dir
	_, report := records(t, dir)
	path := filepath.Join(dir, "log", report.Segments[len(report.Segments)-1].Name)
	content := must(os.ReadFile(path))
	if err := os.WriteFile(path, []byte(strings.Repeat("\xa5", len(content))), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Open(c.ctx, c.configs["a3"])
	if err == nil {
		m.Kill()
	}
	if !errors.Is(err, protocol.ErrCorrupt) || !strings.Contains(err.Error(), "starling remove a3") || !strings.Contains(err.Error(), "move the directory away") {
		t.Fatalf("got %v, want %v that names the way out", err, protocol.ErrCorrupt)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	c.again("a3")
	c.equal()
}
