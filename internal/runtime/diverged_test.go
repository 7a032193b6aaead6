package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage/wal"
)

// journal is what a member has logged.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), text)
}

// hasLine reports whether a line has all of some words.
func (j *journal) hasLine(words ...string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range strings.Lines(j.text.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

// tail returns the last lines.
func (j *journal) tail(n int) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(j.text.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// What the events of a quarantine, of its end and of a dispute have in them.
const (
	saysQuarantined = "it serves nobody and is fetched anew"
	saysHealed      = "the state that had diverged has been replaced"
	saysDisputed    = "nobody acts"
)

// flock is three actives and two passives. Each of them can be made to apply
// wrongly: a command stores the member's own name then, as a type would that
// depends on where it runs.
type flock struct {
	*cluster
	set      *resources.Command[string, struct{}]
	ask      *resources.Query[struct{}, string]
	bad      map[string]*atomic.Bool
	mute     atomic.Bool // nobody compares states
	journals map[string]*journal
}

func newFlock(t *testing.T) *flock {
	f := &flock{cluster: newCluster(t), bad: map[string]*atomic.Bool{}, journals: map[string]*journal{}}
	for _, name := range []string{"a1", "a2", "a3", "p1", "p2"} {
		bad, j := new(atomic.Bool), new(journal)
		f.bad[name], f.journals[name] = bad, j
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s said:\n%s", name, j.tail(40))
			}
		})
		cell := resources.NewCell[string]("cell")
		set := resources.NewCommand("set", func(tx *resources.Tx, value string) (struct{}, error) {
			if bad.Load() {
				value = name
			}
			return struct{}{}, cell.Set(tx, value)
		})
		ask := resources.NewQuery("get", func(v *resources.View, _ struct{}) (string, error) { return cell.Get(v) })
		f.set, f.ask = set, ask
		registry, err := resources.NewRegistry(kvmap.Type, resources.NewType("fickle", 1, set, ask))
		if err != nil {
			t.Fatal(err)
		}
		role := protocol.RoleActive
		if name[0] == 'p' {
			role = protocol.RolePassive
		}
		f.start(name, role, compacting, in(f.dir()), func(cfg *Config) {
			cfg.Registry, cfg.twist = registry, f.muted
			cfg.Logger = slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
		})
	}
	f.voters(3)
	return f
}

// writer is a client that writes at whoever serves.
func (f *flock) writer() *client.Client { return f.client(f.members["p2"]) }

// write writes one small value, and enough for a few checkpoint entries.
func (f *flock) marks(caller resources.Caller, n int) {
	f.t.Helper()
	for range n {
		f.put(caller, "one key", strings.Repeat("v", 64<<10))
	}
}

func (f *flock) command(caller resources.Caller) {
	f.t.Helper()
	if _, err := f.set.Do(f.ctx, caller, "f", "right"); err != nil {
		f.t.Fatal(err)
	}
}

// heals writes until a member has found out that it has diverged and has healed.
func (f *flock) heals(caller resources.Caller, name string) {
	f.t.Helper()
	f.eventually(name+" heals", func() error {
		f.marks(caller, 1)
		if !f.journals[name].has(saysQuarantined) || !f.journals[name].has(saysHealed) {
			return errors.New("it has not")
		}
		return nil
	})
	f.equal()
	for other, j := range f.journals {
		if other != name && j.has(saysQuarantined) {
			f.t.Errorf("%s has gone into quarantine, only %s had diverged", other, name)
		}
	}
	f.verify(f.members[name])
}

func (f *flock) followers() (leader string, others []string) {
	leader = f.members["p2"].Status().Leader
	for _, name := range []string{"a1", "a2", "a3"} {
		if name != leader {
			others = append(others, name)
		}
	}
	return leader, others
}

func TestDivergedMemberIsFoundAtTheNextMarkAndHealsByItself(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"passive", "follower", "leader"} {
		t.Run(who, func(t *testing.T) {
			f := newFlock(t)
			caller := f.writer()
			f.marks(caller, 3)
			leader, others := f.followers()
			name := map[string]string{"passive": "p1", "follower": others[0], "leader": leader}[who]
			f.bad[name].Store(true)
			f.command(caller)
			f.eventually("it applies wrongly", func() error {
				if a, b := f.members[name].Status(), f.members["p2"].Status(); a.Applied != b.Applied || a.Digest == b.Digest {
					return errors.New("not yet")
				}
				return nil
			})
			f.bad[name].Store(false)
			f.heals(caller, name)
		})
	}
}

// spoil flips a bit, as memory does: it asks no lock, so the race detector is
// told to look away.
//
//go:norace
func spoil(value []byte) { value[len(value)-1] ^= 0x20 }

// What is damaged in memory does not show in the digest that is kept along the
// way. It is counted anew at each checkpoint entry.
func TestDamagedMemoryIsFoundAtTheNextMark(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"passive", "leader"} {
		t.Run(who, func(t *testing.T) {
			f := newFlock(t)
			caller := f.writer()
			f.put(caller, "key", "value")
			f.marks(caller, 3)
			f.equal()
			leader, _ := f.followers()
			m := f.members[map[string]string{"passive": "p1", "leader": leader}[who]]
			view, err := m.machine.View("m", kvmap.Type.Name())
			if err != nil {
				t.Fatal(err)
			}
			value, _, err := view.Get([]byte("key"))
			view.Close()
			if err != nil {
				t.Fatal(err)
			}
			spoil(value)
			f.heals(caller, m.Name())
		})
	}
}

// Counterexample: two of three have diverged, each in its own way. Whoever acted
// on one voice, the leader's for instance, would give up what is right.
func TestWithoutAMajorityNobodyActsAndAllActivesSaySo(t *testing.T) {
	f := newFlock(t)
	caller := f.writer()
	f.marks(caller, 3)
	_, others := f.followers()
	for _, name := range others {
		f.bad[name].Store(true)
	}
	f.command(caller)
	f.eventually("all say so", func() error {
		f.marks(caller, 1)
		for _, name := range []string{"a1", "a2", "a3"} {
			if !f.journals[name].has(saysDisputed) {
				return fmt.Errorf("%s does not", name)
			}
		}
		return nil
	})
	for name, j := range f.journals {
		if j.has(saysQuarantined) {
			t.Errorf("%s has gone into quarantine without a majority against it", name)
		}
		f.eventually(name+" serves", f.members[name].Ready) // an election may be under way
	}
}

// Counterexample: a state is found to be bad, and reads of it are answered on.
func TestMemberInQuarantineServesNobodyAndGoesBackForNobody(t *testing.T) {
	t.Parallel()
	f := newFlock(t)
	caller := f.writer()
	f.marks(caller, 3)
	m := f.members["p1"]
	var seen, refused atomic.Int64
	ctx, cancel := context.WithCancel(f.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		last := protocol.Index(0)
		for ctx.Err() == nil {
			doubted := m.suspended.Load()
			q := protocol.Query{Resource: "m", Type: "map", Operation: kvmap.Get.Describe().Name, Consistency: protocol.Local}
			q.Argument, _ = resources.AppendValue(nil, kvmap.KeyRequest("one key"))
			r, err := m.Do(ctx, &protocol.Request{Kind: protocol.RequestQuery, Query: &q})
			if err != nil {
				return
			}
			if r.Result.Code == protocol.ErrNotServing.Code {
				refused.Add(1)
				continue
			}
			if doubted != nil && m.suspended.Load() == doubted {
				t.Errorf("it answers at %d, in quarantine", r.Result.Index)
			}
			if r.Result.Index < last {
				t.Errorf("it read at %d and then at %d", last, r.Result.Index)
			}
			last = r.Result.Index
			seen.Add(1)
		}
	}()
	f.bad["p1"].Store(true)
	f.command(caller)
	f.equalApplied("p1", "p2")
	f.bad["p1"].Store(false)
	f.heals(caller, "p1")
	cancel()
	<-done
	if seen.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d reads were answered and %d refused: the test tests nothing", seen.Load(), refused.Load())
	}
}

// equalApplied waits until two members have applied the same, and all that was
// answered before: whoever answered has applied it.
func (f *flock) equalApplied(a, b string) {
	f.t.Helper()
	answered := protocol.Index(0)
	for _, name := range []string{"a1", "a2", "a3"} {
		answered = max(answered, f.members[name].machine.Applied())
	}
	f.eventually("the same is applied", func() error {
		if x, y := f.members[a].Status(), f.members[b].Status(); x.Applied != y.Applied || x.Applied < answered {
			return errors.New("not yet")
		}
		return nil
	})
}

// convict has a member find out that its state is wrong while a checkpoint of that is kept, which is
// never given up in this run. Nobody compares states until there is that checkpoint.
func (f *flock) convict(caller resources.Caller, name, file string) {
	f.t.Helper()
	f.mute.Store(true)
	m := f.members[name]
	before := m.machine.Applied()
	f.bad[name].Store(true)
	f.command(caller)
	f.equalApplied(name, "p2")
	f.bad[name].Store(false)
	f.eventually("a checkpoint of the wrong state is kept", func() error {
		f.marks(caller, 1)
		if at := m.Status().Checkpoint; at <= before {
			return fmt.Errorf("the newest is at %d, and the state is wrong since %d", at, before)
		}
		return nil
	})
	holds := make(chan struct{})
	m.lanes[member.Store].add(func() member.Done { close(holds); <-m.life.Done(); return member.Done{} })
	<-holds
	f.mute.Store(false)
	f.eventually("the quarantine is on disk", func() error {
		f.marks(caller, 1)
		_, err := os.Stat(file)
		return err
	})
	if kept := m.checkpoints.store.Kept(); len(kept) == 0 || kept[0].Index <= before {
		f.t.Fatalf("kept are %+v, want one above %d, where the state is wrong", kept, before)
	}
}

// muted is what a member sends while nobody compares states.
func (f *flock) muted(_ *Member, list []replica.Send) (kept []replica.Send) {
	if !f.mute.Load() {
		return list
	}
	for _, s := range list {
		switch s.Message.(type) {
		case *protocol.DigestQuestion, *protocol.DigestAnswer:
		default:
			kept = append(kept, s)
		}
	}
	return kept
}

// Counterexample: a member is killed in quarantine, and its next run begins from a checkpoint of the bad
// state: it serves that, testifies to it and gives it to others. Here it is alone with passives then,
// which have no say, until the other actives are there again.
func TestAQuarantineOutlivesAKill(t *testing.T) {
	t.Parallel()
	for _, unreadable := range []bool{false, true} {
		t.Run(fmt.Sprintf("unreadable=%t", unreadable), func(t *testing.T) {
			f := newFlock(t)
			caller := f.writer()
			f.marks(caller, 3)
			leader, others := f.followers()
			name := others[0]
			file := filepath.Join(f.configs[name].Dir, wal.QuarantineFile)
			f.convict(caller, name, file)
			f.kill(name)
			f.kill(leader)
			f.kill(others[1])
			if unreadable {
				if err := os.WriteFile(file, []byte("at 3\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cfg := f.configs[name]
			cfg.Opening = func(m *Member) {
				q := protocol.Query{Resource: "m", Type: "map", Operation: kvmap.Get.Describe().Name, Consistency: protocol.Local}
				q.Argument, _ = resources.AppendValue(nil, kvmap.KeyRequest("one key"))
				r, err := m.Do(f.ctx, &protocol.Request{Kind: protocol.RequestQuery, Query: &q})
				if err != nil || r.Result.Code != protocol.ErrNotServing.Code || m.Ready() == nil {
					t.Errorf("a read is answered with %q, %v, and it is not ready because %v", r.Result.Code, err, m.Ready())
				}
				f.openAll(leader, others[1])
			}
			m := f.open(cfg)
			f.eventually("it has healed", func() error {
				if _, err := os.Stat(file); err == nil {
					return errors.New("the quarantine is on disk")
				}
				return m.Ready()
			})
			f.equal()
			f.verify(m)
		})
	}
}
