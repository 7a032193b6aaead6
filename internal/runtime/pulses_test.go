package runtime

import (
	"fmt"
	"sync"
	"testing"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// Heartbeats travel by datagram, too: each follower gets those of its leader, knows their
// tokens, and answers them.
func TestHeartbeatsTravelByDatagram(t *testing.T) {
	c := newCluster(t)
	var mu sync.Mutex
	answers := map[string]int{}
	for _, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, func(cfg *Config) {
			cfg.Actives = 3
			cfg.twist = func(m *Member, list []replica.Send) []replica.Send {
				mu.Lock()
				defer mu.Unlock()
				for _, s := range list {
					if _, ok := s.Message.(*protocol.PulseAnswer); ok {
						answers[m.Name()]++
					}
				}
				return list
			}
		})
	}
	c.voters(3)
	c.eventually("heartbeats by datagram", func() error {
		mu.Lock()
		defer mu.Unlock()
		followers := 0
		for _, n := range answers {
			if n > 3 {
				followers++
			}
		}
		if followers < 2 {
			return fmt.Errorf("heartbeats by datagram that were answered: %v", answers)
		}
		return nil
	})
}

// A pulse that finds no datagram goes nowhere: the heartbeat is on the stream already.
func TestAPulseNeverWaitsInAStream(t *testing.T) {
	m := newCluster(t).start("a1", protocol.RoleActive)
	linked := make(chan [2]bool)
	m.inTurn(func() {
		box := newTransport(m)
		send := func(id protocol.MemberID, msg protocol.Message) bool {
			box.places[id] = place{address: "127.0.0.1:1"}
			box.send([]replica.Send{{Envelope: protocol.Envelope{To: id, Message: msg}, Datagram: true}})
			return box.links[id] != nil
		}
		links := [2]bool{send(protocol.MemberID{1}, &protocol.Pulse{Term: 1}), send(protocol.MemberID{2}, &protocol.Heartbeat{Term: 1})}
		box.close()
		linked <- links
	}, func(r protocol.Result) { linked <- [2]bool{} })
	if got := <-linked; got != [2]bool{false, true} {
		t.Errorf("a pulse and a heartbeat to members that membership does not know open streams: %v, want the second alone", got)
	}
}
