package machine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/starlinghq/starling/protocol"
)

// TestWaitersComeAndGiveUp: each batch lets go those who wait for what it has
// reached, in whatever order they came, and who gives up is gone at once.
func TestWaitersComeAndGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 500
		var w waiters
		var applied protocol.Index
		stopped := func() error { return nil }
		type one struct {
			index  protocol.Index
			cancel context.CancelFunc
			err    chan error
		}
		var list []one
		for k := range n {
			ctx, cancel := context.WithCancel(t.Context())
			o := one{protocol.Index(1 + k*317%n), cancel, make(chan error, 1)}
			list = append(list, o)
			go func() {
				o.err <- w.wait(ctx, o.index, func() protocol.Index { return applied }, stopped)
			}()
		}
		synctest.Wait()
		left := n
		for k := range list {
			if k%3 == 0 {
				list[k].cancel()
				left--
			}
		}
		synctest.Wait()
		if len(w.heap) != left || int(w.some.Load()) != left {
			t.Errorf("%d are left, counted %d, want %d", len(w.heap), w.some.Load(), left)
		}
		for i := protocol.Index(1); i <= n; i += 50 {
			applied = i
			w.wake(i)
			synctest.Wait()
			for k, o := range list {
				select {
				case err := <-o.err:
					if gaveUp := k%3 == 0; gaveUp != errors.Is(err, context.Canceled) || !gaveUp && (err != nil || o.index > i) {
						t.Errorf("%d, for index %d, at %d: got %v", k, o.index, i, err)
					}
				default:
					if k%3 == 0 && i == 1 || o.index <= i && o.index > i-50 && k%3 != 0 {
						t.Errorf("%d, for index %d, still waits at %d", k, o.index, i)
					}
				}
			}
		}
		w.close()
		synctest.Wait()
		if len(w.heap) != 0 || w.some.Load() != 0 {
			t.Errorf("%d still wait after the end", len(w.heap))
		}
		for _, o := range list {
			o.cancel()
		}
	})
}
