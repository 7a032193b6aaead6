package swim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/gossip/reunion"
	"github.com/starlinghq/starling/protocol"
)

// journal keeps the lines of a log.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// count returns how many lines have all of some words.
func (j *journal) count(words ...string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
lines:
	for line := range strings.Lines(j.b.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue lines
			}
		}
		n++
	}
	return n
}

// What a name means is told when it changes, and no second time; and once of all, when
// nobody is heard and all have changed.
func TestNamesThatMeanOtherAddressesAreToldOnce(t *testing.T) {
	const renamed, all = "level=INFO msg=\"the name of a member that is not heard means another address now", "level=WARN msg=\"no member is heard where it was, and the names of all"
	log := &journal{}
	means := map[string]string{"n1.test": "10.0.0.1", "n2.test": "10.0.0.2"}
	s := &Swim{ctx: t.Context()}
	s.cfg.Logger, s.cfg.Timing = log.logger(), Local()
	s.cfg.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
		if means[host] == "" {
			return nil, errors.New("no such host")
		}
		return []netip.Addr{netip.MustParseAddr(means[host])}, nil
	}
	s.flock = reunion.New(1, reunion.Config{Known: []reunion.Known{
		{ID: protocol.MemberID{1}, Name: "n1", Address: "n1.test:7600", Number: "10.0.0.1:7600"},
		{ID: protocol.MemberID{2}, Name: "n2", Address: "n2.test:7600", Number: "10.0.0.2:7600"},
		{ID: protocol.MemberID{3}, Name: "n3", Address: "10.0.0.3:7600", Number: "10.0.0.3:7600"},
		{ID: protocol.MemberID{4}, Name: "n4", Address: "n4.test:7600"}, // never heard
	}})
	look := func(i byte) {
		name := fmt.Sprintf("n%d.test:7600", i)
		if list, err := s.lookUp(name); err == nil {
			s.means(protocol.MemberID{i}, name, list)
		}
	}
	want := func(what string, lines, ofAll int) {
		t.Helper()
		if got := log.count(renamed); got != lines {
			t.Errorf("%s: %d lines of names, want %d", what, got, lines)
		}
		if got := log.count(all); got != ofAll {
			t.Errorf("%s: %d lines of all, want %d", what, got, ofAll)
		}
	}
	look(1)
	look(4)
	want("nothing has changed", 0, 0)
	means["n1.test"] = "10.1.0.1"
	look(1)
	look(1)
	want("one has changed", 1, 0)
	means["n2.test"] = ""
	look(2)
	want("the other means nothing", 1, 0)
	means["n2.test"] = "10.1.0.2"
	look(2)
	look(1)
	want("all have changed", 2, 1)
	if got := log.count("n1 10.0.0.1:7600 -> 10.1.0.1:7600, n2 10.0.0.2:7600 -> 10.1.0.2:7600"); got != 1 {
		t.Errorf("%d lines name both, want 1: %s", got, log.b.String())
	}
	means["n1.test"] = "10.2.0.1"
	look(1)
	want("one changes again", 3, 1)
	means["n1.test"] = "10.0.0.1"
	look(1)
	means["n1.test"] = "10.2.0.1"
	look(1)
	want("there and back", 4, 1)
	s.flock.Heard(protocol.Peer{ID: protocol.MemberID{9}})
	s.renumbered = false
	means["n2.test"] = "10.3.0.2"
	look(2)
	want("somebody is heard", 5, 1)
}

// A member that was started anew knows its flock by names alone, which mean other addresses
// now: it says so, and who is heard there.
func TestAMemberThatIsHeardAtAnotherAddressIsNamed(t *testing.T) {
	first := start(t, 1, quick(unforgotten))
	_, port, _ := net.SplitHostPort(first.address)
	log := &journal{}
	second := start(t, 2, func(c *Config) {
		quick(unforgotten)(c)
		c.Logger = log.logger()
		c.Known = []Known{{ID: first.id, Name: "n1", Address: "n1.test:" + port, Number: "127.9.9.9:" + port, Heard: time.Now()}}
		c.Resolve = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
	})
	second.until("the first", count(1))
	for _, words := range [][]string{
		{"level=INFO", "means another address now", "name=n1", "at=n1.test:" + port, "was=127.9.9.9:" + port, "means=" + first.address},
		{"level=WARN", "no member is heard where it was", "n1 127.9.9.9:" + port + " -> " + first.address},
		{"level=INFO", "a member is heard again, at another address", "name=n1", "was=127.9.9.9:" + port, "means=" + first.address},
	} {
		if got := log.count(words...); got != 1 {
			t.Errorf("%d lines with %q, want 1: %s", got, words, log.b.String())
		}
	}
	first.until("the second", count(1))
	if got := first.Remembered(); len(got) != 1 || got[0].Number != second.address {
		t.Errorf("remembered is %+v, want the number %s", got, second.address)
	}
}
