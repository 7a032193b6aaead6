package study

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// few is how many trials a test makes.
const few = 100

func seriesOf(t *testing.T, name string) Series {
	t.Helper()
	for _, s := range Settings() {
		if s.String() == name {
			return run(t, Paper, s, few, 1)
		}
	}
	t.Fatalf("no setting %s", name)
	return Series{}
}

func TestASeedDecidesEveryTrial(t *testing.T) {
	s := Settings()[3]
	a, b, c := run(t, PreVote, s, few, 7), run(t, PreVote, s, few, 7), run(t, PreVote, s, few, 8)
	if !slices.Equal(a.Times, b.Times) {
		t.Error("the same seed gives two results")
	}
	if slices.Equal(a.Times, c.Times) {
		t.Error("two seeds give the same result")
	}
}

func TestRandomnessMakesElectionsShort(t *testing.T) {
	without := run(t, Paper, Settings()[0], 5, 1)
	if got, want := without.Quantile(0), 10*time.Second; got < want {
		t.Errorf("without randomness the shortest election took %v, want over %v", got, want)
	}
	one, five, fifty := seriesOf(t, "150-151 ms"), seriesOf(t, "150-155 ms"), seriesOf(t, "150-200 ms")
	if a, b, c := one.Quantile(0.5), five.Quantile(0.5), fifty.Quantile(0.5); a < b || b < c {
		t.Errorf("medians with 1, 5 and 50 ms of randomness: %v, %v, %v, want them to fall", a, b, c)
	}
	if got, want := fifty.Quantile(1), 2*time.Second; got > want {
		t.Errorf("with 50 ms of randomness the worst took %v, want under %v", got, want)
	}
}

func TestNoElectionIsShorterThanDetection(t *testing.T) {
	for _, s := range Settings()[1:] {
		for _, rules := range []Rules{Paper, PreVote} {
			r := run(t, rules, s, few, 3)
			if got, want := r.Times[0], s.Least/2; got < want {
				t.Errorf("%s %s: a leader after %v, to notice the crash takes %v", s, rules, got, want)
			}
		}
	}
}

func TestTablesAndPlotsNameEverySetting(t *testing.T) {
	var all []Series
	for _, s := range Settings()[1:] {
		all = append(all, run(t, PreVote, s, 20, 1))
	}
	table, plot := Table(all), Plot(all)
	for i := range all {
		if name := all[i].Setting.String(); !strings.Contains(table, name) || !strings.Contains(plot, name) {
			t.Errorf("%s is missing", name)
		}
	}
	d := xml.NewDecoder(strings.NewReader(plot))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v", err)
		}
	}
	if plot != Plot(all) {
		t.Error("two plots of the same series differ")
	}
}

func run(t *testing.T, rules Rules, s Setting, trials int, seed uint64) Series {
	t.Helper()
	out, err := Run(t.Context(), rules, s, trials, seed)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Whoever does not want it any more does not wait for the rest of a setting.
func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Paper, Settings()[0], 1_000_000, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
