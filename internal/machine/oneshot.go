package machine

import (
	"encoding/binary"
	"fmt"

	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// One-shots are commands that belong to no session: their clients write once and go.
// What a session knows of its commands, the state knows of them itself, each by the
// number that its client drew, for protocol.OneShotKept. Then the next entry, whatever
// it is, forgets it. None is made for that: until there is one, there are no more than
// protocol.OneShotsMax.
//
// [S] What is forgotten raises the horizon, in the same entry. A copy of a one-shot
// stands above what its client had seen before it drew the number, so one that was
// executed and is forgotten has seen less than the horizon: it is refused, and so is,
// to be safe, whichever else has seen no more. Without the horizon a copy that was late
// for longer than the numbers are kept would run again.
type oneShots struct {
	state   *state.State
	all     map[protocol.OneShotNumber]rememberedAs
	most    int       // see state.Fit
	queue   []oneShot // all, by index
	horizon protocol.Index
	bytes   int // of their values
	// textBytes is what the texts take, which are no part of the state; see session.texts.
	textBytes int
	scratch   []byte
}

// oneShot is one that was executed at an index.
type oneShot struct {
	index  protocol.Index
	at     protocol.ClusterTime
	number protocol.OneShotNumber
	size   int // of its value
}

// rememberedAs is where a one-shot was executed, and the text of its error, if there was
// one and it was executed since this program has started.
type rememberedAs struct {
	index protocol.Index
	text  string
}

// oneShotTextsBytes is how much is kept of the texts.
const oneShotTextsBytes = 1 << 20

func newOneShots(s *state.State) *oneShots {
	return &oneShots{state: s, all: map[protocol.OneShotNumber]rememberedAs{}}
}

func oneShotKey(i protocol.Index) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyOneShot}, uint64(i))
}

// admit decides whether a one-shot runs. If not, the result is its answer.
func (o *oneShots) admit(c *protocol.Command) (protocol.Result, bool) {
	if known, ok := o.all[c.OneShot.Number]; ok {
		one, _ := parseOneShot(o.state.System().Get(oneShotKey(known.index)).Value())
		answer := protocol.Failed(protocol.ErrAnswerLost)
		if one.answer[0] == oneShotAnswered {
			answer = parseAnswer(one.answer[1:], known.text)
		}
		answer.Index = known.index
		return answer, false
	}
	switch seen := c.OneShot.Seen; {
	case seen < o.horizon || seen >= o.state.Index():
		return protocol.Failed(protocol.ErrSessionExpired.With(fmt.Sprintf(
			"this command belongs to no session, and of those what was executed up to %d is forgotten: its client had seen %d", o.horizon, seen))), false
	case len(o.all) >= protocol.OneShotsMax || o.bytes >= protocol.OneShotsBytesMax:
		return protocol.Failed(protocol.ErrOverloaded.With(fmt.Sprintf(
			"%d commands without a session, with %d bytes of answers, were executed within %v, the limits are %d and %d: keep a client, which has a session, for many writes",
			len(o.all), o.bytes, protocol.OneShotKept, protocol.OneShotsMax, protocol.OneShotsBytesMax))), false
	}
	return protocol.Result{}, true
}

// executed remembers that a one-shot has run in the current entry, and its answer.
func (o *oneShots) executed(now protocol.ClusterTime, c *protocol.Command, r *protocol.Result) {
	one := oneShot{index: o.state.Index(), at: now, number: c.OneShot.Number}
	b := binary.AppendUvarint(o.scratch[:0], uint64(now))
	b = append(b, one.number[:]...)
	head := len(b)
	if b = appendAnswer(append(b, oneShotAnswered), r); len(b) > protocol.ValueBytesMax {
		b = append(b[:head], oneShotLost)
	}
	o.scratch, one.size = b, len(b)
	o.state.Set(o.state.System(), oneShotKey(one.index), b)
	o.add(one, r.Text)
	if cap(o.scratch) > protocol.ValueBytesMax {
		o.scratch = nil
	}
}

func (o *oneShots) add(one oneShot, text string) {
	if o.textBytes+len(text) > oneShotTextsBytes {
		text = ""
	}
	o.textBytes += len(text)
	o.bytes += one.size
	o.all[one.number] = rememberedAs{one.index, text}
	o.queue = append(o.queue, one)
}

// expire forgets the one-shots that are due, in their order, at most so many per entry.
// The first entry of a leader's term, at the lease, gives them the whole time again, as
// it does sessions.
func (o *oneShots) expire(now, lease protocol.ClusterTime) {
	n := 0
	for n < min(len(o.queue), protocol.OneShotExpiriesMax) && max(o.queue[n].at, lease)+protocol.ClusterTime(protocol.OneShotKept) <= now {
		o.forget(&o.queue[n])
		n++
	}
	if n == 0 {
		return
	}
	o.horizon = o.queue[n-1].index
	o.state.Set(o.state.System(), []byte{keyHorizon}, binary.AppendUvarint(nil, uint64(o.horizon)))
	if o.queue = o.queue[n:]; len(o.queue) == 0 {
		o.queue = nil
	}
}

func (o *oneShots) forget(one *oneShot) {
	o.state.Remove(o.state.System(), oneShotKey(one.index))
	o.bytes -= one.size
	o.textBytes -= len(o.all[one.number].text)
	o.all, o.most = state.Fit(o.all, o.most)
	delete(o.all, one.number)
}

// oneShotRecord is what the value of an 'o' key says.
type oneShotRecord struct {
	at     protocol.ClusterTime
	number protocol.OneShotNumber
	answer []byte // oneShotAnswered and the answer, or oneShotLost: it was too long
}

const (
	oneShotAnswered = 0
	oneShotLost     = 1
)

// parseOneShot withstands any input.
func parseOneShot(value []byte) (one oneShotRecord, ok bool) {
	at, n := binary.Uvarint(value)
	if n <= 0 || at > timeMax || len(value)-n < len(one.number) {
		return one, false
	}
	one.at = protocol.ClusterTime(at)
	value = value[n+copy(one.number[:], value[n:]):]
	one.answer = value
	if len(value) == 0 {
		return one, false
	}
	whole := value[0] == oneShotLost && len(value) == 1 || value[0] == oneShotAnswered && isAnswer(value[1:])
	return one, whole && one.number != protocol.OneShotNumber{}
}

// checkOneShotRecord returns what is wrong with an 'o' or an 'h' key by itself.
func checkOneShotRecord(key, value []byte, i protocol.Index) string {
	if key[0] == keyHorizon {
		if horizon, ok := parseIndex(value); !ok || len(key) != 1 || horizon == 0 || horizon >= i {
			return "malformed"
		}
		return ""
	}
	if _, ok := parseOneShot(value); !ok || len(key) != 9 {
		return "malformed"
	}
	if at := binary.BigEndian.Uint64(key[1:]); at != uint64(i) {
		return fmt.Sprintf("written at %d, and executed at %d", i, at)
	}
	return ""
}

// restore takes a one-shot of a loaded state. They come in their order, after the horizon.
func (o *oneShots) restore(key, value []byte) error {
	record, _ := parseOneShot(value)
	one := oneShot{index: protocol.Index(binary.BigEndian.Uint64(key[1:])), at: record.at, number: record.number, size: len(value)}
	_, twice := o.all[one.number]
	switch {
	case twice:
		return protocol.ErrCorrupt.With(fmt.Sprintf("the one-shot at %d was executed before", one.index))
	case one.index <= o.horizon:
		return protocol.ErrCorrupt.With(fmt.Sprintf("the one-shot at %d, and those up to %d are forgotten", one.index, o.horizon))
	case len(o.queue) > 0 && o.queue[len(o.queue)-1].at > one.at:
		return protocol.ErrCorrupt.With(fmt.Sprintf("the one-shot at %d was executed before the one above it in the log", one.index))
	case len(o.queue) == protocol.OneShotsMax || o.bytes >= protocol.OneShotsBytesMax:
		return protocol.ErrCorrupt.With(fmt.Sprintf("more than %d one-shots, or %d bytes of their answers, the limits", protocol.OneShotsMax, protocol.OneShotsBytesMax))
	}
	o.add(one, "")
	return nil
}
