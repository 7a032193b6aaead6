package cmd

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The study of the flock prints the same for the same seed, with the fields
// that scripts go by, and draws what it measured.
func TestBenchGossip(t *testing.T) {
	ctx := context.Background()
	args := []string{"bench", "gossip", "--members", "20", "--loss", "0.05", "--for", "300ms", "--seed", "7"}
	first, stderr, code := run(ctx, "", append(args, "-o", "json")...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(first), &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"copies_per_member", "leader_copies_per_frame", "coverage_push", "t99_ms", "t100_ms", "lag_p99_ms", "age_p99_ms", "repair_share"} {
		if _, ok := got[name].(float64); !ok {
			t.Errorf("%s is %v, want a number", name, got[name])
		}
	}
	if got["mode"] != "hybrid" || got["members"] != 20.0 || got["loss"] != 0.05 || got["seed"] != 7.0 || got["coverage"] != 1.0 {
		t.Errorf("%s makes no sense", first)
	}
	if again, _, _ := run(ctx, "", append(args, "-o", "json")...); again != first {
		t.Error("the same seed gave other figures")
	}
	table, _, _ := run(ctx, "", args...)
	for _, line := range []string{"20 passives, 3 actives; loss 5 %", "copies per member", "reached by push alone", "reported age, 99 %"} {
		if !strings.Contains(table, line) {
			t.Errorf("%q is missing in\n%s", line, table)
		}
	}
}

// A picture has all modes unless one is named.
func TestBenchGossipDraws(t *testing.T) {
	dir := t.TempDir()
	for name, members := range map[string]string{"spread": "10", "egress": "10,20"} {
		plot := filepath.Join(dir, name+".svg")
		stdout, stderr, code := run(context.Background(), "", "bench", "gossip", "--members", members, "--for", "200ms", "--plot", plot, "-o", "json")
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		var got struct{ Runs []struct{ Mode string } }
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got.Runs) != 4*len(strings.Split(members, ",")) {
			t.Errorf("%s: %d runs, %v", name, len(got.Runs), err)
		}
		svg, err := os.ReadFile(plot)
		if err != nil || !strings.HasPrefix(string(svg), "<svg") {
			t.Errorf("%s: no picture was drawn: %v", name, err)
		}
		for _, mode := range []string{"hybrid", "flood", "pull", "broadcast"} {
			if !strings.Contains(string(svg), ">"+mode+"<") {
				t.Errorf("%s: %s is missing", name, mode)
			}
		}
	}
}

func TestBenchGossipRefusesNonsense(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--members 0", "members from 2"},
		{"--members ten", "--members takes numbers"},
		{"--members 10,,20", "--members takes numbers"},
		{"--mode tree", "--mode takes hybrid, flood, pull or broadcast"},
		{"--loss 5", "--loss is 5, not from 0 to 0.9"},
		{"--delay 0s", "--delay is 0s, not from"},
		{"--dead 0.6 --slow 0.6", "dead and slow"},
		{"--zones 0", "--zones is 0, not from 1"},
		{"--for 1ms", "--for is 1ms, not from 100ms to 1h"},
		{"--rate 0", "--rate is 0, not from"},
		{"--members 10000 --rate 10000", "arrivals"},
		{"--cut 1s --mode pull", "--cut goes with"},
		{"--seeds 1001", "--seeds is 1001, not from 1"},
		{"--seeds 3 --members 10,20", "--seeds goes with"},
		{"--seeds 3 --cut 1s", "--seeds goes with"},
		{"--cut 1ms", "--cut is 1ms, not from"},
		{"--real --loss 0.1", "--loss is for virtual time"},
		{"--real --members 1000", "in one process"},
		{"--real --for 11m", "--real for at most"},
		{"--real --mode broadcast", "--real goes with"},
		{"-o xml", "--output takes"},
		{"more", "takes no arguments"},
	} {
		_, stderr, code := run(context.Background(), "", append([]string{"bench", "gossip"}, strings.Fields(c.args)...)...)
		if code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %q; want 2 and %q", c.args, code, stderr, c.want)
		}
	}
}

func TestBenchGossipCut(t *testing.T) {
	stdout, stderr, code := run(context.Background(), "", "bench", "gossip", "--members", "12", "--cut", "500ms", "-o", "json")
	var got struct {
		Healed float64 `json:"healed_ms"`
		Behind int     `json:"behind"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || got.Healed <= 0 || got.Behind < 40 {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

func TestBenchGossipSeeds(t *testing.T) {
	stdout, stderr, code := run(context.Background(), "", "bench", "gossip", "--members", "12", "--for", "200ms", "--slow", "0.1", "--seeds", "2", "-o", "json")
	var got struct {
		Seeds int                `json:"seeds"`
		Lag   map[string]float64 `json:"lag_p99_ms"`
		Times map[string]float64 `json:"lag_p99_times"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || got.Seeds != 2 || got.Lag["median"] <= 0 || got.Times["worst"] < got.Times["median"] {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

// Members over real sockets get everything, and are equal in the end.
func TestBenchGossipReal(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts members")
	}
	stdout, stderr, code := run(context.Background(), "", "bench", "gossip", "--real", "--members", "2", "--for", "500ms", "--rate", "50", "-o", "json")
	var got struct {
		Writes  int     `json:"writes"`
		Lag     float64 `json:"lag_p50_ms"`
		Missing int     `json:"missing"`
		Equal   bool    `json:"digests_equal"`
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || got.Writes != 25 || got.Missing != 0 || !got.Equal {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}
