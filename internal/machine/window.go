package machine

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"slices"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// window is what is known of the commands of one session: those that were executed at or
// above the floor, and their answers. All below the floor were executed, or never will be.
//
// "Executed" is a set, not a number: 6 can be executed before 5, when 5 was lost with a
// connection. What is in the set is answered, what is not and is at or above the floor
// runs, whatever the order of arrival.
type window struct {
	session protocol.SessionID
	index   protocol.Index // of the entry that changed it last
	floor   uint64
	high    uint64 // the highest sequence that was executed, floor-1 or less if none is known
	// slots has room for all of floor..high: a power of two, where a sequence has the slot
	// of its low bits.
	slots []slot
}

// slot is one command that was executed.
//
// [S] It says which: a slot whose command lies below the floor is free, and one that was
// taken for the sequence that comes to the same place would be answered, and never run.
type slot struct {
	sequence uint64 // 0: free
	index    protocol.Index
	size     uint8 // of the answer, or slotApart, or slotLost
	answer   [slotRoom]byte
}

const (
	// slotRoom is the length of the longest answer that a slot has room for. A longer
	// one has a key of its own.
	slotRoom  = 23
	slotApart = 0xfe
	slotLost  = 0xff
	// slotsLeast is how many slots a window has at first.
	slotsLeast = 4
)

func newWindow(id protocol.SessionID, i protocol.Index) *window {
	return &window{session: id, index: i, floor: 1}
}

// Copy is for [state.Mutable].
func (w *window) Copy() state.Mutable {
	next := *w
	next.slots = slices.Clone(w.slots)
	return &next
}

// Index is for [state.Mutable].
func (w *window) Index() protocol.Index { return w.index }

// Digest is for [state.Mutable].
func (w *window) Digest() state.Digest {
	d := w.headTerm()
	for s := range w.all() {
		d.Add(w.slotTerm(s))
	}
	return d
}

// all yields the slots of the commands that were executed, by sequence.
func (w *window) all() iter.Seq[*slot] {
	return func(yield func(*slot) bool) {
		for q := w.floor; q <= w.high; q++ {
			if s := w.find(q); s != nil && !yield(s) {
				return
			}
		}
	}
}

// headTerm is what the window adds to the digest beside its slots.
func (w *window) headTerm() state.Digest {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], w.floor)
	binary.BigEndian.PutUint64(b[8:], uint64(w.index))
	return state.DigestOf(b[:], mix(uint64(w.session)))
}

// slotTerm is what a slot adds. An answer apart adds what its key does.
func (w *window) slotTerm(s *slot) state.Digest {
	seed := mix(mix(mix(uint64(w.session))^s.sequence)^uint64(s.index)) ^ uint64(s.size)
	return state.DigestOf(s.stored(), seed)
}

func mix(x uint64) uint64 {
	high, low := bits.Mul64(x^0x2d358dccaa6c78a5, 0x9e3779b97f4a7c15)
	return high ^ low
}

// stored is the answer that is in the slot.
func (s *slot) stored() []byte {
	if s.size > slotRoom {
		return nil
	}
	return s.answer[:s.size]
}

// find returns the slot of a command, nil if it was not executed.
func (w *window) find(sequence uint64) *slot {
	if len(w.slots) == 0 {
		return nil
	}
	if s := w.at(sequence); s.sequence == sequence && sequence >= w.floor {
		return s
	}
	return nil
}

func (w *window) at(sequence uint64) *slot { return &w.slots[sequence&uint64(len(w.slots)-1)] }

// take returns the slot of a command at or above the floor that has been executed now.
func (w *window) take(sequence uint64, i protocol.Index) *slot {
	w.high = max(w.high, sequence)
	if span := w.high - w.floor; span >= uint64(len(w.slots)) {
		w.move(max(slotsLeast, 1<<bits.Len64(span)))
	}
	s := w.at(sequence)
	*s = slot{sequence: sequence, index: i}
	return s
}

// fit gives the room for far more commands back.
func (w *window) fit() {
	span := uint64(0)
	if w.high >= w.floor {
		span = w.high - w.floor + 1
	}
	if n := max(slotsLeast, 1<<bits.Len64(span)); 4*n < len(w.slots) {
		w.move(n)
	}
}

// move moves the slots to others, as many as n.
func (w *window) move(n int) {
	old := *w
	w.slots = make([]slot, n)
	for k := range old.slots {
		if s := &old.slots[k]; s.sequence >= w.floor {
			*w.at(s.sequence) = *s
		}
	}
}

// AppendTo is for [state.Mutable]: the floor, and for each command by sequence, how far it
// lies above the one before (the first: above the floor), how far its entry lies below the
// last that changed the window, the size, and the answer.
func (w *window) AppendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, w.floor)
	last := w.floor
	for s := range w.all() {
		dst = binary.AppendUvarint(dst, s.sequence-last)
		dst = binary.AppendUvarint(dst, uint64(w.index-s.index))
		dst = append(append(dst, s.size), s.stored()...)
		last = s.sequence
	}
	return dst
}

// parseWindow reads what AppendTo wrote. It withstands any input.
func parseWindow(key, value []byte, i protocol.Index) (w *window, ok bool) {
	floor, value, ok := sessionop.TakeUint(value)
	if !ok || len(key) != 9 || floor == 0 || floor > protocol.SequenceMax {
		return nil, false
	}
	w = newWindow(protocol.SessionID(binary.BigEndian.Uint64(key[1:])), i)
	w.floor = floor
	for last, first := floor, true; len(value) > 0; first = false {
		var above, below uint64
		above, value, ok = sessionop.TakeUint(value)
		if !ok || above == 0 && !first || above >= protocol.SessionWindow || last+above-floor >= protocol.SessionWindow {
			return nil, false
		}
		below, value, ok = sessionop.TakeUint(value)
		if !ok || below >= uint64(i) || uint64(i)-below <= uint64(w.session) || len(value) == 0 {
			return nil, false
		}
		last += above
		s := w.take(last, i-protocol.Index(below))
		s.size, value = value[0], value[1:]
		if s.size > slotRoom {
			ok = s.size >= slotApart
		} else if ok = len(value) >= int(s.size) && isAnswer(value[:s.size]); ok {
			value = value[copy(s.answer[:], value[:s.size]):]
		}
		if !ok || last > protocol.SequenceMax {
			return nil, false
		}
	}
	return w, w.session > 0 && uint64(i) > uint64(w.session)
}
