package sim

import (
	"sort"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
)

// state is what the state machines must look like: digest and result at every
// index, and the objects as a sequential execution of the committed commands
// leaves them. The first member to apply an index says what came of it; that is
// checked against the specification, and everybody else against that.
type state struct {
	blind   bool        // for a test: there is no one history any more
	applies []appliedAt // by index-1
	objects map[int][]stateAt
	calls   map[callKey]*call
	first   map[callKey]protocol.Index // where each call took effect
	opened  map[protocol.SessionID]bool
	changes [][]told.Change  // of the map, one for each entry that changed it
	history []*call          // that are answered, or may still have an effect
	wrong   map[wrongAt]bool // digests of states that were diverged

	// beat says that the search for a linearization goes on; nil: nobody asks.
	beat func()
	// acknowledged is the highest index of an answered command.
	acknowledged protocol.Index
}

// appliedAt is what applying one index gave.
type appliedAt struct {
	digest machine.Digest
	result uint64 // hash
}

// stateAt is an object from an index on.
type stateAt struct {
	from protocol.Index
	cell cell
}

// callKey identifies a command, however often it was sent.
type callKey struct {
	session protocol.SessionID
	seq     uint64
	number  protocol.OneShotNumber // of a one-shot
}

func (k *call) key() callKey { return callKey{k.session, k.seq, k.command.Drawn().Number} }

func newState() *state {
	return &state{
		objects: map[int][]stateAt{}, calls: map[callKey]*call{},
		first: map[callKey]protocol.Index{}, opened: map[protocol.SessionID]bool{}, wrong: map[wrongAt]bool{},
	}
}

// lastApplied is the newest index that anybody has applied.
func (s *state) lastApplied() protocol.Index { return protocol.Index(len(s.applies)) }

// issue says that a client has made a command.
func (s *state) issue(k *call) { s.calls[k.key()] = k }

// at returns an object as it was after an index.
func (s *state) at(object int, i protocol.Index) cell {
	list := s.objects[object]
	n := sort.Search(len(list), func(k int) bool { return list[k].from > i })
	if n == 0 {
		return cell{}
	}
	return list[n-1].cell
}

// applied takes what a member's state machine made of an entry.
func (s *state) applied(name string, e *protocol.Entry, r *protocol.Result, index protocol.Index, digest machine.Digest) error {
	if index != e.Index {
		return violated(RuleOrder, "%s has applied %d, its state machine says %d", name, e.Index, index)
	}
	now := appliedAt{digest: digest, result: hashOf(r)}
	if e.Index <= protocol.Index(len(s.applies)) {
		then := s.applies[e.Index-1]
		if then.digest != now.digest {
			return violated(RuleDigest, "%s has %s at %d, another member %s", name, now.digest, e.Index, then.digest)
		}
		if then.result != now.result {
			return violated(RuleDigest, "%s answers %s with %q, which is not what another member does", name, e, r.Code)
		}
		return nil
	}
	if e.Index != protocol.Index(len(s.applies))+1 {
		return violated(RuleOrder, "%s applies %d before anybody has applied %d", name, e.Index, len(s.applies)+1)
	}
	s.applies = append(s.applies, now)
	if e.Kind != protocol.EntryCommand {
		return nil
	}
	c, err := protocol.DecodeCommand(e.Data)
	if err != nil {
		return violated(RuleState, "the data of %s is no command: %v", e, err)
	}
	return s.execute(e.Index, &c, r)
}

// confirmed checks what the log says of the state at a checkpoint entry.
func (s *state) confirmed(e *protocol.Entry) error {
	m, err := protocol.DecodeConfirmation(e.Data)
	switch {
	case err != nil || m.Index >= e.Index:
		return violated(RuleState, "the data of %s is no confirmation: %v", e, err)
	case s.applies[m.Index-1].digest.Bytes() != m.Digest:
		return violated(RuleDigest, "the log confirms %x at %d, and right is %s", m.Digest, m.Index, s.applies[m.Index-1].digest)
	}
	return nil
}

func hashOf(r *protocol.Result) uint64 {
	return xxh3.Hash(r.Data) ^ mix(xxh3.HashString(string(r.Code)))
}

// withoutEffect reports whether a code is the answer of a command that has had no
// effect on its object, whether or not it had one before.
func withoutEffect(code protocol.Code) bool {
	switch code {
	case protocol.ErrSessionExpired.Code, protocol.ErrStaleSequence.Code, protocol.ErrWindow.Code, protocol.ErrAnswerLost.Code, protocol.ErrStateFull.Code:
		return true
	}
	return false
}

// execute runs a command through the specification, the first time that it
// takes effect. A second time it must have none.
func (s *state) execute(i protocol.Index, c *protocol.Command, r *protocol.Result) error {
	if c.Type == protocol.SessionType {
		if c.Session == 0 && r.Code == protocol.OK {
			s.opened[protocol.SessionID(i)] = true
		}
		return nil
	}
	key := callKey{c.Session, c.Sequence, c.OneShot.Number}
	k, known := s.calls[key]
	if !known {
		return violated(RuleState, "a command at %d, session %d sequence %d, number %x, that no client has made", i, c.Session, c.Sequence, c.OneShot.Number)
	}
	if at, again := s.first[key]; again && r.Code == protocol.ErrStateFull.Code {
		return violated(RuleOnce, "%s took effect at %d, and its copy at %d finds the state full", k, at, i)
	}
	if k.full && r.Code == protocol.OK {
		return violated(RuleOnce, "%s found the state full, and its copy at %d takes effect", k, i)
	}
	if withoutEffect(r.Code) {
		k.full = k.full || r.Code == protocol.ErrStateFull.Code
		return nil
	}
	out, err := k.op.decode(*r)
	if err != nil {
		return violated(RuleState, "%s at %d: the answer cannot be read: %v", k, i, err)
	}
	if at, again := s.first[key]; again {
		k.copied = true
		if out != k.op.got {
			return violated(RuleOnce, "%s took effect at %d with %+v, and again at %d with %+v", k, at, k.op.got, i, out)
		}
		return nil
	}
	if k.refused && !s.blind {
		return violated(RuleRefused, "%s takes effect at %d, and its client was told that it has not happened", k, i)
	}
	s.first[key] = i
	k.op.executed = i
	before := s.at(k.op.object, i)
	want, after := k.op.step(before)
	if out != want {
		return violated(RuleState, "%s at %d gives %+v, in %+v it must give %+v", k, i, out, before, want)
	}
	k.op.got = out
	s.changed(k.op, before, out)
	if !after.equal(&before) {
		s.objects[k.op.object] = append(s.objects[k.op.object], stateAt{from: i, cell: after})
	}
	return nil
}

// answered takes the answer that a client got.
func (s *state) answered(k *call, r protocol.Result, counts *Counts) error {
	switch {
	case k.op.kind == opOpen:
		return s.sessionOpened(k, r)
	case k.op.kind == opKeepAlive:
		return nil
	case !k.op.command():
		return s.readAnswered(k, r)
	}
	if s.blind {
		return nil
	}
	if r.Code == protocol.ErrStateFull.Code {
		if !k.full {
			return violated(RuleAcknowledged, "%s was answered that the state is full, and nobody has found it so", k)
		}
		counts.add(countStateFull, 1)
		return nil
	}
	out, err := k.op.decode(r)
	if err != nil {
		return violated(RuleState, "%s: the answer cannot be read: %v", k, err)
	}
	at, done := s.first[k.key()]
	if !done {
		return violated(RuleAcknowledged, "%s was answered with %q, but it is not committed", k, r.Code)
	}
	if out != k.op.got {
		return violated(RuleState, "%s was answered with %+v, executed at %d it gave %+v", k, out, at, k.op.got)
	}
	switch {
	case r.Index != at:
		return violated(RuleOnce, "%s was answered at %d, executed at %d: an answer that is given again is the same", k, r.Index, at)
	case !k.oneShot && k.copied:
		counts.add(countDeduplicated, 1)
	case k.oneShot && k.copied:
		counts.add(countOneShotsAgain, 1)
	}
	if k.oneShot {
		counts.add(countOneShots, 1)
	}
	counts.add(countAcknowledged, 1)
	s.acknowledged = max(s.acknowledged, r.Index, at)
	s.history = append(s.history, k)
	return nil
}

func (s *state) sessionOpened(k *call, r protocol.Result) error {
	id, err := sessionop.Opened(&r)
	if err != nil {
		return violated(RuleState, "a session could not be opened: %v", err)
	}
	if !s.opened[id] && !s.blind {
		return violated(RuleAcknowledged, "session %d was answered, but it is not committed", id)
	}
	k.op.got.number = int64(id)
	s.acknowledged = max(s.acknowledged, r.Index)
	return nil
}

// readAnswered checks a read: it returns the state at its index, and a
// linearizable one has seen every write that was acknowledged before it began.
func (s *state) readAnswered(k *call, r protocol.Result) error {
	if s.blind {
		return nil
	}
	out, err := k.op.decode(r)
	if err != nil {
		return violated(RuleState, "%s: the answer cannot be read: %v", k, err)
	}
	if r.Index > protocol.Index(len(s.applies)) {
		return violated(RuleLocalRead, "%s was answered at %d, which nobody has applied", k, r.Index)
	}
	if want, _ := k.op.step(s.at(k.op.object, r.Index)); out != want {
		return violated(RuleLocalRead, "%s at %d gives %+v, it must give %+v", k, r.Index, out, want)
	}
	k.op.got = out
	if k.op.consistency == protocol.Session && r.Index < k.seen {
		return violated(RuleSession, "%s was answered at %d, its session had seen %d", k, r.Index, k.seen)
	}
	if k.op.consistency != protocol.Linearizable {
		return nil
	}
	if r.Index < k.floor {
		return violated(RuleRead, "%s was answered at %d, a write at %d was acknowledged before it began", k, r.Index, k.floor)
	}
	s.history = append(s.history, k)
	return nil
}

// refused says that a client was told that a command has not happened.
func (s *state) refused(k *call) error {
	if at, done := s.first[k.key()]; done && k.once() && !s.blind {
		return violated(RuleRefused, "%s took effect at %d, and its client is told that it has not happened", k, at)
	}
	return nil
}

// open says that a client has given up on a call. If it is a command it may
// have an effect all the same.
func (s *state) open(k *call) {
	if k.once() {
		k.unanswered = true
		s.history = append(s.history, k)
	}
}
