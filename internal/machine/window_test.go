package machine

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// taken returns a slot.
func taken(q uint64, i protocol.Index, answer string) *slot {
	s := &slot{sequence: q, index: i}
	s.size = uint8(copy(s.answer[:], answer))
	return s
}

// [S] A command is executed if it is in the set, and not if another one is: it would be answered with that
// one's answer, and never run. Here a set of numbers says what is there, whatever the order in which they come.
func TestASlotIsOfOneCommand(t *testing.T) {
	for _, far := range []int{1, 3, protocol.SessionWindow / 2} { // how far the next one may be from the floor
		r := rand.New(rand.NewPCG(1, uint64(far)))
		w, there := newWindow(1, 2), map[uint64]bool{}
		for n := range 20_000 {
			if q := w.floor + uint64(r.IntN(2*far)); !there[q] {
				w.put(taken(q, protocol.Index(q+2), "answer"))
				there[q] = true
			}
			if r.IntN(3) == 0 {
				floor := w.floor + uint64(r.IntN(2))
				for q := range there {
					if q < floor {
						delete(there, q)
					}
				}
				w.raise(floor)
			}
			if len(w.slots) != len(there) || w.Size() != len(there)*(slotHead+6) {
				t.Fatalf("far %d, step %d: got %d slots and size %d, want %d", far, n, len(w.slots), w.Size(), len(there))
			}
			for q := w.floor; q < w.floor+uint64(2*far)+2; q += 1 + uint64(far/8) {
				if s := w.find(q); (s != nil) != there[q] || s != nil && (s.sequence != q || s.index != protocol.Index(q+2)) {
					t.Fatalf("far %d, step %d: %d is there: %t, and has %v", far, n, q, there[q], s)
				}
			}
		}
	}
}

// A session that has a few commands under way makes no memory, and the room of many comes back.
func TestRoomOfAWindow(t *testing.T) {
	w, q := newWindow(1, 2), uint64(0)
	next := func() {
		q++
		w.put(taken(q, 3, "x"))
		w.raise(max(q, 8) - 7)
	}
	for range 100 {
		next()
	}
	if n := testing.AllocsPerRun(1000, next); n > 0 {
		t.Errorf("%v allocations for a command, want none", n)
	}
	w.put(taken(q+1000, 3, "x"))
	if n := len(w.room); n > 64 {
		t.Errorf("got room for %d commands, there are %d", n, len(w.slots))
	}
	for k := range uint64(999) {
		w.put(taken(q+1+k, 3, "x"))
	}
	w.raise(q + 998)
	if len(w.slots) != 3 || len(w.room) > roomKept {
		t.Errorf("got %d commands and room for %d, want 3", len(w.slots), len(w.room))
	}
}

func FuzzWindow(f *testing.F) {
	w := newWindow(3, 40)
	w.floor = 9
	w.put(taken(11, 16, "\x03abcdef"))
	w.put(taken(9, 14, "\x00"))
	w.put(&slot{sequence: 500, index: 25, size: slotLost})
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
		if !ok || again.Digest() != w.Digest() || again.Size() != w.Size() || !bytes.Equal(again.AppendTo(nil), stored) {
			t.Errorf("% x becomes % x", value, stored)
		}
		if copied := w.Copy().(*window); copied.Digest() != w.Digest() || !bytes.Equal(copied.AppendTo(nil), stored) {
			t.Errorf("% x is copied as % x", stored, copied.AppendTo(nil))
		}
	})
}
