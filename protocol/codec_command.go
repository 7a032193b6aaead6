package protocol

import "math"

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
	c := r.command(NameBytesMax, CommandBytesMax)
	return c, r.end()
}

// command reads a command whose names and argument are within limits of bytes.
func (r *reader) command(nameMax, argumentMax int) (c Command) {
	r.array(commandFields)
	c.Session = SessionID(r.uint())
	c.Sequence = r.uint()
	c.Floor = r.uint()
	c.Version = uint32(r.uintTo(math.MaxUint32))
	c.Resource, c.Type, c.Operation = r.names(nameMax)
	c.Argument = r.bin(argumentMax)
	return c
}

// names reads three names that follow one another, of at most limit bytes each,
// with one allocation for all of them: this is the hot path of applying.
func (r *reader) names(limit int) (a, b, c string) {
	before := r.src
	na := len(r.str(limit))
	endA := len(before) - len(r.src)
	nb := len(r.str(limit))
	endB := len(before) - len(r.src)
	nc := len(r.str(limit))
	endC := len(before) - len(r.src)
	if r.err != nil {
		return "", "", ""
	}
	all := string(before[:endC])
	return all[endA-na : endA], all[endB-nb : endB], all[endC-nc:]
}
