package gossip

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// asking returns a passive with one question for freshness on its way, to an
// active.
func asking(t *testing.T) (b *bench, nonce uint64, to protocol.MemberID) {
	b = newBench(t, protocol.RolePassive, chain(100, 10, "h"), 100, 1, 0, Config{Have: 50 * ms})
	b.now = b.core.Deadline()
	b.core.Tick(b.now)
	asked := only[*protocol.Have](b.core.Ready().Messages)
	if len(asked) != 1 {
		t.Fatalf("got %d digests, want 1", len(asked))
	}
	return b, asked[0].Message.(*protocol.Have).Nonce, asked[0].To
}

func answer(nonce uint64, index protocol.Index, age time.Duration) *protocol.Have {
	return &protocol.Have{First: 1, Tip: 100, AnswerTo: nonce, FreshKnown: true, FreshIndex: index, FreshAge: int64(age)}
}

// [S] Counterexample 31 (a): a digest waited in my socket while I was stopped.
// It says an age of 1 ms, and counts for nothing.
func TestUnsolicitedAgeIsForDisplayOnly(t *testing.T) {
	b, nonce, to := asking(t)
	b.now = b.now.Add(10 * time.Second)
	for _, h := range []*protocol.Have{
		{First: 1, Tip: 100, FreshKnown: true, FreshIndex: 100, FreshAge: int64(ms)},
		answer(nonce+1, 100, ms), // another nonce
	} {
		b.step(to, h)
		if age, ok := b.core.Age(b.now, 100); ok {
			t.Fatalf("got age %v from %+v, want none", age, h)
		}
	}
	if got := b.core.Heard()[0]; !got.AgeKnown || got.Age != ms {
		t.Errorf("got %+v for display, want the age as it was said", got)
	}
	b.step(passiveID(1), answer(nonce, 100, ms)) // from another member
	if _, ok := b.core.Age(b.now, 100); ok {
		t.Fatal("got an age from a member that was not asked")
	}
	// The answer itself counts from when it was asked for.
	b.step(to, answer(nonce, 100, ms))
	if age, ok := b.core.Age(b.now, 100); !ok || age < 10*time.Second+ms {
		t.Errorf("got %v %v, want at least 10 s: it was asked for then", age, ok)
	}
	b.now = b.now.Add(time.Second)
	b.step(to, answer(nonce, 100, 0)) // a duplicate, changed
	if age, _ := b.core.Age(b.now, 100); age < 11*time.Second {
		t.Errorf("got %v: a nonce counted twice", age)
	}
}

// [S] Counterexample 31 (b): a round counts from its sending. What was
// acknowledged by another leader before it was confirmed may be above its
// commit index.
func TestRoundCountsFromItsSending(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(100, 10, "h"), 100, 1, 0, Config{})
	sent := b.now
	b.now = b.now.Add(300 * ms)
	b.core.Confirmed(protocol.Fresh{Index: 100, At: sent})
	if age, ok := b.core.Age(b.now, 100); !ok || age < 300*ms {
		t.Errorf("got %v %v, want at least 300 ms", age, ok)
	}
	if _, ok := b.core.Age(b.now, 99); ok {
		t.Error("got an age for a state below the claim")
	}
	h := b.step(activeID(1), &protocol.Have{Nonce: 9}).Messages[0].Message.(*protocol.Have)
	if !h.FreshKnown || h.FreshIndex != 100 || time.Duration(h.FreshAge) != 300*ms || h.AnswerTo != 9 {
		t.Errorf("got %+v, want the pair with an age of 300 ms", h)
	}
}

// The design's example: 20 ms at the leader, asked for by a follower; 30 ms
// later a passive asks, and has its answer after 2 ms.
func TestAgeOverTwoHops(t *testing.T) {
	follower, passive := freshness{}, freshness{}
	var clockF, clockP protocol.Instant = -700, 1 << 40
	follower.answered(clockF, 10, 20*ms)
	index, age, ok := follower.newest(clockF.Add(30 * ms))
	if want := 50*ms + 20*ms/ageRate + ageStep; !ok || index != 10 || age != want {
		t.Fatalf("got %d %v %v, want 10 %v", index, age, ok, want)
	}
	passive.answered(clockP, index, age)
	got, ok := passive.age(clockP.Add(2*ms), 10)
	if !ok || got < 52*ms || got > 55*ms {
		t.Errorf("got %v %v, want 52 ms and the margins", got, ok)
	}
}

func TestNoAgeAtTheStart(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(10, 10, "h"), 10, 1, 1, Config{})
	if age, ok := b.core.Age(b.now, 10); ok {
		t.Errorf("got %v, want none", age)
	}
	if h := b.core.have(b.now); h.FreshKnown {
		t.Errorf("got %+v, want no pair", h)
	}
}

// Against a list that keeps everything: the newest claim with an index of at
// most what was applied.
func TestPairsAgainstAFullList(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var f freshness
		var all []pair
		var applied protocol.Index
		for range 300 {
			now := protocol.Instant(len(all) * 100)
			p := pair{protocol.Index(len(all)/3 + rng.IntN(30)), now - protocol.Instant(rng.IntN(1000))}
			f.learn(p.index, p.at)
			if p.index > 0 {
				all = append(all, p)
			} else {
				all = append(all, pair{math.MaxUint64, 0})
			}
			if rng.IntN(2) == 0 {
				applied = max(applied, p.index)
				f.applied(applied)
			}
			for i := 1; i < len(f.pairs); i++ {
				if f.pairs[i-1].index >= f.pairs[i].index || f.pairs[i-1].at >= f.pairs[i].at {
					t.Fatalf("seed %d: pairs do not rise: %v", seed, f.pairs)
				}
			}
			if len(f.pairs) > pairsMax {
				t.Fatalf("seed %d: %d pairs", seed, len(f.pairs))
			}
			best, found := time.Duration(0), false
			for _, q := range all {
				if d := now.Sub(q.at); q.index <= applied && (!found || d < best) {
					best, found = d, true
				}
			}
			got, ok := f.age(now, applied)
			best = max(best, 0)
			if ok != found || ok && got != best+best/ageRate {
				t.Fatalf("seed %d: got %v %v, want %v %v", seed, got, ok, best, found)
			}
		}
	}
}

func TestFullListKeepsFirstAndLast(t *testing.T) {
	var f freshness
	for i := range 1000 {
		f.learn(protocol.Index(i+10), protocol.Instant(i*1000))
		f.applied(10)
	}
	if len(f.pairs) != pairsMax || f.pairs[0].index != 10 || f.pairs[pairsMax-1].index != 1009 {
		t.Errorf("got %d pairs from %d to %d", len(f.pairs), f.pairs[0].index, f.pairs[len(f.pairs)-1].index)
	}
	f.applied(500)
	f.learn(2000, 1<<40)
	if age, ok := f.age(1<<40, 500); !ok || age > time.Duration(1<<40+1<<31) {
		t.Errorf("got %v %v", age, ok)
	}
}

func TestAbsurdAgesAreIgnored(t *testing.T) {
	for _, age := range []time.Duration{-1, math.MinInt64, math.MaxInt64, ageMax + 1} {
		var f freshness
		f.answered(0, 1, age)
		if len(f.pairs) != 0 {
			t.Errorf("an age of %d was believed", age)
		}
	}
}
