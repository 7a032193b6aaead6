package sim

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Kinds that only the later version of these tests knows: the second one asks.
const laterKind, laterQuestion = protocol.MessageKind(63), protocol.MessageKind(127)

// grown has fields added to a message, as a later version writes it. A frame has them
// in its body, which relays do not take apart; protocol's own tests have those.
func grown(msg protocol.Message, encoded []byte) []byte {
	if msg.Kind() == protocol.KindFrame || encoded[1]&0xf0 != 0x90 {
		return encoded
	}
	out := binary.BigEndian.AppendUint16([]byte{encoded[0], 0xdc}, uint16(encoded[1]&0x0f)+24)
	out = append(out, encoded[2:]...)
	return append(out, append(bytes.Repeat([]byte{0xc0}, 22), 0x2a, 0x82, 0xa1, 'a', 1, 0xa1, 'b', 0x91, 0xc3)...)
}

// upgraded makes members of a later version, one after the other and back again, while
// the run goes on: they send all messages with more fields, and with every other one a
// message of a kind that the others do not know.
func upgraded(s *simulation) (turns *int) {
	newer := map[int]bool{}
	turn, sent := 0, 0
	var step func()
	step = func() {
		newer[turn%len(s.members)] = turn/len(s.members)%2 == 0
		turn++
		s.schedule.after(time.Second, step)
	}
	s.schedule.after(time.Second, step)
	s.network.newer = func(from *member, msg protocol.Message, encoded []byte) [][]byte {
		if !newer[from.number] {
			return [][]byte{encoded}
		}
		sent++
		out := [][]byte{grown(msg, encoded)}
		switch sent % 4 {
		case 0:
			out = append(out, []byte{byte(laterKind), 0x93, 1, 0xc0, 0x91, 2})
		case 2:
			out = append([][]byte{{byte(laterQuestion), 0x92, byte(sent % 128), 0xc3}}, out...)
		}
		return out
	}
	return &turn
}

// Members of two versions in one cluster would not understand each other, or would not
// come to the same state, while it is upgraded one by one, and put back, under faults.
func TestMembersOfTwoVersionsKeepEveryPromise(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	var skipped, refused uint64
	for seed := range seeds {
		s := newSimulation(seed, Options{Duration: 20 * time.Second})
		turns := upgraded(s)
		if r := s.watched(hangMax); r.Violation != nil {
			t.Errorf("seed %d: %v", seed, r.Violation)
		}
		if *turns < 2*len(s.members) {
			t.Errorf("seed %d: %d turns, want an upgrade and back of %d members", seed, *turns, len(s.members))
		}
		for _, m := range s.members {
			if !m.runs() || m.replica == nil {
				continue
			}
			for _, k := range m.replica.Status(m.now()).Unknown {
				if k.Kind != laterKind && k.Kind != laterQuestion {
					t.Errorf("seed %d: %s counts kind %d", seed, m.name, k.Kind)
				}
				skipped, refused = skipped+k.Skipped, refused+k.Unsupported
			}
		}
	}
	if skipped == 0 || refused == 0 {
		t.Errorf("%d messages were passed over and %d answered, want some", skipped, refused)
	}
}
