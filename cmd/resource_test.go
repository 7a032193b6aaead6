package cmd

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestResourceListAndDelete(t *testing.T) {
	addr := local(t)
	ctx := context.Background()
	starling := func(wantCode int, args ...string) (stdout, stderr string) {
		t.Helper()
		stdout, stderr, code := run(ctx, "", slices.Insert(args, 2, addr)...)
		if code != wantCode {
			t.Fatalf("%q: code %d, want %d, %q %q", args, code, wantCode, stdout, stderr)
		}
		return stdout, stderr
	}
	if out, _ := starling(0, "resource", "list"); strings.TrimSpace(out) != "NAME  TYPE  KEYS" {
		t.Errorf("nothing there: got %q", out)
	}
	starling(0, "map", "put", "colors", "sky", "blue")
	starling(0, "queue", "push", "jobs", "first")
	starling(0, "counter", "add", "hits", "1")
	out, _ := starling(0, "resource", "list")
	var got []string
	for line := range strings.Lines(out) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if got, want := strings.Join(got, ", "), "NAME TYPE KEYS, colors map 1, hits counter 1, jobs queue 2"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}

	if _, stderr := starling(exitNotFound, "resource", "delete", "nothing"); !strings.Contains(stderr, `no resource "nothing"`) {
		t.Errorf("got %q", stderr)
	}
	if _, stderr := starling(exitRefused, "resource", "delete", "--type", "map", "jobs"); !strings.Contains(stderr, "queue") {
		t.Errorf("got %q", stderr)
	}
	if out, _ := starling(0, "resource", "delete", "--type", "queue", "jobs"); out != "" {
		t.Errorf("got %q, want nothing", out)
	}
	out, _ = starling(0, "resource", "delete", "-o", "json", "hits")
	var deleted struct {
		Name    string
		Deleted bool
		Index   uint64
	}
	if err := json.Unmarshal([]byte(out), &deleted); err != nil || deleted.Name != "hits" || !deleted.Deleted || deleted.Index == 0 {
		t.Errorf("got %q, %v", out, err)
	}
	out, _ = starling(0, "resource", "list", "-o", "json", "--consistency", "local")
	var one struct {
		Name, Type string
		Keys       int
		Index      uint64
		AgeMS      *int64 `json:"age_ms"`
	}
	if err := json.Unmarshal([]byte(out), &one); err != nil || one.Name != "colors" || one.Type != "map" || one.Keys != 1 || one.Index < deleted.Index || one.AgeMS == nil {
		t.Errorf("got %q, %v", out, err)
	}
	starling(exitUsage, "resource", "delete")
	starling(exitUsage, "resource", "list", "x")
}
