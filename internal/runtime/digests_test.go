package runtime

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/dev/freeport"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/sim/awkward"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	queues "github.com/starlinghq/starling/resources/queue"
)

// spoilAll encodes values that leave behind what they can, for ever.
func spoilAll() {
	ticker := time.NewTicker(time.Millisecond)
	for n := int64(0); ; n++ {
		awkward.Spoil(n)
		<-ticker.C
	}
}

// write makes one command of a random type, with values that are hard to encode
// and come back as they were written, or not at all.
func (c *cluster) write(caller resources.Caller, r *rand.Rand, n int64) error {
	key := fmt.Sprint("k", r.IntN(20))
	put := func(value []byte, err error) error {
		if err == nil {
			_, err = kvmap.Put.Do(c.ctx, caller, "m", kvmap.PutRequest{Key: []byte(key), Value: value})
		}
		return err
	}
	// check looks at what was there before, if anything was.
	check := func(n int64, check func() error, err error) error {
		if err == nil && n != 0 {
			err = check()
		}
		return err
	}
	switch r.IntN(10) {
	case 0:
		return put(resources.AppendValue(nil, awkward.Make(n)))
	case 1:
		return put(resources.AppendValue(nil, awkward.MakeFlags(n)))
	case 2:
		return put(resources.AppendValue(nil, awkward.Make(n).Last))
	case 3:
		_, err := kvmap.Delete.Do(c.ctx, caller, "m", kvmap.DeleteRequest{Key: []byte(key)})
		return err
	case 4:
		value, err := resources.AppendValue(nil, awkward.Make(n))
		if err == nil {
			_, err = queues.Push.Do(c.ctx, caller, "q", value)
		}
		return err
	case 5:
		e, err := queues.Pop.Do(c.ctx, caller, "q", struct{}{})
		if errors.Is(err, queues.ErrEmpty) {
			return nil
		}
		first, parsed := resources.ParseValue[awkward.Record](e.Value)
		return check(first.N, first.Check, errors.Join(err, parsed))
	case 6:
		_, err := counter.Add.Do(c.ctx, caller, "c", n)
		return err
	case 7:
		f, err := awkward.Raise.Do(c.ctx, caller, "a", awkward.MakeFlags(n))
		return check(f.N, f.Check, err)
	}
	before, err := awkward.Exchange.Do(c.ctx, caller, "a", awkward.Put{Key: key, Record: awkward.Make(n)})
	if awkward.Stops(n) && errors.Is(err, protocol.ErrInvalid) {
		return nil
	}
	return check(before.N, before.Check, err)
}

// many makes commands up to a number, many at a time.
func (c *cluster) many(caller resources.Caller, next *atomic.Int64, until int64) {
	c.t.Helper()
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for k := range uint64(64) {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(until), k))
			for n := next.Add(1); n <= until && failed.Load() == nil; n = next.Add(1) {
				if err := c.write(caller, r, n); err != nil {
					err = fmt.Errorf("command %d: %w", n, err)
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	group.Wait()
	next.Store(until)
	if err := failed.Load(); err != nil {
		c.t.Fatal(*err)
	}
}

// at returns the address of a member that may run elsewhere, "" if it is not
// alive.
func (c *cluster) at(name string) string {
	for _, m := range c.members[c.first].Status().Members {
		if m.Name == name && m.Alive {
			return m.Address
		}
	}
	return ""
}

// only returns a connection to one member and no other.
func (c *cluster) only(name string) *client.Remote {
	c.t.Helper()
	var r *client.Remote
	c.eventually(name+" answers", func() (err error) {
		r, err = client.NewRemote(c.ctx, client.RemoteConfig{Security: security.Plaintext(), Addresses: []string{c.at(name)}})
		return err
	})
	c.t.Cleanup(func() { _ = r.Close() })
	return r
}

// readAll has one member encode answers that no other member encodes.
func (c *cluster) readAll(caller resources.Caller) {
	c.t.Helper()
	for n := range 20 {
		key := fmt.Sprint("k", n)
		r, err := awkward.Recall.Do(c.ctx, caller, "a", key, resources.Local)
		if err == nil {
			err = r.Check()
		}
		f, shown := awkward.Show.Do(c.ctx, caller, "a", struct{}{}, resources.Local)
		if shown == nil && f.N != 0 {
			shown = f.Check()
		}
		for _, err := range []error{err, shown} {
			if err != nil && !errors.Is(err, protocol.ErrNotFound) {
				c.t.Fatalf("reading %s: %v", key, err)
			}
		}
	}
}

// digestsEqual waits until members, of whatever process, have applied all, and
// compares their digests there. A member that has begun anew from a checkpoint
// above that index does not know its digest there any more: another write makes
// another index.
func (c *cluster) digestsEqual(caller resources.Caller, names ...string) {
	c.t.Helper()
	for _, name := range names {
		remote := c.only(name)
		c.eventually(name+" has applied all", func() error {
			want := c.members[c.first].Status()
			response, err := remote.Do(c.ctx, &protocol.Request{Kind: protocol.RequestDigest, At: want.Applied})
			switch {
			case err != nil:
				return err
			case response.Digest == nil || !response.Digest.Known:
				if response.Digest != nil && response.Digest.Applied > want.Applied {
					_, _ = counter.Add.Do(c.ctx, caller, "c", 1)
				}
				return fmt.Errorf("got %+v, %v", response.Digest, response.Result.Err())
			}
			if got := machine.DigestFrom(response.Digest.Digest).String(); got != want.Digest {
				c.t.Fatalf("%s has the digest %s at %d, %s has %s", name, got, want.Applied, want.Name, want.Digest)
			}
			return nil
		})
	}
}

// TestDigestsAreEqualWhateverAProcessDidBefore gives processes with different
// histories the same commands, of all types, with values that are hard to
// encode: a1 encodes what clients send, a2 other things between the commands and
// all answers to reads, a3 is killed and started again in their midst, and p1
// begins with a checkpoint. What was kept of other values in one of them must not
// be in what they write. STARLING_COMMANDS=100000 makes as many.
func TestDigestsAreEqualWhateverAProcessDidBefore(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	total := int64(4000)
	if text := os.Getenv("STARLING_COMMANDS"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		total = n
	}
	c := newCluster(t)
	registry, err := resources.NewRegistry(kvmap.Type, counter.Type, queues.Type, awkward.Type)
	if err != nil {
		t.Fatal(err)
	}
	m := c.start("a1", protocol.RoleActive, compacting, in(c.dir()), func(cfg *Config) { cfg.Registry, cfg.Actives = registry, 3 })
	child := func(name string, role protocol.Role, spoil bool) childConfig {
		return childConfig{Name: name, Dir: filepath.Join(c.dir(), name), Bind: freeport.Address(t), Join: []string{m.Addr()}, Role: role, Spoil: spoil}
	}
	third := child("a3", protocol.RoleActive, false)
	killSecond, killThird := c.child(child("a2", protocol.RoleActive, true)), c.child(third)
	t.Cleanup(func() { killSecond(); killThird() })
	c.voters(3)
	caller := c.client(m)
	second, err := client.New(c.only("a2"), client.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var next atomic.Int64
	step := func(percent int64, members ...string) {
		t.Helper()
		c.many(caller, &next, total*percent/100)
		c.readAll(second)
		c.digestsEqual(caller, members...)
	}
	step(25, "a2", "a3")
	killThird()
	step(50, "a2")
	killThird = c.child(third)
	step(75, "a2", "a3")
	if s := m.Status(); s.First <= 1 {
		t.Errorf("the log begins at %d, so nobody needs a checkpoint", s.First)
	}
	killFourth := c.child(child("p1", protocol.RolePassive, false))
	t.Cleanup(func() { killFourth() })
	step(100, "a2", "a3", "p1")
	t.Logf("%d commands, %d entries, digest %s", total, m.Status().Applied, m.Status().Digest)
}
