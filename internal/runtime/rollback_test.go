package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
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

// The members that have seen a directory remember how far it was across restarts
// of their own: a power cut of all of them must not let an old copy in.
func TestSightingsSurviveARestart(t *testing.T) {
	hello := func(starts uint64, run protocol.RunID, sequence protocol.Sequence) protocol.Hello {
		return protocol.Hello{Member: protocol.MemberID{1}, Starts: starts, Run: run, Sequence: sequence}
	}
	s := newSightings()
	if s.wanted(1) {
		t.Error("nothing was seen and it wants to be written")
	}
	if err := s.check(hello(2, 7, 50)); err != nil {
		t.Fatal(err)
	}
	if !s.wanted(2) {
		t.Error("a start that was not known is not written")
	}
	file := s.encode()
	s.hears(protocol.MemberID{1}, &protocol.Standing{Starts: 2, Run: 7, Sequence: 90})
	if s.wanted(3) || !s.wanted(protocol.Instant(2).Add(sightingsEvery)) {
		t.Error("a log that grew is written at once, or not at all")
	}
	for _, content := range [][]byte{file, s.encode()} {
		again := newSightings()
		if err := again.decode(content); err != nil {
			t.Fatal(err)
		}
		for what, old := range map[string]protocol.Hello{"an earlier start": hello(1, 6, 90), "another run": hello(2, 8, 90), "a shorter log": hello(3, 9, 49)} {
			if err := again.check(old); !errors.Is(err, protocol.ErrRolledBack) {
				t.Errorf("%s: got %v, want %v", what, err, protocol.ErrRolledBack)
			}
		}
		if err := again.check(hello(3, 9, 90)); err != nil {
			t.Errorf("the next start: %v", err)
		}
	}
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 1
		if err := newSightings().decode(damaged); !errors.Is(err, protocol.ErrCorrupt) {
			t.Errorf("byte %d flipped: got %v, want %v", i, err, protocol.ErrCorrupt)
		}
	}
}

func TestSightingsAreBounded(t *testing.T) {
	s := newSightings()
	for i := range 2 * sightingsMax {
		id := protocol.MemberID{byte(i), byte(i >> 8), 1}
		if err := s.check(protocol.Hello{Member: id, Starts: 1<<64 - 1, Run: 1<<64 - 1, Sequence: 1<<64 - 1}); err != nil {
			t.Fatal(err)
		}
	}
	b := s.encode()
	again := newSightings()
	if err := again.decode(b); err != nil || len(b) > sightingsBytesMax || len(again.last) != sightingsMax {
		t.Errorf("%d members in %d bytes, the limits are %d and %d: %v", len(again.last), len(b), sightingsMax, sightingsBytesMax, err)
	}
	last := 2*sightingsMax - 1
	if _, known := again.last[protocol.MemberID{byte(last), byte(last >> 8), 1}]; !known {
		t.Error("the member heard last is forgotten")
	}

	// In memory, too: those who are heard stay, however many come and go.
	stays := protocol.Hello{Member: protocol.MemberID{1, 1, 2}, Starts: 7, Run: 1, Sequence: 50}
	if err := again.check(stays); err != nil {
		t.Fatal(err)
	}
	for i := range 5 * sightingsMax {
		if err := again.check(protocol.Hello{Member: protocol.MemberID{byte(i), byte(i >> 8), 3}, Starts: 9}); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			again.hears(stays.Member, &protocol.Standing{Starts: 7, Run: 1, Sequence: 50})
		}
	}
	if got, limit := len(again.last), 2*sightingsMax; got >= limit {
		t.Errorf("%d members are remembered, the limit is %d", got, limit)
	}
	stays.Starts = 6
	if err := again.check(stays); !errors.Is(err, protocol.ErrRolledBack) {
		t.Errorf("one that was heard all the time, with an older directory: got %v, want %v", err, protocol.ErrRolledBack)
	}
	if err := again.check(protocol.Hello{Member: protocol.MemberID{0, 0, 3}, Starts: 8}); err != nil {
		t.Errorf("one that was forgotten: got %v, want a newcomer", err)
	}
}

// The same with real members: the one that has seen the directory restarts before
// the old copy comes.
func TestRolledBackDirectoryIsKnownAfterARestart(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	dir := c.dir()
	c.start("p1", protocol.RolePassive, in(dir))
	c.kill("p1")
	old := filepath.Join(c.dir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	id := c.members["p1"].ID()
	p := c.again("p1")
	c.put(c.client(p), "k", "v")
	starts := p.identity.Starts
	c.eventually("a1 writes what it has seen", func() error {
		s := newSightings()
		b, err := os.ReadFile(filepath.Join(c.configs["a1"].Dir, sightingsFile))
		if err == nil {
			err = s.decode(b)
		}
		if err == nil && s.last[id].starts != starts {
			err = fmt.Errorf("start %d", s.last[id].starts)
		}
		return err
	})
	c.kill("p1")
	c.kill("a1")
	c.again("a1")
	cfg := c.configs["p1"]
	cfg.Dir = old
	m, err := Open(c.ctx, cfg)
	if err == nil {
		defer m.Kill()
		// A passive tells what it has to say in datagrams; a write makes it dial.
		ctx, cancel := context.WithCancel(c.ctx)
		written := make(chan struct{})
		go func() {
			_, _ = kvmap.Put.Do(ctx, c.client(m), "m", kvmap.PutRequest{Key: []byte("k")})
			close(written)
		}()
		defer func() { cancel(); <-written }()
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
	delete(c.members, "p1")
}
