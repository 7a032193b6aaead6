package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// nextRelease builds the command as the release after this one: see
// protocol/version_next.go.
func nextRelease(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "starling")
	build := exec.Command("go", "build", "-tags", "starling_next", "-o", path, "../cmd/starling")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the next release: %v: %s", err, out)
	}
	return path
}

// writing is a client that writes one key after the other, each once, and remembers what
// was acknowledged.
type writing struct {
	acknowledged atomic.Int64
	stop         context.CancelFunc
	ended        chan error
}

func startWriting(t *testing.T, f *flock) *writing {
	t.Helper()
	client, err := starling.Dial(t.Context(), starling.ClientConfig{Addresses: []string{f.addr("a1"), f.addr("a2"), f.addr("a3")}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	w := &writing{stop: stop, ended: make(chan error, 1)}
	go func() {
		defer client.Close()
		m := starling.NewMap[string, int64](client, "m")
		for n := int64(1); ctx.Err() == nil; n++ {
			// Under its own context: what stop cuts off would be an unknown outcome.
			each, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			err := m.Put(each, fmt.Sprint("k", n), n)
			cancel()
			if err != nil {
				w.ended <- fmt.Errorf("write %d: %w", n, err)
				return
			}
			w.acknowledged.Store(n)
		}
		w.ended <- nil
	}()
	return w
}

// more waits until a number of further writes are acknowledged.
func (w *writing) more(t *testing.T, n int64) {
	t.Helper()
	from := w.acknowledged.Load()
	eventually(t, time.Minute, func() error {
		if got := w.acknowledged.Load() - from; got < n {
			return fmt.Errorf("%d of %d writes", got, n)
		}
		return nil
	})
}

// A cluster could not be upgraded without stopping it, nor an upgrade be taken back:
// members of two releases understand each other, under load and without a lost write,
// at each step of the way there and of the way back.
func TestAClusterIsUpgradedAndPutBackOneByOne(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds another release, and starts nine processes")
	}
	next := nextRelease(t)
	f := newFlock(t, 3, 1)
	w := startWriting(t, f)
	w.more(t, 20)
	// unknown is what members of one of the releases have counted.
	unknown := func(release string) (skipped, unsupported uint64) {
		for _, a := range f.agents { // order does not matter: a sum
			s, err := status(a.addr)
			if err != nil || a.binary != release {
				continue
			}
			for _, k := range s.Unknown {
				if k.Kind != 63 && k.Kind != 127 {
					t.Errorf("%s counts kind %d", a.name, k.Kind)
				}
				skipped, unsupported = skipped+k.Skipped, unsupported+k.Unsupported
			}
		}
		return skipped, unsupported
	}
	change := func(name, binary string) {
		t.Helper()
		a := f.agents[name]
		if code := a.stop(); code != exitOK {
			t.Fatalf("%s ends with %d:\n%s", name, code, a.log)
		}
		a.binary = binary
		a.start()
		eventually(t, time.Minute, func() error {
			s, err := status(a.addr)
			if err == nil && !s.Serving {
				err = fmt.Errorf("%s does not serve: %s", name, s.Reason)
			}
			return err
		})
		w.more(t, 20)
	}
	for _, release := range []string{next, ""} {
		for i, name := range f.names {
			change(name, release)
			if i != 0 {
				continue
			}
			// Two releases beside each other: the older does not know what the newer says,
			// goes on, and answers that it does not know.
			eventually(t, time.Minute, func() error {
				skipped, _ := unknown("")
				if _, unsupported := unknown(next); skipped == 0 || unsupported == 0 {
					return fmt.Errorf("the older release has passed over %d, the newer heard of %d", skipped, unsupported)
				}
				return nil
			})
		}
	}
	w.stop()
	if err := <-w.ended; err != nil {
		t.Fatal(err)
	}
	f.settled()
	client, err := starling.Dial(t.Context(), starling.ClientConfig{Addresses: []string{f.addr("a1")}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	m := starling.NewMap[string, int64](client, "m")
	for n := int64(1); n <= w.acknowledged.Load(); n++ {
		if got, err := m.Get(t.Context(), fmt.Sprint("k", n)); err != nil || got != n {
			t.Fatalf("write %d of %d was acknowledged: got %v, %v", n, w.acknowledged.Load(), got, err)
		}
	}
	t.Logf("%d writes, none lost", w.acknowledged.Load())
}
