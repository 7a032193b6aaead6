package value

import (
	"bytes"
	"encoding"
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
)

// Parse reads what Append wrote for a type. ErrMalformed; ErrInvalid, if values
// of the type are not stored. No bytes read as the zero value. The result does
// not alias src.
func Parse(src []byte, t reflect.Type) (reflect.Value, error) {
	into := reflect.New(t).Elem()
	return into, ParseInto(src, into)
}

// ParseInto reads into a variable that has its zero value. After an error it may
// have any.
func ParseInto(src []byte, into reflect.Value) error {
	p := PlanOf(into.Type())
	if p.fault != nil {
		return p.fault
	}
	if len(src) == 0 {
		return nil
	}
	return malformed(p.parseInto(src, into))
}

func (p *Plan) parseInto(src []byte, into reflect.Value) error {
	if err := p.check(src); err != nil {
		return err
	}
	if p.text {
		return parseText(src, into)
	}
	fresh := p.codec || p.any // methods may keep the decoder, or leave it in any state
	var d *decoder
	if fresh {
		d = newDecoder()
	} else {
		d = decoders.Get().(*decoder)
	}
	if err := d.decode(src, into); err != nil {
		return fmt.Errorf("decoding %s: %w", p.root.typ, err)
	}
	if !fresh {
		d.release(src)
	}
	if p.any || p.times {
		p.root.settle(into)
	}
	return nil
}

// malformed gives every fault of the bytes one code. Codes are replicated, and
// which fault is found first may change with the decoder's release; texts are not
// replicated, so the decoder's may be in it.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return protocol.ErrMalformed.With("malformed value").Because(err)
}

// decoder is pooled like an encoder. The library keeps in it what it has read
// last, and what methods did to it.
type decoder struct {
	reader  bytes.Reader
	msgpack *msgpack.Decoder
}

var decoders = sync.Pool{New: func() any { return newDecoder() }}

func newDecoder() *decoder { return &decoder{msgpack: msgpack.NewDecoder(nil)} }

func (d *decoder) release(src []byte) {
	d.reader.Reset(nil)
	if len(src) <= pooledBytesMax {
		decoders.Put(d)
	}
}

// decode reads a value that has been checked. The library panics on some input
// that a type does not expect, and so may methods of the type.
func (d *decoder) decode(src []byte, into reflect.Value) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panicked: %v", cause)
		}
	}()
	d.reader.Reset(src)
	d.msgpack.Reset(&d.reader)
	if err := d.msgpack.DecodeValue(into); err != nil {
		return err
	}
	if n := d.reader.Len(); n > 0 {
		return fmt.Errorf("%d bytes were left unread", n)
	}
	return nil
}

// parseText reads a value that stands alone as a string.
func parseText(src []byte, into reflect.Value) (err error) {
	if src[0] == codeNil {
		return nil
	}
	if into.Kind() == reflect.Pointer {
		into.Set(reflect.New(into.Type().Elem()))
		into = into.Elem()
	}
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("decoding %s: UnmarshalText panicked: %v", into.Type(), cause)
		}
	}()
	text := bytes.Clone(src[stringHead(src[0]):])
	return into.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText(text)
}
