package runtime

import (
	"context"
	"log/slog"
	"time"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// checkpoints is the store that the lanes of checkpoints work on.
type checkpoints struct{ store storage.CheckpointStore }

// close gives up what waits, and the store. Nothing that was promised depends on it,
// and the store bounds how long it takes.
func (c *checkpoints) close(waits *queue[func() member.Done]) error {
	for step, ok := waits.take(); ok; step, ok = waits.take() {
		step() // the member's life is over: it only lets go of what it holds
	}
	return c.store.Close()
}

// progressEvery is how often long work is told of in the log.
const progressEvery = time.Second

// logProgress returns what tells the log, now and then, how far the reading of a
// checkpoint has come, and how long it took.
func (m *Member) logProgress(what string) func(snapshotter.Progress) {
	began := m.clock.Now()
	last := began
	return func(p snapshotter.Progress) {
		now := m.clock.Now()
		if p.Done < p.Total && now.Sub(last) < progressEvery {
			return
		}
		last = now
		m.logger.Info(what, "index", p.Index, "items", p.Done, "of", p.Total, "took", now.Sub(began))
	}
}

// tellStart writes to the log what was found at the start.
func (m opening) tellStart(e protocol.Event) {
	level := slog.LevelWarn
	if e.Kind == protocol.EventInstalled {
		level = slog.LevelInfo
	}
	m.logger.Log(context.Background(), level, e.Text)
}

// elsewhereTimeout is how long the other members may take to answer before a
// checkpoint that killed this process is tried again.
const elsewhereTimeout = 10 * time.Second

// elsewhere reports whether another member answers, of which a checkpoint may be
// had.
func (m opening) elsewhere(ctx context.Context) bool {
	addresses := m.otherAddresses()
	if len(addresses) == 0 {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, elsewhereTimeout)
	defer cancel()
	_, err := m.asker().findCluster(ctx, addresses)
	return err == nil
}
