package runtime

import (
	"context"

	"github.com/starlinghq/starling/protocol"
)

// handOverTimeouts is how long a leader that stops waits for its transferee, in
// election timeouts: the transfer gives up after one, and then a second is for a
// loop that is busy. Without the wait the others would need as long to notice.
const handOverTimeouts = 2

// handOver gives the leadership away before a graceful stop, and returns when
// another member leads, or when there is no more patience. That it fails is no
// reason not to stop: the others then elect by themselves.
func handOver(ctx context.Context, m *Member) {
	if p := m.published.Load(); p == nil || !p.Leads {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverTimeouts*m.cfg.activeConfig().Election)
	defer cancel()
	answer := make(chan protocol.Result, 1)
	forget := m.inLoop(func(r protocol.Result) { answer <- r }, func(id uint64) { m.replica.HandOver(m.clock.Now(), id) })
	defer forget()
	var err error
	select {
	case r := <-answer:
		err = r.Err()
	case <-ctx.Done():
		err = ctx.Err()
	}
	for err == nil {
		changed := m.changed.wait()
		if p := m.published.Load(); !p.Leads && !p.Leader.IsZero() {
			return
		}
		select {
		case <-changed:
		case <-m.done:
			return
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	m.logger.Debug("nobody took the leadership over", "err", err)
}
