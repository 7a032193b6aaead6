package resources_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// nasty does to the encoder, and to the decoder, all that methods of a value can
// do, by its kind.
type nasty struct {
	Kind int
	Word string `json:"w"`
}

const (
	nastyFlags = iota
	nastyTag
	nastyIntern
	nastyPanic
	nastyError
	nastyWriter
	nastyKinds
)

func (n nasty) EncodeMsgpack(e *msgpack.Encoder) error {
	switch n.Kind {
	case nastyFlags:
		e.UseArrayEncodedStructs(true)
		e.UseCompactInts(false)
		e.UseCompactFloats(true)
		e.SetOmitEmpty(true)
		e.SetSortMapKeys(true)
	case nastyTag:
		e.SetCustomStructTag("json")
	case nastyIntern:
		e.UseInternedStrings(true)
		_ = e.EncodeString("Ada")
		return e.EncodeString("Ada")
	case nastyPanic:
		e.SetCustomStructTag("json")
		e.UseArrayEncodedStructs(true)
		_ = e.EncodeArrayLen(7)
		panic("in the middle")
	case nastyError:
		e.SetCustomStructTag("json")
		_ = e.EncodeMapLen(3)
		return errors.New("in the middle")
	case nastyWriter:
		e.ResetWriter(new(bytes.Buffer))
	}
	type plain nasty
	return e.Encode(plain(n))
}

func (n *nasty) DecodeMsgpack(d *msgpack.Decoder) error {
	d.SetCustomStructTag("json")
	d.UseLooseInterfaceDecoding(true)
	d.UseInternedStrings(true)
	d.DisallowUnknownFields(true)
	d.SetMapDecoder(func(*msgpack.Decoder) (any, error) { return nil, errors.New("of somebody else") })
	if n.Kind == nastyPanic {
		panic("in the middle")
	}
	type plain nasty
	return d.Decode((*plain)(n))
}

// dirty has every kind of nasty value encoded, and decoded.
func dirty() {
	_, _ = resources.ParseValue[[]nasty]([]byte{0x92, 0x80, 0x81, 0xa1, 'x', 0xa1, 'y'})
	_, _ = resources.ParseValue[nasty]([]byte{0x80})
	for kind := range nastyKinds {
		appendError([]any{nasty{Kind: kind}})
		appendError(map[string]nasty{"a": {Kind: kind}})
		appendError(nasty{Kind: kind, Word: "Ada"})
	}
	appendError(nasty{Kind: rand.IntN(nastyTag + 1)}) // last what succeeds
}

// plainUser is what other people store.
type plainUser struct {
	Name  string `json:"n"`
	Email string `json:"e"`
	Age   int
	Score float64
	Tags  []string
	Any   any
	Also  *plainUser `json:"-"`
}

func somebody() plainUser {
	also := plainUser{Name: "Ada", Email: "Ada", Age: 300, Score: 3, Tags: []string{"Ada", "Ada", "Ada"}, Any: int64(7)}
	return plainUser{Name: "Ada", Email: "ada@example.org", Age: -1, Tags: []string{}, Any: map[string]any{"Ada": []any{"Ada", 1.0}}, Also: &also}
}

func TestOneValueDoesNotChangeHowTheNextIsWritten(t *testing.T) {
	want, err := resources.AppendValue(nil, somebody())
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				dirty()
				got, err := resources.AppendValue(nil, somebody())
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %x, %v, want %x", got, err, want)
					return
				}
				back, err := resources.ParseValue[plainUser](want)
				if err != nil || !reflect.DeepEqual(back, somebody()) {
					t.Errorf("read back as %+v, %v", back, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestWhatMethodsDoIsSeen: a value whose methods cannot be read back, or disturb
// the parts beside it, is refused; one that stands alone may do what it likes.
func TestWhatMethodsDoIsSeen(t *testing.T) {
	for kind, want := range map[int]error{
		nastyFlags: nil, nastyTag: nil, nastyIntern: protocol.ErrInvalid, nastyPanic: protocol.ErrInvalid,
		nastyError: protocol.ErrInvalid, nastyWriter: protocol.ErrInvalid,
	} {
		wrote := nasty{Kind: kind, Word: "Ada"}
		err := appendError(wrote)
		if !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("kind %d: got %v, want %v", kind, err, want)
		}
		if err == nil {
			data, _ := resources.AppendValue(nil, wrote)
			if back, err := resources.ParseValue[nasty](data); back != wrote || err != nil {
				t.Errorf("kind %d: read back as %+v, %v", kind, back, err)
			}
		}
		if err := appendError(map[string]any{"a": wrote, "b": 1.0}); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("kind %d beside others: got %v, want invalid", kind, err)
		}
	}
}

// keeper keeps its encoder, for somebody to write with it later.
type keeper struct{ A int }

var kept = make(chan *msgpack.Encoder, 10)

func (k keeper) EncodeMsgpack(e *msgpack.Encoder) error {
	kept <- e
	return e.EncodeNil()
}

func (k *keeper) DecodeMsgpack(d *msgpack.Decoder) error { return d.DecodeNil() }

func TestAnEncoderThatIsKeptIsNobodyElses(t *testing.T) {
	if _, err := resources.AppendValue(nil, keeper{}); err != nil {
		t.Fatal(err)
	}
	want, _ := resources.AppendValue(nil, somebody())
	for len(kept) > 0 {
		e := <-kept
		e.SetCustomStructTag("json")
		_ = e.EncodeString("scribble")
	}
	if got, err := resources.AppendValue(nil, somebody()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
}

// two writes two values, as an example of the library does.
type two struct{ A, B int }

func (v two) EncodeMsgpack(e *msgpack.Encoder) error  { return e.EncodeMulti(v.A, v.B) }
func (v *two) DecodeMsgpack(d *msgpack.Decoder) error { return d.DecodeMulti(&v.A, &v.B) }

// none writes nothing.
type none struct{ A int }

func (none) EncodeMsgpack(*msgpack.Encoder) error  { return nil }
func (*none) DecodeMsgpack(*msgpack.Decoder) error { return nil }

// forgetful reads something else than it wrote.
type forgetful struct{ A int }

func (f forgetful) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(f.A)), nil }
func (f *forgetful) UnmarshalText([]byte) error  { return nil }

// stubborn cannot be read.
type stubborn struct{ A int }

func (stubborn) MarshalBinary() ([]byte, error) { return []byte("x"), nil }
func (*stubborn) UnmarshalBinary([]byte) error  { return errors.New("no") }

// lazy leaves the rest of what it wrote.
type lazy struct{ A int }

func (l lazy) EncodeMsgpack(e *msgpack.Encoder) error  { return e.Encode([]int{1, 2}) }
func (l *lazy) DecodeMsgpack(d *msgpack.Decoder) error { _, err := d.DecodeArrayLen(); return err }

func TestMethodsThatDoNotFitAreRefusedByValue(t *testing.T) {
	for name, err := range map[string]error{
		"two values":           appendError(two{1, 2}),
		"two values inside":    appendError([]two{{1, 2}}),
		"two values in a map":  appendError(map[string]any{"a": two{1, 2}}),
		"nothing":              appendError(none{1}),
		"nothing inside":       appendError(struct{ N none }{}),
		"another value":        appendError(forgetful{1}),
		"another value inside": appendError([]forgetful{{1}}),
		"unreadable":           appendError(stubborn{1}),
		"half read":            appendError(lazy{1}),
		"half read, inside":    appendError([]lazy{{1}, {2}}),
	} {
		if !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got %v, want invalid", name, err)
		}
	}
}

// appendError returns how AppendValue ends.
func appendError[T any](v T) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panicked: %v", cause)
		}
	}()
	_, err = resources.AppendValue(nil, v)
	return err
}
