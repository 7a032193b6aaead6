package runtime

import (
	"context"
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
}

// Close ends the watch. Closing it twice is harmless.
func (w *watcher) Close() {
	w.ticker.Stop()
	w.Watcher.Close()
}

// Watch follows the changes of a resource from this member's state.
func (m *Member) Watch(_ context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	return m.watchWithin(w, 0)
}

// watchWithin is Watch for one who can be told at most so many bytes at once.
func (m *Member) watchWithin(w *protocol.Watch, bytesMax int) (resources.WatchStream, error) {
	if err := m.Err(); err != nil {
		return nil, err
	}
	if p := m.suspended.Load(); p != nil {
		return nil, *p
	}
	if p := m.published.Load(); p != nil {
		if err := p.Differs.Refuses(w.Resource); err != nil {
			return nil, err
		}
	}
	inner, err := m.machine.WatchWithin(w, bytesMax)
	if err != nil {
		return nil, err
	}
	out := &watcher{inner, time.NewTicker(watchProgressEvery)}
	out.TellProgress(out.ticker.C)
	return out, nil
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
	for {
		changes, err := stream.Next(to.Context())
		if err != nil {
			_ = to.Fail(err)
			return
		}
		if to.Tell(&changes) != nil {
			return
		}
	}
}
