package resources

import (
	"context"
	"fmt"
	"reflect"

	"github.com/starlinghq/starling/protocol"
)

// Operation is a [Command] or a [Query] of any types.
type Operation interface {
	// Describe says what the operation is called, takes and answers.
	Describe() Description
	operation() *operation
}

// Description is an operation as data, for command lines, schemas and tests.
type Description struct {
	Name     string
	Writes   bool // a command
	Frees    bool // a command that frees space; see [Command.Frees]
	Argument reflect.Type
	Answer   reflect.Type
	// Encode encodes an argument, which must be of type Argument.
	Encode func(argument any) ([]byte, error)
	// Decode decodes an answer; the result is of type Answer.
	Decode func(answer []byte) (any, error)
}

// operation is what a machine needs of one.
type operation struct {
	Description
	owner  *Type // set by NewType
	faults []error
	run    func(tx *Tx, argument []byte) ([]byte, error)
	ask    func(v *View, argument []byte) ([]byte, error)
}

// Describe says what the operation is called, takes and answers.
func (op *operation) Describe() Description { return op.Description }

func (op *operation) operation() *operation { return op }

// newOperation describes an operation, and notes what cannot be stored of what
// it takes and answers: NewType takes the faults up.
func newOperation[A, R any](name string, writes bool) operation {
	op := operation{Description: describe[A, R](name, writes)}
	if err := CheckType[A](); err != nil {
		op.faults = append(op.faults, fmt.Errorf("its argument: %w", err))
	}
	if err := CheckType[R](); err != nil {
		op.faults = append(op.faults, fmt.Errorf("its answer: %w", err))
	}
	return op
}

func describe[A, R any](name string, writes bool) Description {
	return Description{
		Name: name, Writes: writes,
		Argument: reflect.TypeFor[A](), Answer: reflect.TypeFor[R](),
		Encode: func(argument any) ([]byte, error) {
			a, ok := argument.(A)
			if !ok && (argument != nil || reflect.TypeFor[A]().Kind() != reflect.Interface) {
				return nil, protocol.ErrInvalid.With(fmt.Sprintf("%s takes a %v, not a %T", name, reflect.TypeFor[A](), argument))
			}
			return AppendValue(nil, a)
		},
		Decode: func(data []byte) (any, error) { return ParseValue[R](data) },
	}
}

// Command is an operation that may write: its behaviour on every member, and
// with Do its typed client. A and R are encoded as described at [AppendValue].
type Command[A, R any] struct{ op operation }

// NewCommand returns a command for a package variable; [NewType] takes it up. A
// or R that cannot be stored, see [CheckType], are a fault of the type. See the
// package's text for what run must not do. An answer that comes with
// an error reaches the client too, unless it is the zero value.
func NewCommand[A, R any](name string, run func(tx *Tx, argument A) (R, error)) *Command[A, R] {
	c := &Command[A, R]{op: newOperation[A, R](name, true)}
	if run == nil {
		return c // NewRegistry refuses it
	}
	parse := parserOf[A]()
	c.op.run = func(tx *Tx, data []byte) ([]byte, error) {
		argument, err := parse(data)
		if err != nil {
			return nil, err
		}
		answer, failed := run(tx, argument)
		return encodeAnswer(answer, failed, tx.encoded)
	}
	return c
}

// Frees declares that the command frees space, or takes next to none: it deletes, takes
// out, or ends something. Such commands are taken also while the leader's disk is
// nearly full, when nothing else is: they are the way out. It changes nothing about what
// the command does, and returns the command, for a package variable.
func (c *Command[A, R]) Frees() *Command[A, R] {
	c.op.Description.Frees = true
	return c
}

// Describe says what the command is called, takes and answers.
func (c *Command[A, R]) Describe() Description { return c.op.Description }

func (c *Command[A, R]) operation() *operation {
	if c == nil {
		return nil
	}
	return &c.op
}

// Do runs the command on the named instance and returns its answer. Errors of
// the type match its sentinels with errors.Is. Another error means that it has
// had no effect, except ErrUnknownOutcome: it may have, and ErrAnswerLost: it has,
// and the answer is not of type R; see [DecodeError]. ErrInvalid and ErrTooLarge
// say, before anything is sent, what is wrong with the name or the argument.
func (c *Command[A, R]) Do(ctx context.Context, caller Caller, resource string, argument A, opts ...WriteOption) (R, error) {
	var zero R
	t, err := typeOf(c, caller)
	if err != nil {
		return zero, err
	}
	data, err := AppendValue(nil, argument)
	if err != nil {
		return zero, err
	}
	command := protocol.Command{Resource: resource, Type: t.name, Version: t.version, Operation: c.op.Name, Argument: data}
	if err := command.Validate(); err != nil {
		return zero, err
	}
	result, err := caller.Command(ctx, command)
	var o options
	if len(opts) > 0 { // else they cost no memory
		o.info = writeOptions(opts)
	}
	value, err, malformed := answerTo[R](&o, result, err)
	if malformed != nil {
		err = lostAnswer(&result, malformed)
	}
	return value, err
}

// Query is an operation that only reads, on one member.
type Query[A, R any] struct{ op operation }

// NewQuery returns a query for a package variable; [NewType] takes it up. A or R
// that cannot be stored are a fault of the type. A query may take as long as it
// needs: when nobody waits for its answer any more, the reads of its view fail; see
// [View].
func NewQuery[A, R any](name string, ask func(v *View, argument A) (R, error)) *Query[A, R] {
	q := &Query[A, R]{op: newOperation[A, R](name, false)}
	if ask == nil {
		return q // NewRegistry refuses it
	}
	parse := parserOf[A]()
	q.op.ask = func(v *View, data []byte) ([]byte, error) {
		argument, err := parse(data)
		if err != nil {
			return nil, err
		}
		answer, failed := ask(v, argument)
		return encodeAnswer(answer, failed, v.encoded)
	}
	return q
}

// Describe says what the query is called, takes and answers.
func (q *Query[A, R]) Describe() Description { return q.op.Description }

func (q *Query[A, R]) operation() *operation {
	if q == nil {
		return nil
	}
	return &q.op
}

// Do asks the named instance. Options choose the level ([Linearizable], the
// default, [OwnWrites], [MaxStale] or [Local]) and have index and age told
// ([WithInfo]).
func (q *Query[A, R]) Do(ctx context.Context, caller Caller, resource string, argument A, opts ...ReadOption) (R, error) {
	var zero R
	t, err := typeOf(q, caller)
	if err != nil {
		return zero, err
	}
	data, err := AppendValue(nil, argument)
	if err != nil {
		return zero, err
	}
	o, err := readOptions(opts)
	if err != nil {
		return zero, err
	}
	query := o.query(resource, t.name, q.op.Name, data)
	if err := query.Validate(); err != nil {
		return zero, err
	}
	result, err := caller.Query(ctx, query)
	value, err, malformed := answerTo[R](&o, result, err)
	if malformed != nil {
		err = &DecodeError{Index: result.Index, Value: result.Data, Cause: malformed}
	}
	return value, err
}

// typeOf returns the type of an operation that is to be carried by a caller.
func typeOf(o Operation, caller Caller) (*Type, error) {
	op := o.operation()
	switch {
	case op == nil:
		return nil, protocol.ErrInvalid.With("the operation is nil")
	case op.owner == nil:
		return nil, protocol.ErrUnknownOperation.With(fmt.Sprintf("the operation %q is not part of a type", op.Name))
	case caller == nil:
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("%s.%s has nobody to ask: its handle was made without a Node or a Client", op.owner.name, op.Name))
	}
	return op.owner, nil
}

// encodeAnswer encodes what an operation returned. With an error, the zero
// value is left away.
func encodeAnswer[R any](value R, failed error, encoded encodedFunc) ([]byte, error) {
	if failed != nil && reflect.ValueOf(&value).Elem().IsZero() {
		return nil, failed
	}
	data, err := appendTold(value, encoded)
	switch {
	case failed != nil && (err != nil || len(data) > protocol.ResultBytesMax):
		return nil, failed
	case err != nil:
		return nil, err
	case len(data) > protocol.ResultBytesMax:
		return nil, protocol.ErrTooLarge.With(fmt.Sprintf("the answer has %d bytes, the limit is %d", len(data), protocol.ResultBytesMax))
	}
	return data, failed
}
