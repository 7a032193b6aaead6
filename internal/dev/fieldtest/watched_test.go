//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

const (
	// watchesVariable says for how long, for instance 30m.
	watchesVariable = "STARLING_WATCHES"
	watchedName     = "watched"
	watchedWriters  = 3
	watchedKeys     = 20 // of each writer
	// watchedLarge is the size of one value in watchedSeldom.
	watchedLarge  = 200_000
	watchedSeldom = 60
	// quietMeasured is how long a watch may leave its loop without a word on a machine that has
	// nothing else to do: it says about once a second how old it is, whatever goes on. quietAnyhow is for
	// any machine: a watch that has stopped for good.
	quietMeasured = 5 * time.Second
	quietAnyhow   = time.Minute
)

// observed is a cluster that is written to, and programs that watch.
type observed struct {
	*networked
	began   time.Time
	quiet   time.Duration
	clients []*starling.Client // one that begins at each member

	mu    sync.Mutex
	truth told.Truth
	last  uint64 // acknowledged

	hurry atomic.Bool // nobody writes any more: loops come to the end
	goal  atomic.Uint64
}

func (o *observed) now() time.Duration { return time.Since(o.began) }

// Programs keep watches and copies at all members, at several speeds, and go on elsewhere now and then,
// also in the middle of an entry. Meanwhile a passive stands still, another one is cut off from the members, a
// voter is killed and started again, the lead is handed over, all take checkpoints every second, and some values are
// large. Some ask for what each key was before, all of which is known here. What every loop was told is held against what was acknowledged, by the checker that judges simulated clusters.
func TestHistoriesOfWatches(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: five processes, for long; a race is inside one")
	}
	beside(t, watchesVariable)
	o := &observed{networked: layNetwork(t, []string{"a1", "a2", "a3", "p1", "p2"}), quiet: quietAnyhow}
	for _, m := range o.members {
		m.agent, m.every = false, time.Second
	}
	lasts := time.Duration(0)
	if text := os.Getenv(watchesVariable); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", watchesVariable, err)
		}
		o.quiet = quietMeasured
	}
	o.begin()
	o.began = time.Now()
	for _, m := range o.members {
		c, err := starling.Dial(t.Context(), starling.ClientConfig{Addresses: []string{m.addr}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // its members may be gone
		o.clients = append(o.clients, c)
	}
	list := o.programs()
	for k := 0; k == 0 || o.now() < lasts; k++ {
		o.round(k, list, lasts > 0)
	}
}

// round lets all watch while there is trouble, until each loop has come to the end of what was written.
func (o *observed) round(k int, list []*program, long bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.hurry.Store(false)
	o.goal.Store(0)
	var watching, writing sync.WaitGroup
	for _, p := range list {
		watching.Go(func() { p.run(ctx) })
	}
	stop, cut := context.WithCancel(ctx)
	for i := range watchedWriters {
		writing.Go(func() { o.writes(stop, ctx, k, i) })
	}
	o.trouble(k, long)
	cut()
	writing.Wait()
	o.mu.Lock()
	o.goal.Store(o.last)
	o.mu.Unlock()
	o.hurry.Store(true)
	ended := make(chan struct{})
	go func() { watching.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(patience):
		o.t.Errorf("round %d: %v after the last write not all watches have come to %d", k, patience, o.goal.Load())
		cancel()
		<-ended
	}
	o.judge(k, list)
}

// trouble is what happens to the members in one round.
func (o *observed) trouble(k int, long bool) {
	still := 7 * time.Second
	if long {
		still = 10 * time.Second
	}
	frozen, apart := o.members[3+k%2], o.members[4-k%2]
	var rest []*member
	for _, m := range o.members {
		if m != apart {
			rest = append(rest, m)
		}
	}
	pass := func(d time.Duration) { _ = within(d, func() error { return errors.New("it lasts") }) }
	frozen.signal(syscall.SIGSTOP)
	froze := time.Now()
	pass(500 * time.Millisecond)
	killed := o.members[k%3]
	if k%2 == 0 {
		killed = o.leader(o.members[0])
	}
	killed.kill()
	o.part([]*member{apart}, rest)
	pass(2 * time.Second)
	killed.start()
	o.eventually(func() error { _, err := o.status(killed); return err })
	if _, err := o.clients[k%3].Transfer(o.t.Context(), ""); err != nil {
		o.t.Logf("round %d: the lead stays: %v", k, err)
	}
	o.join([]*member{apart}, rest)
	pass(still - time.Since(froze))
	frozen.signal(syscall.SIGCONT)
	pass(time.Second)
}

// indexed is a caller that knows at which index its last command took effect.
type indexed struct {
	resources.Caller
	at protocol.Index
}

func (x *indexed) Command(ctx context.Context, c protocol.Command) (protocol.Result, error) {
	r, err := x.Caller.Command(ctx, c)
	x.at = r.Index
	return r, err
}

// writes puts and deletes keys that only this writer does, some of them several at once.
func (o *observed) writes(stop, ctx context.Context, k, number int) {
	to, r := &indexed{Caller: o.clients[number]}, rand.New(rand.NewPCG(uint64(k), uint64(number)))
	there := map[string]bool{}
	prefix := fmt.Sprintf("w%d-%d-", number, k)
	for n := 0; wait(stop, time.Duration(r.IntN(8))*time.Millisecond); n++ {
		key := fmt.Sprintf("%s%02d", prefix, r.IntN(watchedKeys))
		var entry []told.Change
		var err error
		if there[key] && r.IntN(5) == 0 {
			_, err = kvmap.Delete.Do(ctx, to, watchedName, kvmap.DeleteRequest{Key: kvmap.AppendKey(nil, key)})
			entry = append(entry, told.Change{Key: key, Kind: protocol.ChangeDelete})
			there[key] = false
		} else {
			size, keys := r.IntN(100), []string{key}
			switch {
			case n%watchedSeldom == watchedSeldom-1:
				size = watchedLarge
			case r.IntN(3) == 0:
				keys = append(keys, key+"/1", key+"/2", key+"/3")
			}
			var pairs kvmap.Pairs
			for _, one := range keys {
				value := fmt.Sprintf("%s%d:%s", prefix, n, strings.Repeat(string(rune('a'+n%26)), size))
				raw, _ := resources.AppendValue(nil, value) // a string is always one
				pairs = append(pairs, kvmap.Pair{Key: kvmap.AppendKey(nil, one), Value: raw})
				entry = append(entry, told.Change{Key: one, Kind: protocol.ChangePut, Value: brief(value)})
			}
			_, err = kvmap.PutAll.Do(ctx, to, watchedName, pairs)
			there[key] = true
		}
		now := o.now()
		o.mu.Lock()
		for i := range entry {
			entry[i].Index = uint64(to.at)
		}
		if err == nil {
			o.truth.Entry(now, entry...)
			o.last = max(o.last, uint64(to.at))
		} else {
			o.truth.Maybe(entry...)
			prefix = fmt.Sprintf("w%d-%d-%d-", number, k, n) // the keys of before are in no known state
			clear(there)
		}
		o.mu.Unlock()
	}
}

// brief stands for a value: 1,000 watches of 200 KB do not fit.
func brief(value string) string {
	return fmt.Sprintf("%s(%d, %08x)", value[:min(16, len(value))], len(value), crc32.ChecksumIEEE([]byte(value)))
}

// judge holds what each loop was told against what was acknowledged.
func (o *observed) judge(k int, list []*program) {
	var all []*told.Stream
	for _, p := range list {
		all = append(all, p.streams...)
	}
	o.truth.Resolve(all)
	events, loops, replaced := 0, 0, 0
	for _, p := range list {
		for i, s := range p.streams {
			if i == len(p.streams)-1 {
				s.Must = o.goal.Load()
			}
			for _, f := range told.Judge(&o.truth, s) {
				o.t.Errorf("round %d: %v", k, f)
			}
			for i := range s.Events {
				if s.Events[i].Previous.Kind == protocol.PreviousValue {
					replaced++
				}
			}
			events, loops = events+len(s.Events), loops+1
		}
		last := p.streams[len(p.streams)-1]
		last.Resumes = nil
		p.streams = []*told.Stream{last}
	}
	o.t.Logf("round %d: %d loops of %d programs were told %d events, %d with the value before, up to index %d", k, loops, len(list), events, replaced, o.goal.Load())
}

// programs are those that watch.
func (o *observed) programs() []*program {
	list := []*program{
		{name: "eager", at: 0, before: true},
		{name: "at a passive", at: 3, prefix: "w0"},
		{name: "slow", at: 4, work: 20 * time.Millisecond},
		{name: "slower", at: 1, before: true, work: 300 * time.Millisecond},
		{name: "stops", at: 3, prefix: "w1", before: true, stops: 60, rests: 4 * time.Second},
		{name: "hops", at: 2, before: true, stops: 25, hops: true},
		{name: "hops late", at: 4, stops: 25, hops: true, rests: 3 * time.Second},
		{name: "copy", at: 1, copies: true},
		{name: "slow copy", at: 3, prefix: "w2", copies: true, work: 20 * time.Millisecond},
	}
	for i, p := range list {
		p.o, p.random = o, rand.New(rand.NewPCG(1, uint64(i)))
	}
	return list
}

// past reports whether a loop has come to the end of what was written.
func (o *observed) past(index uint64, last bool) bool {
	goal := o.goal.Load()
	return goal > 0 && o.hurry.Load() && last && index >= goal
}

var goesOn = []error{starling.ErrCompacted, starling.ErrSlowWatcher}

// missed reports whether a loop ended with an error after which its program reads and watches on.
func missed(err error) bool {
	return slices.ContainsFunc(goesOn, func(e error) bool { return errors.Is(err, e) })
}
