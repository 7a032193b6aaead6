package runtime

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// bytesIn returns how many bytes the files below a directory have.
func bytesIn(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			bytes += info.Size()
		}
		return nil // a segment that was given up meanwhile
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// A small state of large values costs little disk, however often it is written again;
// after a restart, too.
func TestLargeValuesDoNotFillTheDisk(t *testing.T) {
	c := newCluster(t)
	dir := c.dir()
	const segment = 256 << 10
	m := c.start("a1", protocol.RoleActive, in(dir), func(cfg *Config) {
		cfg.Actives, cfg.SegmentBytes = 1, segment
		cfg.CheckpointBytes, cfg.CheckpointEvery, cfg.RetainBytes = segment, -1, segment
	})
	for round := range 2 {
		caller := c.client(m)
		write := func(n int) { // 40 KiB of log each, 160 KiB of state
			for i := range n {
				c.put(caller, fmt.Sprint("k", i%4), strings.Repeat("v", 40<<10))
			}
		}
		write(100)
		c.eventually("the log has given up its head", func() error {
			write(1) // so that there are further checkpoints
			// Two checkpoints' worth, the tail, a segment for each end, and the spares.
			if got := bytesIn(t, filepath.Join(dir, "log")); got > 8*segment {
				return fmt.Errorf("round %d: the log has %d bytes, it begins at %d", round, got, m.Status().First)
			}
			return nil
		})
		if first := m.Status().First; first < 50 {
			t.Errorf("round %d: the log begins at %d", round, first)
		}
		c.kill("a1")
		m = c.again("a1")
	}
}
