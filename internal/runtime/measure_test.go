package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// TestMeasureRestartAndCatchUp prints how long a member takes to restart from a
// checkpoint of a million keys of 256 B, and a new one to get all of it from
// another. It runs on demand: STARLING_MEASURE=1.
func TestMeasureRestartAndCatchUp(t *testing.T) {
	if os.Getenv("STARLING_MEASURE") == "" {
		t.Skip("on demand: STARLING_MEASURE=1")
	}
	c := newCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	c.ctx = ctx
	m := c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) {
		cfg.Actives, cfg.SegmentBytes, cfg.CheckpointEvery, cfg.RetainEntries = 1, 64<<20, -1, -1
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	})
	const batch = 1000
	keys := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("STARLING_MEASURE")); err == nil && n > 1 {
		keys = n / batch * batch
	}
	random := rand.NewChaCha8([32]byte{1})
	caller := c.client(m)
	began := time.Now()
	write := func(from, to int) {
		for first := from; first < to; first += batch {
			var pairs kvmap.Pairs
			for i := range batch {
				value := make([]byte, 256)
				_, _ = random.Read(value)
				pairs = append(pairs, kvmap.Pair{Key: binary.BigEndian.AppendUint64(nil, uint64(first+i)), Value: value})
			}
			if _, err := kvmap.PutAll.Do(c.ctx, caller, "m", pairs); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(0, keys)
	t.Logf("%d keys of 256 B written in %v", keys, time.Since(began))
	// Until a checkpoint has all of it. What is written while one is taken would
	// only be more to replay.
	all := m.Status().Applied
	for n := 0; m.Status().Checkpoint < all; n += 20 * batch {
		write(n%keys, n%keys+20*batch)
		c.eventually("the checkpoint under way", func() error {
			if m.driver.Taking() {
				return errors.New("it is being taken")
			}
			return nil
		})
	}
	s := m.Status()
	t.Logf("checkpoint at %d, applied %d, log from %d", s.Checkpoint, s.Applied, s.First)
	c.kill("a1")
	began = time.Now()
	m = c.again("a1")
	took := time.Since(began)
	t.Logf("restarted in %v with %d keys", took, m.Status().Keys)

	began = time.Now()
	p := c.start("p1", protocol.RolePassive, in(c.dir()))
	c.eventually("a copy", func() error {
		if a, b := m.Status(), p.Status(); a.Applied != b.Applied || a.Digest != b.Digest {
			return fmt.Errorf("at %d of %d", b.Applied, a.Applied)
		}
		return nil
	})
	bytes := m.checkpoints.store.Kept()[0].Bytes
	took = time.Since(began)
	t.Logf("a new member has %d MB after %v: %s", bytes>>20, took, fmt.Sprintf("%.0f MB/s", float64(bytes)/1e6/took.Seconds()))
}
