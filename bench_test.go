package starling_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// benchCluster is three members in this process, over real loopback sockets,
// with real directories and real syncs. It returns the leader.
func benchCluster(b *testing.B) *starling.Node {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var nodes []*starling.Node
	for _, name := range []string{"a1", "a2", "a3"} {
		cfg := starling.Config{Name: name, Dir: b.TempDir(), Bind: "127.0.0.1:0", Role: starling.Active, Bootstrap: len(nodes) == 0}
		if len(nodes) > 0 {
			cfg.Join = []string{nodes[0].Addr()}
		}
		node, err := starling.Open(ctx, cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := node.Close(); err != nil {
				b.Error(err)
			}
		})
		nodes = append(nodes, node)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		voters := 0
		for _, m := range nodes[0].Status().Members {
			if m.Suffrage == "voter" {
				voters++
			}
		}
		for _, n := range nodes {
			if s := n.Status(); voters == len(nodes) && s.Leader == s.Name {
				return n
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.Fatalf("%d voters: %v", voters, ctx.Err())
		}
	}
}

// share lets n goroutines share b.N calls.
func share(b *testing.B, n int, call func(i int64) error) {
	b.Helper()
	shareOut(b, n, b.N, call)
}

// shareOut lets n goroutines share a number of calls.
func shareOut(b *testing.B, n, calls int, call func(i int64) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(calls) {
					return
				}
				if err := call(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Durable writes of 256 B at the leader: three members, each syncs.
func BenchmarkDurableWrites(b *testing.B) {
	leader := benchCluster(b)
	value := strings.Repeat("v", 256)
	users := starling.NewMap[string, string](leader, "bench")
	for _, writers := range []int{1, 16, 64, 256, 1024} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			b.ReportAllocs()
			share(b, writers, func(i int64) error {
				return users.Put(context.Background(), fmt.Sprintf("k%07d", i%100_000), value)
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

// Reads at one member with 100,000 keys, on one goroutine per core.
func BenchmarkReads(b *testing.B) {
	leader := benchCluster(b)
	const keys = 100_000
	users := starling.NewMap[string, string](leader, "bench")
	value := strings.Repeat("v", 256)
	shareOut(b, 256, keys, func(i int64) error {
		return users.Put(context.Background(), fmt.Sprintf("k%07d", i), value)
	})
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprintf("k%07d", i+1)
	}
	for _, level := range []struct {
		name string
		opt  starling.ReadOption
	}{{"local", starling.Locally}, {"linearizable", starling.Linearizable}} {
		for _, readers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/readers=%d", level.name, readers), func(b *testing.B) {
				b.ReportAllocs()
				share(b, readers, func(i int64) error {
					_, err := users.Get(context.Background(), names[int(i)%keys], level.opt)
					return err
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
			})
		}
	}
}

// A restart of one member with 100,000 keys of 256 B, until it serves.
func BenchmarkRestart(b *testing.B) {
	ctx := context.Background()
	cfg := starling.Config{Name: "a1", Dir: b.TempDir(), Bind: "127.0.0.1:0", Role: starling.Active, Bootstrap: true, Actives: 1}
	node, err := starling.Open(ctx, cfg)
	if err != nil {
		b.Fatal(err)
	}
	const keys = 100_000
	users := starling.NewMap[string, string](node, "bench")
	value := strings.Repeat("v", 256)
	shareOut(b, 256, keys, func(i int64) error { return users.Put(ctx, fmt.Sprintf("k%07d", i), value) })
	if err := node.Close(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		node, err := starling.Open(ctx, cfg)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/restart")
		b.StopTimer()
		if err := node.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// Many callers of one member whose deadline of 200 ms comes before their turn:
// how long until the last of them is back, and how long a write without a
// deadline takes that is begun once all of them wait.
func BenchmarkCallersGiveUp(b *testing.B) {
	ctx := context.Background()
	node, err := starling.Open(ctx, starling.Config{Name: "a1", Dir: b.TempDir(), Bind: "127.0.0.1:0", Role: starling.Active, Bootstrap: true, Actives: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer node.Close()
	users := starling.NewMap[string, string](node, "bench")
	for _, callers := range []int{25_000, 50_000, 100_000, 200_000} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			for b.Loop() {
				var begun atomic.Int64
				var wg sync.WaitGroup
				began := time.Now()
				for i := range callers {
					wg.Go(func() {
						hurried, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
						defer cancel()
						begun.Add(1)
						_ = users.Put(hurried, fmt.Sprintf("k%d", i%100), "v") // most are too late
					})
				}
				for begun.Load() < int64(callers) {
					runtime.Gosched()
				}
				waits := time.Now()
				if err := users.Put(ctx, "patient", "v"); err != nil {
					b.Fatal(err)
				}
				waited := time.Since(waits)
				wg.Wait()
				b.ReportMetric(time.Since(began).Seconds(), "s/last")
				b.ReportMetric(waited.Seconds(), "s/patient")
			}
		})
	}
}
