package attempt

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// WatchIdle is how long a watch says nothing, at most, while no member tells it anything.
const WatchIdle = time.Second

// Watch is what a client decides about one watch: what of that which members tell is news, how old all of it
// is at most, and whether it goes on at another member when one has ended it.
type Watch struct {
	request protocol.Watch // From moves on with what has been seen
	known   protocol.Index // nothing up to here is told
	taken   bool           // by a member, once
	pause   Pause
	// come is the member's word that the watch has come to, waits the one that it has not come to.
	come, waits word
}

// NewWatch returns a watch of a client that has seen an index. "Now" is not before that: a member that is
// behind tells no changes that the client knows already, its own least of all.
func NewWatch(w *protocol.Watch, seen protocol.Index, pause Pause) *Watch {
	x := &Watch{request: *w, pause: pause}
	if w.From == 0 {
		x.known = seen
	}
	return x
}

// Request is what is asked of a member now.
func (w *Watch) Request() protocol.Watch { return w.request }

// From is the index up to which everything was told; 0: the watch has not begun anywhere.
func (w *Watch) From() protocol.Index { return w.request.From }

// Pause returns how long to wait before the members are asked again. A nil source is the program's.
func (w *Watch) Pause(random *rand.Rand) time.Duration { return w.pause.Next(random) }

// Taken says that a member has taken the watch.
func (w *Watch) Taken() { w.taken = true }

// Refused takes why no member has taken the watch, and reports whether they are asked again, after a pause.
// Who opens a watch bounds that; one that was open goes on until its program ends it.
func (w *Watch) Refused(err error) (again bool) {
	if !w.taken {
		return !Permanent(err)
	}
	return MayGoOn(err) && !errors.Is(err, protocol.ErrClosed)
}

// Ended takes the end of the watch at a member, and reports whether it goes on at another one, after a pause.
// It does not if it has seen nothing yet and began at "now", a place that only the lost member knew.
func (w *Watch) Ended(err error) (goesOn bool) {
	if !MayGoOn(err) || w.request.From == 0 {
		return false
	}
	w.waits = word{} // it was about that member's state
	return true
}

// MayGoOn reports whether a watch ended because of the member that served it, and not because of what was
// asked.
func MayGoOn(err error) bool {
	code := CodeIn(err)
	return code == protocol.OK || code.Meaning().MayRetry(protocol.Later|protocol.Elsewhere)
}

// Left returns what a watch that its client has left for a reason ends with.
//
// [S] What the member has ended it with stays: who was told what is wrong must not go on elsewhere.
func Left(end, why error) error {
	if why != nil && errors.Is(end, protocol.ErrClosed) {
		return why
	}
	return end
}

// Told takes what a member has told. news reports whether the watch tells it, and seen is what the client has
// seen by it, before that is handed out; 0: nothing.
func (w *Watch) Told(c protocol.Changes, now time.Time) (told protocol.Changes, seen protocol.Index, news bool) {
	w.pause.Reset()
	if len(c.Changes) > 0 && c.Index <= w.known {
		return c, 0, false
	}
	c.Index = max(c.Index, w.known) // without changes: where the watch begins
	// [S] What a client has seen comes from members. The index that was asked for does not: nothing
	// may have come to it yet.
	if len(c.Changes) > 0 || c.Index != w.request.From {
		seen = c.Index
	}
	w.request.From = max(w.request.From, c.Index)
	return w.reach(c, now), seen, true
}

// Idle is what the watch says when nothing has come for a while.
func (w *Watch) Idle(now time.Time) protocol.Changes {
	return w.reach(protocol.Changes{Index: w.request.From}, now)
}

// word is what a member has said of the age of its state. Its Index is one that this state has come to.
// [S] Its age counts from when the member was asked: the answer may have lain in a socket for as long as this
// process stood still.
type word struct {
	protocol.Result
	asked time.Time
}

// at is what was said, as of now.
func (w word) at(now time.Time) protocol.Result {
	if w.AgeKnown {
		w.Age += int64(Elapsed(w.asked, now))
	}
	return w.Result
}

// Elapsed is how much time can have passed: the larger of what the monotonic
// clock, which may stand still while the machine is suspended, and the wall clock
// have seen.
func Elapsed(from, to time.Time) time.Duration {
	return max(0, to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// Waits reports whether the watch takes a word of the member that tells it: not while one waits.
func (w *Watch) Waits() bool { return !w.waits.AgeKnown }

// Hear takes the word of the member that tells the watch, before more of that is read.
func (w *Watch) Hear(state protocol.Result, now time.Time) { w.waits = word{state, now} }

// reach takes note of what is told, and says how old all is that was. A member's word counts when the watch
// has come to the index of that word.
func (w *Watch) reach(c protocol.Changes, now time.Time) protocol.Changes {
	if w.waits.AgeKnown && w.waits.Index <= c.Index {
		if !w.come.AgeKnown || w.waits.at(now).Age < w.come.at(now).Age {
			w.come = w.waits
		}
		w.waits = word{}
	}
	if w.come.AgeKnown {
		c.AgeKnown, c.Age = true, w.come.at(now).Age
	}
	return c
}
