package runtime

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// What fails each second is said when it begins to, once a minute with how often, and when
// it works again: a full disk wrote a line each second into a log that may lie on it.
func TestWhatFailsAgainAndAgainIsSaidOnceAMinute(t *testing.T) {
	var out bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&out, nil))
	var c complaints
	now := protocol.Instant(0).Add(time.Hour)
	c.works(logger, now, "writing", "writing works")
	for range 150 {
		c.fails(logger, now, "writing", "err", "full")
		c.fails(logger, now, "reading", "err", "full")
		now = now.Add(time.Second)
	}
	c.works(logger, now, "writing", "writing works")
	c.works(logger, now, "writing", "writing works")
	c.fails(logger, now, "writing", "err", "full")
	now = now.Add(complaintEvery)
	c.fails(logger, now, "writing", "err", "after a minute")
	var got []string
	for line := range strings.Lines(out.String()) {
		if _, rest, ok := strings.Cut(strings.TrimSpace(line), "level="); ok && strings.Contains(rest, "writing") {
			got = append(got, rest)
		}
	}
	want := []string{
		"WARN msg=writing err=full",
		"WARN msg=writing err=full times=61 for=1m0s",
		"WARN msg=writing err=full times=121 for=2m0s",
		"INFO msg=\"writing works\" failed=150 for=2m30s",
		"WARN msg=writing err=full",
		"WARN msg=writing err=\"after a minute\"",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
