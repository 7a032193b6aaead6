package checkpoint_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	benchKeys    = 100_000
	benchChanged = 2_000
	benchValue   = 256
)

func benchItem(i int, index protocol.Index) storage.Item {
	value := make([]byte, benchValue)
	r := rand.New(rand.NewPCG(uint64(i), uint64(index)))
	for k := range value {
		value[k] = byte(r.Uint32())
	}
	return storage.Item{Space: "map", Key: fmt.Appendf(nil, "key-%08d", i), Index: index, Value: value}
}

type benchStore struct {
	b *testing.B
	*checkpoint.Store
	all []storage.Item
}

// newBenchStore has one full checkpoint at 1.
func newBenchStore(b *testing.B) *benchStore {
	b.Helper()
	s, err := checkpoint.Open(vfs.OS(), filepath.Join(b.TempDir(), "c"), badgerengine.New(badgerengine.Options{}), checkpoint.Options{SpaceReserve: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	out := &benchStore{b: b, Store: s}
	for i := range benchKeys {
		out.all = append(out.all, benchItem(i, 1))
	}
	out.full(1)
	return out
}

func (s *benchStore) full(index protocol.Index) {
	s.b.Helper()
	w, err := s.BeginFull(context.Background(), index, 0)
	if err != nil {
		s.b.Fatal(err)
	}
	s.commit(w, index, s.all)
}

func (s *benchStore) commit(w storage.CheckpointWriter, index protocol.Index, items []storage.Item) {
	s.b.Helper()
	for part := range slices.Chunk(items, 1000) {
		if err := w.Write(context.Background(), part); err != nil {
			s.b.Fatal(err)
		}
	}
	if _, err := w.Commit(context.Background(), storagetest.Describe(index)); err != nil {
		s.b.Fatal(err)
	}
}

func BenchmarkFull(b *testing.B) {
	s := newBenchStore(b)
	index := protocol.Index(1)
	for b.Loop() {
		index++
		s.full(index)
	}
	b.SetBytes(benchKeys * benchValue)
}

// incremental begins one on top of the older of two.
func (s *benchStore) incremental(index protocol.Index) (storage.CheckpointWriter, error) {
	s.b.Helper()
	if len(s.Kept()) < 2 {
		s.full(index - 1)
	}
	return s.BeginIncremental(context.Background(), index, s.Kept()[1])
}

// Changed keys all over the state, and such that stand together.
func BenchmarkIncremental(b *testing.B) {
	for _, spread := range []bool{true, false} {
		name := map[bool]string{true: "spread", false: "together"}[spread]
		b.Run(name, func(b *testing.B) {
			s := newBenchStore(b)
			index := protocol.Index(10)
			for b.Loop() {
				b.StopTimer()
				index++
				var changed []storage.Item
				for k := range benchChanged {
					i := int(index)*benchChanged + k
					if spread {
						i = k*(benchKeys/benchChanged) + int(index)
					}
					changed = append(changed, benchItem(i%benchKeys, index))
				}
				b.StartTimer()
				w, err := s.incremental(index)
				if err != nil {
					b.Fatal(err)
				}
				s.commit(w, index, changed)
			}
		})
	}
}

// BenchmarkNothingChanged is what a checkpoint costs a member that is idle. It
// also says how many files the store keeps open.
func BenchmarkNothingChanged(b *testing.B) {
	s := newBenchStore(b)
	index := protocol.Index(10)
	for b.Loop() {
		index++
		w, err := s.incremental(index)
		if err != nil {
			b.Fatal(err)
		}
		s.commit(w, index, nil)
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		b.ReportMetric(float64(len(files)), "files")
	}
}

func BenchmarkIterate(b *testing.B) {
	s := newBenchStore(b)
	for b.Loop() {
		n := 0
		if err := s.Iterate(context.Background(), 1, func(storage.Item) error { n++; return nil }); err != nil || n != benchKeys {
			b.Fatalf("got %d items, error %v", n, err)
		}
	}
	b.SetBytes(benchKeys * benchValue)
}

func BenchmarkReadChunk(b *testing.B) {
	s := newBenchStore(b)
	d := s.Kept()[0]
	n := 0
	for b.Loop() {
		if _, err := s.ReadChunk(context.Background(), 1, n%len(d.Chunks)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.SetBytes(int64(d.Bytes) / int64(len(d.Chunks)))
}

func BenchmarkInstall(b *testing.B) {
	from := newBenchStore(b)
	d := from.Kept()[0]
	for b.Loop() {
		s, err := checkpoint.Open(vfs.OS(), filepath.Join(b.TempDir(), "c"), badgerengine.New(badgerengine.Options{}), checkpoint.Options{SpaceReserve: 1 << 20})
		if err != nil {
			b.Fatal(err)
		}
		in, err := s.Install(context.Background(), d)
		if err != nil {
			b.Fatal(err)
		}
		for n := range d.Chunks {
			chunk, err := from.ReadChunk(context.Background(), 1, n)
			if err == nil {
				err = in.Add(n, chunk)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		if err := in.Commit(context.Background()); err != nil {
			b.Fatal(err)
		}
		s.Close()
	}
	b.SetBytes(benchKeys * benchValue)
}
