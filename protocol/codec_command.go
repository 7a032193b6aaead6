package protocol

import "math"

const commandFields = 9

// EncodeCommand returns the encoding of a command, the data of an EntryCommand.
// Its names and argument must be within their limits (see Command.Validate).
func EncodeCommand(c *Command) []byte {
	const numbersMax = 1 + 3*9 + 5 + 3*2 + 5 + oneShotBytes
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
	dst = appendBin(dst, c.Argument)
	return appendOneShot(dst, &c.OneShot)
}

const (
	oneShotFields = 2
	oneShotBytes  = 1 + 2 + 16 + 9
)

// appendOneShot writes nil for a command that is none.
func appendOneShot(dst []byte, o *OneShot) []byte {
	if o.IsZero() {
		return append(dst, codeNil)
	}
	dst = appendArray(dst, oneShotFields)
	dst = appendID(dst, o.Number)
	return appendUint(dst, uint64(o.Seen))
}

// DecodeCommand reads what EncodeCommand wrote. Argument aliases src; the
// strings do not.
func DecodeCommand(src []byte) (Command, error) { return new(CommandDecoder).Decode(src) }

// CommandDecoder decodes one command after the other, most of which have the same names: those
// it shares. One goroutine uses it.
type CommandDecoder struct{ names namesRead }

// Decode is DecodeCommand.
func (d *CommandDecoder) Decode(src []byte) (Command, error) {
	r := reader{src: src}
	c := r.command(NameBytesMax, CommandBytesMax, &d.names)
	return c, r.end()
}

// namesRead are three names that follow one another, as they were read, with their encoding.
type namesRead struct{ all, a, b, c string }

// command reads a command whose names and argument are within limits of bytes.
func (r *reader) command(nameMax, argumentMax int, before *namesRead) (c Command) {
	r.array(commandFields)
	c.Session = SessionID(r.uint())
	c.Sequence = r.uint()
	c.Floor = r.uint()
	c.Version = uint32(r.uintTo(math.MaxUint32))
	c.Resource, c.Type, c.Operation = r.names(nameMax, before)
	c.Argument = r.bin(argumentMax)
	c.OneShot = readOneShot(r)
	return c
}

func readOneShot(r *reader) (o OneShot) {
	if r.isNil() {
		return o
	}
	r.array(oneShotFields)
	o.Number = r.id()
	o.Seen = r.index()
	if r.err == nil && o.IsZero() {
		r.fail("a one-shot without a number that is not nil")
	}
	return o
}

// names reads three names that follow one another, of at most limit bytes each,
// with one allocation for all of them, or none if they were read before: this is the hot
// path of applying.
func (r *reader) names(limit int, read *namesRead) (a, b, c string) {
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
	if string(before[:endC]) != read.all {
		all := string(before[:endC])
		*read = namesRead{all, all[endA-na : endA], all[endB-nb : endB], all[endC-nc:]}
	}
	return read.a, read.b, read.c
}
