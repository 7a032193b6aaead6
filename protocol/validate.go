package protocol

import (
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// What a request may be is said once, here. Whoever takes a request from a user
// asks before anything is sent, and a member asks again before it does anything:
// a request that every member refuses has the same error wherever it is made,
// and never travels. Errors name the field, what was given, and the limit.

// CheckName reports what is wrong with the name of a resource, a type or an
// operation: it has 1 to NameBytesMax bytes of a-z, A-Z, 0-9, "-", "_" and ".",
// so that it can stand in a path and on a command line. what says whose name it
// is: "the name of a resource". ErrInvalid; ErrTooLarge for a name that is too
// long.
func CheckName(what, name string) error {
	switch {
	case name == "":
		return ErrInvalid.With(what + " is empty: names have " + nameForm)
	case len(name) > NameBytesMax:
		return tooLarge(what+", "+Quoted(name)+",", len(name), NameBytesMax)
	}
	for i := range len(name) {
		if c := name[i]; !inName(c) {
			_, n := utf8.DecodeRuneInString(name[i:])
			return ErrInvalid.With(fmt.Sprintf("%s, %s, has the character %s: names have %s", what, Quoted(name), strconv.Quote(name[i:i+n]), nameForm))
		}
	}
	return nil
}

var nameForm = fmt.Sprintf(`1 to %d of the letters a-z and A-Z, digits, "-", "_" and "."`, NameBytesMax)

func inName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// Quoted returns a text from outside as an error shows it: escaped, and only its
// beginning if it is long.
func Quoted(text string) string {
	const most = 40
	if len(text) <= most {
		return strconv.Quote(text)
	}
	n := most
	for n > most-utf8.UTFMax && !utf8.RuneStart(text[n]) {
		n--
	}
	return strconv.Quote(text[:n]) + "..."
}

func tooLarge(what string, n, limit int) error {
	return ErrTooLarge.With(fmt.Sprintf("%s has %d bytes, the limit is %d", what, n, limit))
}

// Validate reports why no member would take the request: ErrUnsupported for a
// kind that is not known, ErrInvalid if the field of its kind is missing, and
// what that field's Validate says.
func (q *Request) Validate() error {
	switch q.Kind {
	case RequestCommand:
		if q.Command != nil {
			return q.Command.Validate()
		}
	case RequestQuery:
		if q.Query != nil {
			return q.Query.Validate()
		}
	case RequestWatch:
		if q.Watch != nil {
			return q.Watch.Validate()
		}
	case RequestMembershipChange:
		if q.MembershipChange != nil {
			return q.MembershipChange.Validate()
		}
	case RequestCancel, RequestStatus, RequestJoin, RequestAutopilot, RequestDigest, RequestLeader, RequestCredit, RequestAge:
		return nil
	default:
		return unsupported(q.Kind)
	}
	return ErrInvalid.With(fmt.Sprintf("a request of kind %d does not say what it asks for", q.Kind))
}

func unsupported(kind RequestKind) error {
	return ErrUnsupported.With(fmt.Sprintf("requests of kind %d are not known here: this member runs an older release than the client", kind))
}

// Validate reports what is wrong with names, as CheckName does, an argument over its
// limit, as an ErrTooLarge, and a one-shot that belongs to a session, as an ErrInvalid.
// Operations on sessions have no resource, and are no one-shots.
func (c *Command) Validate() error {
	if !c.OneShot.IsZero() && (c.Session != 0 || c.Sequence != 0 || c.Floor != 0 || c.Type == SessionType) {
		return ErrInvalid.With("a one-shot belongs to no session, and has neither sequence nor floor")
	}
	if c.Type == SessionType {
		if c.Resource != "" {
			return ErrInvalid.With(fmt.Sprintf("the resource %s with an operation on sessions, which have no names", Quoted(c.Resource)))
		}
		if c.Sequence != 0 { // it would be taken for the command of that number: see CommandKey
			return ErrInvalid.With(fmt.Sprintf("sequence %d with an operation on sessions, which has none", c.Sequence))
		}
	} else if err := CheckName(resourceName, c.Resource); err != nil {
		return err
	}
	return checkOperation(c.Resource, c.Type, c.Operation, c.Argument)
}

// Validate reports what is wrong with names, as CheckName does, an argument over
// its limit, as an ErrTooLarge, and an unknown level, or an age below 0 at MaxStale, as an
// ErrInvalid.
func (q *Query) Validate() error {
	switch {
	case q.Consistency > MaxStale:
		return ErrInvalid.With(fmt.Sprintf("unknown level %d of a read", q.Consistency))
	case q.Consistency == MaxStale && q.MaxAge < 0:
		return ErrInvalid.With(fmt.Sprintf("a state cannot be younger than 0: give an age of 0 or more, not %v", time.Duration(q.MaxAge)))
	}
	if err := CheckName(resourceName, q.Resource); err != nil {
		return err
	}
	return checkOperation(q.Resource, q.Type, q.Operation, q.Argument)
}

// Validate reports what is wrong with names, as CheckName does, a prefix that is longer than a
// key can be, as an ErrTooLarge, and an index that no log comes to, as an ErrInvalid: the watch would
// wait for ever. One above the log is what a watch waits for.
func (w *Watch) Validate() error {
	if err := CheckName(resourceName, w.Resource); err != nil {
		return err
	}
	if err := CheckName(typeName, w.Type); err != nil {
		return err
	}
	if n := len(w.Prefix); n > KeyBytesMax {
		return tooLarge(fmt.Sprintf("the prefix %s for a watch of %s %q", Quoted(string(w.Prefix)), w.Type, w.Resource), n, KeyBytesMax)
	}
	if w.From > IndexMax {
		return ErrInvalid.With(fmt.Sprintf("a watch of %s %q after index %d: the highest that a log can have is %d", w.Type, w.Resource, w.From, IndexMax))
	}
	return nil
}

// Validate reports what is out of its limits, as an ErrInvalid.
func (s *MembershipChange) Validate() error {
	if s.Target < 0 || s.Target > ActivesMax {
		return ErrInvalid.With(fmt.Sprintf("a policy aims at 1 to %d voters, not %d", ActivesMax, s.Target))
	}
	for _, ids := range [][]MemberID{s.Promote, s.Demote, s.Remove} {
		if len(ids) > 2*ActivesMax {
			return ErrInvalid.With(fmt.Sprintf("a change moves at most %d seats in one way, not %d", 2*ActivesMax, len(ids)))
		}
	}
	if s.Autopilot != nil {
		if err := s.Autopilot.Validate(); err != nil {
			return ErrInvalid.Because(err)
		}
	}
	if s.StateBytes != nil {
		if err := CheckStateBytes(*s.StateBytes); err != nil {
			return ErrInvalid.Because(err)
		}
	}
	return nil
}

const (
	resourceName  = "the name of a resource"
	typeName      = "the name of a type"
	operationName = "the name of an operation"
)

// checkOperation checks what commands and queries have in common, beside the
// name of the resource, which was checked.
func checkOperation(resource, typ, operation string, argument []byte) error {
	if err := CheckName(typeName, typ); err != nil {
		return err
	}
	if err := CheckName(operationName, operation); err != nil {
		return err
	}
	if n := len(argument); n > CommandBytesMax {
		return tooLarge(fmt.Sprintf("the argument of %s for %s %q", operation, typ, resource), n, CommandBytesMax)
	}
	return nil
}
