package machine

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// The system's space holds, first byte of the key first:
//
//	's' session           -> timeout, last extension, floor
//	'x' session sequence  -> floor then, answer: the command was executed
//	'o' index             -> cluster time then, number, answer: a one-shot was executed
//	'h'                   -> the horizon: one-shots up to there are forgotten
//	'l'                   -> cluster time when a leader's term last began
//	'm'                   -> cluster time at the last checkpoint entry
//	'r' resource          -> name of its type
//	't' type version      -> nothing: a command of it has been applied
//
// A command adds one 'x' key and removes those that its floor leaves behind.
// It does not touch the 's' key: the floor of a session is the highest that
// any of its keys names, and the key with the highest is never below it. So
// the price of a command is one small write and one delete.
//
// "Executed" is a set, not a number: 6 can be executed before 5, when 5 was
// lost with a connection. What is in the set is answered, what is not and is
// at or above the floor runs, whatever the order of arrival.
const (
	keySession  = 's'
	keyExecuted = 'x'
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
	floor    uint64
	// bytes is the size of the answers kept, and all those below kept have
	// been dropped, or never were.
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

func newSessions(s *state.State) *sessions {
	return &sessions{state: s, all: map[protocol.SessionID]*session{}}
}

func (s *sessions) sessionKey(id protocol.SessionID) []byte {
	s.key[0] = keySession
	binary.BigEndian.PutUint64(s.key[1:], uint64(id))
	return s.key[:9]
}

func (s *sessions) executedKey(id protocol.SessionID, sequence uint64) []byte {
	s.key[0] = keyExecuted
	binary.BigEndian.PutUint64(s.key[1:], uint64(id))
	binary.BigEndian.PutUint64(s.key[9:], sequence)
	return s.key[:17]
}

// write stores what the 's' key says.
func (s *sessions) write(one *session) {
	b := binary.AppendUvarint(s.scratch[:0], uint64(one.timeout))
	b = binary.AppendUvarint(b, uint64(one.extended))
	b = binary.AppendUvarint(b, one.floor)
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
	one := &session{id: protocol.SessionID(s.state.Index()), timeout: timeout, extended: now, floor: 1, kept: 1}
	s.all[one.id] = one
	one.unused = s.unused.PushBack(one)
	one.deadline = now + one.lasts()
	s.deadlines.add(one)
	s.write(one)
	return one, nil
}

// use gives a session its whole timeout: it has carried a command. That follows
// from its keys: one is left of the command, or a floor above the first.
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
	s.raise(one, floor)
	if one.floor > 1 {
		s.use(one)
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
	var keys [][]byte
	from := append([]byte{}, s.executedKey(one.id, 0)...)
	to := resources.PrefixEnd(from[:9])
	for r := range s.state.System().Scan(s.state.Index(), from, to) {
		keys = append(keys, r.KeyBytes())
	}
	for _, key := range keys {
		s.state.Remove(s.state.System(), key)
	}
}

// raise lifts the floor and forgets what lies below it.
func (s *sessions) raise(one *session, floor uint64) {
	if floor <= one.floor {
		return
	}
	// Nothing is executed at or above floor + window.
	for q := one.floor; q < min(floor, one.floor+protocol.SessionWindow); q++ {
		if v := s.state.Remove(s.state.System(), s.executedKey(one.id, q)); v != nil {
			one.bytes -= answerSize(v.Value())
			delete(one.texts, q)
		}
	}
	one.floor, one.kept = floor, max(one.kept, floor)
}

// admit decides whether a command runs. If not, the result is its answer.
func (s *sessions) admit(one *session, c *protocol.Command) (protocol.Result, bool) {
	refuse := func(err error) (protocol.Result, bool) { return protocol.Failed(err), false }
	switch {
	case c.Sequence == 0 || c.Sequence > protocol.SequenceMax || c.Floor > c.Sequence:
		return refuse(protocol.ErrInvalid.With(fmt.Sprintf("the sequence %d with floor %d: a sequence is at least 1, at most %d, and not below the floor",
			c.Sequence, c.Floor, uint64(protocol.SequenceMax))))
	case c.Sequence < one.floor:
		return refuse(protocol.ErrStaleSequence)
	}
	if v := s.state.System().Get(s.executedKey(one.id, c.Sequence)); v != nil {
		answer := parseAnswer(v.Value(), one.texts[c.Sequence])
		if answer.Code != protocol.ErrAnswerLost.Code { // else the index is that of its loss
			answer.Index = v.Index()
		}
		return answer, false
	}
	if c.Sequence >= max(one.floor, c.Floor)+protocol.SessionWindow {
		return refuse(protocol.ErrWindow)
	}
	return protocol.Result{}, true
}

// executed remembers that a command has run, and its answer.
func (s *sessions) executed(one *session, c *protocol.Command, r *protocol.Result) {
	s.use(one)
	s.raise(one, c.Floor)
	s.scratch = appendAnswer(s.scratch[:0], one.floor, r)
	s.state.Set(s.state.System(), s.executedKey(one.id, c.Sequence), s.scratch)
	one.bytes += answerSize(s.scratch)
	one.kept = min(one.kept, c.Sequence)
	if r.Text != "" {
		if one.texts == nil {
			one.texts = map[uint64]string{}
		}
		one.texts[c.Sequence] = r.Text
	}
	s.evict(one)
	if cap(s.scratch) > protocol.ValueBytesMax {
		s.scratch = nil
	}
}

// evict drops the oldest answers of a session that keeps too much. That the
// commands were executed stays known.
func (s *sessions) evict(one *session) {
	for ; one.bytes > protocol.SessionAnswersBytesMax; one.kept++ {
		invariant.Check(one.kept < one.floor+protocol.SessionWindow,
			"session %d keeps %d bytes of answers, all of its answers are smaller", one.id, one.bytes)
		key := s.executedKey(one.id, one.kept)
		v := s.state.System().Get(key)
		if v == nil || answerSize(v.Value()) == 0 {
			continue
		}
		one.bytes -= answerSize(v.Value())
		s.state.Set(s.state.System(), key, appendLost(nil, v.Value()))
		delete(one.texts, one.kept)
	}
}
