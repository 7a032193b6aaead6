package spread

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func quiet(float64) error { return nil }

// small is a setting that takes a moment.
func small(mode Mode) Setting {
	return Setting{
		Mode: mode, Members: 40, Delay: 500 * time.Microsecond, Zones: 1, Rate: 100, Bytes: 200,
		For: 500 * time.Millisecond, Seed: 3,
	}
}

func figuresOf(t *testing.T, set Setting) Figures {
	t.Helper()
	if err := set.Validate(); err != nil {
		t.Fatal(err)
	}
	f, err := Run(set, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestASeedDecidesEveryFigure(t *testing.T) {
	for _, mode := range Modes() {
		set := small(mode)
		set.Members, set.Loss, set.Rate = 20, 0.05, 50
		a, b := figuresOf(t, set), figuresOf(t, set)
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: the same seed gives %+v and %+v", mode, a, b)
		}
		set.Seed++
		if c := figuresOf(t, set); reflect.DeepEqual(a.Curve, c.Curve) {
			t.Errorf("%s: two seeds give the same curve", mode)
		}
	}
}

// In the baseline each active sends a third of all copies.
func TestPullingCostsTheLeaderItsShareOfTheFlock(t *testing.T) {
	f := figuresOf(t, small(Pull))
	if want := float64(small(Pull).Members) / Actives; math.Abs(f.LeaderCopies-want) > 1 || f.Copies != 1 || f.Coverage != 1 {
		t.Errorf("got %.2f copies from the leader, %v per member, %v reached; want %.1f, 1, 1", f.LeaderCopies, f.Copies, f.Coverage, want)
	}
}

func TestBroadcastsTakeSomeIntervals(t *testing.T) {
	set := small(Broadcast)
	set.Rate, set.For = 4, 5*time.Second
	f := figuresOf(t, set)
	if f.Coverage < 0.99 || f.LagP50 < gossipInterval/2 || f.LagP50 > 5*gossipInterval {
		t.Errorf("got %v reached, lag %v in the median, want some intervals of %v", f.Coverage, f.LagP50, gossipInterval)
	}
	// Each holder sends a message this often.
	if most := float64(retransmitMult * 2); f.Copies > most+0.5 || f.Copies < most/2 {
		t.Errorf("got %.2f copies, want about %v", f.Copies, most)
	}
	set.Bytes = udpBytes
	if f := figuresOf(t, set); f.Coverage != 0 || f.T100 != -1 || f.LagP99 != -1 {
		t.Errorf("a message that fits into no packet: got %v reached, after %v", f.Coverage, f.T100)
	}
}

// Figures are of the members that are well; they stand a tenth that is not.
func TestDeadAndSlowMembersAreNotInTheFigures(t *testing.T) {
	set := small(Hybrid)
	set.Dead, set.Slow = 0.1, 0.1
	f := figuresOf(t, set)
	if f.Coverage != 1 || f.LagP50 > SlowBy {
		t.Errorf("got %v reached, lag %v in the median", f.Coverage, f.LagP50)
	}
}

// Several seeds: the median and the worst, and how much worse than without the ill members.
func TestTailsAreOfSeveralSeeds(t *testing.T) {
	set := small(Hybrid)
	set.Members, set.Dead = 20, 0.1
	a, err := RunSeeds(set, 3, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.All) != 3 || len(a.Times) != 3 || a.All[2].Setting.Seed != set.Seed+2 {
		t.Fatalf("got %d runs and %d ratios, want 3 of each", len(a.All), len(a.Times))
	}
	out, text := a.JSON(), a.String()
	for _, x := range tails() {
		both, ok := out[x.key].(map[string]any)
		if !ok || both["median"].(float64) > both["worst"].(float64) || !strings.Contains(text, x.name) {
			t.Errorf("%s: got %v in %s", x.key, out[x.key], text)
		}
	}
	if got := out["lag_p99_times"].(map[string]any)["median"].(float64); got < 0.5 {
		t.Errorf("got a lag %v times that of a healthy flock", got)
	}
	if middle, worst := middleAndWorst([]float64{3, -1, 1}); middle != 3 || worst != -1 {
		t.Errorf("got %v and %v, want 3, and never as the worst", middle, worst)
	}
	stop := errors.New("stop")
	if _, err := RunSeeds(set, 3, func(float64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}

func TestAnErrorEndsARun(t *testing.T) {
	stop := errors.New("stop")
	for _, mode := range Modes() {
		if _, err := Run(small(mode), func(done float64) error {
			if done > 0.3 {
				return stop
			}
			return nil
		}); !errors.Is(err, stop) {
			t.Errorf("%s: got %v, want %v", mode, err, stop)
		}
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	bad := Setting{Members: 1, Loss: 2, Delay: -1, Dead: 0.5, Slow: 0.6, Zones: 0, ZoneDelay: -1, Rate: 0, Bytes: 0, For: 0, Fanout: -1, Probability: 2}
	err := bad.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range []string{"members", "loss", "delay", "dead and slow", "zones", "zone delay", "rate", "bytes", "writing", "fanout", "probability"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is missing in %v", word, err)
		}
	}
	many := small(Hybrid)
	many.Members, many.Rate, many.For = 10_000, 1000, time.Minute
	if err := many.Validate(); err == nil || !strings.Contains(err.Error(), "arrivals") {
		t.Errorf("600 million arrivals: %v", err)
	}
}

func TestTablesAndPlotsNameEveryMode(t *testing.T) {
	var all, sizes []Figures
	for _, mode := range Modes() {
		for _, members := range []int{10, 20} {
			set := small(mode)
			set.Members = members
			f := figuresOf(t, set)
			sizes = append(sizes, f)
			if members == 20 {
				all = append(all, f)
			}
		}
	}
	for name, text := range map[string]string{"table": Table(all), "spread": PlotSpread(all), "egress": PlotEgress(sizes)} {
		for _, mode := range Modes() {
			if !strings.Contains(text, mode.String()) {
				t.Errorf("%s: %s is missing", name, mode)
			}
		}
		if name == "table" {
			continue
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%s has numbers that are none", name)
		}
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s is no XML: %v", name, err)
			}
		}
	}
}

func TestThereIsNoRoundingUpToAll(t *testing.T) {
	for _, c := range []struct {
		share float64
		want  string
	}{{1, "100 %"}, {0.99999, "99.999 %"}, {0.5, "50.00 %"}, {-1, "-"}, {0, "0.00 %"}} {
		if got := percent(c.share); got != c.want {
			t.Errorf("%v: got %q, want %q", c.share, got, c.want)
		}
	}
}
