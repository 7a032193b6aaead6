// Command embedded is an HTTP service that embeds a member: what one instance
// of it is told, every instance answers, from its own memory. There is no
// database beside it.
//
//	embedded -listen 127.0.0.1:8001 -name a1 -bind 127.0.0.1:7601 -dir /tmp/a1 -bootstrap
//	embedded -listen 127.0.0.1:8002 -name a2 -bind 127.0.0.1:7602 -dir /tmp/a2 -join 127.0.0.1:7601
//	curl -X PUT -d 'blue' http://127.0.0.1:8001/colors/sky
//	curl http://127.0.0.1:8002/colors/sky
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/starlinghq/starling"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var cfg starling.Config
	listen := flag.String("listen", "127.0.0.1:8000", "HTTP address of the service")
	join := flag.String("join", "", "members to join, separated by commas")
	flag.StringVar(&cfg.Name, "name", "", "name of the member")
	flag.StringVar(&cfg.Bind, "bind", starling.BindDefault, "address of the member")
	flag.StringVar(&cfg.Dir, "dir", "", "data directory")
	flag.BoolVar(&cfg.Bootstrap, "bootstrap", false, "begin a new cluster")
	flag.Parse()
	if *join != "" {
		cfg.Join = strings.Split(*join, ",")
	}
	l, err := net.Listen("tcp", *listen)
	if err == nil {
		err = run(ctx, cfg, l)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run opens the member and serves until ctx ends.
func run(ctx context.Context, cfg starling.Config, l net.Listener) error {
	node, err := starling.Open(ctx, cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	s := &http.Server{Handler: service(node), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Shutdown(context.WithoutCancel(ctx)) })
	defer stop()
	err = s.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, node.Close())
}

// service is the service: a write goes through the log, a read is served from
// this member's memory and says how old it can be.
func service(c starling.Caller) http.Handler {
	colors := starling.NewMap[string, string](c, "colors")
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /colors/{key}", func(w http.ResponseWriter, r *http.Request) {
		value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err == nil {
			err = colors.Put(r.Context(), r.PathValue("key"), string(value))
		}
		answer(w, "", err)
	})
	mux.HandleFunc("GET /colors/{key}", func(w http.ResponseWriter, r *http.Request) {
		var info starling.Info
		value, err := colors.Get(r.Context(), r.PathValue("key"), starling.Locally, starling.WithInfo(&info))
		w.Header().Set("Starling-Index", fmt.Sprint(info.Index))
		if info.AgeKnown {
			w.Header().Set("Starling-Age", info.Age.String())
		}
		answer(w, value+"\n", err)
	})
	return mux
}

func answer(w http.ResponseWriter, body string, err error) {
	switch {
	case err == nil:
		io.WriteString(w, body)
	case errors.Is(err, starling.ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, starling.ErrTooLarge) || errors.As(err, new(*http.MaxBytesError)):
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
	default:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
