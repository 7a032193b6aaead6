package replica

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
)

func run(first protocol.Index, n int, term protocol.Term) []protocol.Entry {
	entries := make([]protocol.Entry, n)
	for i := range entries {
		entries[i] = protocol.Entry{Index: first + protocol.Index(i), Term: term, Kind: protocol.EntryCommand, Data: []byte("0123456789")}
	}
	protocol.EncodeEntries(entries)
	return entries
}

func TestTailSumsDoNotDependOnBatches(t *testing.T) {
	var empty protocol.LogTerms
	one, many := newTail(&empty, nil), newTail(&empty, nil)
	one.append(run(1, 10, 1), false)
	for i := protocol.Index(1); i <= 10; i++ {
		many.append(run(i, 1, 1), false)
	}
	a, _ := one.sumAt(10)
	b, ok := many.sumAt(10)
	if !ok || a != b {
		t.Errorf("sum after ten single entries is %v, after one batch %v", b, a)
	}
	if zero := (protocol.LogSum{}); a == zero {
		t.Error("the sum of ten entries is zero")
	}
}

// Slices that were handed out are read by other goroutines while the log goes
// on: a truncation must not change what they see.
func TestTailNeverOverwritesWhatItHandedOut(t *testing.T) {
	var empty protocol.LogTerms
	tail := newTail(&empty, nil)
	tail.append(run(1, 8, 1), false)
	out := tail.slice(1, 8)
	tail.truncate(4)
	tail.append(run(5, 4, 2), false)
	if got := out[5].Term; got != 1 {
		t.Errorf("an entry handed out changed its term to %d", got)
	}
	if got := tail.slice(5, 8)[0].Term; got != 2 {
		t.Errorf("the entry that replaced it has term %d, want 2", got)
	}
}

// What is appended and trimmed moves what is kept once in a while only.
func TestTailMovesSeldom(t *testing.T) {
	var empty protocol.LogTerms
	tail, moved, next := newTail(&empty, nil), 0, protocol.Index(1)
	for range 1000 {
		room := cap(tail.entries)
		tail.append(run(next, 64, 1), false)
		if cap(tail.entries) > room {
			moved++
		}
		next += 64
		tail.trim(next-1, 64<<10)
	}
	if n := len(tail.entries); moved > 64*1000/n+20 {
		t.Errorf("%d entries were moved %d times for 64,000 others", n, moved)
	}
}

func TestTailTrimKeepsWhatItMust(t *testing.T) {
	var empty protocol.LogTerms
	tail := newTail(&empty, nil)
	n := tailEntriesMax + 100
	tail.append(run(1, n, 1), false)
	want, _ := tail.sumAt(protocol.Index(n))
	tail.trim(50, tailBytes)
	if tail.first != 51 {
		t.Errorf("trimmed to %d, want 51", tail.first)
	}
	tail.trim(protocol.Index(n), tailBytes)
	if got := len(tail.entries); got != tailEntriesMax {
		t.Errorf("holds %d entries, want %d", got, tailEntriesMax)
	}
	if got, ok := tail.sumAt(protocol.Index(n)); !ok || got != want {
		t.Errorf("the last sum changed to %v, want %v", got, want)
	}
	if _, ok := tail.sumAt(tail.first - 1); !ok {
		t.Error("the sum before the first entry is lost")
	}
	bytes := protocol.RawSize(tail.entries)
	if tail.bytes != bytes {
		t.Errorf("counts %d bytes, holds %d", tail.bytes, bytes)
	}
}

func TestTailFit(t *testing.T) {
	var empty protocol.LogTerms
	tail := newTail(&empty, nil)
	tail.append(run(1, 10, 1), false)
	size := len(tail.entries[0].Raw)
	for _, c := range []struct {
		bytes int
		want  protocol.Index
	}{{0, 3}, {size, 3}, {2 * size, 4}, {100 * size, 9}} {
		if got := tail.fit(3, 9, c.bytes); got != c.want {
			t.Errorf("fit(3, 9, %d) = %d, want %d", c.bytes, got, c.want)
		}
	}
}

func TestTailOfAFoundLogDoesNotInventASum(t *testing.T) {
	var logTerms protocol.LogTerms
	full := newTail(&logTerms, nil)
	full.append(run(1, 10, 1), false)
	for range 10 {
		logTerms.Append(1)
	}
	found := newTail(&logTerms, full.slice(5, 10))
	if _, ok := found.sumAt(4); ok {
		t.Error("claims to know the sum before its first entry")
	}
	found.append(run(11, 1, 1), false)
	full.append(run(11, 1, 1), false)
	got, _ := found.sumAt(11)
	if want, _ := full.sumAt(11); got != want {
		t.Errorf("sum %v after a restart, want %v", got, want)
	}
}

// What lags behind a log that grows fast is compared with sums of entries that are
// not in memory any more.
func TestTailKnowsSumsBelowItsEntries(t *testing.T) {
	var empty protocol.LogTerms
	tail := newTail(&empty, nil)
	var want []protocol.LogSum // after index i
	n := protocol.Index(0)
	for range 8 {
		tail.append(run(n+1, tailEntriesMax, 1), false)
		n += tailEntriesMax
		for i := protocol.Index(len(want)); i <= n; i++ {
			sum, _ := tail.sumAt(i)
			want = append(want, sum)
		}
		tail.trim(n, tailBytes)
		for i := range want {
			got, known := tail.sumAt(protocol.Index(i))
			if known && got != want[i] {
				t.Fatalf("the sum at %d of %d is %v, want %v", i, n, got, want[i])
			}
			if near := i > 0 && protocol.Index(i)+tailEntriesMax+sumsMax > n; near && !known {
				t.Fatalf("the sum at %d of %d is not known", i, n)
			}
		}
	}
	if got := cap(tail.sums); got > 4*sumsMax {
		t.Errorf("%d sums have room, want a bound", got)
	}
}
