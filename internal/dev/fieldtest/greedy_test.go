//go:build linux

package fieldtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

const (
	// imports write beside a client that makes one write after the other, with so many
	// lines in flight each.
	imports       = 8
	linesInFlight = 256
	// readAhead is how many lines imports have read when they have what they queue, 16 for each in
	// flight: from then on they read what they write.
	readAhead = 20 * imports * linesInFlight
	// goesOnBeside is how many writes that client has acknowledged beside them, whatever it takes.
	goesOnBeside = 20
)

// A client that makes one write after the other goes on beside eight imports that have as many
// lines in flight as they may. How fast is measured; that it goes on is asked for.
func TestALoneClientGoesOnBesideImports(t *testing.T) {
	rounds := number(t, greyVariable)
	if rounds == 0 {
		t.Skipf("it measures; set %s to a number of rounds", greyVariable)
	}
	n := layNine(t, true)
	n.begin()
	client, err := n.client(n.members[0])
	if err != nil {
		t.Fatal(err)
	}
	alone := n.loneWrites(client, "alone", 0, 200)
	t.Logf("alone: %s", &alone)
	for k := range rounds {
		lines, stop := n.imports(k)
		n.eventually(func() error {
			if got := lines.Load(); got < readAhead {
				return fmt.Errorf("%d lines are read", got)
			}
			return nil
		})
		first, began := client.Seen(), time.Now()
		beside := n.loneWrites(client, "beside", 5*time.Second, goesOnBeside)
		rate := float64(client.Seen()-first) / time.Since(began).Seconds()
		stop()
		t.Logf("round %d: beside %d imports, %.0f entries a second in all: %s", k, imports, rate, &beside)
	}
	n.settled()
}

// taken is what somebody's writes took.
type taken struct {
	all  []time.Duration
	last time.Duration
}

func (p *taken) String() string {
	slices.Sort(p.all)
	part := func(share int) time.Duration { return p.all[(len(p.all)-1)*share/100].Round(100 * time.Microsecond) }
	return fmt.Sprintf("%.1f writes a second, 50 %% within %v, 99 %% within %v", float64(len(p.all))/p.last.Seconds(), part(50), part(99))
}

// loneWrites makes one write after the other for a while, and at least so many.
func (n *networked) loneWrites(client *starling.Client, name string, lasts time.Duration, atLeast int) (p taken) {
	n.t.Helper()
	counter, began := starling.NewCounter(client, name), time.Now()
	before, err := counter.Get(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	for len(p.all) < atLeast || p.last < lasts {
		at := time.Now()
		sum, err := counter.Add(ctx, 1)
		p.all, p.last = append(p.all, time.Since(at)), time.Since(began)
		if want := before + int64(len(p.all)); err != nil || sum != want {
			n.t.Fatalf("write %d: %d, %v, want %d", len(p.all), sum, err, want)
		}
	}
	return p
}

// imports runs imports until stop, which waits until all that was read is written. It counts
// the lines that they have read.
func (n *networked) imports(round int) (lines *atomic.Int64, stop func()) {
	n.t.Helper()
	path, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	lines = new(atomic.Int64)
	ctx, cancel := context.WithCancel(n.t.Context())
	var all sync.WaitGroup
	for i := range imports {
		in, out := io.Pipe()
		c := exec.Command(path, "map", "import", "--format", "tab", "--concurrency", strconv.Itoa(linesInFlight), "--timeout", patience.String(),
			"--addr", n.members[i%len(n.members)].addr, fmt.Sprintf("import-%d", i))
		c.Env, c.Stdin = append(os.Environ(), asVariable+"=agent"), in
		all.Go(func() {
			if said, err := c.CombinedOutput(); err != nil {
				n.t.Errorf("import %d: %v: %s", i, err, tail(string(said), 3))
			}
			_ = in.Close()
		})
		all.Go(func() {
			w := bufio.NewWriterSize(out, 512)
			for k := 0; ctx.Err() == nil; k++ {
				if _, err := fmt.Fprintf(w, "%d\t%d-%d\n", k%1000, round, k); err != nil {
					break
				}
				lines.Add(1)
			}
			_ = w.Flush() // an import that has ended says why itself
			_ = out.Close()
		})
	}
	stop = sync.OnceFunc(func() { cancel(); all.Wait() })
	n.t.Cleanup(stop)
	return lines, stop
}
