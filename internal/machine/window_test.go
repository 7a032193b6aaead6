package machine

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// [S] A command is executed if it is in the set, and not if another one had its place: that one would be
// answered with the other's answer, and never run.
func TestASlotIsOfOneCommand(t *testing.T) {
	w := newWindow(1, 2)
	for q := uint64(1); q <= 3*protocol.SessionWindow; q++ {
		if s := w.find(q); s != nil {
			t.Fatalf("%d was not executed, and has the slot of %d", q, s.sequence)
		}
		w.floor = max(q, 5) - 4
		w.take(q, protocol.Index(q+2))
		for p := w.floor; p <= q; p++ {
			if s := w.find(p); s == nil || s.index != protocol.Index(p+2) {
				t.Fatalf("%d was executed, and with %d on top has %v", p, q, s)
			}
		}
	}
	if n := len(w.slots); n != 8 {
		t.Errorf("got %d slots for 5 commands, want 8", n)
	}
}

// The room of a session that had many commands under way comes back with its floor.
func TestAWindowGivesRoomBack(t *testing.T) {
	w := newWindow(1, 2)
	for q := uint64(1); q <= protocol.SessionWindow; q++ {
		w.take(q, 3)
	}
	if n := len(w.slots); n != protocol.SessionWindow {
		t.Errorf("got %d slots, want %d", n, protocol.SessionWindow)
	}
	w.floor = protocol.SessionWindow - 1
	w.fit()
	if n := len(w.slots); n != slotsLeast || w.find(w.floor) == nil || w.find(w.high) == nil || w.find(w.high+1) != nil {
		t.Errorf("got %d slots, want %d with the last two", n, slotsLeast)
	}
	w.floor += 100
	if w.fit(); w.find(w.floor) != nil || w.find(1) != nil {
		t.Error("a command below the floor is found")
	}
}

func FuzzWindow(f *testing.F) {
	w := newWindow(3, 40)
	w.floor = 9
	for q, answer := range map[uint64]string{9: "\x00", 11: "\x03abcdef", 500: ""} {
		s := w.take(q, protocol.Index(q%30)+5)
		if s.size = uint8(copy(s.answer[:], answer)); answer == "" {
			s.size = slotLost
		}
	}
	f.Add(w.AppendTo(nil))
	f.Add([]byte{1})
	f.Add([]byte{1, 0, 0, slotApart})
	f.Fuzz(func(t *testing.T, value []byte) {
		key := binary.BigEndian.AppendUint64([]byte{keyExecuted}, 3)
		w, ok := parseWindow(key, value, 40)
		if !ok {
			return
		}
		stored := w.AppendTo(nil)
		again, ok := parseWindow(key, stored, 40)
		if !ok || again.Digest() != w.Digest() || !bytes.Equal(again.AppendTo(nil), stored) {
			t.Errorf("% x becomes % x", value, stored)
		}
	})
}
