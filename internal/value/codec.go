package value

import (
	"encoding"
	"fmt"
	"reflect"
	"runtime"

	"github.com/vmihailenco/msgpack/v5"
)

// codec is one of the pairs of methods by which a type encodes itself, in the
// order in which the library looks for them.
type codec uint8

const (
	codecNone codec = iota
	codecCustom
	codecMarshaler
	codecBinary
	codecText
)

// A codec's two halves. The names stand in errors, and find out whose a method
// is.
var codecs = [...]struct {
	encoder, decoder reflect.Type
	write, read      string
}{
	codecCustom:    {reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.CustomDecoder](), "EncodeMsgpack", "DecodeMsgpack"},
	codecMarshaler: {reflect.TypeFor[msgpack.Marshaler](), reflect.TypeFor[msgpack.Unmarshaler](), "MarshalMsgpack", "UnmarshalMsgpack"},
	codecBinary:    {reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler](), "MarshalBinary", "UnmarshalBinary"},
	codecText:      {reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](), "MarshalText", "UnmarshalText"},
}

// half returns the codec whose encoder, or decoder, the type itself has, without
// a look at its address.
func half(t reflect.Type, decode bool) codec {
	for c := codecCustom; c <= codecText; c++ {
		method := codecs[c].encoder
		if decode {
			method = codecs[c].decoder
		}
		if t.Implements(method) {
			return c
		}
	}
	return codecNone
}

// halfOf returns the codec that the library uses for values of the type, and
// whether it needs their address.
func halfOf(t reflect.Type, decode bool) (c codec, address bool) {
	if c := half(t, decode); c != codecNone || t.Kind() == reflect.Pointer {
		return c, false
	}
	c = half(reflect.PointerTo(t), decode)
	return c, c != codecNone
}

// encodesItself reports whether the library would call methods of the type.
func encodesItself(t reflect.Type) bool {
	in, _ := halfOf(t, true)
	out, _ := halfOf(t, false)
	return in != codecNone || out != codecNone
}

// codecOf returns the codec of a type, or why it would not work. Addressable
// says whether the library will hold values of the type where it can take their
// address: it cannot in maps and interfaces.
func codecOf(t reflect.Type, addressable bool) (codec, string) {
	out, address := halfOf(t, false)
	in, _ := halfOf(t, true)
	switch {
	case out == codecNone && in == codecNone:
		return codecNone, ""
	case in == codecNone:
		return out, fmt.Sprintf("it has %s without %s, so it would be written in one form and read in another: it needs both or neither",
			codecs[out].write, codecs[out].read)
	case out == codecNone:
		return in, fmt.Sprintf("it has %s without %s, so it would be written in one form and read in another: it needs both or neither",
			codecs[in].read, codecs[in].write)
	case out != in:
		return out, fmt.Sprintf("it would be written by %s and read by %s: the two must belong together",
			codecs[out].write, codecs[in].read)
	}
	if fault := promotion(t, out); fault != "" {
		return out, fault
	}
	if address && !addressable {
		return out, fmt.Sprintf("its %s has a pointer receiver, which values in maps and interfaces do not have: hold pointers there, or declare it for the value",
			codecs[out].write)
	}
	return out, ""
}

// promotion says what is wrong with methods that a struct has only because they
// are those of an embedded field: they write that field and drop the others.
func promotion(t reflect.Type, c codec) string {
	write, read := promoted(t, codecs[c].write), promoted(t, codecs[c].read)
	switch {
	case !write && !read:
		return ""
	case write != read:
		return fmt.Sprintf("one of %s and %s is its own, the other one that of an embedded field: it needs both of its own",
			codecs[c].write, codecs[c].read)
	}
	if t.NumField() > 1 {
		return fmt.Sprintf("%s is that of an embedded field, and would drop all the others: give that field a name, or write %s and %s for the whole",
			codecs[c].write, codecs[c].write, codecs[c].read)
	}
	switch only := t.Field(0).Type; {
	case only == timeType:
		return "it would be written by the embedded time.Time with the time zone of whoever writes it: give the field a name"
	case only.Kind() == reflect.Pointer || only.Kind() == reflect.Interface:
		return fmt.Sprintf("%s is that of an embedded field that may be nil: give the field a name", codecs[c].write)
	}
	return ""
}

// promoted reports whether a method of a struct, or of its address, is that of
// an embedded field: the compiler has then made it, and says so in place of a
// file name. (It makes one for the address of a value that has a method of its
// own, too, so the value comes first.) A type without a name has no methods of
// its own.
func promoted(t reflect.Type, method string) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	if t.Name() == "" {
		return true
	}
	m, ok := methodByName(t, method)
	if !ok {
		m, ok = methodByName(reflect.PointerTo(t), method)
	}
	if !ok {
		return false
	}
	f := runtime.FuncForPC(m.Func.Pointer())
	if f == nil {
		return false
	}
	file, _ := f.FileLine(f.Entry())
	return file == "<autogenerated>"
}

// methodByName is reflect's, asked with constants: a name that varies would
// make the linker keep every method of the program.
func methodByName(t reflect.Type, name string) (reflect.Method, bool) {
	switch name {
	case "EncodeMsgpack":
		return t.MethodByName("EncodeMsgpack")
	case "DecodeMsgpack":
		return t.MethodByName("DecodeMsgpack")
	case "MarshalMsgpack":
		return t.MethodByName("MarshalMsgpack")
	case "UnmarshalMsgpack":
		return t.MethodByName("UnmarshalMsgpack")
	case "MarshalBinary":
		return t.MethodByName("MarshalBinary")
	case "UnmarshalBinary":
		return t.MethodByName("UnmarshalBinary")
	case "MarshalText":
		return t.MethodByName("MarshalText")
	case "UnmarshalText":
		return t.MethodByName("UnmarshalText")
	}
	return t.MethodByName("IsZero")
}

// isText reports whether a value of the type that stands alone is written as a
// string: it, or the type that it points to, has a text form of its own, and
// none for msgpack.
func isText(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if c, fault := codecOf(t, true); t == timeType || c != codecBinary && c != codecText || fault != "" {
		return false
	}
	p, text := reflect.PointerTo(t), codecs[codecText]
	return p.Implements(text.encoder) && p.Implements(text.decoder) && promotion(t, codecText) == ""
}
