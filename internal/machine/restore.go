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
		if _, ok := parseExecuted(key, value); ok {
			fault = ""
		}
		if len(key) == 17 && binary.BigEndian.Uint64(key[1:]) >= uint64(i) {
			fault = fmt.Sprintf("executed at %d, before the session was opened", i)
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
	floor, value, ok3 := sessionop.TakeUint(value)
	if !ok1 || !ok2 || !ok3 || len(value) > 0 || len(key) != 9 || extended > timeMax {
		return one, false
	}
	if timeout < uint64(protocol.SessionTimeoutMin) || timeout > uint64(protocol.SessionTimeoutMax) ||
		floor == 0 || floor > protocol.SequenceMax {
		return one, false
	}
	one.id = protocol.SessionID(binary.BigEndian.Uint64(key[1:]))
	one.timeout, one.extended, one.floor = time.Duration(timeout), protocol.ClusterTime(extended), floor
	return one, one.id > 0
}

// executed is what an 'x' key says.
type executed struct {
	session         protocol.SessionID
	sequence, floor uint64
	size            int
}

// parseExecuted reads an 'x' key and its value.
func parseExecuted(key, value []byte) (x executed, ok bool) {
	floor, answer, ok := sessionop.TakeUint(value)
	if !ok || len(answer) == 0 || len(key) != 17 {
		return x, false
	}
	x.session = protocol.SessionID(binary.BigEndian.Uint64(key[1:]))
	x.sequence, x.floor = binary.BigEndian.Uint64(key[9:]), floor
	if x.sequence < floor || floor == 0 || x.sequence > protocol.SequenceMax {
		return x, false
	}
	x.size = answerSize(value)
	return x, isKept(answer)
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
// catalogue, sessions, and at last what they executed.
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
			err = l.addExecuted(key, value)
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

func (l *Loader) addExecuted(key, value []byte) error {
	x, _ := parseExecuted(key, value)
	one := l.sessions.all[x.session]
	if one == nil {
		return protocol.ErrCorrupt.With(fmt.Sprintf("the answer %d of session %d, which is not there", x.sequence, x.session))
	}
	one.floor = max(one.floor, x.floor)
	one.bytes += x.size
	l.sessions.noteUsed(one)
	if x.size > 0 && one.kept == 0 {
		one.kept = x.sequence // they come in order
	}
	return nil
}

// finishSessions gives each session what follows from all of its keys, and
// checks that they are keys which a session can have at one time.
func (l *Loader) finishSessions() error {
	for r, v := range l.state.System().Scan(l.newest, []byte{keyExecuted}, []byte{keyExecuted + 1}) {
		x, _ := parseExecuted(r.KeyBytes(), v.Value())
		if one := l.sessions.all[x.session]; x.sequence < one.floor || x.sequence-one.floor >= protocol.SessionWindow {
			return protocol.ErrCorrupt.With(fmt.Sprintf("the answer %d of session %d, whose floor is %d", x.sequence, x.session, one.floor))
		}
	}
	for r := range l.state.System().Scan(l.newest, []byte{keySession}, []byte{keySession + 1}) {
		one := l.sessions.all[protocol.SessionID(binary.BigEndian.Uint64(r.KeyBytes()[1:]))]
		if one.bytes > protocol.SessionAnswersBytesMax {
			return protocol.ErrCorrupt.With(fmt.Sprintf("session %d keeps %d bytes of answers, the limit is %d",
				one.id, one.bytes, protocol.SessionAnswersBytesMax))
		}
		one.kept = max(one.kept, one.floor)
		if one.floor > 1 {
			l.sessions.noteUsed(one)
		}
		one.deadline = max(one.extended, l.sessions.lease) + one.lasts()
		l.sessions.deadlines.add(one)
	}
	return nil
}
