package value

import (
	"errors"
	"reflect"

	"github.com/starlinghq/starling/protocol"
)

var (
	errSettings = errors.New("methods of a part of it leave settings on the encoder (flags, a struct tag), " +
		"and those change how other parts are written: set them back at the end of EncodeMsgpack")
	errUnknown  = errors.New("this release of vmihailenco/msgpack does not let see what methods leave behind on its encoder: use the one in starling's go.mod")
	errInterned = errors.New("its methods write interned strings, which nobody else can read: do not use them")
)

// checkMethods looks at what methods of a value have done besides writing it. A
// setting that one part leaves behind is there for all that come later, in a map
// in random order. It does no harm if the whole value is that part.
func (p *Plan) checkMethods(e *encoder) error {
	alone := p.root
	if alone.kind == kindPointer {
		alone = alone.elem
	}
	if alone.kind != kindCodec {
		if now, known := e.settings(); !known {
			return errUnknown
		} else if now != plainSettings {
			return errSettings
		}
	}
	if protocol.CheckMsgpack(e.sink.b) == nil && hasInterned(e.sink.b) {
		return errInterned
	}
	return nil
}

// settings is what methods can change of an encoder.
type settings struct {
	flags     uint64
	structTag string
}

var plainSettings, _ = newEncoder().prepare().settings()

// settings reads the settings, which the library does not tell, so it looks into
// the library's encoder. It is false for a release that keeps them elsewhere.
func (e *encoder) settings() (s settings, known bool) {
	v := reflect.ValueOf(e.msgpack).Elem()
	flags, structTag := v.FieldByName("flags"), v.FieldByName("structTag")
	if flags.Kind() != reflect.Uint32 || structTag.Kind() != reflect.String {
		return s, false
	}
	return settings{flags.Uint(), structTag.String()}, true
}

// hasInterned reports whether one whole value, with nothing behind it, has an
// interned string inside.
func hasInterned(src []byte) bool {
	const interned = 0x80 // -128
	for len(src) > 0 {
		size, _, _ := protocol.ScanMsgpack(src)
		switch c := src[0]; {
		case c >= 0xd4 && c <= 0xd8 && src[1] == interned, c >= 0xc7 && c <= 0xc9 && src[1+1<<(c-0xc7)] == interned:
			return true
		}
		src = src[size:]
	}
	return false
}
