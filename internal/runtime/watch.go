package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// watchProgressEvery is between two words on how far a watch has told everything, while
// nothing that it tells is written.
const watchProgressEvery = time.Second

// watcher is a place in the changes of a resource, and what has it say how far it is.
type watcher struct {
	*machine.Watcher
	ticker *time.Ticker
	of     *Member
}

// Close ends the watch. Closing it twice is harmless.
func (w *watcher) Close() {
	w.ticker.Stop()
	w.Watcher.Close()
}

// StateAge says how old the member's state is. It makes a watch of this process a source of ages.
func (w *watcher) StateAge() protocol.Result { return w.of.state.Age() }

// Watch follows the changes of a resource from this member's state.
func (m *Member) Watch(_ context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	return m.watchWithin(w, 0)
}

// watchWithin is Watch for one who can be told at most so many bytes at once.
func (m *Member) watchWithin(w *protocol.Watch, bytesMax int) (*watcher, error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	withheld := func() error {
		now := m.sight()
		return now.WithheldOf(w.Resource)
	}
	inner, err := m.machine.WatchWithin(w, bytesMax)
	if err != nil {
		return nil, err
	}
	if err := withheld(); err != nil { // asked when it has begun: what is found out from now on ends it
		inner.Close()
		return nil, err
	}
	out := &watcher{inner, time.NewTicker(watchProgressEvery), m}
	out.TellProgress(out.ticker.C)
	out.EndWith(func() error { return endOfWatch(withheld()) })
	return out, nil
}

// endOfWatch is what ends a watch that runs when its resource must not be read any more, or nil.
//
// [S] Where what it was told may be wrong, it does not go on at another member from where it is: the true
// changes up to there would never be told.
func endOfWatch(withheld error) error {
	if errors.Is(withheld, errDoubted) || errors.Is(withheld, protocol.ErrDisputed) {
		return protocol.ErrCompacted.With("what was told may be wrong: read the state, and watch on from the index of that read: " + withheld.Error())
	}
	return withheld
}

// watch feeds a remote watcher until either side has enough. One entry can
// delete a million keys: it is told in parts, so that nobody has to hold them all
// for each of a thousand watchers.
func (h handler) watch(w *protocol.Watch, to *wire.Responder) {
	defer h.m.workers.Done()
	stream, err := h.m.watchWithin(w, protocol.WatchPartBytesMax)
	if err != nil {
		_ = to.Fail(err)
		return
	}
	defer stream.Close()
	for told, begun, midway := protocol.Index(0), false, false; ; begun = true {
		changes, err := stream.Next(to.Context())
		if err != nil {
			_ = to.Fail(err)
			return
		}
		if begun && len(changes.Changes) == 0 && changes.Index <= told && !midway {
			continue // the client knows
		}
		told, midway = changes.Index, changes.More
		if to.Tell(&changes) != nil {
			return
		}
	}
}
