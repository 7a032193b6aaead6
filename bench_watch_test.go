package starling_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/freeport"
)

// BenchmarkWatches has many watches over a hundred connections, of 2,000 keys between them, two passives and
// three actives in this process, and 2,000 writes a second. It says how long after the beginning of the write an
// event reaches its loop, and what a watch takes of memory and goroutines, at both ends.
//
//	go test -run xxx -bench Watches -benchtime 20000x .
func BenchmarkWatches(b *testing.B) {
	for _, watches := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("watches=%d", watches), func(b *testing.B) { benchWatches(b, watches) })
	}
}

// BenchmarkWatchesOfTheSame has 400 watches of a whole map by one client, and writes as fast as they go.
//
//	go test -run xxx -bench WatchesOfTheSame -benchtime 3000x .
func BenchmarkWatchesOfTheSame(b *testing.B) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cluster, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	m := starling.NewMap[string, int](cluster.Client, "m")
	var done sync.WaitGroup
	for range 400 {
		events := m.Watch(ctx, starling.WatchOptions{})
		done.Go(func() {
			n := 0
			for _, err := range events {
				if err != nil {
					b.Error(err)
					return
				}
				if n++; n == b.N {
					return
				}
			}
		})
	}
	b.ResetTimer()
	for n := range b.N {
		if err := starling.NewMap[string, int](cluster.Nodes[0], "m").Put(ctx, "key", n); err != nil {
			b.Fatal(err)
		}
	}
	done.Wait()
}

const (
	watchConnections = 100
	watchKeys        = 2000
	watchRate        = 2000 // writes a second
	watchWriters     = 64
)

func benchWatches(b *testing.B, watches int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cluster, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 3, Passives: 2, Dir: b.TempDir(), Bind: freeport.Addresses(b, 5)[0]})
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	clients := make([]*starling.Client, watchConnections)
	for i := range clients {
		if clients[i], err = starling.Dial(ctx, starling.ClientConfig{Addresses: []string{cluster.Nodes[3+i%2].Addr()}}); err != nil {
			b.Fatal(err)
		}
		defer clients[i].Close()
	}
	key := func(n int) string { return fmt.Sprintf("%04d/k", n%watchKeys) }
	memory, goroutines := inUse(), runtime.NumGoroutine()
	want := 0
	for w := range watches {
		want += b.N / watchKeys
		if w%watchKeys < b.N%watchKeys {
			want++
		}
	}
	l := &lags{want: want, all: make([]int64, 0, want), reached: make(chan struct{})}
	var done, begun sync.WaitGroup
	watching, stop := context.WithCancel(ctx)
	for w := range watches {
		begun.Add(1)
		done.Go(func() {
			m := starling.NewMap[string, int64](clients[w%watchConnections], "m")
			events := m.Watch(watching, starling.WatchOptions{Prefix: []byte(key(w))})
			begun.Done()
			for e, err := range events {
				if err != nil {
					if watching.Err() == nil {
						b.Error(err)
					}
					return
				}
				l.add(time.Now().UnixNano() - e.Value)
			}
		})
	}
	begun.Wait()
	perWatch, each := float64(inUse()-memory)/float64(watches), float64(runtime.NumGoroutine()-goroutines)/float64(watches)
	m, next := starling.NewMap[string, int64](cluster.Client, "m"), atomic.Int64{}
	pace := time.NewTicker(time.Second / watchRate)
	defer pace.Stop()
	b.ResetTimer()
	var writing sync.WaitGroup
	for range watchWriters {
		writing.Go(func() {
			for n := next.Add(1) - 1; n < int64(b.N); n = next.Add(1) - 1 {
				<-pace.C
				if err := m.Put(ctx, key(int(n)), time.Now().UnixNano()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	writing.Wait()
	b.StopTimer()
	if want > 0 {
		select {
		case <-l.reached:
		case <-ctx.Done():
			b.Error(ctx.Err())
		}
	}
	stop()
	done.Wait()
	if got := len(l.all); got != want {
		b.Errorf("%d events, want %d", got, want)
	}
	b.ReportMetric(l.within(0.5), "ms-p50")
	b.ReportMetric(l.within(0.99), "ms-p99")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(perWatch, "B/watch")
	b.ReportMetric(each, "goroutines/watch")
}

// lags are how late events came, in nanoseconds.
type lags struct {
	mu      sync.Mutex
	all     []int64
	want    int
	reached chan struct{} // closed when there are as many as are wanted
}

func (l *lags) add(ns int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all = append(l.all, ns); len(l.all) == l.want {
		close(l.reached)
	}
}

// within is in how many milliseconds a share came.
func (l *lags) within(share float64) float64 {
	slices.Sort(l.all)
	if len(l.all) == 0 {
		return 0
	}
	return float64(l.all[int(share*float64(len(l.all)-1))]) / 1e6
}

// inUse is what the heap and the stacks take once what is unused was collected.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
