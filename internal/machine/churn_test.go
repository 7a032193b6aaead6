package machine_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// heap returns what is in use once all garbage is gone. The machine is not.
func (c *churner) heap() uint64 {
	defer runtime.KeepAlive(c)
	runtime.GC() // twice: the first may only find what the second frees
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func mib(n uint64) float64 { return float64(n) / (1 << 20) }

// churner is a machine in which much comes and goes.
type churner struct {
	*local
	t testing.TB
}

// newChurner returns a machine that tracks, as a member's does, with 5,000 keys
// in the map "there". What a ring holds is meant to stay, so a small one shows
// more.
func newChurner(t testing.TB, ring int) *churner {
	t.Helper()
	registry, err := resources.NewRegistry(historyTypes...)
	if err != nil {
		t.Fatal(err)
	}
	c := &churner{&local{m: machine.New(machine.Config{
		Registry: registry, Logger: slog.New(slog.DiscardHandler), Track: true, RingChanges: ring,
	})}, t}
	c.noop()
	for n := range 5000 {
		c.put("there", key(n), key(n))
	}
	return c
}

func (c *churner) put(name string, key, value []byte) {
	c.t.Helper()
	if _, err := kvmap.Put.Do(context.Background(), c, name, kvmap.PutRequest{Key: key, Value: value}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *churner) delete(name string, key []byte) {
	c.t.Helper()
	if version, err := kvmap.Delete.Do(context.Background(), c, name, kvmap.DeleteRequest{Key: key}); err != nil || version == 0 {
		c.t.Fatal(version, err)
	}
}

func (c *churner) deleteInstance(name string) {
	c.t.Helper()
	if there, err := resources.Delete(context.Background(), c, name, ""); !there || err != nil {
		c.t.Fatal(there, err)
	}
}

// checkpoint reads a snapshot and gives it back, as a member does now and then.
func (c *churner) checkpoint() {
	s := c.m.Snapshot()
	defer s.Close()
	for _, base := range s.Bases() {
		changes, _ := s.Changed(base)
		for range changes {
		}
	}
}

func (c *churner) watch(name string, from protocol.Index) *machine.Watcher {
	c.t.Helper()
	w, err := c.m.Watch(&protocol.Watch{Resource: name, Type: "map", From: from})
	if err != nil {
		c.t.Fatal(err)
	}
	return w
}

func key(n int) []byte { return fmt.Appendf(nil, "key-%08d", n) }

func name(n int) string { return fmt.Sprintf("instance-%08d", n) }

// window puts keys and deletes them ten keys later, and in the end all.
func (c *churner) window(m string, from, to int) {
	for n := from; n < min(from+10, to); n++ {
		c.put(m, key(n), key(n))
	}
	c.slide(m, from+10, to)
	for n := max(from, to-10); n < to; n++ {
		c.delete(m, key(n))
	}
}

// slide puts keys and deletes those that are ten keys behind: when one goes, the
// one that follows is there.
func (c *churner) slide(m string, from, to int) {
	for n := from; n < to; n++ {
		c.put(m, key(n), key(n))
		if n >= 10 {
			c.delete(m, key(n-10))
		}
	}
}

// TestMemoryComesBack lets a little come and go, measures, lets far more come
// and go, and measures again. What is there on purpose (the ring, the latest
// answers of a session) is there at both times, and little.
func TestMemoryComesBack(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: one goroutine, and the race detector counts memory of its own")
	}
	const few, many = 2000, 20_000
	nothing, _ := resources.AppendValue(nil, struct{}{})
	push := func(c *churner) {
		if _, err := queue.Push.Do(context.Background(), c, "q", key(0)); err != nil {
			c.t.Fatal(err)
		}
	}
	pop := func(c *churner) {
		if _, err := queue.Pop.Do(context.Background(), c, "q", struct{}{}); err != nil {
			c.t.Fatal(err)
		}
	}
	for what, round := range map[string]func(c *churner, from, to int){
		"commands on the same keys": func(c *churner, from, to int) {
			for n := from; n < to; n++ {
				c.put("m", key(n%64), key(n))
			}
		},
		"keys": func(c *churner, from, to int) {
			c.put("m", []byte("a"), nil)
			c.window("m", from, to)
		},
		"keys, with checkpoints in between": func(c *churner, from, to int) {
			c.put("m", []byte("a"), nil)
			for ; from < to; from += 1000 {
				c.window("m", from, from+1000)
				c.checkpoint()
			}
		},
		"keys, all at once": func(c *churner, from, to int) {
			c.put("m", []byte("a"), nil)
			for n := from; n < to; n++ {
				c.put("m", key(n), key(n))
			}
			for n := from; n < to; n++ {
				c.delete("m", key(n))
			}
		},
		"under an open snapshot": func(c *churner, from, to int) {
			s := c.m.Snapshot()
			c.window("m", from, to)
			for n := from; n < to; n++ {
				c.put("m", key(n%64), make([]byte, 300))
			}
			s.Close()
			c.noop()
			c.noop()
		},
		"under a view": func(c *churner, from, to int) {
			c.put("m", []byte("a"), nil)
			v, err := c.m.View("m", "map")
			if err != nil {
				c.t.Fatal(err)
			}
			c.window("m", from, to)
			v.Close()
			c.noop()
			c.noop()
		},
		"instances that are emptied": func(c *churner, from, to int) {
			for n := from; n < to; n++ {
				c.put(name(n), key(n), nil)
			}
			for n := from; n < to; n++ {
				c.delete(name(n), key(n))
			}
		},
		"instances that are deleted": func(c *churner, from, to int) {
			for n := from; n < to; n++ {
				var err error
				if n%2 == 0 {
					_, err = queue.Push.Do(context.Background(), c, name(n), key(n))
				} else {
					_, err = counter.Add.Do(context.Background(), c, name(n), 1)
				}
				if err != nil {
					c.t.Fatal(err)
				}
			}
			for n := from; n < to; n++ {
				c.deleteInstance(name(n))
			}
		},
		"commands that leave nothing": func(c *churner, from, to int) {
			for n := from; n < to; n++ {
				if _, err := kvmap.Delete.Do(context.Background(), c, name(n), kvmap.DeleteRequest{Key: key(n)}); err != nil {
					c.t.Fatal(err)
				}
				if _, err := queue.Pop.Do(context.Background(), c, name(n), struct{}{}); err == nil {
					c.t.Fatal("popped from nothing")
				}
			}
		},
		"reads of what is not there": func(c *churner, from, to int) {
			for n := from; n < to; n++ {
				if got, err := kvmap.Size.Do(context.Background(), c, name(n), struct{}{}); got != 0 || err != nil {
					c.t.Fatal(got, err)
				}
			}
		},
		"sessions": func(c *churner, from, to int) {
			var list []protocol.SessionID
			for range to - from {
				r := c.send(sessionop.Open(time.Minute))
				id, err := sessionop.Opened(&r)
				if err != nil {
					c.t.Fatal(err)
				}
				c.send(protocol.Command{Session: id, Sequence: 1, Resource: "q", Type: "queue", Version: 1, Operation: "pop", Argument: nothing})
				list = append(list, id)
			}
			for k, id := range list {
				if k%2 == 0 {
					c.send(sessionop.Close(id))
				}
			}
			c.time += protocol.ClusterTime(2 * time.Minute) // the others expire
			c.session, c.sequence = 0, 0
			for range len(list)/protocol.SessionExpiriesMax + 1 {
				c.noopAt(protocol.EntryTick)
			}
			if got := c.m.Stats().Sessions; got != 0 {
				c.t.Fatalf("got %d sessions, want none", got)
			}
		},
		"watchers": func(c *churner, from, to int) {
			var open []*machine.Watcher
			for n := from; n < to; n++ {
				w := c.watch(name(n), 0)
				open = append(open, w)
				if n%16 == 0 {
					c.put(name(n), key(n), nil)
					c.delete(name(n), key(n))
				}
			}
			for _, w := range open {
				w.Close()
			}
		},
		"queue elements": func(c *churner, from, to int) {
			for range to - from {
				push(c)
				pop(c)
			}
		},
		"queue elements, all at once": func(c *churner, from, to int) {
			for range to - from {
				push(c)
			}
			for range to - from {
				pop(c)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newChurner(t, 256)
			round(c, 0, few)
			c.checkpoint() // what is written now was there at the base, or not
			round(c, few, 2*few)
			before := c.heap()
			round(c, 2*few, 2*few+many)
			after := c.heap()
			t.Logf("%.2f MiB -> %.2f MiB, %d keys", mib(before), mib(after), c.m.Stats().Keys)
			if after > before+before/5 {
				t.Errorf("%.2f MiB, then %.2f MiB: what came and went is still there", mib(before), mib(after))
			}
		})
	}
}

// TestWatchersThatHangCostLittle, however long: each is cut off, and holds on to
// nothing but its place.
func TestWatchersThatHangCostLittle(t *testing.T) {
	const few, many = 2000, 20_000
	c := newChurner(t, 256)
	var hanging []*machine.Watcher
	c.slide("m", 0, few)
	before := c.heap()
	big := make([]byte, 100<<10)
	for n := range 10 {
		at := few + 10*n
		for _, name := range []string{"m", name(n)} {
			hanging = append(hanging, c.watch(name, 0))
		}
		c.slide("m", at, at+10)
		c.put(name(n), key(n), big)
		for k, w := range hanging[2*n:] { // told last are a delete, and much
			for range []int{21, 2}[k] {
				if _, err := w.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.delete(name(n), key(n))
	}
	c.slide("m", few+100, few+many)
	for n := range many {
		c.put("n", key(n%10), make([]byte, 300))
	}
	after := c.heap()
	t.Logf("%.2f MiB -> %.2f MiB", mib(before), mib(after))
	if after > before+before/5 {
		t.Errorf("%.2f MiB, then %.2f MiB", mib(before), mib(after))
	}
	for k, w := range hanging {
		if _, err := w.Next(t.Context()); err != protocol.ErrSlowWatcher {
			t.Errorf("watcher %d: got %v, want slow", k, err)
		}
		w.Close()
	}
}

// TestAStateGivenUpGoes even if watchers hang that were told of it, or have yet
// to be told, and if nothing moves the ring.
func TestAStateGivenUpGoes(t *testing.T) {
	const many = 30_000
	c := newChurner(t, 256)
	c.window("n", 0, 2000)
	before := c.heap()
	for n := range many {
		c.put("m", key(n), key(n))
	}
	hanging, behind := c.watch("m", 0), c.watch("m", 0)
	for _, w := range []*machine.Watcher{hanging, behind} {
		if _, err := w.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	at := c.m.Applied() + 1
	c.put("m", []byte("a"), []byte("first of all"))
	if _, err := hanging.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := c.m.NewLoader()
	if _, err := l.Finish(c.m.Applied()); err != nil {
		t.Fatal(err)
	}
	c.m.Install(l)
	after := c.heap()
	if after > before+before/5 {
		t.Errorf("%.2f MiB, then %.2f MiB: the state that was given up is still there", mib(before), mib(after))
	}
	if got, want := next(t, behind), fmt.Sprintf("%d 1:a=first of all", at); got != want {
		t.Errorf("what was not told yet: got %s, want %s", got, want)
	}
	hanging.Close()
}

// TestAWalkThatHangsHoldsNothing but what it has come to, once its view has
// expired, and ends with an error.
func TestAWalkThatHangsHoldsNothing(t *testing.T) {
	const many = 30_000
	var now protocol.Instant
	c := newChurner(t, 256)
	c.m = machine.New(machine.Config{
		Registry: c.m.Registry(), Clock: func() protocol.Instant { return now }, RingChanges: 256,
	})
	c.session = 0
	for n := range 5000 {
		c.put("there", key(n), key(n))
	}
	c.slide("m", 0, 2000)
	v, err := c.m.View("m", "map")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	walk, stop := iter.Pull2(v.Scan(nil, nil))
	defer stop()
	if item, err, ok := walk(); string(item.Key) != string(key(1990)) || err != nil || !ok {
		t.Fatalf("got %q %v %v", item.Key, err, ok)
	}
	before := c.heap()
	c.slide("m", 2000, 2001)
	now = now.Add(time.Hour)
	c.slide("m", 2001, many)
	after := c.heap()
	if after > before+before/5 {
		t.Errorf("%.2f MiB, then %.2f MiB", mib(before), mib(after))
	}
	if item, err, ok := walk(); err != protocol.ErrViewExpired || !ok {
		t.Errorf("got %q %v %v, want expired", item.Key, err, ok)
	}
}
