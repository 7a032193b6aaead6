package swim

import (
	"bytes"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// deaf is a socket whose datagrams get nowhere, as behind a firewall.
type deaf struct{ net.PacketConn }

func (d deaf) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// Without datagrams memberlist's news would come with the next exchange of all that is
// known only, which may be half a minute away: members that gossip sends to by stream are
// told of a newcomer, and of what it announces, over streams.
func TestNewsSpreadWithoutDatagrams(t *testing.T) {
	const members = 4
	var nodes []*node
	for n := range members {
		l, packets := listen(t, "127.0.0.1")
		nodes = append(nodes, startOn(t, l, deaf{packets}, byte(n+1), func(c *Config) { c.Timing.PushPullInterval = time.Hour }))
	}
	for i, x := range nodes {
		var others []protocol.MemberID
		for k, o := range nodes {
			if k != i {
				others = append(others, o.id)
			}
		}
		x.Streamed(others)
		if i > 0 {
			x.join(nodes[0])
		}
	}
	for _, x := range nodes {
		x.until("all", count(members-1))
	}
	if err := nodes[1].Update(Meta{Name: "n2", Role: protocol.RoleActive}); err != nil {
		t.Fatal(err)
	}
	for _, x := range nodes {
		if x == nodes[1] {
			continue
		}
		x.until("what one announces", func(peers []protocol.Peer) bool {
			for _, p := range peers {
				if p.ID == nodes[1].id {
					return p.Role == protocol.RoleActive
				}
			}
			return false
		})
	}
}

// told says when a line of a log has some words in it.
type told struct {
	words string
	heard chan struct{}
}

func (w *told) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte(w.words)) {
		select {
		case w.heard <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// A probe over a stream was refused, for the port in it was taken for a number of nodes: members
// to which datagrams do not get, or whose machine is busy, were suspected, and had to deny it.
func TestProbesGoOverStreams(t *testing.T) {
	answered := &told{"over TCP but UDP probes failed", make(chan struct{}, 1)}
	quiet := func(c *Config) { c.Timing.PushPullInterval = time.Hour }
	l, packets := listen(t, "127.0.0.1")
	a := startOn(t, l, deaf{packets}, 1, func(c *Config) {
		quiet(c)
		c.Logger = slog.New(slog.NewTextHandler(answered, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	l, packets = listen(t, "127.0.0.1")
	startOn(t, l, deaf{packets}, 2, quiet).join(a)
	select {
	case <-answered.heard:
	case <-time.After(time.Minute):
		t.Fatal("no probe over a stream was answered")
	}
}
