package runtime

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A start that ends with its context says what it has waited for.
func TestStartThatEndsWithItsContextSaysWhy(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Dir = c.dir() })
	c.start("a2", protocol.RoleActive, func(cfg *Config) { cfg.Dir = c.dir() })
	c.voters(2)
	c.kill("a1")
	c.kill("a2")
	for name, change := range map[string]func(*Config){
		"no leader is known": func(*Config) {}, // a1 again, alone
		"no member answers at": func(cfg *Config) {
			cfg.Name, cfg.Dir, cfg.Bootstrap, cfg.Join = "b", "", false, []string{"127.0.0.1:1"}
		},
	} {
		cfg := c.configs["a1"]
		change(&cfg)
		ctx, cancel := context.WithTimeout(c.ctx, 300*time.Millisecond)
		m, err := Open(ctx, cfg)
		cancel()
		if err == nil {
			m.Kill()
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, protocol.ErrUnavailable) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %v and %q", err, context.DeadlineExceeded, name)
		}
	}
}
