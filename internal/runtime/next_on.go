//go:build starling_next

package runtime

import (
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// sendNext has a member send, with each heartbeat and each answer to one, what only the
// next version of the protocol knows.
func (c *Config) sendNext() {
	number := uint64(0)
	c.twist = func(m *Member, list []replica.Send) []replica.Send {
		for _, s := range list {
			if k := s.Message.Kind(); k == protocol.KindHeartbeat || k == protocol.KindHeartbeatAnswer {
				number++
				for _, msg := range []protocol.Message{&protocol.Next{Number: number}, &protocol.NextQuestion{Request: number}} {
					list = append(list, replica.Send{Envelope: protocol.Envelope{From: s.From, To: s.To, Message: msg}})
				}
			}
		}
		return list
	}
}
