package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/internal/security"
)

func TestProbesAndStatus(t *testing.T) {
	var alive, ready error
	s, err := Serve(t.Context(), security.Plaintext(), "127.0.0.1:0", Handler(Source{
		Alive:  func() error { return alive },
		Ready:  func() error { return ready },
		Status: func() (any, error) { return map[string]int{"applied": 7}, ready },
	}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	check := func(path string, wantCode int, wantBody string) {
		t.Helper()
		r, err := http.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := r.StatusCode, wantCode; got != want {
			t.Errorf("GET %s: code %d, want %d", path, got, want)
		}
		if got, want := strings.TrimSpace(string(b)), wantBody; got != want {
			t.Errorf("GET %s: body %q, want %q", path, got, want)
		}
	}
	check("/healthz", 200, "ok")
	check("/readyz", 200, "ok")
	check("/v1/status", 200, `{"applied":7}`)
	check("/nothing", 404, "404 page not found")
	ready = errors.New("no leader")
	check("/readyz", 503, "no leader")
	check("/v1/status", 503, "no leader")
	check("/healthz", 200, "ok")
	alive = errors.New("the disk failed")
	check("/healthz", 503, "the disk failed")
}

func TestServeSaysThatAPortIsInUse(t *testing.T) {
	s, err := Serve(t.Context(), security.Plaintext(), "127.0.0.1:0", http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	_, err = Serve(t.Context(), security.Plaintext(), s.Addr(), http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "another process has the port") {
		t.Fatalf("a second server on one port: got %v", err)
	}
}

// A head of an HTTP request is as long as the limit says, and no longer.
func TestHeadsOfRequestsAreBounded(t *testing.T) {
	s, err := Serve(t.Context(), security.Plaintext(), "127.0.0.1:0", Handler(Source{Alive: func() error { return nil }}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	for length, want := range map[int]string{headerBytesMax - 1: "200 OK", headerBytesMax: "200 OK", headerBytesMax + 1: "431 Request Header Fields Too Large"} {
		c, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		head := "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
		const end = "\r\n\r\n"
		head += strings.Repeat("x", length-len(head)-len(end)) + end
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		said, _ := io.ReadAll(c) // what was too long may end in a reset
		c.Close()
		if line, _, _ := strings.Cut(string(said), "\r\n"); line != "HTTP/1.1 "+want {
			t.Errorf("a head of %d bytes: got %q, want %s", length, line, want)
		}
	}
}

func TestReadyWithANote(t *testing.T) {
	s := serveNote(t, "writes are refused: no room")
	response, err := http.Get("http://" + s.Addr() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	if want := "ok, but writes are refused: no room\n"; response.StatusCode != http.StatusOK || string(body) != want {
		t.Errorf("got %s %q, want 200 %q", response.Status, body, want)
	}
}

func serveNote(t *testing.T, note string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serve(l, Handler(Source{Ready: func() error { return nil }, Note: func() string { return note }}), slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// wanting is a listener for which the system has no memory, some times.
type wanting struct {
	net.Listener
	times atomic.Int32
}

func (l *wanting) Accept() (net.Conn, error) {
	if l.times.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.ENOMEM)}
	}
	return l.Listener.Accept()
}

// What net/http takes for the end of a listener passes.
func TestHTTPGoesOnWhenThereIsMemoryAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	poor := &wanting{Listener: l}
	poor.times.Store(3)
	s := serve(poor, Handler(Source{Alive: func() error { return nil }}), slog.New(slog.DiscardHandler))
	defer s.Close(t.Context())
	response, err := http.Get("http://" + s.Addr() + "/healthz")
	if err != nil {
		t.Fatalf("after want of memory: %v", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("got %s, want 200", response.Status)
	}
}
