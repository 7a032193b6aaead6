package queue

import (
	"encoding/binary"

	"github.com/starlinghq/starling/protocol"
)

// Elements are elements as a Take answers them: number, index and length as varints, and the
// bytes. One without its value is so short that a session keeps it for the command's copies
// whatever else it has to keep, and nobody who has taken an element is left without the answer.
type Elements []Element

// AppendRaw appends the encoding of the elements.
func (list Elements) AppendRaw(dst []byte) ([]byte, error) {
	for _, e := range list {
		dst = binary.AppendUvarint(dst, e.Number)
		dst = binary.AppendUvarint(dst, uint64(e.Index))
		dst = binary.AppendUvarint(dst, uint64(len(e.Value)))
		dst = append(dst, e.Value...)
	}
	return dst, nil
}

// ParseRaw reads what AppendRaw wrote, or ErrMalformed.
func (Elements) ParseRaw(src []byte) (Elements, error) {
	var list Elements
	for len(src) > 0 {
		var head [3]uint64
		for k := range head {
			v, n := binary.Uvarint(src)
			if n <= 0 {
				return nil, protocol.ErrMalformed.With("malformed elements of a queue")
			}
			head[k], src = v, src[n:]
		}
		n := head[2]
		if n > uint64(len(src)) {
			return nil, protocol.ErrMalformed.With("malformed elements of a queue")
		}
		e := Element{Number: head[0], Index: protocol.Index(head[1])}
		if n > 0 {
			e.Value = src[:n:n]
		}
		list, src = append(list, e), src[n:]
	}
	return list, nil
}
