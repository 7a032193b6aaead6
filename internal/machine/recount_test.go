package machine_test

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
	if got, _ := sound.Recount(); got != sound.Digest() {
		t.Errorf("a sound state at %d counts to %s, want %s", sound.Index(), got, sound.Digest())
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
	if got, _ := damaged.Recount(); got == damaged.Digest() {
		t.Error("the damage does not show")
	}
}

// A key that was damaged in memory and then set again is sound. Its digest would
// stay wrong for ever, and with it that of the whole state: no checkpoint would
// ever be taken again.
func TestDamageThatWasOverwrittenLeavesTheDigest(t *testing.T) {
	l, twin := newLocal(t, kvmap.Type), newLocal(t, kvmap.Type)
	both := func(key, value string) {
		put(t, l, "m", key, value)
		put(t, twin, "m", key, value)
	}
	damage := func(key string) {
		t.Helper()
		view, err := l.m.View("m", "map")
		if err != nil {
			t.Fatal(err)
		}
		defer view.Close()
		value, found, err := view.Get([]byte(key))
		if err != nil || !found {
			t.Fatal(found, err)
		}
		value[0] ^= 1
	}
	both("a", "1")
	both("b", "1")
	damage("a")
	both("a", "2")
	damage("b")
	snap := l.m.Snapshot()
	defer snap.Close()
	both("c", "1") // while it is counted
	both("b", "2")
	counted, _ := snap.Recount()
	if counted == snap.Digest() {
		t.Fatal("the damage does not show")
	}
	snap.Amend(counted)
	both("d", "1")
	if counted, kept := l.m.Verify(); counted != kept {
		t.Errorf("the digest is %v, the state counts to %v", kept, counted)
	}
	_, got := l.m.Digest()
	if _, want := twin.m.Digest(); got != want {
		t.Errorf("got digest %v, want %v, of a state that was never damaged", got, want)
	}
}

// BenchmarkRecount says what counting anew costs at each checkpoint entry, per key.
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
