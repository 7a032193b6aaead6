package machine

import (
	"bytes"
	"container/list"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// The system's space holds, first byte of the key first:
//
//	's' session           -> timeout, last extension
//	'x' session           -> which of its commands were executed, and answers; see window
//	'y' session sequence  -> an answer that the window has no room for
//	'o' index             -> cluster time then, number, answer: a one-shot was executed
//	'h'                   -> the horizon: one-shots up to there are forgotten
//	'l'                   -> cluster time when a leader's term last began
//	'm'                   -> cluster time at the last checkpoint entry
//	'r' resource          -> name of its type
//	't' type version      -> nothing: a command of it has been applied
//
// The 'x' key of a session is a mutable value: each command changes it, and nothing of the
// ordered map. It is there from the session's first command on, or from where its floor
// rises.
const (
	keySession  = 's'
	keyExecuted = 'x'
	keyAnswer   = 'y'
	keyLease    = 'l'
	keyTime     = 'm'
	keyResource = state.CatalogueTag
	keyType     = 't'
	keyOneShot  = 'o'
	keyHorizon  = 'h'
	keyLimit    = 'q' // see limit.go
)

// HasSession reports whether a session is open, as of what has been applied here.
// Any goroutine may ask.
func (m *Machine) HasSession(id protocol.SessionID) bool {
	key := binary.BigEndian.AppendUint64([]byte{keySession}, uint64(id))
	return m.current.Load().System().Get(key) != nil
}

// session is what the machine keeps at hand of one session. All but texts
// follows from the system's space.
type session struct {
	id       protocol.SessionID
	timeout  time.Duration
	extended protocol.ClusterTime
	record   *state.Record // of the window; nil: there is none yet
	// bytes is the size of the answers with keys of their own, and all those below kept
	// have been dropped, or never were.
	bytes int
	kept  uint64
	// texts are those of the errors among the answers. Texts differ between
	// versions of a program, so they are no part of the replicated state; a
	// restart loses them, the codes stay.
	texts map[uint64]string

	deadline protocol.ClusterTime
	place    int           // in the deadlines
	unused   *list.Element // among those that have carried no command; nil: it has
}

// lasts is how long the session goes on from its last extension.
func (one *session) lasts() protocol.ClusterTime {
	if one.unused != nil {
		return protocol.ClusterTime(min(one.timeout, protocol.SessionUnusedMax))
	}
	return protocol.ClusterTime(one.timeout)
}

// sessions is the part of the machine that ends sessions, and runs each of
// their commands once.
type sessions struct {
	state     *state.State
	all       map[protocol.SessionID]*session
	most      int // see state.Fit
	deadlines deadlines
	unused    list.List            // of *session, by id: those that have carried no command
	lease     protocol.ClusterTime // no extension counts as older
	scratch   []byte
	key       [17]byte
}

// window returns the window as it is now, which is not to be changed; nil: there is none.
func (one *session) window() *window {
	if one.record == nil {
		return nil
	}
	return one.record.Mutable().(*window)
}

func newSessions(s *state.State) *sessions {
	return &sessions{state: s, all: map[protocol.SessionID]*session{}}
}

func (s *sessions) sessionKey(id protocol.SessionID) []byte {
	s.key[0] = keySession
	binary.BigEndian.PutUint64(s.key[1:], uint64(id))
	return s.key[:9]
}

func (s *sessions) executedKey(id protocol.SessionID) []byte {
	s.key[0] = keyExecuted
	binary.BigEndian.PutUint64(s.key[1:], uint64(id))
	return s.key[:9]
}

func (s *sessions) answerKey(id protocol.SessionID, sequence uint64) []byte {
	s.key[0] = keyAnswer
	binary.BigEndian.PutUint64(s.key[1:], uint64(id))
	binary.BigEndian.PutUint64(s.key[9:], sequence)
	return s.key[:17]
}

// write stores what the 's' key says.
func (s *sessions) write(one *session) {
	b := binary.AppendUvarint(s.scratch[:0], uint64(one.timeout))
	b = binary.AppendUvarint(b, uint64(one.extended))
	s.scratch = b
	s.state.Set(s.state.System(), s.sessionKey(one.id), b)
}

// open begins a session at the current entry.
func (s *sessions) open(now protocol.ClusterTime, timeout time.Duration) (*session, error) {
	if timeout == 0 {
		timeout = protocol.SessionTimeoutDefault
	}
	if timeout < protocol.SessionTimeoutMin || timeout > protocol.SessionTimeoutMax {
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("a session's timeout lies between %v and %v, %v does not",
			protocol.SessionTimeoutMin, protocol.SessionTimeoutMax, timeout))
	}
	if oldest := s.unused.Front(); oldest != nil && len(s.all) >= protocol.SessionsMax {
		s.end(oldest.Value.(*session))
	}
	if len(s.all) >= protocol.SessionsMax {
		return nil, protocol.ErrTooLarge.With(fmt.Sprintf("the cluster has %d sessions, the limit", protocol.SessionsMax))
	}
	one := &session{id: protocol.SessionID(s.state.Index()), timeout: timeout, extended: now, kept: 1}
	s.all[one.id] = one
	one.unused = s.unused.PushBack(one)
	one.deadline = now + one.lasts()
	s.deadlines.add(one)
	s.write(one)
	return one, nil
}

// use gives a session its whole timeout: it has carried a command. That follows
// from its keys: it has a window.
func (s *sessions) use(one *session) {
	if !s.noteUsed(one) {
		return
	}
	one.deadline = max(one.extended, s.lease) + one.lasts()
	s.deadlines.fix(one)
}

// noteUsed takes a session from those that have carried no command, and reports
// whether it was one.
func (s *sessions) noteUsed(one *session) bool {
	if one.unused == nil {
		return false
	}
	s.unused.Remove(one.unused)
	one.unused = nil
	return true
}

// keepAlive gives a session a full timeout from now on, and frees the answers
// that its client has.
func (s *sessions) keepAlive(one *session, now protocol.ClusterTime, floor uint64) {
	if w := one.window(); floor > 1 && (w == nil || floor > w.floor) {
		s.amend(one, func(w *window) { s.raise(one, w, floor) })
	}
	one.extended = now
	one.deadline = now + one.lasts()
	s.deadlines.fix(one)
	s.write(one)
}

// extendAll gives every session a full timeout, as the first entry of a
// leader's term does: the time without a leader is nobody's fault. One key
// says it for all of them.
func (s *sessions) extendAll(now protocol.ClusterTime) {
	s.lease = now
	s.state.Set(s.state.System(), []byte{keyLease}, binary.AppendUvarint(nil, uint64(now)))
	for _, one := range s.deadlines {
		one.deadline = max(one.extended, now) + one.lasts()
	}
	s.deadlines.init()
}

// expire ends the sessions that are due, by deadline and id, at most so many
// per entry. It returns how many.
func (s *sessions) expire(now protocol.ClusterTime) int {
	n := 0
	for ; n < protocol.SessionExpiriesMax && len(s.deadlines) > 0 && s.deadlines[0].deadline <= now; n++ {
		s.end(s.deadlines[0])
	}
	return n
}

// end removes all traces of a session.
func (s *sessions) end(one *session) {
	s.deadlines.remove(one)
	s.noteUsed(one)
	s.all, s.most = state.Fit(s.all, s.most)
	delete(s.all, one.id)
	s.state.Remove(s.state.System(), s.sessionKey(one.id))
	w := one.window()
	if w == nil {
		return
	}
	for k := range w.slots {
		if w.slots[k].size == slotApart {
			s.state.Remove(s.state.System(), s.answerKey(one.id, w.slots[k].sequence))
		}
	}
	s.state.Remove(s.state.System(), s.executedKey(one.id))
}

// amend changes the window of a session, which it makes if there is none.
func (s *sessions) amend(one *session, change func(w *window)) {
	if one.record == nil {
		one.record = s.state.SetMutable(s.state.System(), s.executedKey(one.id), newWindow(one.id, s.state.Index()))
		s.use(one)
	}
	w := s.state.Change(s.state.System(), one.record).(*window)
	head, size := w.headTerm(), w.Size()
	change(w)
	w.index = s.state.Index()
	s.state.AmendDigest(head, w.headTerm())
	s.state.AmendSize(w.Size() - size)
}

// raise lifts the floor and forgets what lies below it.
func (s *sessions) raise(one *session, w *window, floor uint64) {
	if floor <= w.floor {
		return
	}
	gone := w.below(floor)
	for k := range gone {
		slot := &gone[k]
		s.state.AmendDigest(w.slotTerm(slot), state.Digest{})
		if slot.size == slotApart {
			s.forget(one, slot.sequence)
		}
		delete(one.texts, slot.sequence)
	}
	w.raise(floor)
	one.kept = max(one.kept, floor)
}

// forget removes an answer that has a key of its own.
func (s *sessions) forget(one *session, sequence uint64) {
	one.bytes -= len(s.state.Remove(s.state.System(), s.answerKey(one.id, sequence)).Value())
}

// admit decides whether a command runs. If not, the result is its answer.
func (s *sessions) admit(one *session, c *protocol.Command) (protocol.Result, bool) {
	refuse := func(err error) (protocol.Result, bool) { return protocol.Failed(err), false }
	w, floor := one.window(), uint64(1)
	if w != nil {
		floor = w.floor
	}
	switch {
	case c.Sequence == 0 || c.Sequence > protocol.SequenceMax || c.Floor > c.Sequence:
		return refuse(protocol.ErrInvalid.With(fmt.Sprintf("the sequence %d with floor %d: a sequence is at least 1, at most %d, and not below the floor",
			c.Sequence, c.Floor, uint64(protocol.SequenceMax))))
	case c.Sequence < floor:
		return refuse(protocol.ErrStaleSequence)
	}
	if w != nil {
		if slot := w.find(c.Sequence); slot != nil {
			return s.answer(one, slot), false
		}
	}
	if c.Sequence >= max(floor, c.Floor)+protocol.SessionWindow {
		return refuse(protocol.ErrWindow)
	}
	return protocol.Result{}, true
}

// answer returns what a command was answered that was executed, at the index where it was.
func (s *sessions) answer(one *session, of *slot) protocol.Result {
	var answer protocol.Result
	switch of.size {
	case slotLost:
		answer = protocol.Failed(protocol.ErrAnswerLost)
	case slotApart:
		v := s.state.System().Get(s.answerKey(one.id, of.sequence))
		answer = parseAnswer(v.Value(), one.texts[of.sequence])
	default: // copied: the slot is another command's soon
		answer = parseAnswer(bytes.Clone(of.stored()), one.texts[of.sequence])
	}
	answer.Index = of.index
	return answer
}

// executed remembers that a command has run, and its answer.
func (s *sessions) executed(one *session, c *protocol.Command, r *protocol.Result) {
	slot := slot{sequence: c.Sequence, index: s.state.Index(), size: slotApart}
	s.scratch = appendAnswer(s.scratch[:0], r)
	if n := len(s.scratch); n <= slotRoom {
		slot.size = uint8(copy(slot.answer[:], s.scratch))
	} else {
		s.state.Set(s.state.System(), s.answerKey(one.id, c.Sequence), s.scratch)
		one.bytes += n
		one.kept = min(one.kept, c.Sequence)
	}
	if r.Text != "" {
		if one.texts == nil {
			one.texts = map[uint64]string{}
		}
		one.texts[c.Sequence] = r.Text
	}
	s.amend(one, func(w *window) {
		s.raise(one, w, c.Floor)
		w.put(&slot)
		s.state.AmendDigest(state.Digest{}, w.slotTerm(&slot))
		s.evict(one, w)
	})
	if cap(s.scratch) > protocol.ValueBytesMax {
		s.scratch = nil
	}
}

// evict drops the oldest answers of a session that keeps too much. That the
// commands were executed stays known, and of an error which it was.
func (s *sessions) evict(one *session, w *window) {
	for ; one.bytes > protocol.SessionAnswersBytesMax; one.kept++ {
		invariant.Check(one.kept < w.floor+protocol.SessionWindow,
			"session %d keeps %d bytes of answers, and those of all its commands have been dropped", one.id, one.bytes)
		slot := w.find(one.kept)
		if slot == nil || slot.size != slotApart {
			continue
		}
		less := w.slotTerm(slot)
		w.lose(slot, s.state.System().Get(s.answerKey(one.id, one.kept)).Value())
		s.state.AmendDigest(less, w.slotTerm(slot))
		s.forget(one, one.kept)
		if slot.size == slotLost {
			delete(one.texts, one.kept)
		}
	}
}
