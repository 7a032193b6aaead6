package client

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// [S] Who is left alone is told nothing that its client knew when it began.
func TestAWatchThatIsLeftAloneDoesNotGoBack(t *testing.T) {
	_, c, writer, list := several(t, 1)
	mustCommand(t, writer, "one")
	mustCommand(t, c, "two") // it has seen more than its stream has told
	late, err := c.Watch(t.Context(), watching(0))
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	list[0].Close()
	first, err := late.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustCommand(t, c, "news")
	for at := first.Index; ; {
		got, err := late.Next(t.Context())
		if err != nil || got.Index < at {
			t.Fatalf("got index %d behind %d, %v", got.Index, at, err)
		}
		at = got.Index
		if len(got.Changes) > 0 {
			if key := string(got.Changes[0].Key); !strings.Contains(key, "news") {
				t.Errorf("told %q, want what came later", key)
			}
			return
		}
	}
}

// Whoever is alone when it begins to wait is ended by Close at once, also when another one has joined since.
func TestAWaitThatBeganAloneEndsWithClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, writer, list := several(t, 1)
		ended := make(chan error, 1)
		go func() {
			_, _ = list[0].Next(t.Context()) // where it begins
			_, err := list[0].Next(t.Context())
			ended <- err
		}()
		synctest.Wait()
		late, err := c.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		before := time.Now()
		list[0].Close()
		if err := <-ended; !errors.Is(err, protocol.ErrClosed) || time.Since(before) > 0 {
			t.Errorf("got %v after %v, want %v at once", err, time.Since(before), protocol.ErrClosed)
		}
		mustCommand(t, writer, "on")
		tells(t, late, "on")
	})
}

// Nobody joins a stream that is not read: what lies there is another past.
func TestNobodyJoinsAStreamThatIsNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c, writer, list := several(t, 1)
		mustCommand(t, writer, "long ago")
		time.Sleep(time.Hour)
		late, err := c.Watch(t.Context(), watching(0))
		if err != nil {
			t.Fatal(err)
		}
		defer late.Close()
		mustCommand(t, writer, "news")
		tells(t, late, "news")
		tells(t, list[0], "long ago")
		tells(t, list[0], "news")
		if got := len(s.streams); got != 2 {
			t.Errorf("%d streams, want 2", got)
		}
		late.Close()
		list[0].Close()
		if n := c.watches.Load(); n != 0 || len(c.shared.list) != 0 {
			t.Errorf("%d watches are counted, and %d streams remembered, when none is open", n, len(c.shared.list))
		}
	})
}

// A watch that is too far behind and finds no member says so once a second, and ends with Close.
func TestAWatchFarBehindThatFindsNobodyIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _, list := several(t, 2)
		slow := parted(t, list)
		s.fateIs(fate{before: protocol.ErrUnavailable})
		before := time.Now()
		for range 3 {
			if c, err := slow.Next(t.Context()); err != nil || len(c.Changes) > 0 {
				t.Fatalf("got %+v, %v, want nothing", c, err)
			}
		}
		if took := time.Since(before); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("it says three times in %v that there is nothing, want once a second", took)
		}
		time.AfterFunc(time.Second/2, slow.Close)
		if _, err := slow.Next(t.Context()); !errors.Is(err, protocol.ErrClosed) {
			t.Errorf("got %v, want %v", err, protocol.ErrClosed)
		}
	})
}

// What no member would take is answered to all that wait for it, with one request.
func TestARefusalIsThatOfAllWhoWait(t *testing.T) {
	s := newServer(t)
	c := newClient(t, s, Config{})
	mustCommand(t, c, "before")
	s.fateIs(fate{before: protocol.ErrUnknownType})
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			_, err := c.Watch(t.Context(), watching(0))
			wantIs(t, err, []error{protocol.ErrUnknownType}, nil)
		})
	}
	waiting.Wait()
	if n := c.watches.Load(); n != 0 || len(c.shared.list) != 0 {
		t.Errorf("%d watches are counted, and %d streams remembered, when none is open", n, len(c.shared.list))
	}
}

// parted has the first of some watches be too far behind, and go on by itself.
func parted(t *testing.T, list []resources.WatchStream) *sharedReader {
	t.Helper()
	slow := list[0].(*sharedReader)
	_, _ = slow.Next(t.Context()) // where it begins
	slow.of.mu.Lock()
	slow.at, slow.of.index = nil, 1000 // what has come there
	slow.of.mu.Unlock()
	return slow
}

// A watch that goes on by itself does not come back to a stream that nobody reads any more, which has ended.
func TestAWatchFarBehindOutlivesTheOthers(t *testing.T) {
	_, c, writer, list := several(t, 2)
	slow := parted(t, list)
	mustCommand(t, writer, "one")
	tells(t, slow, "one")
	list[1].Close()
	slow.of.index = 0 // it has come as far
	for _, key := range []string{"two", "three", "four"} {
		mustCommand(t, writer, key)
		tells(t, slow, key)
	}
	own := slow.own
	slow.Close()
	slow.of.readers[nil] = struct{}{} // as if others read on
	slow.rejoin(own, 2000)
	if n := c.watches.Load(); n != 0 || len(slow.of.readers) != 1 {
		t.Errorf("after Close %d watches are counted, and %d read the stream", n, len(slow.of.readers)-1)
	}
}

// [S] What its own stream has told is not told again by the one that others share, which is behind it.
func TestAWatchThatSharesAgainIsToldNothingTwice(t *testing.T) {
	_, _, writer, list := several(t, 2)
	slow := parted(t, list)
	one := mustCommand(t, writer, "one").Index
	slow.of.mu.Lock()
	slow.of.index = one // as far as its own, though nobody has read "one" there
	slow.of.mu.Unlock()
	tells(t, slow, "one")
	if slow.own != nil {
		t.Fatal("it does not share again")
	}
	tells(t, list[1], "one")
	mustCommand(t, writer, "two")
	tells(t, slow, "two")
	tells(t, list[1], "two")
}
