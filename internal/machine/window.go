package machine

import (
	"encoding/binary"
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
	answers int // bytes in the slots
	// slots are those of the commands, by sequence. They lie at the end of room, which is moved to
	// its beginning when it is full, and so mostly used again.
	slots []slot
	room  []slot
}

// slot is one command that was executed.
type slot struct {
	sequence uint64
	index    protocol.Index
	size     uint8 // of the answer, or slotApart, or slotLost
	answer   [slotRoom]byte
}

const (
	// slotRoom is the length of the longest answer that a slot has room for, as it is
	// encoded. A longer one has a key of its own.
	slotRoom  = 23
	slotApart = 0xfe
	slotLost  = 0xff
	// slotHead is what the size counts for a slot beside its answer.
	slotHead = 4
	// roomKept is the room that is not given back.
	roomKept = 64
)

func newWindow(id protocol.SessionID, i protocol.Index) *window {
	return &window{session: id, index: i, floor: 1}
}

// Copy is for [state.Mutable].
func (w *window) Copy() state.Mutable {
	next := *w
	next.slots = slices.Clone(w.slots)
	next.room = next.slots[:cap(next.slots)]
	return &next
}

// Index is for [state.Mutable].
func (w *window) Index() protocol.Index { return w.index }

// Size is for [state.Mutable].
func (w *window) Size() int { return slotHead*len(w.slots) + w.answers }

// Digest is for [state.Mutable].
func (w *window) Digest() state.Digest {
	d := w.headTerm()
	for k := range w.slots {
		d.Add(w.slotTerm(&w.slots[k]))
	}
	return d
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
	if k, found := w.search(sequence); found {
		return &w.slots[k]
	}
	return nil
}

// search returns where the slot of a command is, or belongs. Mostly no sequence is left out,
// and it is as far from the first slot as the sequences are from each other.
func (w *window) search(sequence uint64) (int, bool) {
	n := len(w.slots)
	if n == 0 || sequence > w.slots[n-1].sequence {
		return n, false
	}
	if k := sequence - w.slots[0].sequence; k < uint64(n) && w.slots[k].sequence == sequence {
		return int(k), true
	}
	return slices.BinarySearchFunc(w.slots, sequence, func(s slot, q uint64) int {
		if s.sequence < q {
			return -1
		}
		return int(min(s.sequence-q, 1))
	})
}

// put adds the slot of a command that was executed, and is not there.
func (w *window) put(s *slot) {
	k, _ := w.search(s.sequence)
	n := len(w.slots)
	full := n == cap(w.slots)
	if full && n <= len(w.room)/2 {
		w.slots, full = w.room[:copy(w.room, w.slots)], false
	}
	w.slots = slices.Insert(w.slots, k, *s)
	if full { // it has an array of its own now
		w.room = w.slots[:cap(w.slots)]
	}
	w.answers += len(s.stored())
}

// lose lets go of an answer that has a key of its own. Of an error the code stays, which says that
// nothing has happened.
func (w *window) lose(s *slot, answer []byte) {
	s.size = slotLost
	if code := parseAnswer(answer, "").Code; code != protocol.OK && 1+len(code) <= slotRoom {
		s.size = uint8(copy(s.answer[:], answer[:1+len(code)]))
		w.answers += int(s.size)
	}
}

// below returns the slots of the commands below a floor.
func (w *window) below(floor uint64) []slot {
	n, _ := w.search(floor)
	return w.slots[:n]
}

// raise lifts the floor, and forgets the slots below it.
func (w *window) raise(floor uint64) {
	gone := w.below(floor)
	for k := range gone {
		w.answers -= len(gone[k].stored())
	}
	w.floor, w.slots = floor, w.slots[len(gone):]
	if n := len(w.slots); len(w.room) > roomKept && 8*n < len(w.room) {
		w.slots = append(make([]slot, 0, 2*n), w.slots...)
		w.room = w.slots[:cap(w.slots)]
	}
}

// AppendTo is for [state.Mutable]: the floor, and for each command by sequence, how far it
// lies above the one before (the first: above the floor), how far its entry lies below the
// last that changed the window, the size, and the answer.
func (w *window) AppendTo(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, w.floor)
	last := w.floor
	for k := range w.slots {
		s := &w.slots[k]
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
	if !ok || len(key) != 9 || floor == 0 || floor > protocol.SequenceMax || floor == 1 && len(value) == 0 {
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
		s := slot{sequence: last, index: i - protocol.Index(below), size: value[0]}
		value = value[1:]
		if s.size > slotRoom {
			ok = s.size >= slotApart
		} else if ok = len(value) >= int(s.size) && isAnswer(value[:s.size]); ok {
			value = value[copy(s.answer[:], value[:s.size]):]
		}
		if !ok || last > protocol.SequenceMax {
			return nil, false
		}
		w.put(&s)
	}
	return w, w.session > 0 && uint64(i) > uint64(w.session)
}
