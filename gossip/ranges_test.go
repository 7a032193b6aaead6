package gossip

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Against a set of booleans.
func TestRangesAgainstASet(t *testing.T) {
	const n = 64
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var s ranges
		var set [n + 2]bool
		draw := func() protocol.Range {
			first := 1 + rng.IntN(n)
			return protocol.Range{First: protocol.Index(first), Last: protocol.Index(min(n, first+rng.IntN(10)))}
		}
		for range 100 {
			r := draw()
			switch rng.IntN(4) {
			case 0:
				s.remove(r)
				for i := r.First; i <= r.Last; i++ {
					set[i] = false
				}
			case 1:
				if rng.IntN(8) == 0 {
					s.dropTo(r.First)
					for i := protocol.Index(0); i <= r.First; i++ {
						set[i] = false
					}
				}
			default:
				news := false
				for i := r.First; i <= r.Last; i++ {
					news = news || !set[i]
					set[i] = true
				}
				if got := s.add(r); got != news {
					t.Fatalf("seed %d: add %v: got %v, want %v", seed, r, got, news)
				}
			}
			q := draw()
			all := true
			var gaps []protocol.Range
			for i := q.First; i <= q.Last; i++ {
				all = all && set[i]
				if set[i] {
					continue
				}
				if k := len(gaps); k > 0 && gaps[k-1].Last == i-1 {
					gaps[k-1].Last = i
				} else {
					gaps = append(gaps, protocol.Range{First: i, Last: i})
				}
			}
			if got := s.covers(q); got != all {
				t.Fatalf("seed %d: covers %v: got %v, want %v (%v)", seed, q, got, all, s.list)
			}
			limit := 1 + rng.IntN(4)
			if got, want := s.gaps(nil, q, limit), gaps[:min(limit, len(gaps))]; !slices.Equal(got, want) {
				t.Fatalf("seed %d: gaps %v: got %v, want %v (%v)", seed, q, got, want, s.list)
			}
			for i := range s.list {
				if s.list[i].First > s.list[i].Last || i > 0 && s.list[i-1].Last+1 >= s.list[i].First {
					t.Fatalf("seed %d: not in order: %v", seed, s.list)
				}
			}
		}
	}
}

func TestFullSetKeepsWhatIsNear(t *testing.T) {
	var s ranges
	for i := range protocol.Index(3 * rangesMax) {
		s.add(protocol.Range{First: 1000 + 2*i, Last: 1000 + 2*i})
	}
	if !s.add(protocol.Range{First: 5, Last: 5}) || len(s.list) != rangesMax {
		t.Errorf("got %d ranges, want %d and the near one new", len(s.list), rangesMax)
	}
	if s.add(protocol.Range{First: 1 << 40, Last: 1 << 40}) {
		t.Error("a full set took one more at its far end")
	}
}

func TestBucket(t *testing.T) {
	for _, begin := range []protocol.Instant{0, -1 << 60, 1 << 60} {
		var b bucket
		count := func(now protocol.Instant) (n int) {
			for b.take(now, 1, 100, 10) {
				n++
			}
			return n
		}
		if got := count(begin); got != 10 {
			t.Errorf("got %d at once, want 10", got)
		}
		for i, want := range []int{5, 10, 0} {
			begin = begin.Add([]time.Duration{50 * ms, 5 * time.Second, 0}[i])
			if got := count(begin); got != want {
				t.Errorf("step %d: got %d, want %d", i, got, want)
			}
		}
	}
}
