package starling_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling"
)

// OpenLocal returns when the change that made all actives voters is over for all of
// them: until then the first one, which voted alone before, could not be spared.
func TestLocalClusterOutlivesItsFirstMemberAtOnce(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 3})
	if err := cluster.Nodes[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := starling.NewCounter(cluster.Nodes[1], "c").Add(ctx, 1); err != nil {
		t.Error(err)
	}
}

// lineCount counts the lines of a log.
type lineCount struct{ atomic.Int64 }

func (n *lineCount) Write(b []byte) (int, error) {
	n.Add(1)
	return len(b), nil
}

// What a LocalConfig does not have, Member gives to the members that it is for; what
// OpenLocal decides it does not change.
func TestMembersOfALocalClusterAreConfigured(t *testing.T) {
	var lines [2]lineCount
	loggers := map[string]*slog.Logger{}
	for i, name := range []string{"a1", "p1"} {
		loggers[name] = slog.New(slog.NewTextHandler(&lines[i], &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	_, cluster := open(t, starling.LocalConfig{Actives: 1, Passives: 1, Member: func(cfg *starling.Config) {
		cfg.Logger = loggers[cfg.Name]
		cfg.DiskLow = 1 << 40
	}})
	if err := cluster.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		if lines[i].Load() == 0 {
			t.Errorf("nothing in the log of member %d", i)
		}
	}
	for what, change := range map[string]func(*starling.Config){
		"Name": func(cfg *starling.Config) { cfg.Name = "x" }, "Dir": func(cfg *starling.Config) { cfg.Dir = "x" },
		"Bind": func(cfg *starling.Config) { cfg.Bind = "127.0.0.1:9" }, "Role": func(cfg *starling.Config) { cfg.Role = starling.Passive },
		"Bootstrap": func(cfg *starling.Config) { cfg.Bootstrap = !cfg.Bootstrap }, "Join": func(cfg *starling.Config) { cfg.Join[0] = "127.0.0.1:9" },
		"Expect": func(cfg *starling.Config) { cfg.Expect = 3 }, "Actives": func(cfg *starling.Config) { cfg.Actives = 5 },
	} {
		cfg := starling.LocalConfig{Member: change}
		if err := cfg.Validate(); !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), "which OpenLocal decides") {
			t.Errorf("%s is changed: got %v, want %v", what, err, starling.ErrInvalid)
		}
		if c, err := starling.OpenLocal(t.Context(), cfg); err == nil {
			_ = c.Close()
			t.Errorf("%s is changed, and the cluster opened", what)
		}
	}
	last := func(cfg *starling.Config) {
		if cfg.Name == "a3" {
			cfg.Zone = " "
		}
	}
	if err := (starling.LocalConfig{Member: last}).Validate(); err == nil || !strings.Contains(err.Error(), "a3: ") {
		t.Errorf("a mistake of the last member: got %v", err)
	}
	if err := (starling.LocalConfig{Member: func(*starling.Config) {}}).Validate(); err != nil {
		t.Errorf("nothing is changed: %v", err)
	}
}
