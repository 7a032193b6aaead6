package runtime

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// TestAStrangerIsSaidOnce has a name with two addresses: another cluster answers at
// one, and nobody at the other, for ever.
func TestAStrangerIsSaidOnce(t *testing.T) {
	theirs, ours := newCluster(t), newCluster(t)
	_, port, err := net.SplitHostPort(theirs.start("b1", protocol.RoleActive, func(cfg *Config) { cfg.Actives = 1 }).Addr())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	m := ours.start("a1", protocol.RoleActive, func(cfg *Config) {
		cfg.Actives, cfg.Logger = 1, slog.New(slog.NewTextHandler(&log, nil))
		cfg.resolve = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")}, nil
		}
	})
	answered := map[string]bool{}
	for range 3 {
		if looksLikeOurs(m, "both.test:"+port, answered) {
			t.Error("nobody answers at one of the two, and that was taken for an answer")
		}
	}
	m.Kill() // nobody writes the log any more
	if got := strings.Count(log.String(), "another cluster answers at an address of --join"); got != 1 {
		t.Errorf("it is said %d times, want once:\n%s", got, log.String())
	}
}
