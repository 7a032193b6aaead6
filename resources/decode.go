package resources

import (
	"errors"
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// DecodeError says of one stored element, and of no other, that it cannot be read
// as the type that was asked for. errors.As finds it; errors.Is finds
// protocol.ErrMalformed of a value and protocol.ErrWrongType of a key.
type DecodeError struct {
	// Key is the element's key as it is stored, of a table without what its keys
	// begin with; nil for an element of a queue, a cell and an answer.
	Key []byte
	// Number is that of an element of a queue; 0 for everything else.
	Number uint64
	// Index is where the element was written.
	Index Index
	// Value is its bytes, not to be changed; nil if it was deleted.
	Value   []byte
	Deleted bool
	// Previous says that Value is what the element was before Index, and that what it is now, which
	// a watch tells beside the error, can be read.
	Previous bool
	Cause    error
}

// Error says what could not be read, as what, and what it is instead.
func (e *DecodeError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Cause }

// goesOn reports whether what comes after an element with this error can be read
// all the same.
func goesOn(err error) bool {
	var bad *DecodeError
	return err == nil || errors.As(err, &bad)
}

// lostAnswer is the error of a command that was executed, and whose answer is not
// of the type that this program takes it for.
func lostAnswer(result *protocol.Result, err error) error {
	return protocol.ErrAnswerLost.With("the command was executed, and its answer cannot be read").Because(
		&DecodeError{Index: result.Index, Value: result.Data, Cause: err})
}

// parseStored reads a value of the state. A fault says that the type of the value
// has changed in a way that does not fit what was written before.
func parseStored[T any](item *Item, key []byte) (T, error) {
	value, err := ParseValue[T](item.Value)
	if err != nil {
		err = protocol.ErrMalformed.With(fmt.Sprintf("stored value read as %T", value)).Because(err)
		return value, &DecodeError{Key: key, Index: item.Version, Value: item.Value, Cause: err}
	}
	return value, nil
}
