package machine_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// fill puts n keys of 16 bytes with values of 256 bytes into the map "m".
func fill(b testing.TB, n int) (*local, [][]byte) {
	b.Helper()
	l := newLocal(b, kvmap.Type)
	keys := make([][]byte, n)
	for k := range keys {
		keys[k] = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(k)*0x9e3779b97f4a7c15), uint64(k))
	}
	value := make([]byte, 256)
	for k := 0; k < n; k += 500 {
		var pairs kvmap.Pairs
		for _, key := range keys[k:min(k+500, n)] {
			pairs = append(pairs, kvmap.Pair{Key: key, Value: value})
		}
		if _, err := kvmap.PutAll.Do(context.Background(), l, "m", pairs); err != nil {
			b.Fatal(err)
		}
	}
	return l, keys
}

// puts returns entries of a client that pipelines puts of the keys.
func puts(l *local, keys [][]byte, n int) []protocol.Entry {
	value := make([]byte, 256)
	entries := make([]protocol.Entry, n)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range entries {
		argument, _ := kvmap.PutRequest{Key: keys[r.IntN(len(keys))], Value: value}.AppendRaw(nil)
		l.sequence++
		entries[i] = protocol.Entry{Index: l.m.Applied() + 1 + protocol.Index(i), Term: 1, Kind: protocol.EntryCommand,
			Data: protocol.EncodeCommand(&protocol.Command{Session: l.session, Sequence: l.sequence, Floor: max(l.sequence, 65) - 64,
				Resource: "m", Type: "map", Version: 1, Operation: "put", Argument: argument})}
	}
	return entries
}

// A put costs the version of its key, and its answer: no member allocates more for it. What its session remembers has
// its place, and what watchers are told comes from a slab.
func TestWhatAPutAllocates(t *testing.T) {
	l, keys := fill(t, 1000)
	const batch, runs = 64, 50
	entries := puts(l, keys, (runs+1)*batch)
	var results []protocol.Result
	n := testing.AllocsPerRun(runs, func() {
		results = l.m.Apply(entries[:batch], results[:0])
		entries = entries[batch:]
	})
	if n /= batch; n > 2.5 {
		t.Errorf("%.2f allocations, want 2", n)
	}
}

var sizes = []int{10_000, 1_000_000}

// BenchmarkViewGet is the local read: bytes, one core.
func BenchmarkViewGet(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, keys := fill(b, n)
			v, err := l.m.View("m", "map")
			if err != nil {
				b.Fatal(err)
			}
			defer v.Close()
			read(b, v, keys)
		})
	}
}

func read(b *testing.B, v *resources.View, keys [][]byte) {
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		if _, ok, err := v.Get(keys[r.IntN(len(keys))]); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

// BenchmarkViewGetWhileApplying is 100 local reads with a writer at full speed.
func BenchmarkViewGetWhileApplying(b *testing.B) {
	l, keys := fill(b, 10_000)
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		var results []protocol.Result
		for !stop.Load() {
			results = l.m.Apply(puts(l, keys, 64), results[:0])
		}
	}()
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() { // 100 reads; a view is not kept for long
		v, err := l.m.View("m", "map")
		if err != nil {
			b.Fatal(err)
		}
		for range 100 {
			if _, ok, err := v.Get(keys[r.IntN(len(keys))]); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
		v.Close()
	}
	stop.Store(true)
	<-done
}

// BenchmarkQueryGet is the whole query: view, look-up, answer.
func BenchmarkQueryGet(b *testing.B) {
	l, keys := fill(b, 10_000)
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		result := l.m.Query(b.Context(), &protocol.Query{Resource: "m", Type: "map", Operation: "get", Argument: keys[r.IntN(len(keys))]})
		if result.Err() != nil {
			b.Fatal(result.Err())
		}
	}
}

// BenchmarkApplyPut applies puts of 256 bytes in batches of 64, sessions, ring
// and digest included.
func BenchmarkApplyPut(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, keys := fill(b, n)
			var results []protocol.Result
			b.ReportAllocs()
			b.ResetTimer()
			for done := 0; done < b.N; done += 64 {
				b.StopTimer()
				entries := puts(l, keys, 64)
				b.StartTimer()
				results = l.m.Apply(entries, results[:0])
			}
		})
	}
}
