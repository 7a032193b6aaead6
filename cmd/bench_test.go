package cmd

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The study of elections prints the same for the same seed, draws what it
// measured, and says what it cannot do.
func TestBenchElection(t *testing.T) {
	ctx := context.Background()
	plot := filepath.Join(t.TempDir(), "election.svg")
	first, stderr, code := run(ctx, "", "bench", "election", "--trials", "5", "--seed", "7", "--plot", plot, "-o", "json")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var got struct {
		Servers  int `json:"servers"`
		Settings []struct {
			Trials int     `json:"trials"`
			Median float64 `json:"median_ms"`
			Worst  float64 `json:"worst_ms"`
		} `json:"settings"`
	}
	if err := json.Unmarshal([]byte(first), &got); err != nil {
		t.Fatal(err)
	}
	if got.Servers != 5 || len(got.Settings) == 0 {
		t.Fatalf("%d servers, %d settings", got.Servers, len(got.Settings))
	}
	for _, s := range got.Settings {
		if s.Trials != 5 || s.Median <= 0 || s.Worst < s.Median {
			t.Errorf("%+v makes no sense", s)
		}
	}
	if again, _, _ := run(ctx, "", "bench", "election", "--trials", "5", "--seed", "7", "-o", "json"); again != first {
		t.Error("the same seed gave other figures")
	}
	if svg, err := os.ReadFile(plot); err != nil || !strings.HasPrefix(string(svg), "<svg") {
		t.Errorf("no picture was drawn: %v", err)
	}
	if _, stderr, code := run(ctx, "", "bench", "election", "--trials", "0"); code != 2 || !strings.Contains(stderr, "--trials") {
		t.Errorf("no trials: exit code %d, %q", code, stderr)
	}
}
