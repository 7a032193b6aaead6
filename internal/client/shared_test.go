package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// several begins watches of the same by one client; the second client writes.
func several(t *testing.T, n int) (s *server, watcher, writer *Client, list []resources.WatchStream) {
	t.Helper()
	s = newServer(t)
	watcher, writer = newClient(t, s, Config{}), newClient(t, s, Config{})
	mustCommand(t, writer, "before")
	for range n {
		w, err := watcher.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Close)
		list = append(list, w)
	}
	return s, watcher, writer, list
}

// tells fails unless the next changes of a watch are of a key.
func tells(t *testing.T, w resources.WatchStream, key string) {
	t.Helper()
	for {
		c, err := w.Next(t.Context())
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if len(c.Changes) == 0 {
			continue
		}
		if got := string(c.Changes[0].Key); len(c.Changes) != 1 || !strings.Contains(got, key) {
			t.Fatalf("got %d changes, the first of %q, want one of %q", len(c.Changes), got, key)
		}
		return
	}
}

// Four hundred watches of the same by one client are one at the member, and each is told everything, also
// when that one goes on elsewhere.
func TestWatchesOfTheSameShareOneStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, writer, list := several(t, 400)
		if got := len(s.streams); got != 1 {
			t.Fatalf("%d watches are %d at the member, want 1", len(list), got)
		}
		var done sync.WaitGroup
		for _, w := range list {
			done.Go(func() {
				for i := range 60 {
					tells(t, w, fmt.Sprintf("key-%02d", i))
				}
			})
		}
		for i := range 60 {
			if i%20 == 10 {
				s.streams[len(s.streams)-1].fail(errBroken)
			}
			mustCommand(t, writer, fmt.Sprintf("key-%02d", i))
			time.Sleep(time.Second) // it is told, or goes on elsewhere
		}
		done.Wait()
		if got := len(s.streams); got != 4 {
			t.Errorf("after three losses there were %d streams, want 4", got)
		}
		for i, w := range list {
			if n := c.watches.Load(); n != int64(len(list)-i) {
				t.Fatalf("%d watches are counted, %d are open", n, len(list)-i)
			}
			w.Close()
		}
		if n := c.watches.Load(); n != 0 || len(c.shared.list) != 0 {
			t.Errorf("%d watches are counted, and %d streams remembered, when none is open", n, len(c.shared.list))
		}
		again, err := c.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		mustCommand(t, writer, "again")
		tells(t, again, "again")
	})
}

// What ends the wait of one of several ends that of no other, whoever reads for all.
func TestTheEndOfOneWatchEndsNoOther(t *testing.T) {
	for what, end := range map[string]func(w resources.WatchStream, cancel context.CancelFunc){
		"its context": func(_ resources.WatchStream, cancel context.CancelFunc) { cancel() },
		"Close":       func(w resources.WatchStream, _ context.CancelFunc) { w.Close() },
	} {
		for first := range 3 {
			synctest.Test(t, func(t *testing.T) {
				_, _, writer, list := several(t, 3)
				ended := make(chan error, 3)
				var cancels []context.CancelFunc
				for i := range list { // the first one reads for all, the others wait
					w := list[(first+i)%3]
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					cancels = append(cancels, cancel)
					go func() {
						for {
							c, err := w.Next(ctx)
							if err != nil {
								ended <- err
								return
							}
							if len(c.Changes) > 0 {
								ended <- nil
								return
							}
						}
					}()
					synctest.Wait()
				}
				for i := range 2 {
					before := time.Now()
					end(list[(first+i)%3], cancels[i])
					if err := <-ended; err == nil || time.Since(before) > 0 {
						t.Errorf("%s, reader %d: got %v after %v, want an error at once", what, i, err, time.Since(before))
					}
				}
				mustCommand(t, writer, "on")
				if err := <-ended; err != nil {
					t.Errorf("%s: the last one ends with %v", what, err)
				}
			})
		}
	}
}

// One whose loop stands still does not hold the others, nor what they were told: it goes on by itself, from
// where it was.
func TestAWatchFarBehindOthersGetsItsOwnStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, writer, list := several(t, 2)
		slow, fast := list[0].(*sharedReader), list[1]
		large := strings.Repeat("x", 800)
		n := 3 * sharedBehindMax / 2 / len(large)
		one := func(i int) {
			mustCommand(t, writer, fmt.Sprintf("key-%04d-%s", i, large))
			tells(t, fast, fmt.Sprintf("key-%04d", i))
		}
		mustCommand(t, writer, "begins")
		tells(t, slow, "begins")
		tells(t, fast, "begins")
		for i := range n {
			one(i)
		}
		if slow.at != nil {
			t.Error("what came is held for a loop that stands still")
		}
		for i := range n {
			tells(t, slow, fmt.Sprintf("key-%04d", i))
		}
		mustCommand(t, writer, "both")
		tells(t, slow, "both")
		tells(t, fast, "both")
		if got, n := len(s.streams), c.watches.Load(); got != 2 || n != 2 {
			t.Errorf("%d streams and %d watches, want 2 of each", got, n)
		}
		if slow.own != nil || len(slow.of.readers) != 2 {
			t.Errorf("it has come as far as the others, and %d share the stream, want 2", len(slow.of.readers))
		}
		for _, key := range []string{"shared-1", "shared-2"} {
			mustCommand(t, writer, key)
			tells(t, fast, key)
			tells(t, slow, key)
		}
		slow.Close()
		fast.Close()
		if n := c.watches.Load(); n != 0 {
			t.Errorf("%d watches are counted, and none is open", n)
		}
	})
}

// [S] One piece of more than the limit has no reader part: all would, and the stream that they share would end for ever.
func TestALargePieceEndsNoSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c, writer := newClient(t, s, Config{}), newClient(t, s, Config{})
		mustCommand(t, writer, "before")
		w := watching(0)
		w.Previous = true
		var list []resources.WatchStream
		for range 3 {
			r, err := c.Watch(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			list = append(list, r)
		}
		for i := range 5 {
			put := count(fmt.Sprint(i))
			put.Operation = "large"
			if result, err := writer.Command(t.Context(), put); err != nil || result.Code != "" {
				t.Fatalf("got %v, %v", result.Code, err)
			}
			for _, r := range list {
				for {
					got, err := r.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if n := len(got.Changes); n > 0 {
						if x := got.Changes[0]; i > 0 && pieceOverhead+len(x.Key)+len(x.Value)+len(x.Previous) <= sharedBehindMax {
							t.Fatalf("a piece of %d bytes, want more than the limit", len(x.Value)+len(x.Previous))
						}
						break
					}
				}
			}
		}
		if got, n := len(s.streams), c.watches.Load(); got != 1 || n != 3 {
			t.Errorf("%d streams for %d watches, want 1 for 3", got, n)
		}
	})
}

// One that is too far behind goes on, also when somebody else takes each place that is free.
func TestAWatchFarBehindGoesOnAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, writer, list := several(t, 2)
		slow := parted(t, list)
		const most = protocol.WatchesPerCallerMax + 1 // with the one that is about to leave
		c.watches.Store(most)
		mustCommand(t, writer, "on")
		tells(t, slow, "on")
		if n := c.watches.Load(); n != most {
			t.Errorf("%d watches are counted, want %d", n, most)
		}
	})
}

// Nothing is told that the client knew when the watch began; the end of the stream is that of all, and who
// watches then has a new one.
func TestAWatchThatJoinsBeginsWhereItsClientIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, _, list := several(t, 1)
		mustCommand(t, c, "known")
		late, err := c.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		if first, err := late.Next(t.Context()); err != nil || first.Index < c.seen.index() || len(first.Changes) != 0 {
			t.Errorf("it begins with %+v, %v, want an index of %d or more", first, err, c.seen.index())
		}
		mustCommand(t, c, "news")
		tells(t, late, "news")
		tells(t, list[0], "known")
		tells(t, list[0], "news")
		s.streams[0].fail(protocol.ErrCompacted)
		for _, w := range []resources.WatchStream{list[0], late} {
			for range 2 {
				if _, err := w.Next(t.Context()); err == nil || protocol.ErrCompacted.Code != codeOf(err) {
					t.Errorf("got %v, want %v, again and again", err, protocol.ErrCompacted)
				}
			}
		}
		after, err := c.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		defer after.Close()
		mustCommand(t, c, "after")
		tells(t, after, "after")
		if got := len(s.streams); got != 2 {
			t.Errorf("%d streams, want 2", got)
		}
	})
}

// shortLived loses the member of each watch, as often as it should, before that has begun, for a reason.
type shortLived struct {
	*server
	often int
	why   error
}

func (l *shortLived) Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	stream, err := l.server.Watch(ctx, w)
	if l.often--; l.often >= 0 {
		stream.(*fakeStream).fail(l.why)
	}
	return stream, err
}

// A watch from now on whose member is lost while it is opened is opened at another; what it has asked for may end
// it, and so may its context.
func TestAWatchWhoseMemberIsLostWhileItOpensIsOpenedElsewhere(t *testing.T) {
	latest := watching(0)
	latest.Latest = true
	for what, watch := range map[string]protocol.Watch{"all": watching(0), "the newest of each key": latest} {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, &shortLived{newServer(t), 3, errBroken}, Config{})
			w, err := c.Watch(t.Context(), watch)
			if err != nil {
				t.Fatalf("%s: got %v, want a watch at the fourth member", what, err)
			}
			defer w.Close()
			mustCommand(t, c, "news")
			tells(t, w, "news")
		})
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, &shortLived{newServer(t), 1, protocol.ErrWrongType}, Config{})
			if _, err := c.Watch(t.Context(), watch); !errors.Is(err, protocol.ErrWrongType) {
				t.Errorf("%s: got %v, want %v", what, err, protocol.ErrWrongType)
			}
		})
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, &shortLived{newServer(t), 1 << 20, errBroken}, Config{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := c.Watch(ctx, watch); err == nil {
				t.Errorf("%s: got a watch of nobody", what)
			}
			if n := c.watches.Load(); n != 0 {
				t.Errorf("%s: %d watches are counted, want none", what, n)
			}
		})
	}
}

func codeOf(err error) protocol.Code { code, _ := protocol.CodeOf(err); return code }

// Watches come and go, their loops are fast and slow, and the members are lost: each loop is told one
// change after the other.
func TestWatchesThatComeAndGoMissNothing(t *testing.T) {
	s := newServer(t)
	c, writer := newClient(t, s, Config{}), newClient(t, s, Config{})
	mustCommand(t, writer, "before")
	const last = 1500
	var loops sync.WaitGroup
	for i := range 12 {
		loops.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for over := false; !over && !t.Failed(); {
				w, err := c.Watch(t.Context(), watching(0))
				if err != nil {
					t.Error(err)
					return
				}
				at := -1
				for left := rng.IntN(300); left > 0 && !over; {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rng.IntN(3000))*time.Microsecond)
					changes, err := w.Next(ctx)
					ended := ctx.Err() != nil
					cancel()
					if err != nil {
						if !ended {
							t.Error(err)
							return
						}
						continue
					}
					for _, x := range changes.Changes {
						key, n := string(x.Key), 0
						_, _ = fmt.Sscanf(key[strings.Index(key, "key-")+4:], "%d", &n)
						if at >= 0 && n != at+1 && n != last-1 {
							t.Errorf("loop %d was told %d behind %d", i, n, at)
							return
						}
						at, over = n, n == last-1
						left--
					}
					if rng.IntN(30) == 0 { // as if it were far behind
						r := w.(*sharedReader)
						r.of.mu.Lock()
						r.at = nil
						r.of.mu.Unlock()
					}
					if rng.IntN(20) == 0 {
						for range rng.IntN(2000) {
							runtime.Gosched()
						}
					}
				}
				w.Close()
			}
		})
	}
	for i := range last {
		mustCommand(t, writer, fmt.Sprintf("key-%d ", i))
		if i%100 == 50 {
			s.mu.Lock()
			if n := len(s.streams); n > 0 {
				s.streams[n-1].fail(errBroken)
			}
			s.mu.Unlock()
		}
	}
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() { // whoever begins again later is told the last one again
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				mustCommand(t, writer, fmt.Sprintf("key-%d ", last-1))
			}
		}
	})
	loops.Wait()
	close(stop)
	writing.Wait()
	if n := c.watches.Load(); n != 0 {
		t.Errorf("%d watches are counted, and none is open", n)
	}
}

// [S] What one has read for all comes before what the source says next, also when that one has gone.
func TestWhatWasReadForAllIsNotPassedOver(t *testing.T) {
	_, _, writer, list := several(t, 2)
	slow, fast := list[0].(*sharedReader), list[1]
	mustCommand(t, writer, "one")
	tells(t, fast, "one")
	fast.Close()
	mustCommand(t, writer, "two")
	old := &piece{ready: make(chan struct{})} // as the slow one saw it the moment before
	if changes, err, alone := slow.read(t.Context(), old); alone || err != nil || len(changes.Changes) > 0 {
		t.Fatalf("it reads %+v, %v, alone %v, before what has come", changes, err, alone)
	}
	tells(t, slow, "one")
	tells(t, slow, "two")
}

// [S] What came a while ago is older by that when it is told.
func TestWhatWasReadForAllGrowsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{index: 8, fresh: time.Now()}
		fast := watchedAt(t, s)
		slow, err := fast.(*sharedReader).client.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		defer slow.Close()
		hear(t, fast, 3*time.Second)
		began := time.Now()
		time.Sleep(time.Minute)
		for told := 0; told < 3; told++ {
			c, err := slow.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if c.AgeKnown && time.Duration(c.Age) < time.Since(began) {
				t.Errorf("it says that it is %v old, and came %v ago", time.Duration(c.Age), time.Since(began))
			}
		}
	})
}

// Whoever begins while another one looks for a member waits no longer than it may, and says why; it looks by
// itself when that one has given up.
func TestAWatchWaitsForNobodyElsesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t)
		c := newClient(t, s, Config{})
		mustCommand(t, c, "before")
		s.fateIs(fate{before: protocol.ErrUnavailable})
		begin := func(patience time.Duration) chan error {
			ended := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				w, err := c.Watch(ctx, watching(0))
				if err == nil {
					w.Close()
				}
				ended <- err
			}()
			synctest.Wait()
			return ended
		}
		first, second, third := begin(10*time.Second), begin(time.Second), begin(time.Minute)
		wantIs(t, <-second, []error{protocol.ErrUnavailable, context.DeadlineExceeded}, nil)
		wantIs(t, <-first, []error{protocol.ErrUnavailable, context.DeadlineExceeded}, nil)
		s.setFate(nil)
		if err := <-third; err != nil {
			t.Errorf("the one that may wait longer: %v", err)
		}
		if n := c.watches.Load(); n != 0 || len(c.shared.list) != 0 {
			t.Errorf("%d watches are counted, and %d streams remembered, when none is open", n, len(c.shared.list))
		}
	})
}
