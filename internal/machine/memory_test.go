package machine_test

import (
	"testing"

	"github.com/starlinghq/starling/internal/machine"
)

// BenchmarkMemory reports what is left in memory of what came and went, on a
// machine with a member's defaults:
//
//	go test -run xxx -bench Memory -benchtime 1x ./internal/machine
//
// Each begins with two rounds of the same, so that the ring of recent changes is
// full of it, and so is what a checkpoint finds.
func BenchmarkMemory(b *testing.B) {
	const round, many = 1 << 16, 200_000
	measure := func(b *testing.B, between func(c *churner), churn func(c *churner, from, to int)) {
		for b.Loop() {
			c := newChurner(b, 0)
			churn(c, 0, round)
			between(c)
			churn(c, round, 2*round)
			before, keys := c.heap(), c.m.Stats().Keys
			churn(c, 2*round, 2*round+many)
			after := c.heap()
			b.ReportMetric(mib(before), "MiB-before")
			b.ReportMetric(mib(after), "MiB-after")
			b.ReportMetric(max(0, float64(after)-float64(before))/many, "B/step")
			b.ReportMetric(float64(c.m.Stats().Keys-keys), "more-keys")
		}
	}
	b.Run("commands-after-a-checkpoint", func(b *testing.B) {
		measure(b, (*churner).checkpoint, func(c *churner, from, to int) {
			for n := from; n < to; n++ {
				c.put("m", key(n%64), key(n))
			}
		})
	})
	b.Run("keys-behind-a-watcher-that-hangs", func(b *testing.B) {
		var w *machine.Watcher
		measure(b, func(c *churner) { w = c.watch("m", 0) }, func(c *churner, from, to int) {
			c.slide("m", from, from+10)
			for range 21 {
				if w == nil {
					break
				}
				if _, err := w.Next(b.Context()); err != nil {
					break // it has hung before
				}
			}
			c.slide("m", from+10, to)
		})
		w.Close()
	})
	b.Run("instances-whose-keys-are-deleted", func(b *testing.B) {
		measure(b, func(*churner) {}, func(c *churner, from, to int) {
			for n := from; n < to; n++ {
				c.put(name(n), []byte("k"), key(n))
			}
			for n := from; n < to; n++ {
				c.delete(name(n), []byte("k"))
			}
		})
	})
}
