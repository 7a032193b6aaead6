package machine_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// A state that has diverged is replaced by an older one, and the entries above
// that are applied again. Whoever watches may have been told what never was.
func TestReplacedStateGoesBackAndOnAndTellsAllWatchers(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	put(t, l, "m", "a", "1")
	good := l.m.Snapshot()
	defer good.Close()
	at := put(t, l, "m", "a", "2")
	all, now, above := watch(t, l, "", good.Index()), watch(t, l, "", 0), watch(t, l, "", at+5)
	next(t, all)
	next(t, all)
	next(t, now)
	next(t, above)
	l.m.Replace(loaderOf(t, l.m, good))
	if i, digest := l.m.Digest(); i != good.Index() || digest != good.Digest() {
		t.Errorf("got %v at %d, want %v at %d", digest, i, good.Digest(), good.Index())
	}
	if err := l.m.WaitApplied(t.Context(), good.Index()); err != nil {
		t.Error(err)
	}
	for what, w := range map[string]*machine.Watcher{"was told everything": all, "waits": now, "begins later": above} {
		if _, err := w.Next(t.Context()); !errors.Is(err, protocol.ErrCompacted) {
			t.Errorf("one that %s: got %v, want compacted", what, err)
		}
	}
	again := watch(t, l, "", good.Index())
	next(t, again)
	if i := put(t, l, "m", "a", "3"); i != at {
		t.Fatalf("applied at %d, want %d again", i, at)
	}
	if got, want := next(t, again), fmt.Sprintf("%d 1:a=3", at); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
