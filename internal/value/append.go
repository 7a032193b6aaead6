package value

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
)

// Append appends the encoding of a value. ErrInvalid: the type or the value
// cannot be stored, or has more bytes than can travel. Of a type that can have no
// other fault the latter is ErrTooLarge.
func Append(dst []byte, v reflect.Value) ([]byte, error) {
	p := PlanOf(v.Type())
	if p.fault != nil {
		return dst, p.fault
	}
	if !v.CanAddr() {
		at := reflect.New(v.Type()).Elem()
		at.Set(v)
		v = at
	}
	h := p.has
	if p.loop || p.any {
		met, err := p.walk(v)
		if err != nil {
			return dst, invalid("the value cannot be stored", err)
		}
		h = h.or(met)
	}
	out, err := p.encode(dst, v, h.codec)
	if err == nil && (h.codec || h.any || h.doubt) {
		err = p.readBack(v, out[len(dst):], h.codec)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// invalid gives every fault of a value the same code. Codes of refusals are
// replicated, and which of two faults in a map is found first differs between
// members.
func invalid(text string, err error) error {
	return protocol.ErrInvalid.With(text + ": " + err.Error())
}

// encode appends the encoding of a value that can be addressed, checked and with
// its maps in order, without a look at whether it can be read back. Fresh says
// that methods of the value may keep the encoder, or leave it in any state.
func (p *Plan) encode(dst []byte, v reflect.Value, fresh bool) ([]byte, error) {
	if p.text {
		return encodeText(dst, v)
	}
	var e *encoder
	if fresh {
		e = newEncoder()
		e.sink.guarded = true
	} else {
		e = encoders.Get().(*encoder)
	}
	err := e.encode(v)
	if err == nil && fresh {
		err = p.checkMethods(e)
	}
	if errors.Is(err, errSinkFull) && !p.codec && !p.any && !p.loop {
		return dst, protocol.ErrTooLarge.With("the value cannot be encoded: " + err.Error())
	}
	if err != nil {
		return dst, invalid("the value cannot be encoded", err)
	}
	if err := p.check(e.sink.b); err != nil {
		return dst, invalid("the value would not come back", err)
	}
	if p.maps {
		dst, _ = appendSorted(dst, e.sink.b)
	} else {
		dst = append(dst, e.sink.b...)
	}
	if !fresh {
		e.release()
	}
	return dst, nil
}

// encoder is pooled, for types without methods of their own: making one costs
// more than a small value. It is put into a known state before each use, not
// after: after a panic there is no after.
type encoder struct {
	sink    sink
	msgpack *msgpack.Encoder
}

var encoders = sync.Pool{New: func() any { return newEncoder() }}

func newEncoder() *encoder { return &encoder{msgpack: msgpack.NewEncoder(nil)} }

// pooledBytesMax is how large a buffer may be to go back to a pool.
const pooledBytesMax = 64 << 10

func (e *encoder) release() {
	if cap(e.sink.b) <= pooledBytesMax {
		encoders.Put(e)
	}
}

// encode writes a value into the sink. A panic, of a method of the value or of
// the library, is an error.
func (e *encoder) encode(v reflect.Value) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("its encoding panicked: %v", cause)
		}
	}()
	return e.prepare().msgpack.EncodeValue(v)
}

// prepare puts the encoder into the state in which every value is written.
func (e *encoder) prepare() *encoder {
	e.sink.b = e.sink.b[:0]
	e.msgpack.Reset(&e.sink) // flags, struct tag, dictionary
	e.msgpack.UseCompactInts(true)
	return e
}

// encodeText appends a value as a string.
func encodeText(dst []byte, v reflect.Value) (out []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			out, err = dst, protocol.ErrInvalid.With(fmt.Sprintf("the value cannot be encoded: its MarshalText panicked: %v", cause))
		}
	}()
	if isNil(v) {
		return append(dst, codeNil), nil
	}
	m, ok := v.Interface().(encoding.TextMarshaler)
	if !ok {
		m = v.Addr().Interface().(encoding.TextMarshaler)
	}
	text, err := m.MarshalText()
	if err != nil {
		return dst, protocol.ErrInvalid.With("the value cannot be encoded: " + err.Error())
	}
	return append(appendLength(dst, len(text), 0xa0, 31, 0xd9), text...), nil
}

func isNil(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	}
	return false
}

// readBack reads what was written, and demands that it is the same. That finds
// what no look at the type can: methods that do not fit each other, settings that
// one field's method leaves behind for the next one, and what comes back out of
// an interface as something else.
func (p *Plan) readBack(v reflect.Value, data []byte, fresh bool) error {
	back := reflect.New(p.root.typ).Elem()
	err := p.parseInto(data, back)
	if err == nil {
		err = same(p.root, v, back)
	}
	if err != nil {
		return invalid("the value would not come back", err)
	}
	if !fresh {
		return nil // the parts that have been compared are all there is
	}
	again, err := p.encode(nil, back, fresh)
	if err != nil || !bytes.Equal(again, data) {
		return protocol.ErrInvalid.With("the value would not come back: what is read back is encoded otherwise than what was written")
	}
	return nil
}
