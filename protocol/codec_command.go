package protocol

import (
	"fmt"
	"math"
	"time"
)

const commandFields = 8

// EncodeCommand returns the encoding of a command, the data of an EntryCommand.
// Its names and argument must be within their limits (see Command.Validate).
func EncodeCommand(c *Command) []byte {
	const numbersMax = 1 + 3*9 + 5 + 3*2 + 5
	size := numbersMax + len(c.Resource) + len(c.Type) + len(c.Operation) + len(c.Argument)
	return AppendCommand(make([]byte, 0, size), c)
}

// AppendCommand appends what EncodeCommand returns.
func AppendCommand(dst []byte, c *Command) []byte {
	dst = appendArray(dst, commandFields)
	dst = appendUint(dst, uint64(c.Session))
	dst = appendUint(dst, c.Sequence)
	dst = appendUint(dst, c.Floor)
	dst = appendUint(dst, uint64(c.Version))
	dst = appendString(dst, c.Resource)
	dst = appendString(dst, c.Type)
	dst = appendString(dst, c.Operation)
	return appendBin(dst, c.Argument)
}

// DecodeCommand reads what EncodeCommand wrote. Argument aliases src; the
// strings do not.
func DecodeCommand(src []byte) (Command, error) {
	r := reader{src: src}
	c := r.command()
	return c, r.end()
}

func (r *reader) command() (c Command) {
	r.array(commandFields)
	c.Session = SessionID(r.uint())
	c.Sequence = r.uint()
	c.Floor = r.uint()
	c.Version = uint32(r.uintTo(math.MaxUint32))
	c.Resource, c.Type, c.Operation = r.names()
	c.Argument = r.bin(CommandBytesMax)
	return c
}

// names reads three names that follow one another, with one allocation for
// all of them: this is the hot path of applying.
func (r *reader) names() (a, b, c string) {
	before := r.src
	na := len(r.str(NameBytesMax))
	endA := len(before) - len(r.src)
	nb := len(r.str(NameBytesMax))
	endB := len(before) - len(r.src)
	nc := len(r.str(NameBytesMax))
	endC := len(before) - len(r.src)
	if r.err != nil {
		return "", "", ""
	}
	all := string(before[:endC])
	return all[endA-na : endA], all[endB-nb : endB], all[endC-nc:]
}

// Validate reports what is over its limit, as an ErrTooLarge. Whoever takes a
// command from a user calls it before the command is encoded.
func (c *Command) Validate() error {
	if err := validateNames(c.Resource, c.Type, c.Operation); err != nil {
		return err
	}
	if n := len(c.Argument); n > CommandBytesMax {
		return tooLarge("the argument of "+c.Type+"."+c.Operation, n, CommandBytesMax)
	}
	return nil
}

// Validate reports what is over its limit, as an ErrTooLarge, and an age below
// 0, as an ErrInvalid.
func (q *Query) Validate() error {
	if q.MaxAge < 0 {
		return ErrInvalid.With(fmt.Sprintf("a state cannot be younger than 0: give an age of 0 or more, not %v", time.Duration(q.MaxAge)))
	}
	if err := validateNames(q.Resource, q.Type, q.Operation); err != nil {
		return err
	}
	if n := len(q.Argument); n > CommandBytesMax {
		return tooLarge("the argument of "+q.Type+"."+q.Operation, n, CommandBytesMax)
	}
	return nil
}

func validateNames(names ...string) error {
	for _, name := range names {
		if len(name) > NameBytesMax {
			return tooLarge("the name "+name[:32]+"...", len(name), NameBytesMax)
		}
	}
	return nil
}

func tooLarge(what string, n, limit int) error {
	return ErrTooLarge.With(fmt.Sprintf("%s has %d bytes, the limit is %d", what, n, limit))
}
