package runtime

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// onError is a log handler that does something when an error is logged.
type onError struct {
	slog.Handler
	do func()
}

func (h *onError) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelError {
		h.do()
	}
	return nil
}

func (h *onError) Enabled(context.Context, slog.Level) bool { return true }
func (h *onError) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *onError) WithGroup(string) slog.Handler            { return h }

// What has been applied when a write fails comes with the same mail as the failure,
// and is not read any more. What is applied next does not follow on it: it is no
// violation of anything, and nobody looks at it.
func TestMailAfterAFailedWriteIsNotRead(t *testing.T) {
	c := newCluster(t)
	var failing atomic.Pointer[Member]
	handler := &onError{Handler: slog.DiscardHandler, do: func() {
		if m := failing.Load(); m != nil {
			m.mailbox.put(func(in *mail) { in.applied = append(in.applied, replica.Applied{Last: 1 << 40}) })
		}
	}}
	m := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Actives, cfg.Logger = 1, slog.New(handler) })
	failing.Store(m)
	broken := errors.New("broken")
	m.mailbox.put(func(in *mail) { in.done = append(in.done, member.Done{Failed: broken}) })
	<-m.Done()
	if err := m.Err(); !errors.Is(err, protocol.ErrDiskFailed) || !errors.Is(err, broken) {
		t.Errorf("got %v, want %v for the write that failed", err, protocol.ErrDiskFailed)
	}
}
