package cmd

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// Two processes under one id: here of the only voter, whose copy nobody refuses.
func TestCommandsShowAnIDThatIsHeldTwice(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	root := t.TempDir()
	dir, copied := filepath.Join(root, "a1"), filepath.Join(root, "copy")
	open := func(cfg starling.Config) *starling.Node {
		t.Helper()
		cfg.Bind = "127.0.0.1:0"
		n, err := starling.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	eventually := func(what string, condition func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for !condition() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatal(what)
			}
		}
	}
	a := open(starling.Config{Name: "a1", Dir: dir, Bootstrap: true, Actives: 1})
	p := open(starling.Config{Name: "p1", Role: starling.Passive, Join: []string{a.Addr()}})
	eventually("the voter does not remember the passive", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "addresses"))
		return err == nil && strings.Contains(string(b), p.Addr())
	})
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	twin := open(starling.Config{Name: "a1", Dir: copied})
	addr := "--addr=" + p.Addr()
	eventually("members does not show it", func() bool {
		out, _, _ := run(ctx, "", "members", addr)
		return strings.Contains(out, "held twice") && strings.Contains(out, twin.Addr())
	})
	if out, _, _ := run(ctx, "", "status", addr); !strings.Contains(out, "held twice") {
		t.Errorf("status does not show it:\n%s", out)
	}
	if _, stderr, code := run(ctx, "", "verify", addr); code == 0 {
		t.Errorf("verify exits with 0: %s", stderr)
	}
	if err := twin.Close(); err != nil {
		t.Fatal(err)
	}
	eventually("members goes on to show it", func() bool {
		out, _, _ := run(ctx, "", "members", addr)
		return !strings.Contains(out, "held twice")
	})
}
