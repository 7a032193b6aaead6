package swim

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// lines is a log that keeps what it is told.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// Members whose ranges overlap would not hear each other, and a cluster that is upgraded
// one by one would fall apart.
func TestMembersOfTwoVersionsHearEachOther(t *testing.T) {
	a := start(t, 1, func(c *Config) { c.Versions = protocol.Versions{Lowest: 1, Highest: 2} })
	b := start(t, 2, func(c *Config) { c.Versions = protocol.Versions{Lowest: 2, Highest: 5} })
	b.join(a)
	peers := a.until("the newer one", count(1))
	if got, want := peers[0].Versions, b.cfg.Versions; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.until("the older one", count(1))
	for _, way := range [][2]*node{{a, b}, {b, a}} {
		if err := way[0].Send(way[1].id, []byte("x")); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-way[1].messages:
			if want := way[0].id.Short() + ":x"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		case <-time.After(patience):
			t.Errorf("%s hears nothing", way[1].id.Short())
		}
	}
}

// A member of no common version would be taken for a peer that never answers, and
// nobody would know why.
func TestWithoutACommonVersionNobodyIsLetIn(t *testing.T) {
	logs := [2]*lines{{}, {}}
	with := func(i int, v protocol.Versions) func(*Config) {
		return func(c *Config) {
			c.Versions, c.Logger = v, slog.New(slog.NewTextHandler(logs[i], nil))
		}
	}
	a := start(t, 1, with(0, protocol.Versions{Lowest: 1, Highest: 2}))
	b := start(t, 2, with(1, protocol.Versions{Lowest: 3, Highest: 4}))
	b.join(a)
	b.join(a)
	witness := start(t, 3, func(c *Config) { c.Versions = protocol.Versions{Lowest: 1, Highest: 4} })
	witness.join(a, b)
	witness.until("both", count(2))
	for i, x := range []*node{a, b} {
		x.until("the one that speaks all", count(1))
		if got := logs[i].count("level=WARN"); got != 1 {
			t.Errorf("%s has told of it %d times, want once", x.id.Short(), got)
		}
		for _, want := range []string{"versions 1 to 2", "versions 3 to 4", "to a release that speaks version 3"} {
			if logs[i].count(want) != 1 {
				t.Errorf("%s does not say %q", x.id.Short(), want)
			}
		}
	}
	packet := appendDatagram(nil, 3, cluster, b.id, []byte("of a version that is not spoken"))
	if _, _, ours, ok := parseDatagram(packet, a.cfg.Versions, cluster); !ours || ok {
		t.Errorf("a datagram of another version: ours %v, ok %v", ours, ok)
	}
}
