package resources_test

import (
	"fmt"
	"testing"

	"github.com/starlinghq/starling/resources/kvmap"
)

// A value that changes in memory without an entry does not show in the digest
// that is kept along the way.
func TestRecountFindsDamagedMemory(t *testing.T) {
	l := newLocal(t, kvmap.Type)
	for i := range 100 {
		put(t, l, "m", fmt.Sprint("k", i), "value")
	}
	sound := l.m.Snapshot()
	defer sound.Close()
	put(t, l, "m", "k1", "later")
	if got, want := sound.Recount(), sound.Digest(); got != want {
		t.Errorf("a sound state at %d counts to %s, want %s", sound.Index(), got, want)
	}
	view, err := l.m.View("m", "map")
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	value, _, err := view.Get([]byte("k7"))
	if err != nil {
		t.Fatal(err)
	}
	value[0] ^= 1
	damaged := l.m.Snapshot()
	defer damaged.Close()
	if damaged.Recount() == damaged.Digest() {
		t.Error("the damage does not show")
	}
}

// BenchmarkRecount says what counting anew costs at each mark, per key.
func BenchmarkRecount(b *testing.B) {
	const keys = 100_000
	l := newLocal(b, kvmap.Type)
	value := string(make([]byte, 256))
	for i := range keys {
		put(b, l, "m", fmt.Sprintf("key%07d", i), value)
	}
	s := l.m.Snapshot()
	defer s.Close()
	for b.Loop() {
		s.Recount()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
}
