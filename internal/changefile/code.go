package changefile

import (
	"encoding/binary"
	"errors"

	"github.com/starlinghq/starling/protocol"
)

// An entry in a block is the length of what follows (4 bytes), its index, the names of its
// resource and type, whether it goes on, and its changes: kind and what is known of the key
// before, in one byte, key, value, and the previous value, if it had one.

var errFormat = errors.New("not what was written")

// previousBits are those of a change's first byte that say what is known of the key before.
const previousBits = 2

func changeSize(c *protocol.Change) int {
	return 1 + 3*binary.MaxVarintLen32 + len(c.Key) + len(c.Value) + len(c.Previous)
}

// fitting returns how many of some changes go into one block of so many bytes, which is at least one.
func fitting(changes []protocol.Change, block int) int {
	size := 0
	for i := range changes {
		if size += changeSize(&changes[i]); size > block && i > 0 {
			return i
		}
	}
	return len(changes)
}

func appendEntry(dst []byte, e *Entry, changes []protocol.Change, more bool) []byte {
	head := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(e.Index))
	dst = appendBytes(dst, e.Resource)
	dst = appendBytes(dst, e.Kind)
	goesOn := byte(0)
	if more {
		goesOn = 1
	}
	dst = append(dst, goesOn)
	for i := range changes {
		c := &changes[i]
		dst = append(dst, byte(c.Kind)<<previousBits|byte(c.PreviousKind))
		dst = appendBytes(dst, c.Key)
		dst = appendBytes(dst, c.Value)
		if c.PreviousKind == protocol.PreviousValue {
			dst = appendBytes(dst, c.Previous)
		}
	}
	binary.LittleEndian.PutUint32(dst[head:], uint32(len(dst)-head-4))
	return dst
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// parser reads a block. What it returns lies in the block.
type parser struct {
	src []byte
	bad bool
}

func (p *parser) take(n uint64) []byte {
	if p.bad = p.bad || n > uint64(len(p.src)); p.bad {
		return nil
	}
	out := p.src[:n:n]
	p.src = p.src[n:]
	return out
}

func (p *parser) uint() uint64 {
	v, n := binary.Uvarint(p.src)
	if n <= 0 {
		p.bad = true
		return 0
	}
	p.take(uint64(n))
	return v
}

func (p *parser) byte() byte {
	if b := p.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (p *parser) bytes() []byte { return p.take(p.uint()) }

// parseEntry reads the entry at the beginning of src, its changes only if it is of the resource,
// and returns how many bytes it takes.
func parseEntry(src []byte, resource string) (e Entry, of bool, size int, err error) {
	p := parser{src: src}
	head := p.take(4)
	if p.bad {
		return e, false, 0, errFormat
	}
	body := p.take(uint64(binary.LittleEndian.Uint32(head)))
	size = 4 + len(body)
	q := parser{src: body, bad: p.bad}
	e.Index = protocol.Index(q.uint())
	if name := q.bytes(); string(name) != resource || q.bad {
		return e, false, size, q.err()
	}
	e.Resource, e.Kind, e.More = resource, string(q.bytes()), q.byte() == 1
	for len(q.src) > 0 && !q.bad {
		b := q.byte()
		c := protocol.Change{Kind: protocol.ChangeKind(b >> previousBits), PreviousKind: protocol.PreviousKind(b & (1<<previousBits - 1)), Key: q.bytes(), Value: q.bytes()}
		if c.PreviousKind == protocol.PreviousValue {
			c.Previous = q.bytes()
		}
		if c.Kind == protocol.ChangeDelete {
			c.Value = nil
		}
		e.Changes = append(e.Changes, c)
	}
	return e, true, size, q.err()
}

func (p *parser) err() error {
	if p.bad {
		return errFormat
	}
	return nil
}
