// Package web is HTTP: whether a member lives, whether it serves, and what it
// says of itself. The page and the resources over HTTP come to the same place.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/starlinghq/starling/internal/outage"
	"github.com/starlinghq/starling/internal/security"
)

// Limits of a connection. A slow or silent peer is cut off.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	headerBytesMax = 16 << 10
	// headerSlack is what net/http reads beyond what it is told.
	headerSlack = 4 << 10
)

// Source is what the answers come from. Its functions are called from several
// goroutines.
type Source struct {
	// Alive returns why the member has stopped, nil while it runs.
	Alive func() error
	// Ready returns why the member does not serve, nil while it does.
	Ready func() error
	// Note says what those should know who rely on a member that is ready, such as
	// that it refuses writes; empty: nothing. Nil: never anything.
	Note func() string
	// Status returns what /v1/status prints as JSON, or why there is nothing.
	Status func() (any, error)
}

// Handler answers /healthz, /readyz and /v1/status. The first two are 200 or
// 503 with the reason in one line, for orchestrators: a member that is not
// healthy wants a restart, one that is not ready wants time.
func Handler(s Source) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", probe(s.Alive, nil))
	mux.HandleFunc("GET /readyz", probe(s.Ready, s.Note))
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		v, err := s.Status()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, v)
	})
	return mux
}

func probe(why func() error, note func() string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := why(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		if note != nil {
			if text := note(); text != "" {
				fmt.Fprintln(w, "ok, but "+text)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(append(b, '\n')) // a reader that went away is not our trouble
}

// Server serves a handler on one listener until it is closed.
type Server struct {
	http *http.Server
	addr string
	done chan struct{}
}

// Serve starts serving on addr, host:port; port 0 picks one.
func Serve(ctx context.Context, secure *security.Security, addr string, h http.Handler, logger *slog.Logger) (*Server, error) {
	l, err := secure.Listen(ctx, addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("cannot serve HTTP at %s: another process has the port; stop it, or choose another address with --http (port 0 picks a free one): %w", addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot serve HTTP at %s: %w", addr, err)
	}
	return serve(l, h, logger), nil
}

// serve serves on a listener, which it closes in the end.
func serve(l net.Listener, h http.Handler, logger *slog.Logger) *Server {
	s := &Server{addr: l.Addr().String(), done: make(chan struct{}), http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerBytesMax - headerSlack,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(s.done)
		// What is an end for net/http, such as no memory, passes as well.
		if err := s.http.Serve(listener{outage.Listen(l, logger)}); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("HTTP stopped", "addr", s.addr, "err", err)
		}
	}()
	return s
}

// listener hands out connections that answer a client of the cluster, which has the
// wrong port, at once: HTTP would wait for the end of a line that never comes, and the
// client take this for a member that hangs.
type listener struct{ net.Listener }

// Accept waits for the next connection.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &sniffed{Conn: c}, nil
}

// clusterMagic is what clients and members begin with, the wire's Magic.
const clusterMagic = "STARLING"

// sniffed looks at the first bytes that come. One goroutine reads at a time.
type sniffed struct {
	net.Conn
	looked bool
}

// Read reads, and ends what is no HTTP.
func (c *sniffed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if !c.looked && n > 0 {
		c.looked = true
		if bytes.HasPrefix(b[:n], []byte(clusterMagic)) {
			_, _ = c.Conn.Write([]byte("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"))
			return 0, io.EOF
		}
	}
	return n, err
}

// Addr returns the host:port that is listened on.
func (s *Server) Addr() string { return s.addr }

// Close lets the requests in flight end, until ctx does, and stops.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	<-s.done
	return err
}
