package gossip

import (
	"testing"
	"time"
)

// [S] The age that is reported is never below the true one, whatever the
// network, pauses and clocks do.
func TestReportedAgeIsNeverBelowTheTrueOne(t *testing.T) {
	cases := []struct {
		name string
		opt  options
	}{
		{name: "healthy", opt: options{passives: 20}},
		{name: "flood", opt: options{passives: 20, loss: 0.1, jitter: 5 * time.Millisecond, config: Config{Mode: Flood}}},
		{name: "loss", opt: options{passives: 20, loss: 0.2, duplicate: 0.1, jitter: 5 * time.Millisecond}},
		{name: "drift and pauses", opt: options{passives: 20, loss: 0.05, jitter: 20 * time.Millisecond, drift: 0.9e-3, pauses: 2 * time.Second}},
		{name: "slow", opt: options{passives: 10, loss: 0.3, delay: 50 * time.Millisecond, jitter: 100 * time.Millisecond, drift: 0.9e-3, pauses: 5 * time.Second}},
	}
	total := 0
	for _, c := range cases {
		for seed := range uint64(5) {
			total += readRandomly(t, c.opt, seed, 3*time.Second).reads
		}
	}
	t.Logf("%d reads, seeds 0 to 4 of %d settings", total, len(cases))
	if total < 1_000_000 {
		t.Errorf("got %d reads that had an age, want a million", total)
	}
}

// readRandomly writes at random times, changes the leader now and then, and
// reads ages at random members.
func readRandomly(t testing.TB, opt options, seed uint64, long time.Duration) *network {
	opt.seed, opt.actives = seed, 3
	opt.delay = max(opt.delay, 500*time.Microsecond)
	n := newNetwork(t, opt)
	nextWrite, nextLeader := time.Duration(0), time.Second
	for n.now < long {
		n.run(n.now + time.Duration(n.rng.Int64N(int64(time.Millisecond))))
		if n.now >= nextWrite {
			n.write(1, 100)
			// Busy for half a second, then rare writes.
			pause := 3 * time.Millisecond
			if (n.now/(500*time.Millisecond))%2 == 1 {
				pause = 200 * time.Millisecond
			}
			nextWrite = n.now + time.Duration(n.rng.ExpFloat64()*float64(pause))
		}
		if n.now >= nextLeader {
			nextLeader += time.Second
			next := n.rng.IntN(opt.actives)
			// A new leader holds all that was acknowledged.
			if len(n.nodes[next].log) == len(n.history) {
				n.leader = next
			}
		}
		for range 8 {
			n.readAge(n.nodes[n.rng.IntN(len(n.nodes))])
		}
	}
	return n
}

// The check above finds a round that is stamped when it is confirmed
// (counterexample 31 b): it is not blind.
func TestLateStampIsFound(t *testing.T) {
	if !tooYoung(t, options{passives: 5, delay: 20 * time.Millisecond, loss: 0.1, confirmLate: true}) {
		t.Error("got no violation with rounds stamped at confirmation, want one")
	}
}

// tooYoung reports whether readRandomly finds an age below the true one within
// a few seeds.
func tooYoung(t *testing.T, o options) bool {
	t.Helper()
	for seed := range uint64(3) {
		f := &failing{TB: t}
		func() {
			defer func() {
				if r := recover(); r != nil && r != any(f) {
					panic(r)
				}
			}()
			readRandomly(f, o, seed, 3*time.Second)
		}()
		if f.failed {
			return true
		}
	}
	return false
}

// failing takes a failure for itself.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Fatalf(string, ...any) {
	f.failed = true
	panic(any(f))
}

// The same seed gives the same conversation.
func TestSameSeedSameTrace(t *testing.T) {
	trace := func(seed uint64) uint64 {
		n := newNetwork(t, options{
			seed: seed, actives: 3, passives: 30, loss: 0.1, duplicate: 0.1, delay: time.Millisecond,
			jitter: 5 * time.Millisecond, drift: 1e-3, pauses: time.Second, memory: 20,
		})
		for range 100 {
			n.write(1+n.rng.IntN(4), 200)
			n.run(n.now + 10*time.Millisecond)
		}
		return n.trace.sum
	}
	first, again, other := trace(1), trace(1), trace(2)
	if first != again {
		t.Errorf("seed 1 gave %x and %x", first, again)
	}
	if first == other {
		t.Error("seeds 1 and 2 gave the same trace")
	}
}
