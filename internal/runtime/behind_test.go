package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// Members whose state takes a while to fetch: small chunks, and few of them a
// second. They keep no log but what checkpoints need.
func slowToFetch(cfg *Config) {
	cfg.SegmentBytes, cfg.RetainEntries = 64<<10, -1
	cfg.chunkBytes, cfg.chunkServe = 4<<10, 4<<20
}

// often has checkpoints taken so often that many come while one is fetched.
func often(cfg *Config) { cfg.CheckpointBytes, cfg.CheckpointEvery = 1<<30, 100*time.Millisecond }

// grown has checkpoints taken when the log has grown.
func grown(cfg *Config) { cfg.CheckpointBytes, cfg.CheckpointEvery = 256<<10, -1 }

// writing writes values over a number of keys, at intervals, until it is stopped.
func (c *cluster) writing(to *client.Client, keys, bytes int, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(c.ctx)
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			key := []byte(fmt.Sprint("busy", n%keys))
			value := []byte(fmt.Sprintf("%d %s", n, strings.Repeat("v", bytes)))
			_, err := kvmap.Put.Do(ctx, to, "m", kvmap.PutRequest{Key: key, Value: value})
			if err != nil && ctx.Err() == nil && !errors.Is(err, protocol.ErrUnknownOutcome) {
				c.t.Errorf("writing: %v", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	stop = func() { cancel(); done.Wait() }
	c.t.Cleanup(stop)
	return stop
}

// calm fills the map with values that nobody touches.
func (c *cluster) calm(caller *client.Client, n, bytes int) {
	c.t.Helper()
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := w; i < n; i += 8 {
				c.put(caller, fmt.Sprint("calm", i), strings.Repeat(fmt.Sprint(i, "."), bytes/4))
			}
		})
	}
	group.Wait()
}

// allCompacted waits until no member has the log up to an index: one that still had it
// could give a newcomer all, without a checkpoint.
func (c *cluster) allCompacted(above protocol.Index) {
	c.t.Helper()
	for name := range c.members {
		c.compacted(name, above)
	}
}

// actives starts three of them, with directories.
func (c *cluster) actives(change ...func(*Config)) {
	c.t.Helper()
	for _, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, append(change, in(c.dir()))...)
	}
	c.voters(3)
}

// fetchesUntil has a member ask for a first few chunks, and for no more until the
// others have taken two further checkpoints: the one that it fetches is none of
// those that they keep then, however slow they are. (The log above it they keep for
// the member.)
func (c *cluster) fetchesUntil(before protocol.Status) func(*Config) {
	a1 := c.members["a1"]
	return func(cfg *Config) {
		asked, further, last := 0, 0, before.Checkpoint
		cfg.twist = func(_ *Member, list []replica.Send) []replica.Send {
			if further < 2 {
				if at := a1.Status().Checkpoint; at > last {
					last = at
					if asked > 0 {
						further++
					}
				}
			}
			return slices.DeleteFunc(list, func(s replica.Send) bool {
				if s.Message.Kind() != protocol.KindChunkWant {
					return false
				}
				asked++
				return further < 2 && asked > 8
			})
		}
	}
}

// wantOneFetch fails unless a member that serves has begun one installation, and
// others have taken many checkpoints meanwhile: else the test tests nothing.
func (c *cluster) wantOneFetch(m *Member, before protocol.Status) {
	c.t.Helper()
	p := m.published.Load()
	if !p.ready {
		c.t.Errorf("%s does not serve: %v", m.Name(), m.Ready())
	}
	if got := p.Installs; got == 0 || got > 2 {
		c.t.Errorf("%s has begun %d fetches, want one, or two; it has applied %d, knew of %d when it was ready, and a1 has applied %d",
			m.Name(), got, p.Applied, p.Fresh.CaughtUp, c.members["a1"].Status().Applied)
	}
	if first := m.Status().First; first <= 1 {
		c.t.Errorf("%s has the log from %d on: it needed no checkpoint, and the test tests nothing", m.Name(), first)
	}
	if after := c.members["a1"].Status(); after.Checkpoint <= before.Checkpoint {
		c.t.Errorf("the others have a checkpoint at %d, before they had one at %d: the test tests nothing", after.Checkpoint, before.Checkpoint)
	}
}

// A state that nobody touches, a few small writes, and checkpoints all the time.
func TestNewcomerGetsLevelWhileCheckpointsAreTakenAllTheTime(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: under the race detector writers are too slow for the others to move on meanwhile")
	}
	t.Parallel()
	c := newCluster(t)
	c.actives(slowToFetch, often)
	caller := c.client(c.members["a1"])
	c.calm(caller, 400, 5000)
	c.allCompacted(100)
	defer c.writing(caller, 10, 10, 5*time.Millisecond)()
	before := c.members["a1"].Status()
	c.wantOneFetch(c.start("p1", protocol.RolePassive, slowToFetch, often, c.fetchesUntil(before)), before)
}

// Writes that change the whole state again and again, and give up the log that a
// newcomer needs as fast as it can fetch.
func TestNewcomerGetsLevelUnderWritesThatChangeAll(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: under the race detector writers are too slow for the others to move on meanwhile")
	}
	t.Parallel()
	c := newCluster(t)
	c.actives(slowToFetch, grown)
	caller := c.client(c.members["a1"])
	defer c.writing(caller, 100, 20_000, 10*time.Millisecond)()
	c.eventually("two megabytes are written", func() error {
		for name, m := range c.members {
			if s := m.Status(); s.Applied < 200 || s.First <= 1 {
				return fmt.Errorf("%s has applied %d, its log begins at %d", name, s.Applied, s.First)
			}
		}
		return nil
	})
	before := c.members["a1"].Status()
	c.wantOneFetch(c.start("p1", protocol.RolePassive, slowToFetch, grown, c.fetchesUntil(before)), before)
}

// A voter that was away while the log that it needs was given up: the cluster has
// a voter less until it is level.
func TestVoterGetsLevelUnderWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: under the race detector writers are too slow for the others to move on meanwhile")
	}
	t.Parallel()
	c := newCluster(t)
	c.actives(slowToFetch, grown)
	caller := c.client(c.members["a1"])
	c.calm(caller, 200, 5000)
	c.equal()
	was := c.members["a3"].Status()
	c.kill("a3")
	defer c.writing(caller, 100, 20_000, 10*time.Millisecond)()
	// Appends may still be on their way to it, and come when it is there again: what
	// it needs lies beyond those.
	const onTheWay = 50
	c.eventually("the log that it needs is given up", func() error {
		for _, name := range []string{"a1", "a2"} {
			if s := c.members[name].Status(); s.First <= was.Applied+1+onTheWay {
				return fmt.Errorf("%s has the log from %d on", name, s.First)
			}
		}
		return nil
	})
	before := c.members["a1"].Status()
	cfg := c.configs["a3"]
	c.fetchesUntil(before)(&cfg)
	c.wantOneFetch(c.open(cfg), before)
}

// Whoever is far behind says so, with figures, and is not ready.
func TestFarBehindIsNotServing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.actives(slowToFetch, grown)
	caller := c.client(c.members["a1"])
	c.calm(caller, 400, 5000)
	c.allCompacted(100)
	cfg := c.configs["a2"] // a newcomer like the others, that is looked at before it is ready
	cfg.Name, cfg.Dir, cfg.Bind, cfg.Role, cfg.Join, cfg.Bootstrap = "p1", c.dir(), "127.0.0.1:0", protocol.RolePassive, []string{c.members["a1"].Addr()}, false
	seen := make(chan error, 1)
	cfg.looks = func(m *Member) {
		if p := m.published.Load(); p != nil && p.ChunksLeft > 0 && !p.Leader.IsZero() {
			select {
			case seen <- m.Ready():
			default:
			}
		}
	}
	c.open(cfg)
	select {
	case err := <-seen:
		if !errors.Is(err, protocol.ErrNotServing) || !strings.Contains(err.Error(), "entries behind; fetches the checkpoint at") || !strings.Contains(err.Error(), "chunks are to come") {
			t.Errorf("in the middle of an installation it says %v, want that it does not serve, and how far it is", err)
		}
	default:
		t.Error("never seen in the middle of an installation")
	}
	if s := c.members["p1"].Status(); !s.Serving || s.Reason != "" {
		t.Errorf("level again: serving %t, %q", s.Serving, s.Reason)
	}
}

// What a voter hears first after a restart may be an old claim of freshness, one
// that its state suffices for: it does not serve by that alone, but when it has what
// was committed when it heard it.
func TestAnOldClaimOfFreshnessDoesNotMakeAMemberServe(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	h := withholder{}
	c.actives(func(cfg *Config) { cfg.twist = h.twist })
	caller := c.client(c.members["a1"])
	c.put(caller, "k", "old")
	c.equal()
	a3 := c.members["a3"].identity.Member
	c.eventually("claims of freshness about what a3 has", func() error { return h.keeps(c.members["a3"].Status().Applied) })
	h.from(a3) // what is sent while it is away waits for it
	c.kill("a3")
	for i := range 20 {
		c.put(caller, "k", fmt.Sprint("new", i))
	}
	cfg, committed := c.configs["a3"], c.members["a1"].Status().Commit
	proven := false
	cfg.looks = func(m *Member) {
		p := m.published.Load()
		if p.ready && p.Applied < committed {
			t.Errorf("it serves with %d applied of %d", p.Applied, committed)
		}
		if p.Proven && !proven {
			proven = true
			if p.Applied >= committed {
				t.Errorf("it has applied %d before it knew its age: the test tests nothing", p.Applied)
			}
			h.from(protocol.MemberID{})
		}
	}
	c.open(cfg)
	if !proven {
		t.Error("it serves, and does not know its age")
	}
}

// withholder has members give a member no entries and no claim of freshness but old
// ones.
type withholder struct {
	mu     sync.Mutex
	victim protocol.MemberID
	old    map[*Member]protocol.Have
	kept   bool // those are to be kept
}

func (h *withholder) from(id protocol.MemberID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.victim = id
}

// keeps fails until a1 and a2 have made claims about an index, or one below, which
// are kept.
func (h *withholder) keeps(index protocol.Index) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for m, x := range h.old {
		if m.Name() != "a3" && x.FreshIndex <= index {
			n++
		}
	}
	if n < 2 {
		return fmt.Errorf("%d members have made claims about %d", n, index)
	}
	h.kept = true
	return nil
}

func (h *withholder) twist(m *Member, list []replica.Send) []replica.Send {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.old == nil {
		h.old = map[*Member]protocol.Have{}
	}
	return slices.DeleteFunc(list, func(s replica.Send) bool {
		to := !h.victim.IsZero() && s.To == h.victim
		switch x := s.Message.(type) {
		case *protocol.Append:
			return to && len(x.Entries) > 0
		case *protocol.Frame:
			return to
		case *protocol.Have:
			if old := h.old[m]; to && x.FreshKnown && old.FreshKnown {
				x.FreshIndex, x.FreshSum, x.FreshAge = old.FreshIndex, old.FreshSum, int64(time.Minute)
			} else if !h.kept && x.FreshKnown {
				h.old[m] = *x
			}
		}
		return false
	})
}
