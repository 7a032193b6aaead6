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
	b = newBench(t, protocol.RolePassive, freshLog, 100, 1, 0, Config{Have: 50 * ms})
	b.now = b.core.Deadline()
	b.core.Tick(b.now)
	asked := only[*protocol.Have](b.core.Ready().Messages)
	if len(asked) != 1 {
		t.Fatalf("got %d digests, want 1", len(asked))
	}
	return b, asked[0].Message.(*protocol.Have).Nonce, asked[0].To
}

// freshLog is the history of these tests.
var freshLog = chain(200, 10, "h")

func answer(nonce uint64, index protocol.Index, age time.Duration) *protocol.Have {
	return &protocol.Have{First: 1, LastIndex: 100, Applied: 100, AnswerTo: nonce, FreshKnown: true, FreshIndex: index, FreshSum: freshLog[index-1].Sum.Head(), FreshAge: int64(age)}
}

// [S] Counterexample 31 (a): a digest waited in my socket while I was stopped.
// It says an age of 1 ms, and counts for nothing.
func TestUnsolicitedAgeIsForDisplayOnly(t *testing.T) {
	b, nonce, to := asking(t)
	b.now = b.now.Add(10 * time.Second)
	for _, h := range []*protocol.Have{
		{First: 1, LastIndex: 100, Applied: 100, FreshKnown: true, FreshIndex: 100, FreshAge: int64(ms)},
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
	b.core.Confirmed(protocol.Fresh{Index: 100, Sum: b.log[99].Sum, At: sent})
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

// [S] A pause that the host hides from boot time makes nothing younger: the wall clock
// has seen it. What was asked before it counts from before it.
func TestAgesGrowByTheWallClockToo(t *testing.T) {
	b, nonce, to := asking(t)
	b.core.SetWallAhead(5 * time.Second)
	b.step(to, answer(nonce, 100, ms))
	if age, ok := b.core.Age(b.now, 100); !ok || age < 5*time.Second {
		t.Errorf("got %v %v for an answer that was asked for before the pause, want at least 5 s", age, ok)
	}
	b.core.SetWallAhead(8 * time.Second)
	b.core.SetWallAhead(time.Second) // set back: nothing is younger for that
	if age, _ := b.core.Age(b.now, 100); age < 8*time.Second {
		t.Errorf("got %v after another pause, want at least 8 s", age)
	}
	h := b.step(activeID(1), &protocol.Have{Nonce: 9}).Messages[0].Message.(*protocol.Have)
	if time.Duration(h.FreshAge) < 8*time.Second {
		t.Errorf("tells others an age of %v, want at least 8 s", time.Duration(h.FreshAge))
	}
}

// The design's example: 20 ms at the leader, asked for by a follower; 30 ms
// later a passive asks, and has its answer after 2 ms.
func TestAgeOverTwoHops(t *testing.T) {
	follower, passive := freshness{}, freshness{}
	var clockF, clockP protocol.Instant = -700, 1 << 40
	hears := func(f *freshness, asked protocol.Instant, index protocol.Index, age time.Duration) {
		p, ok := answered(asked, activeID(1), answer(1, index, age))
		if !ok {
			t.Fatal("the answer is not taken")
		}
		p.mine = true
		f.learn(p)
	}
	hears(&follower, clockF, 10, 20*ms)
	p, age, ok := follower.newest(clockF.Add(30 * ms))
	if want := 50*ms + 20*ms/ageRate + ageStep; !ok || p.index != 10 || age != want {
		t.Fatalf("got %d %v %v, want 10 %v", p.index, age, ok, want)
	}
	hears(&passive, clockP, p.index, age)
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
	if h := b.core.presence.have(b.now); h.FreshKnown {
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
			p := pair{index: protocol.Index(len(all)/3 + rng.IntN(30)), at: now - protocol.Instant(rng.IntN(1000)), mine: true}
			f.learn(p)
			if p.index > 0 {
				all = append(all, p)
			} else {
				all = append(all, pair{index: math.MaxUint64})
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
		f.learn(pair{index: protocol.Index(i + 10), at: protocol.Instant(i * 1000), mine: true})
		f.applied(10)
	}
	if len(f.pairs) != pairsMax || f.pairs[0].index != 10 || f.pairs[pairsMax-1].index != 1009 {
		t.Errorf("got %d pairs from %d to %d", len(f.pairs), f.pairs[0].index, f.pairs[len(f.pairs)-1].index)
	}
	f.applied(500)
	f.learn(pair{index: 2000, at: 1 << 40})
	if age, ok := f.age(1<<40, 500); !ok || age > time.Duration(1<<40+1<<31) {
		t.Errorf("got %v %v", age, ok)
	}
}

func TestAbsurdAgesAreIgnored(t *testing.T) {
	for _, age := range []time.Duration{-1, math.MinInt64, math.MaxInt64, ageMax + 1} {
		if _, ok := answered(0, activeID(1), answer(1, 1, age)); ok {
			t.Errorf("an age of %d was believed", age)
		}
	}
}

// Counterexample 54: all actives were put back to an old copy, a passive was not.
// Their claims are true of their history, and say nothing of the passive's.
func TestClaimOfAnotherHistoryGivesNoAge(t *testing.T) {
	other := chain(200, 10, "other")
	for _, test := range []struct {
		name  string
		claim func(h *protocol.Have)
		asks  protocol.Index // for a log sum; 0: nothing
		age   bool
	}{
		{"of this history", func(*protocol.Have) {}, 0, true},
		{"another sum at its index", func(h *protocol.Have) { h.FreshSum = other[99].Sum.Head() }, 100, false},
		{"an index below what was held before", func(h *protocol.Have) { h.FreshIndex, h.FreshSum = 98, freshLog[97].Sum.Head() }, 100, false},
		{"an index that is not held yet", func(h *protocol.Have) { h.FreshIndex, h.FreshSum = 101, other[100].Sum.Head() }, 0, false},
	} {
		b, nonce, to := asking(t)
		h := answer(nonce, 100, 0)
		test.claim(h)
		asked := b.now
		b.now = b.now.Add(10 * ms)
		if test.asks == 100 && h.FreshIndex < 100 {
			// The claim is for a time at which 100 was held.
			b.core.fresh.lastIndexAt = asked.Add(-2 * ms)
		}
		rd := b.step(to, h)
		if _, ok := b.core.Age(b.now, 100); ok != test.age {
			t.Errorf("%s: an age is %v, want %v", test.name, ok, test.age)
		}
		questions := only[*protocol.SumQuestion](rd.Messages)
		switch {
		case test.asks == 0 && len(questions) > 0:
			t.Errorf("%s: asks for a log sum", test.name)
		case test.asks != 0 && (len(questions) != 1 || questions[0].Message.(*protocol.SumQuestion).Index != test.asks):
			t.Errorf("%s: got %v, want one question for the log sum at %d", test.name, questions, test.asks)
		}
		if b.core.self.wrong {
			t.Errorf("%s: it stops on the word of a neighbour", test.name)
		}
	}
}

// A claim may be older than what was applied meanwhile: that is no proof of
// anything.
func TestClaimOfBeforeIsNoContradiction(t *testing.T) {
	b, nonce, to := asking(t)
	b.core.fresh.lastIndexAt = b.now // 100 came when the question was already asked
	rd := b.step(to, answer(nonce, 98, 0))
	if len(rd.Messages) > 0 || b.core.doubt.open {
		t.Error("an older claim raises a doubt")
	}
	if age, ok := b.core.Age(b.now, 100); !ok || age < ageStep {
		t.Errorf("got %v, %v, want the age that the claim gives", age, ok)
	}
}

// A claim that is above what is held is compared when that has come, and passed on
// with its sum meanwhile.
func TestClaimIsComparedWhenItsIndexIsHeld(t *testing.T) {
	other := chain(200, 10, "other")
	for _, right := range []bool{true, false} {
		b, nonce, to := asking(t)
		h := answer(nonce, 101, ms)
		if !right {
			h.FreshSum = other[100].Sum.Head()
		}
		b.step(to, h)
		if got := b.core.presence.have(b.now); got.FreshIndex != 101 || got.FreshSum != h.FreshSum {
			t.Errorf("got %+v, want the claim passed on as it came", got)
		}
		b.lastIndex = 101
		b.progress()
		if _, ok := b.core.Age(b.now, 101); ok != right || b.core.doubt.open == right {
			t.Errorf("right %v: an age is %v, a doubt %v", right, ok, b.core.doubt.open)
		}
		if got := b.core.presence.have(b.now); got.FreshKnown != right {
			t.Errorf("right %v: it is passed on: %v", right, got.FreshKnown)
		}
	}
}

// Where the log sum is not known any more a claim cannot be told from one of
// another history.
func TestClaimBelowTheSumsInMemoryGivesNoAge(t *testing.T) {
	b, nonce, to := asking(t)
	b.cold, b.core.fresh.lastIndexAt = 100, b.now
	b.step(to, answer(nonce, 90, ms))
	if _, ok := b.core.Age(b.now, 100); ok || b.core.doubt.open || b.core.doubt.avoided(b.now, to) {
		t.Errorf("an age: %v, a doubt: %v, or the neighbour is avoided; want none of it", ok, b.core.doubt.open)
	}
}
