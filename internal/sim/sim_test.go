package sim

import (
	"bytes"
	"flag"
	"os"
	"testing"
	"time"
)

var (
	seedFlag     = flag.Uint64("seed", 1, "the first seed")
	seedsFlag    = flag.Int("seeds", 30, "how many seeds")
	forFlag      = flag.Duration("for", DurationDefault, "virtual time of each")
	profileFlag  = flag.String("kind", "", "the profile; empty: drawn from the seed")
	filmFlag     = flag.Bool("trace", false, "trace the first seed only")
	messagesFlag = flag.Bool("messages", false, "trace messages too")
)

// TestSeeds plays seeds; `go test ./internal/sim -run TestSeeds -v -seed 7 -trace`
// shows one.
func TestSeeds(t *testing.T) {
	o := Options{Duration: *forFlag, Profile: *profileFlag}
	if *filmFlag {
		o.Trace, o.Messages = os.Stdout, *messagesFlag
		if r := Run(*seedFlag, o); r.Violation != nil {
			t.Errorf("seed %d (%s) at %v: %v\n%s", r.Seed, r.Profile, time.Duration(r.At), r.Violation, r.Stack)
		}
		return
	}
	s := RunMany(*seedFlag, *seedsFlag, 2, o, func(r Report) bool {
		if r.Violation != nil {
			t.Errorf("seed %d (%s) at %v: %v\n%s\n%s", r.Seed, r.Profile, time.Duration(r.At), r.Violation, r.Replay(o.Duration), r.Stack)
		}
		return true
	})
	t.Logf("%s\n%s", s.Line(), s.Counts.String())
	if s.Seeds < 200 || *profileFlag != "" {
		return // too few to ask for rare events
	}
	for _, kind := range s.Counts.Missing(s.Seeds) {
		t.Errorf("too rare: %s", kind)
	}
}

// Seeds that once broke a promise. What they draw changes with the simulator; each
// cause has a test of its own where it was.
func TestSeedsThatOnceFailed(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		kind string
	}{{207, ""}, {252, ""}, {5364, ""}, {753, ""}, {811, ""}, {9993, ""}, {20135, ""}, {40063, ""}, {61026, ""}, {62012, "rot"}, {300012, "repair"}, {400204, "repair"}, {604, ""}, {1040, "calls"}, {131, ""}, {850, ""}, {926, ""}, {414, ""}, {1064, ""}} {
		if r := Run(c.seed, Options{Profile: c.kind}); r.Violation != nil {
			t.Errorf("seed %d: %v\n%s", c.seed, r.Violation, r.Stack)
		}
	}
}

func TestTheSameSeedGivesTheSameTrace(t *testing.T) {
	o := Options{Duration: 10 * time.Second}
	var film bytes.Buffer
	for seed := uint64(100); seed < 107; seed++ {
		a, b := Run(seed, o), Run(seed, o)
		wantRule(t, same(&a, &b), "")
		film.Reset()
		c := Run(seed, Options{Duration: o.Duration, Trace: &film, Messages: true})
		wantRule(t, same(&a, &c), "")
		if film.Len() == 0 {
			t.Errorf("seed %d: got no trace, want lines", seed)
		}
	}
}

func TestWorkersDoNotChangeWhatHappens(t *testing.T) {
	o := Options{Duration: 5 * time.Second}
	one, two := RunMany(1, 8, 1, o, nil), RunMany(1, 8, 3, o, nil)
	if one.TraceHash != two.TraceHash || one.Steps != two.Steps {
		t.Errorf("got %x, %d steps with three workers, want %x, %d", two.TraceHash, two.Steps, one.TraceHash, one.Steps)
	}
}

func TestASeedSaysHowToReplayIt(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "starling sim --seed 7 --for 1m0s"},
		{Options{Duration: 5 * time.Second, Actives: 3, Passives: 2}, "starling sim --seed 7 --for 5s"},
		{Options{Profile: "calm", Actives: 5, Passives: -1}, "starling sim --seed 7 --for 1m0s --profile calm --actives 5 --passives 0"},
		{Options{Reserves: 2}, "starling sim --seed 7 --for 1m0s --reserves 2"},
	} {
		r := Report{Seed: 7, options: c.o}
		if got := r.Replay(c.o.Duration); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestOtherSizesRun(t *testing.T) {
	for _, o := range []Options{{Actives: 1, Passives: -1}, {Actives: 1, Passives: 3}, {Actives: 5, Passives: 1}} {
		o.Duration = 15 * time.Second
		for seed := uint64(1); seed <= 3; seed++ {
			if r := Run(seed, o); r.Violation != nil {
				t.Errorf("%s: %v\n%s", r.Replay(o.Duration), r.Violation, r.Stack)
			}
		}
	}
}

// Whoever is away for long is replaced by a reserve, and in the end no passive is
// missing while one stands by, which holds nothing.
func TestReservesAreCalledInTrouble(t *testing.T) {
	var counts Counts
	for seed := uint64(1); seed <= 16; seed++ {
		o := Options{Duration: 20 * time.Second, Reserves: 2}
		r := Run(seed, o)
		if r.Violation != nil {
			t.Errorf("%s: %v\n%s", r.Replay(o.Duration), r.Violation, r.Stack)
		}
		counts.Add(&r.Counts)
	}
	if counts[countActivated] < 3 {
		t.Errorf("%d reserves called: the test is not worth much", counts[countActivated])
	}
}

func TestProgressStopsTheRun(t *testing.T) {
	s := RunMany(1, 100, 1, Options{Duration: time.Second}, func(r Report) bool { return r.Seed < 3 })
	if got, want := s.Seeds, 3; got != want {
		t.Errorf("got %d seeds, want %d", got, want)
	}
}

// A seed ends in the middle where it is asked to, and counts for nothing.
func TestStopEndsASeed(t *testing.T) {
	asked := 0
	o := Options{Duration: time.Hour, Stop: func() bool { asked++; return asked > 3 }}
	if r := Run(1, o); !r.Stopped || r.Violation != nil || r.Steps > 4*stopSteps {
		t.Errorf("got stopped %t, %v after %d steps", r.Stopped, r.Violation, r.Steps)
	}
	if s := RunMany(1, 3, 1, o, nil); s.Seeds != 0 {
		t.Errorf("%d seeds count, want none", s.Seeds)
	}
}

func TestEveryProfileRuns(t *testing.T) {
	for _, profile := range Profiles() {
		r := Run(1, Options{Duration: 10 * time.Second, Profile: profile})
		if r.Violation != nil {
			t.Errorf("%s: %v\n%s", profile, r.Violation, r.Stack)
		}
	}
}

func TestClocksDriftAndNeverGoBack(t *testing.T) {
	for seed := range uint64(100) {
		wild := seed >= 50
		c := newClock(stream(seed, 1), wild)
		last := c.at(0)
		for k := range Time(2000) {
			at := k * Time(37*time.Millisecond)
			now := c.at(at)
			if now < last {
				t.Fatalf("seed %d: the clock goes back from %d to %d", seed, last, now)
			}
			passed, shown := int64(at), int64(now-c.origin)
			if off := shown - passed; !wild && off > passed/1_000_000*driftMax+1000 || !wild && off < -passed/1_000_000*driftMax-1000 {
				t.Fatalf("seed %d: the clock is off by %d ns after %d", seed, off, passed)
			}
			if w := c.when(now); c.at(w) < now || w > at+1000 {
				t.Fatalf("seed %d: the clock shows %d at %d, when says %d", seed, now, at, w)
			}
			last = now
		}
	}
}

func TestEventsHappenInOrder(t *testing.T) {
	var s schedule
	r := stream(1, 1)
	var got []Time
	for range 500 {
		at := Time(r.IntN(50))
		s.at(at, func() { got = append(got, s.now) })
	}
	for {
		run, ok := s.next(100)
		if !ok {
			break
		}
		run()
	}
	if len(got) != 500 || s.now != 100 {
		t.Fatalf("got %d events until %d, want 500 until 100", len(got), s.now)
	}
	for i := 1; i < len(got); i++ {
		if got[i] < got[i-1] {
			t.Fatalf("event at %d after one at %d", got[i], got[i-1])
		}
	}
}

func BenchmarkSeed(b *testing.B) {
	seed := uint64(0)
	for b.Loop() {
		seed++
		if r := Run(seed, Options{}); r.Violation != nil {
			b.Fatal(r.Violation)
		}
	}
}
