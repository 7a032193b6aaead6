package machine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// checkSystemRecord returns what is wrong with a key of the system's space by
// itself. Whether it fits the others is seen when all are there.
func checkSystemRecord(key, value []byte, i protocol.Index) string {
	fault := "malformed"
	switch key[0] {
	case keySession:
		if _, ok := parseSession(key, value); ok {
			fault = ""
		}
		if len(key) == 9 && binary.BigEndian.Uint64(key[1:]) > uint64(i) {
			fault = fmt.Sprintf("written at %d, before the session was opened", i)
		}
	case keyExecuted:
		fault = "" // whoever loads it looks
	case keyAnswer:
		if len(key) == 17 && len(value) > slotRoom && isAnswer(value) {
			fault = ""
		}
	case keyLease, keyTime:
		if _, ok := parseTime(value); ok && len(key) == 1 {
			fault = ""
		}
	case keyLimit:
		if _, ok := parseLimit(value); ok && len(key) == 1 {
			fault = ""
		}
	case keyResource:
		fault = nameFault("the name of a resource", key[1:])
		if fault == "" {
			fault = nameFault("the name of its type", value)
		}
	case keyType:
		fault = checkTypeKey(key, value)
	case keyOneShot, keyHorizon:
		fault = checkOneShotRecord(key, value, i)
	default:
		fault = "this program does not know such a key; it needs a newer one"
	}
	return fault
}

// nameFault returns what is wrong with a name, "" if nothing is.
func nameFault(what string, name []byte) string {
	if err := protocol.CheckName(what, string(name)); err != nil {
		return err.Error()
	}
	return ""
}

// parseSession reads an 's' key and its value.
func parseSession(key, value []byte) (one session, ok bool) {
	timeout, value, ok1 := sessionop.TakeUint(value)
	extended, value, ok2 := sessionop.TakeUint(value)
	if !ok1 || !ok2 || len(value) > 0 || len(key) != 9 || extended > timeMax {
		return one, false
	}
	if timeout < uint64(protocol.SessionTimeoutMin) || timeout > uint64(protocol.SessionTimeoutMax) {
		return one, false
	}
	one.id = protocol.SessionID(binary.BigEndian.Uint64(key[1:]))
	one.timeout, one.extended = time.Duration(timeout), protocol.ClusterTime(extended)
	return one, one.id > 0
}

// timeMax is the latest time that deadlines can be counted from.
const timeMax = uint64(1<<63-1) - uint64(protocol.SessionTimeoutMax)

func parseIndex(value []byte) (protocol.Index, bool) {
	n, rest, ok := sessionop.TakeUint(value)
	return protocol.Index(n), ok && len(rest) == 0
}

func parseTime(value []byte) (protocol.ClusterTime, bool) {
	n, rest, ok := sessionop.TakeUint(value)
	return protocol.ClusterTime(n), ok && len(rest) == 0 && n <= timeMax
}

// load makes what a machine keeps at hand out of the system's space. Its
// keys come in order: the horizon, the lease, the cluster time, one-shots, the
// catalogue, sessions, their windows, and at last the answers beside these.
func (l *Loader) load() error {
	for r, v := range l.state.System().Scan(l.newest, nil, nil) {
		var err error
		switch key, value := r.KeyBytes(), v.Value(); key[0] {
		case keyHorizon:
			l.oneShots.horizon, _ = parseIndex(value)
		case keyOneShot:
			record, _ := parseOneShot(value)
			l.now = max(l.now, record.at)
			err = l.oneShots.restore(key, value)
		case keyLease:
			l.sessions.lease, _ = parseTime(value)
			l.now = max(l.now, l.sessions.lease)
		case keyTime:
			at, _ := parseTime(value)
			l.now = max(l.now, at)
		case keyResource:
			l.bind(string(key[1:]), string(value))
		case keySession:
			err = l.addSession(key, value)
		case keyExecuted:
			err = l.addWindow(r)
		case keyAnswer:
			err = l.addAnswer(key, v)
		}
		if err != nil {
			return err
		}
	}
	if err := l.checkBound(); err != nil {
		return err
	}
	return l.finishSessions()
}

// bind gives a space its type.
func (l *Loader) bind(resource, kind string) {
	l.space(resource).Bind(kind)
	_, err := l.engine.Query(&protocol.Query{Type: kind})
	if errors.Is(err, protocol.ErrUnknownType) && l.missing == nil {
		_, text := protocol.CodeOf(err)
		l.missing = protocol.ErrUnknownType.With(fmt.Sprintf("%q is a %s: %s", resource, kind, text))
	}
}

// checkBound demands a type for every space with keys, and keys for every type.
// A space that only was there in a lower layer goes.
func (l *Loader) checkBound() error {
	for _, sp := range l.state.Spaces() {
		switch bound := sp.Kind() != (state.Kind{}); {
		case sp == l.state.System() || bound && sp.Len() > 0:
		case bound:
			return protocol.ErrCorrupt.With(fmt.Sprintf("the catalogue says that %q is a %s, but it has no keys", sp.Name(), sp.Kind()))
		case sp.Len() > 0:
			return protocol.ErrCorrupt.With(fmt.Sprintf("%q has %d keys, but the catalogue does not name its type", sp.Name(), sp.Len()))
		default:
			l.state.Drop(sp)
		}
	}
	return nil
}

func (l *Loader) addSession(key, value []byte) error {
	if len(l.sessions.all) == protocol.SessionsMax {
		return protocol.ErrCorrupt.With(fmt.Sprintf("more than %d sessions, the limit", protocol.SessionsMax))
	}
	one, _ := parseSession(key, value)
	l.now = max(l.now, one.extended)
	l.sessions.all[one.id] = &one
	one.unused = l.sessions.unused.PushBack(&one) // they come in order
	return nil
}

func (l *Loader) addWindow(r *state.Record) error {
	w := r.Mutable().(*window)
	one := l.sessions.all[w.session]
	if one == nil {
		return protocol.ErrCorrupt.With(fmt.Sprintf("what session %d has executed, which is not there", w.session))
	}
	one.record, one.kept = r, w.floor
	l.sessions.noteUsed(one)
	return nil
}

// addAnswer takes an answer that a window has no room for.
func (l *Loader) addAnswer(key []byte, v *state.Version) error {
	id, sequence := protocol.SessionID(binary.BigEndian.Uint64(key[1:])), binary.BigEndian.Uint64(key[9:])
	one := l.sessions.all[id]
	if one == nil || one.record == nil {
		return protocol.ErrCorrupt.With(fmt.Sprintf("the answer %d of session %d, which is not there", sequence, id))
	}
	of := one.window().find(sequence)
	if of == nil || of.size != slotApart || of.index != v.Index() {
		return protocol.ErrCorrupt.With(fmt.Sprintf("the answer %d of session %d, written at %d: the session knows of none", sequence, id, v.Index()))
	}
	one.bytes += len(v.Value())
	return nil
}

// finishSessions gives each session what follows from all of its keys, and
// checks that they are keys which a session can have at one time.
func (l *Loader) finishSessions() error {
	for r := range l.state.System().Scan(l.newest, []byte{keySession}, []byte{keySession + 1}) {
		one := l.sessions.all[protocol.SessionID(binary.BigEndian.Uint64(r.KeyBytes()[1:]))]
		if w := one.window(); w != nil {
			for k := range w.slots {
				if of := &w.slots[k]; of.size == slotApart && l.state.System().Get(l.sessions.answerKey(one.id, of.sequence)) == nil {
					return protocol.ErrCorrupt.With(fmt.Sprintf("the answer %d of session %d is not there", of.sequence, one.id))
				}
			}
		}
		if one.bytes > protocol.SessionAnswersBytesMax {
			return protocol.ErrCorrupt.With(fmt.Sprintf("session %d keeps %d bytes of answers, the limit is %d",
				one.id, one.bytes, protocol.SessionAnswersBytesMax))
		}
		one.kept = max(one.kept, 1)
		one.deadline = max(one.extended, l.sessions.lease) + one.lasts()
		l.sessions.deadlines.add(one)
	}
	return nil
}
