package logqueue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipe is a writer that can be shut: then a write waits, or fails.
type pipe struct {
	mu   sync.Mutex
	text bytes.Buffer
	shut chan struct{} // closed: open again; nil: open
	err  error
}

func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	shut := p.shut
	p.mu.Unlock()
	if shut != nil {
		<-shut
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return 0, p.err
	}
	return p.text.Write(b)
}

func (p *pipe) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *pipe) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func text(p *pipe) slog.Handler {
	return slog.NewTextHandler(p, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
}

func TestLinesComeInOrderWithTheirAttributes(t *testing.T) {
	p := &pipe{}
	q := New(text(p))
	l := q.Logger().With("member", "a1")
	l.Info("one", "n", 1)
	l.WithGroup("g").Warn("two", "n", 2)
	l.Debug("never")
	q.Logger().Error("three")
	if !q.Flush(time.Minute) {
		t.Fatal("not written")
	}
	want := "level=INFO msg=one member=a1 n=1\nlevel=WARN msg=two member=a1 g.n=2\nlevel=ERROR msg=three\n"
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A full pipe holds nobody up. What does not fit is counted, and said when there is
// room again.
func TestAFullPipeHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{shut: make(chan struct{})}
		q := New(text(p))
		l := q.Logger()
		for i := range recordsMax + 101 {
			l.Info("line", "i", i)
			synctest.Wait() // the first is under way
		}
		if got := q.Lost(); got != 100 {
			t.Errorf("%d are lost, want 100", got)
		}
		begin := time.Now()
		if q.Flush(time.Second) || time.Since(begin) != time.Second {
			t.Errorf("a flush of a full pipe took %v", time.Since(begin))
		}
		p.set(func() { close(p.shut); p.shut = nil })
		synctest.Wait()
		got := p.String()
		if !strings.Contains(got, "lines of this log are lost") || !strings.Contains(got, "lost=100 since_the_start=100") {
			t.Errorf("what is lost is not said:\n%s", got[len(got)-300:])
		}
		if n := strings.Count(got, "msg=line"); n != recordsMax+1 {
			t.Errorf("%d lines are written, want %d", n, recordsMax+1)
		}
	})
}

func TestAClosedPipeIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{err: errors.New("broken pipe")}
		q := New(text(p))
		l := q.Logger()
		for range 7 {
			l.Info("line")
		}
		synctest.Wait()
		if got := q.Lost(); got != 7 {
			t.Errorf("%d are lost, want 7", got)
		}
		p.set(func() { p.err = nil })
		l.Info("again")
		synctest.Wait()
		if got := p.String(); !strings.Contains(got, "msg=again") || !strings.Contains(got, "lost=7") {
			t.Errorf("got\n%s", got)
		}
	})
}

// strange is a handler that does what none should.
type strange struct {
	slog.Handler
	q **Queue
}

func (s strange) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "panics":
		panic("in a handler")
	case "ends":
		runtime.Goexit()
	case "logs":
		(*s.q).Logger().Info("by the handler")
	}
	return s.Handler.Handle(ctx, r)
}

func TestAHandlerMayDoWhatItLikes(t *testing.T) {
	p := &pipe{}
	var q *Queue
	q = New(strange{text(p), &q})
	for _, what := range []string{"panics", "ends", "logs", "last"} {
		q.Logger().Info(what)
	}
	if !q.Flush(time.Minute) {
		t.Fatal("not written")
	}
	got := p.String()
	for _, want := range []string{"handler of the log panicked", "msg=logs", "msg=last", "by the handler", "lost="} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if q.Lost() != 2 {
		t.Errorf("%d are lost, want 2", q.Lost())
	}
}

// The level of the handler may change while it runs.
func TestTheLevelIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, level := &pipe{}, &slog.LevelVar{}
		q := New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: level}))
		l := q.Logger()
		if l.Enabled(t.Context(), slog.LevelDebug) {
			t.Error("debug is enabled")
		}
		level.Set(slog.LevelDebug)
		time.Sleep(2 * levelsAge)
		_ = l.Enabled(t.Context(), slog.LevelDebug)
		synctest.Wait()
		if !l.Enabled(t.Context(), slog.LevelDebug) {
			t.Error("debug is not enabled")
		}
		if New(slog.DiscardHandler).Logger().Enabled(t.Context(), slog.LevelError) {
			t.Error("what is thrown away is enabled")
		}
	})
}

func ExampleQueue() {
	p := &pipe{}
	q := New(text(p))
	q.Logger().Info("hello")
	q.Flush(time.Second)
	fmt.Print(p)
	// Output: level=INFO msg=hello
}
