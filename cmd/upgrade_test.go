package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// nextRelease is the command as the release after this one: see protocol/version_next.go.
// It is built once, and all else than the tag is as in this build, so that Go has most of it.
func nextRelease(t *testing.T) string {
	t.Helper()
	path, err := buildNext()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// nextDir is where it is built, of this process alone: TestMain removes it.
func nextDir() string {
	return filepath.Join(os.TempDir(), fmt.Sprint("starling-next-", os.Getpid()))
}

var buildNext = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(nextDir(), "starling")
	if out, err := exec.Command("go", "build", "-tags", "starling_next", "-o", path, "../cmd/starling").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the next release: %w: %s", err, out)
	}
	return path, nil
})

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

// release starts a member anew with another release, and waits until it serves.
func (f *flock) release(name, binary string) {
	f.t.Helper()
	f.replace(name, binary)
	eventually(f.t, time.Minute, func() error {
		s, err := status(f.addr(name))
		if err == nil && !s.Serving {
			err = fmt.Errorf("%s does not serve: %s", name, s.Reason)
		}
		return err
	})
}

// replace starts a member anew with another release.
func (f *flock) replace(name, binary string) {
	f.t.Helper()
	a := f.agents[name]
	if code := a.stop(); code != exitOK {
		f.t.Fatalf("%s ends with %d:\n%s", name, code, a.log)
	}
	a.binary = binary
	a.start()
}

// holdLevel says what becomes of the format level. A leader waits no longer than it must.
func holdLevel(t *testing.T, f *flock, what string) {
	t.Helper()
	_, stderr, code := run(context.Background(), "", "autopilot", "set", "--addr", f.addr("a1"), "--timeout", "30s", "--format-level", what, "--failed-after", "5s")
	if code != exitOK {
		t.Fatalf("autopilot set --format-level %s: exit code %d: %s", what, code, stderr)
	}
}

// [S] The level stays while one member is older, and while it is held by hand; from when it
// has risen an older release applies nothing above that, serves nobody, and says what it
// needs. The others go on, nothing is lost, and no digest differs.
func TestTheFormatLevelRisesWhenAllAreUpgraded(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds another release, and starts eleven processes")
	}
	t.Parallel()
	next := nextRelease(t)
	f := newFlock(t, 3, 1)
	holdLevel(t, f, "hold")
	w := startWriting(t, f)
	level := func(name string, want int) error {
		s, err := status(f.addr(name))
		if err == nil && s.FormatLevel != want {
			err = fmt.Errorf("%s is at level %d, and knows up to %d: %q", name, s.FormatLevel, s.FormatLevelKnown, s.FormatLevelReason)
		}
		return err
	}
	for _, name := range f.names {
		if err := level(name, 1); err != nil {
			t.Error(err)
		}
		f.release(name, next)
		w.more(t, 20)
	}
	eventually(t, time.Minute, func() error {
		s, err := status(f.addr("a1"))
		if err == nil {
			s, err = status(f.addr(s.Leader))
		}
		if err == nil && (s.FormatLevel != 1 || s.FormatLevelKnown != 2 || !strings.Contains(s.FormatLevelReason, "held back by hand")) {
			err = fmt.Errorf("the leader is at level %d, knows up to %d and says %q", s.FormatLevel, s.FormatLevelKnown, s.FormatLevelReason)
		}
		return err
	})
	holdLevel(t, f, "auto")
	for _, name := range f.names {
		eventually(t, time.Minute, func() error { return level(name, 2) })
	}
	w.more(t, 20)
	const sentence = "the log is at format level 2, and this release knows the levels up to 1: start it with a release that knows level 2"
	for _, name := range []string{"a3", "p1"} {
		f.replace(name, "")
		eventually(t, time.Minute, func() error {
			s, err := status(f.addr(name))
			if err == nil && (s.Serving || !strings.Contains(s.Reason, sentence)) {
				err = fmt.Errorf("%s serves: %t, %q", name, s.Serving, s.Reason)
			}
			return err
		})
		w.more(t, 20)
		if log := f.agents[name].log.String(); !strings.Contains(log, "level=ERROR msg=beyond") || !strings.Contains(log, sentence) {
			t.Errorf("the log of %s does not say what it needs:\n%s", name, log)
		}
		out, stderr, code := run(context.Background(), "", "map", "get", "--addr", f.addr(name), "--timeout", "3s", "--consistency", "local", "m", "k1")
		if code == exitOK || !strings.Contains(stderr, sentence) {
			t.Errorf("%s, which cannot apply the log, answers a read with %d, %q, %q", name, code, out, stderr)
		}
	}
	f.release("a3", next)
	f.release("p1", next)
	w.end(t, f)
}

// A cluster could not be upgraded without stopping it, nor an upgrade be taken back:
// members of two releases understand each other, under load and without a lost write,
// at each step of the way there and of the way back.
func TestAClusterIsUpgradedAndPutBackOneByOne(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds another release, and starts nine processes")
	}
	t.Parallel()
	next := nextRelease(t)
	f := newFlock(t, 3, 1)
	holdLevel(t, f, "hold") // it is put back
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
	for _, release := range []string{next, ""} {
		for i, name := range f.names {
			f.release(name, release)
			w.more(t, 20)
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
	w.end(t, f)
}

// end stops writing, waits until all members have the same, and reads all that was
// acknowledged.
func (w *writing) end(t *testing.T, f *flock) {
	t.Helper()
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
