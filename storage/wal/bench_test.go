package wal_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

type feeder struct {
	log   *wal.Log
	index protocol.Index
	sum   protocol.LogSum
	batch []protocol.Entry
}

func newFeeder(b *testing.B, dir string, n int) *feeder {
	b.Helper()
	if err := wal.Init(vfs.OS(), dir, id, nil, wal.Options{}); err != nil {
		b.Fatal(err)
	}
	l, err := wal.Open(vfs.OS(), dir, wal.Options{Background: true})
	if err != nil {
		b.Fatal(err)
	}
	return &feeder{log: l, batch: make([]protocol.Entry, n)}
}

// next stamps and encodes a batch, as a leader does.
func (f *feeder) next(data []byte) {
	for i := range f.batch {
		f.index++
		f.batch[i] = protocol.Entry{Index: f.index, Term: 1, Kind: protocol.EntryCommand, Data: data}
	}
	protocol.EncodeEntries(f.batch)
	f.sum = protocol.SumEntries(f.sum, f.batch)
}

func (f *feeder) write(b *testing.B, sync bool) {
	w := protocol.Write{State: protocol.HardState{Term: 1}, First: f.batch[0].Index, Last: f.index}
	err := f.log.Write(w, f.batch)
	if err == nil && sync {
		err = f.log.Sync()
	}
	if err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWALWriteSync(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			f := newFeeder(b, filepath.Join(b.TempDir(), "d"), n)
			data := make([]byte, 256)
			b.ReportAllocs()
			for b.Loop() {
				f.next(data)
				f.write(b, true)
			}
			b.ReportMetric(float64(f.index)/b.Elapsed().Seconds(), "entries/s")
			f.log.Close()
		})
	}
}

// BenchmarkWALWrite is without the sync: what the log itself costs.
func BenchmarkWALWrite(b *testing.B) {
	for _, n := range []int{1, 16, 128, 1024} {
		b.Run(fmt.Sprintf("entries=%d", n), func(b *testing.B) {
			f := newFeeder(b, filepath.Join(b.TempDir(), "d"), n)
			data := make([]byte, 256)
			b.ReportAllocs()
			for b.Loop() {
				f.next(data)
				f.write(b, false)
			}
			b.ReportMetric(float64(f.index)/b.Elapsed().Seconds(), "entries/s")
			f.log.Close()
		})
	}
}

func BenchmarkWALOpen(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=100000/batch=%d", n), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "d")
			f := newFeeder(b, dir, n)
			data := make([]byte, 256)
			for f.index < 100000 {
				f.next(data)
				f.write(b, false)
			}
			if err := f.log.Sync(); err != nil {
				b.Fatal(err)
			}
			f.log.Close()
			for b.Loop() {
				l, err := wal.Open(vfs.OS(), dir, wal.Options{})
				if err != nil {
					b.Fatal(err)
				}
				if rec := l.Opened(); rec.LogTerms.LastIndex() != f.index {
					b.Fatal(rec.LogTerms.LastIndex())
				}
				l.Close()
			}
		})
	}
}

func BenchmarkWALRead(b *testing.B) {
	f := newFeeder(b, filepath.Join(b.TempDir(), "d"), 64)
	data := make([]byte, 256)
	for f.index < 64*500 {
		f.next(data)
		f.write(b, false)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for at := protocol.Index(1); at <= f.index; {
			got, err := f.log.Read(at, f.index, 1<<20)
			if err != nil {
				b.Fatal(err)
			}
			at += protocol.Index(len(got))
			n += len(got)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "entries/s")
	f.log.Close()
}
