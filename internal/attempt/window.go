package attempt

import "github.com/starlinghq/starling/protocol"

// Window hands out the sequence numbers of a session, and knows which of them still wait
// for an answer. At most protocol.SessionWindow numbers are at or above the floor. Its
// caller guards it. See NewWindow.
type Window struct {
	// lowest is the floor: the lowest number whose answer is awaited, or next
	// if none is. done tells, for the numbers from lowest to next, which are
	// not awaited any more, at the number modulo the window.
	lowest, next uint64
	done         [protocol.SessionWindow]bool
}

// NewWindow returns the window of a new session: its first number is 1.
func NewWindow() *Window { return &Window{lowest: 1, next: 1} }

// Room reports whether there is a number to take.
func (w *Window) Room() bool { return w.next < w.lowest+protocol.SessionWindow }

// Take returns the next number. There must be room.
func (w *Window) Take() uint64 {
	sequence := w.next
	w.next++
	return sequence
}

// Release says that the answer of a number is not awaited any more.
func (w *Window) Release(sequence uint64) {
	w.done[sequence%protocol.SessionWindow] = true
	for w.lowest < w.next && w.done[w.lowest%protocol.SessionWindow] {
		w.done[w.lowest%protocol.SessionWindow] = false
		w.lowest++
	}
}

// Floor returns the lowest number whose answer is awaited, or the next one if none is.
func (w *Window) Floor() uint64 { return w.lowest }
