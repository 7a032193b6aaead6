package runtime

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// A directory that was restored from an old copy has forgotten entries that it
// acknowledged and votes that it gave: its member could elect a leader that
// lacks them. Whoever has seen a newer one refuses it, and it stops.
func TestRolledBackDirectoryMayNotTakePart(t *testing.T) {
	c := newCluster(t)
	dirs := map[string]string{}
	for _, name := range []string{"a1", "a2", "a3"} {
		dirs[name] = c.dir()
		c.start(name, protocol.RoleActive, func(cfg *Config) { cfg.Dir = dirs[name] })
	}
	c.voters(3)
	caller := c.client(c.members["a1"])
	c.put(caller, "k", "old")
	c.equal()
	c.kill("a3")
	old := c.dir()
	if err := os.CopyFS(old, os.DirFS(dirs["a3"])); err != nil {
		t.Fatal(err)
	}
	c.again("a3")
	for i := range 50 {
		c.put(caller, fmt.Sprint("k", i), "new")
	}
	c.equal()
	c.kill("a3")

	cfg := c.configs["a3"]
	cfg.Dir = old
	m, err := Open(c.ctx, cfg)
	if err == nil { // it was ready before it met the others: then it stops soon
		defer m.Kill()
		c.eventually("the member stops", func() error {
			if err = m.Err(); err == nil {
				return errors.New("it goes on")
			}
			return nil
		})
	}
	if !errors.Is(err, protocol.ErrRolledBack) {
		t.Errorf("got %v, want %v", err, protocol.ErrRolledBack)
	}
	delete(c.members, "a3")
	c.put(caller, "k", "still served")
}

func TestSightingsKnowARestoredCopy(t *testing.T) {
	hello := func(starts uint64, run protocol.RunID, sequence protocol.Sequence) protocol.Hello {
		return protocol.Hello{Member: protocol.MemberID{1}, Starts: starts, Run: run, Sequence: sequence}
	}
	for _, test := range []struct {
		name string
		next protocol.Hello
		good bool
	}{
		{"the same run connects again", hello(2, 7, 90), true},
		{"the same run, on a connection that is slower than another", hello(2, 7, 89), true},
		{"the next start", hello(3, 8, 90), true},
		{"an earlier start", hello(1, 6, 90), false},
		{"the same start by another run", hello(2, 8, 90), false},
		{"what it said to be durable while it ran is gone", hello(3, 8, 89), false},
	} {
		s := newSightings()
		if err := s.check(hello(2, 7, 50)); err != nil {
			t.Fatal(err)
		}
		s.hears(protocol.MemberID{1}, &protocol.Standing{Starts: 2, Run: 7, Sequence: 90})
		s.hears(protocol.MemberID{1}, &protocol.Standing{Starts: 2, Run: 6, Sequence: 900}) // of a run that is over
		if err := s.check(test.next); (err == nil) != test.good || err != nil && !errors.Is(err, protocol.ErrRolledBack) {
			t.Errorf("%s: got %v", test.name, err)
		}
		if err := s.check(hello(9, 9, 89)); err == nil {
			t.Errorf("%s: then record 90 is forgotten", test.name)
		}
	}
}
