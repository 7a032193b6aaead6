package machine

import (
	"context"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Poller is a watcher for who has no goroutine that could wait in Next: it is asked what there is.
// Simulated members tell their watches so.
type Poller struct {
	*Watcher
	ticks chan time.Time
	ended chan struct{}
}

// Polled makes the watcher one that is asked. It is called before the first Next, and instead of
// TellProgress.
func (w *Watcher) Polled() *Poller {
	p := &Poller{w, make(chan time.Time, 1), make(chan struct{})}
	close(p.ended)
	w.TellProgress(p.ticks)
	return p
}

// IsBehind reports whether the watcher reads the file of changes.
func (p *Poller) IsBehind() bool { return p.recalled != nil }

// Poll is Next where there is something to be told. Where Next would wait, it returns no changes,
// and the index that was said last. With a tick it is the moment to say how far everything was
// told, as at a tick of TellProgress. Whether that or a change that has just woken the watcher
// comes first is open in Next; here it is the tick. It is not called after Close.
func (p *Poller) Poll(tick bool) (protocol.Changes, error) {
	if !tick {
		return p.Next(asking{context.Background(), p})
	}
	p.ticks <- time.Time{}
	select {
	case <-p.wake:
		defer func() { p.wake <- struct{}{} }()
	default:
	}
	c, err := p.Next(asking{context.Background(), p})
	select {
	case <-p.ticks: // it had no need to wait
	default:
	}
	return c, err
}

// asking is a context that has ended when nothing else is there that would end a wait.
type asking struct {
	context.Context
	p *Poller
}

// Done returns what ends the wait.
func (a asking) Done() <-chan struct{} {
	if len(a.p.wake)+len(a.p.ticks) > 0 {
		return nil
	}
	return a.p.ended
}

// Err is nil: that there is nothing to tell is no error.
func (a asking) Err() error { return nil }
