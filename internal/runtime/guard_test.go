package runtime

import (
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage"
)

// While the leader's disk is nearly full, writes are refused, at every member,
// before anything breaks; reads go on, and writes resume by themselves.
func TestNearlyFullDiskRefusesWritesOnly(t *testing.T) {
	c := newCluster(t)
	leader := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 })
	c.start("p1", protocol.RolePassive)
	c.put(c.client(leader), "k", "v")
	c.equal()
	leader.guard.last.Store(math.MaxInt64) // the test says what the disk would say
	leader.guard.space.Store(&storage.Space{Full: true, Free: 100 << 20, Low: 256 << 20, High: 384 << 20})
	leader.guard.full.Store(true)
	for _, m := range c.members {
		caller := c.client(m)
		_, err := kvmap.Put.Do(c.ctx, caller, "m", kvmap.PutRequest{Key: []byte("k"), Value: []byte("w")})
		if !errors.Is(err, protocol.ErrNoSpace) || !strings.Contains(err.Error(), "the disk of a1 has 100 MiB free, and writes are refused below 256 MiB (--disk-low) until there is 384 MiB (--disk-high)") {
			t.Errorf("a write at %s: got %v, want %v", m.Name(), err, protocol.ErrNoSpace)
		}
		if _, err := kvmap.Delete.Do(c.ctx, caller, "m", kvmap.DeleteRequest{Key: []byte("nothing")}); errors.Is(err, protocol.ErrNoSpace) {
			t.Errorf("a delete at %s: got %v", m.Name(), err)
		}
		if got := c.get(caller, "k"); got != "v" {
			t.Errorf("a read at %s: got %q, want v", m.Name(), got)
		}
	}
	if s := leader.Status(); !s.Serving || !strings.HasPrefix(s.Reason, "writes are refused: the disk of a1 has 100 MiB free") || leader.Note() != s.Reason || leader.Ready() != nil {
		t.Errorf("serving %v: %s; the note is %q", s.Serving, s.Reason, leader.Note())
	}
	if err := leader.takes(&protocol.Command{Session: 3, Type: protocol.SessionType, Version: 1, Operation: protocol.SessionKeepAlive}); errors.Is(err, protocol.ErrNoSpace) {
		t.Errorf("a keep-alive is refused: %v", err)
	}
	for room, ready := range map[bool]bool{true: true, false: false} { // at the last byte, and without a descriptor
		leader.guard.waits.Store(&want{text: "the disk gives nothing more", room: room})
		s, want := leader.Status(), "writes are refused, and this member stores nothing now: the disk gives nothing more"
		if (leader.Ready() == nil) != ready || s.Serving != ready || ready && (leader.Note() != want || s.Reason != want) {
			t.Errorf("waits for room %t: ready %v, serving %v: %s; the note is %q", room, leader.Ready(), s.Serving, s.Reason, leader.Note())
		}
		if got := c.get(c.client(leader), "k"); got != "v" {
			t.Errorf("a read: got %q, want v", got)
		}
	}
	leader.guard.waits.Store(nil)
	leader.guard.full.Store(false)
	c.put(c.client(c.members["p1"]), "k", "w")
	if got := c.get(c.client(leader), "k"); got != "w" {
		t.Errorf("got %q, want w", got)
	}
}

// A start on a disk that is too small says so, with the numbers, and the member is there
// for everything but writes.
func TestAStartOnADiskThatIsTooSmallSaysSo(t *testing.T) {
	c, log := newCluster(t), &journal{}
	m := c.start("a1", protocol.RoleActive, func(cfg *Config) {
		cfg.Actives, cfg.Dir, cfg.DiskLow, cfg.DiskHigh = 1, c.dir(), 1<<62, 1<<62
		cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	})
	c.eventually("it says so", func() error {
		if !log.has("level=WARN msg=\"the disk is nearly full: the disk of a1 has ") || !log.has("low=4611686018427387904") {
			return errors.New("nothing is said")
		}
		return nil
	})
	if note := m.Note(); !strings.HasPrefix(note, "writes are refused: the disk of a1 has ") || m.Ready() != nil {
		t.Errorf("the note is %q, ready: %v", note, m.Ready())
	}
	_, err := kvmap.Put.Do(c.ctx, c.client(m), "m", kvmap.PutRequest{Key: []byte("k"), Value: []byte("w")})
	if !errors.Is(err, protocol.ErrNoSpace) || !strings.Contains(err.Error(), "below 4398046511104 MiB (--disk-low)") {
		t.Errorf("a write: got %v, want %v", err, protocol.ErrNoSpace)
	}
}

// Checkpoints leave half of what writes leave: with marks below their own reserve none was
// ever taken, the log's head was never given up, and filled the disk.
func TestCheckpointsAreTakenAboveTheMarks(t *testing.T) {
	for low, want := range map[uint64]uint64{0: 0, 1: 1, 8 << 20: 4 << 20, 256 << 20: 128 << 20, 1 << 40: 128 << 20} {
		if got := (&Config{Config: config.Config{DiskLow: low}}).reserve(); got != want {
			t.Errorf("writes leave %d: checkpoints leave %d, want %d", low, got, want)
		}
	}
}
