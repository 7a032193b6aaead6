//go:build unix

package state

import (
	"encoding/binary"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

const million = 1_000_000

func millionKeys() [][]byte {
	keys := make([][]byte, million)
	for k := range keys {
		keys[k] = binary.BigEndian.AppendUint64(nil, uint64(k+1)*0x9e3779b97f4a7c15)
	}
	return keys
}

func loaded(keys [][]byte) (*State, *Space) {
	s, sp := New(false), testSpace("m")
	for k, key := range keys {
		s.Begin(protocol.Index(k + 1))
		s.Set(sp, key, key)
		s.End(0, ignore)
	}
	return s, sp
}

// cpu reports the processor's time per operation, collector included: on a
// machine with other work it says more than the clock.
func cpu(b *testing.B) func() {
	used := func() int64 {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return u.Utime.Nano() + u.Stime.Nano()
	}
	start := used()
	return func() { b.ReportMetric(float64(used()-start)/float64(b.N), "cpu-ns/op") }
}

// The figures of docs/adr/0003: a million random keys of 8 bytes.
func BenchmarkStructure(b *testing.B) {
	keys := millionKeys()
	b.Run("insert", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		s, sp := New(false), testSpace("m")
		k := 0
		for b.Loop() {
			if k == million {
				s, sp, k = New(false), testSpace("m"), 0
			}
			s.Begin(s.index + 1)
			s.Set(sp, keys[k], keys[k])
			s.End(0, ignore)
			k++
		}
	})
	s, sp := loaded(keys)
	b.Run("overwrite", func(b *testing.B) {
		b.ReportAllocs()
		defer cpu(b)()
		for k := 0; b.Loop(); k++ {
			key := keys[k*7919%million]
			s.Begin(s.index + 1)
			s.Set(sp, key, key)
			s.End(0, ignore)
		}
	})
	b.Run("get", func(b *testing.B) {
		defer cpu(b)()
		v := openView(s, sp)
		defer v.Close()
		for k := 0; b.Loop(); k++ {
			if _, ok, _ := v.Get(keys[k*7919%million]); !ok {
				b.Fatal("lost")
			}
		}
	})
	b.Run("scan100", func(b *testing.B) {
		defer cpu(b)()
		v := openView(s, sp)
		defer v.Close()
		for k := 0; b.Loop(); k++ {
			n := 0
			for range v.Scan(keys[k*7919%million], nil) {
				if n++; n == 100 {
					break
				}
			}
		}
	})
}
