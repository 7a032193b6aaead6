package cmd

import (
	"bytes"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"
)

// scanOf reads from a slice that is sorted by raw key.
func scanOf(pairs []pair) scanFunc {
	return func(from, to []byte) iter.Seq2[pair, error] {
		return func(yield func(pair, error) bool) {
			for _, p := range pairs {
				if bytes.Compare(p.key, from) >= 0 && (to == nil || bytes.Compare(p.key, to) < 0) && !yield(p, nil) {
					return
				}
			}
		}
	}
}

func checkLineOrder(t *testing.T, keys []string) {
	t.Helper()
	slices.Sort(keys)
	keys = slices.Compact(keys)
	var pairs []pair
	var want [][]byte
	for _, k := range keys {
		p := pair{[]byte(k), []byte("v" + k)}
		pairs = append(pairs, p)
		want = append(want, appendLine(nil, p.key, p.value))
	}
	slices.SortFunc(want, bytes.Compare)
	var got [][]byte
	for p, err := range lineOrder(scanOf(pairs)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, appendLine(nil, p.key, p.value))
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("keys %q:\n got %q\nwant %q", keys, got, want)
	}
}

func TestExportIsSortedAsLinesAre(t *testing.T) {
	checkLineOrder(t, nil)
	checkLineOrder(t, []string{"", "\x00", "\x08", "\t", "\n", "\x0b", "a"})
	checkLineOrder(t, []string{"a", "a b", "a.b", "a/b", "a\x00", "a\x08", "a\x08\x08", "a\x0b", "ab"})
	checkLineOrder(t, []string{"a\tb", "a b", "a\\", "a\\t", "a\\n", "a\nb", "a\t", "a]", "a\t\t", "a\t\n\t", "\t", "\n", "\\", "]", "\xff", "\xff\t", "\xff\xff"})
	checkLineOrder(t, []string{"\xff\xff\t", "\xff\xff\n\x01", "\xff\xff\n", "\xff\xff"})

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const alphabet = "\x00\x08\t\n\x0b A\\]a\xff"
	for range 2000 {
		var keys []string
		for range r.IntN(40) {
			k := make([]byte, r.IntN(6))
			for i := range k {
				k[i] = alphabet[r.IntN(len(alphabet))]
			}
			keys = append(keys, string(k))
		}
		checkLineOrder(t, keys)
	}
}

func TestExportStopsWhenTheReaderDoes(t *testing.T) {
	pairs := []pair{{[]byte("\tx"), nil}, {[]byte("a"), nil}, {[]byte("b"), nil}}
	for n := range 3 {
		got := 0
		for range lineOrder(scanOf(pairs)) {
			if got++; got > n {
				break
			}
		}
		if got != n+1 {
			t.Errorf("got %d pairs, want %d", got, n+1)
		}
	}
}
