package machine

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Apply applies entries, which must follow on those applied before, and appends
// one result per entry to results. Only the applying goroutine calls it.
//
// If an entry needs a type that the machine does not know, it stops before
// that entry: the results cover the entries before it, Stopped says what is
// needed, and later calls apply nothing. To skip the entry would fork the
// state.
//
// A command that ends its goroutine (runtime.Goexit) ends the one that called
// Apply: CutShort is true then, and Resume goes on, in another one.
func (m *Machine) Apply(entries []protocol.Entry, results []protocol.Result) []protocol.Result {
	m.batch = batch{entries: entries, results: results, clock: m.clock()}
	return m.applyRest()
}

// applyRest applies what is left of the batch.
func (m *Machine) applyRest() []protocol.Result {
	b := &m.batch
	for len(b.entries) > 0 && m.Stopped() == nil {
		result, ok := m.apply(&b.entries[0], b.clock)
		if !ok {
			break
		}
		b.applied(result)
	}
	results := b.results
	m.batch = batch{}
	m.count.Store(int64(len(m.sessions.all)))
	m.hub.publish(m.Applied())
	m.waiters.wake(m.Applied())
	return results
}

// apply applies one entry; false: the machine has stopped before it.
func (m *Machine) apply(e *protocol.Entry, clock protocol.Instant) (protocol.Result, bool) {
	applied := m.Applied()
	if applied != 0 && e.Index != applied+1 { // asked first: the arguments of Check are allocated
		invariant.Check(false, "entries are applied one after the other: %d after %d", e.Index, applied)
	}
	if len(m.refuse) > 0 && slices.Contains(m.refuse, e.Index) {
		return m.refused(e, clock), true
	}
	c := &m.call.command
	op, limit, err := m.decode(e, c)
	if err != nil {
		m.stop(e, err)
		return protocol.Result{}, false
	}

	m.state.Begin(e.Index)
	m.now = max(m.now, e.Time)
	if e.Kind == protocol.EntryNoop {
		m.sessions.extendAll(m.now)
	}
	m.sessions.expire(m.now)
	m.oneShots.expire(m.now, m.sessions.lease)
	var result protocol.Result
	switch e.Kind {
	case protocol.EntryCommand:
		result = m.execute(c, op)
		*c = protocol.Command{}
	case protocol.EntryCheckpoint:
		m.writeTime()
	case protocol.EntryConfiguration:
		m.setLimit(limit)
	default:
		applyNext(m, e)
	}
	m.endEntry(e.Index, clock)
	return result, true
}

func (m *Machine) endEntry(i protocol.Index, clock protocol.Instant) {
	m.state.End(clock, m.hub.note)
	m.hub.entryEnds(i)
	m.storeDeadline()
}

// refused lets an entry pass without effect on any resource: the index and the cluster
// time go on, and its session knows of it. What is due by then ends with the next entry, because ending it
// could be what kills.
//
// [S] The command counts as executed in its session. Nobody was answered, so its
// client has sent it again, and the log may hold it several times: each would run,
// and hold up or kill whoever applies it, like the first. What would not have run
// is answered as ever: a copy of what has happened as that was, and a one-shot beyond
// the bounds, which is not remembered, that it has not and may be sent again.
func (m *Machine) refused(e *protocol.Entry, clock protocol.Instant) protocol.Result {
	m.state.Begin(e.Index)
	m.now = max(m.now, e.Time)
	answer := protocol.Failed(protocol.ErrRefusedEntry)
	if c, err := protocol.DecodeCommand(e.Data); e.Kind == protocol.EntryCommand && err == nil && c.Type != protocol.SessionType {
		if one, known, runs := m.admit(&c); runs {
			m.executed(one, &c, &answer) // what is sent again is answered alike
		} else {
			answer = known
		}
	}
	m.state.End(clock, m.hub.note)
	m.hub.entryEnds(e.Index)
	m.log.Error("refused an entry, as told", "index", e.Index, "term", e.Term, "kind", e.Kind)
	return answer
}

// EndSessions ends all sessions, by deadline and id, and leaves the state at
// index i, which is above the applied one: as if an entry there had done it. It
// is how the state of a lost cluster becomes the first one of a new cluster,
// whose log begins after i (starling recover, starling restore): the clients of
// the old one are gone, and indexes must not be given twice.
//
// The applying goroutine calls it, offline: for members of a running cluster it
// would be a state that no entry made. A machine that has stopped does nothing
// and returns why.
func (m *Machine) EndSessions(i protocol.Index) error {
	if err := m.Stopped(); err != nil {
		return err
	}
	m.state.Begin(i)
	for len(m.sessions.deadlines) > 0 {
		m.sessions.end(m.sessions.deadlines[0])
	}
	m.writeTime()
	m.state.End(m.clock(), m.hub.note)
	m.hub.entryEnds(i)
	m.hub.publish(m.Applied())
	m.storeDeadline()
	m.count.Store(0)
	m.waiters.wake(i)
	return nil
}

// decode finds out what an entry asks for: a command, which it stores in c, with its
// operation, nil for one on sessions; the limit of the state that a configuration
// brings. An error means that this machine cannot apply the entry.
func (m *Machine) decode(e *protocol.Entry, c *protocol.Command) (op resources.Operation, limit int64, err error) {
	switch {
	case e.Kind == protocol.EntryCommand:
		if *c, err = m.commands.Decode(e.Data); err == nil {
			op, err = m.engine.Command(c)
		}
	case e.Kind == protocol.EntryConfiguration:
		var conf protocol.Configuration
		conf, err = protocol.DecodeConfiguration(e.Data)
		limit = conf.StateBytes
	case !e.Kind.Known():
		err = protocol.ErrMalformed.With(fmt.Sprintf("%s is not known here", e.Kind))
	}
	return op, limit, err
}

func (m *Machine) stop(e *protocol.Entry, cause error) {
	code, text := protocol.CodeOf(cause)
	err := error(&protocol.Error{
		Code: code, Cause: cause,
		Text: fmt.Sprintf("entry %d cannot be applied: %s; this member has stopped applying and needs a program that knows it", e.Index, text),
	})
	m.stopped.Store(&err)
	m.log.Error("stopped applying", "index", e.Index, "term", e.Term, "cause", text)
	m.waiters.wake(^protocol.Index(0))
}

// writeTime puts the cluster time into the state: whoever begins with the
// checkpoint that follows goes on from it, and has no log to learn it from.
func (m *Machine) writeTime() {
	m.state.Set(m.state.System(), []byte{keyTime}, binary.AppendUvarint(nil, uint64(m.now)))
}

func (m *Machine) storeDeadline() {
	var next protocol.ClusterTime
	if len(m.sessions.deadlines) > 0 {
		next = m.sessions.deadlines[0].deadline
	}
	m.deadline.Store(int64(next))
}

// execute runs a command within the current entry.
func (m *Machine) execute(c *protocol.Command, op resources.Operation) protocol.Result {
	if op == nil {
		return resultOf(m.sessions.operate(m.now, c))
	}
	one, answer, runs := m.admit(c)
	if !runs {
		return answer
	}
	return m.run(c, op, one)
}

// admit decides whether a command of a type runs, and returns its session, nil for a one-shot.
// If not, the result is its answer.
func (m *Machine) admit(c *protocol.Command) (*session, protocol.Result, bool) {
	if !c.OneShot.IsZero() {
		answer, runs := m.oneShots.admit(c)
		return nil, answer, runs
	}
	if c.Session == 0 {
		return nil, protocol.Failed(protocol.ErrInvalid.With("a command belongs to a session, or is a one-shot")), false
	}
	one := m.sessions.all[c.Session]
	if one == nil {
		return nil, protocol.Failed(protocol.ErrSessionExpired), false
	}
	answer, runs := m.sessions.admit(one, c)
	return one, answer, runs
}

// executed remembers that the command of the current entry has run, and its answer; one
// is its session, nil for a one-shot.
func (m *Machine) executed(one *session, c *protocol.Command, answer *protocol.Result) {
	if one == nil {
		m.oneShots.executed(m.now, c, answer)
		return
	}
	m.sessions.executed(one, c, answer)
}

// run runs a command of a type. If it fails, nothing of it remains.
//
// The instance is there, bound to the type and in the catalogue, with its first
// key, and goes, in the same entry, with its last.
func (m *Machine) run(c *protocol.Command, op resources.Operation, one *session) protocol.Result {
	sp, added, err := m.instance(c)
	if err != nil {
		answer := protocol.Failed(err)
		m.executed(one, c, &answer)
		return answer
	}
	if one == nil {
		c.Session = protocol.SessionID(m.state.Index()) // to its type: nobody else's, and over with the entry
	}
	x := &m.call
	x.op, x.session, x.space, x.added, x.savepoint, x.before, x.held = op, one, sp, added, m.state.Savepoint(), sp.Len(), m.state.Held()
	m.running.begins(m.state.Index(), c)
	data, err := m.guard(op, c.Type, c.Resource, m.state.Index(), func() ([]byte, error) { return m.engine.Run(op, m.state, sp, m.now, c) })
	return m.ran(data, err)
}

// ran ends the command that has run, with what it answered.
func (m *Machine) ran(data []byte, err error) protocol.Result {
	m.running.ends()
	x := &m.call
	c, sp := &x.command, x.space
	if err == nil {
		err = m.fits(x.held)
	}
	if err != nil {
		m.state.Rollback(x.savepoint)
	} else {
		m.note(protocol.TypeVersion{Name: c.Type, Version: c.Version})
	}
	switch {
	case x.before == 0 && sp.Len() > 0:
		sp.Bind(c.Type)
		m.state.Set(m.state.System(), state.CatalogueKey(c.Resource), []byte(c.Type))
	case x.before > 0 && sp.Len() == 0:
		m.state.Remove(m.state.System(), state.CatalogueKey(c.Resource))
	}
	if x.added && sp.Len() == 0 {
		m.state.Drop(sp)
	}
	answer := resultOf(data, err)
	m.executed(x.session, c, &answer)
	x.session, x.space = nil, nil
	return answer
}

// instance returns the space of the resource that a command names, and whether
// it was added for the command. It may be one whose keys are all gone: then the
// command, of whatever type, begins anew in it.
func (m *Machine) instance(c *protocol.Command) (sp *state.Space, added bool, err error) {
	sp = m.state.Find(c.Resource)
	if sp != nil && sp.Len() > 0 && sp.Kind().String() != c.Type && c.Type != protocol.CatalogueType {
		return nil, false, state.WrongType(c.Resource, sp.Kind().String(), c.Type)
	}
	if sp != nil {
		return sp, false, nil
	}
	if err := c.Validate(); err != nil { // the name, that is: let in by somebody who did not look
		return nil, false, err
	}
	return m.state.Add(c.Resource), true, nil
}
