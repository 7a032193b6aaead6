package cmd

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/starlinghq/starling/internal/dev/bench"
)

// All passives are fresh after both starts, and what they sent is counted.
func TestBenchStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a cluster with a process of its own, twice")
	}
	t.Setenv(runVariable, "1") // the passives' process is this binary
	out, stderr, code := run(context.Background(), "", "bench", "storm", "--passives", "3", "--runs", "1", "--for", "100ms", "-o", "json")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	var got struct{ Runs []bench.StormRun }
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Runs) != 2 {
		t.Fatalf("%v in %s", err, out)
	}
	for i, r := range got.Runs {
		if r.Again != (i == 1) || r.Half <= 0 || r.Last < r.Half || r.Known <= 0 || r.CPU <= 0 || r.Sent.Membership == 0 {
			t.Errorf("start %d: %+v", i+1, r)
		}
	}
	if first := got.Runs[0].Sent; first.Frames < 3*1_000_000 {
		t.Errorf("the passives have come to 1 MB each with %d bytes of frames", first.Frames)
	}
}
