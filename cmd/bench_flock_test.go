package cmd

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/dev/bench"
)

// The leader's figures come from its own process, and are plausible.
func TestBenchFlock(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a cluster with a process of its own")
	}
	t.Setenv(runVariable, "1") // the leader's process is this binary
	out, stderr, code := run(context.Background(), "", "bench", "flock", "--passives", "2", "--rate", "100", "--for", "500ms", "--runs", "1", "-o", "json")
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	var got struct{ Runs []bench.FlockRun }
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Runs) != 1 {
		t.Fatalf("%v in %s", err, out)
	}
	r := got.Runs[0]
	if r.Passives != 2 || r.Writes != 50 || r.CPU <= 0 || !r.Equal {
		t.Errorf("got %+v", r)
	}
	// Both followers get each entry from the leader; passives from any active.
	if value := uint64(50 * 256); r.Sent.Raft < 2*value || r.Sent.Copies > 2*2*50 || r.Sent.Control == 0 {
		t.Errorf("got %+v", r.Sent)
	}
}

func TestBenchFlockTakesSenseOnly(t *testing.T) {
	for _, args := range []string{"--passives x", "--passives 1000", "--rate 0", "--bytes 0", "--for 1ms", "--runs 0"} {
		if _, stderr, code := run(context.Background(), "", append([]string{"bench", "flock"}, strings.Fields(args)...)...); code != 2 || !strings.Contains(stderr, strings.Fields(args)[0]) {
			t.Errorf("%s: code %d, %s", args, code, stderr)
		}
	}
}
