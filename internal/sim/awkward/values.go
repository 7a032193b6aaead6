package awkward

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Plain is what other people's values look like: it suffers first when an
// encoder remembers the value before.
type Plain struct {
	Name  string
	Count int
	On    bool
}

// Flags writes itself with settings that it leaves behind in its encoder, and
// reads itself likewise. Such a value has to stand alone.
type Flags struct {
	N    int64  `json:"n"`
	Text string `json:"t"`
}

// flagged is what Flags writes: without methods of its own.
type flagged Flags

// EncodeMsgpack writes an array under names of another tag, and leaves both
// settings, and more, as they are.
func (f Flags) EncodeMsgpack(e *msgpack.Encoder) error {
	unsettle(e)
	return e.Encode(flagged(f))
}

func unsettle(e *msgpack.Encoder) {
	e.UseArrayEncodedStructs(true)
	e.SetCustomStructTag("json")
	e.SetOmitEmpty(true)
	e.SetSortMapKeys(true)
	e.UseCompactFloats(true)
	e.UseCompactInts(false)
}

// DecodeMsgpack reads what EncodeMsgpack wrote, and leaves settings behind.
func (f *Flags) DecodeMsgpack(d *msgpack.Decoder) error {
	d.SetCustomStructTag("json")
	d.UseLooseInterfaceDecoding(true)
	return d.Decode((*flagged)(f))
}

// Careful is a part of other values. It writes itself as Flags does and sets
// everything back, unless it does not come so far.
type Careful struct {
	Low  int    `json:"l"`
	Text string `json:"t"`
}

type careful Careful

// errHalf is the error of a value that is encoded half.
var errHalf = errors.New("this value is never encoded whole")

// EncodeMsgpack writes the value, or stops in its middle.
func (c Careful) EncodeMsgpack(e *msgpack.Encoder) error {
	unsettle(e)
	switch c.Text {
	case panics:
		if err := e.EncodeString("half"); err != nil {
			return err
		}
		panic(errHalf)
	case fails:
		return errors.Join(e.EncodeString("half"), errHalf)
	}
	if err := e.Encode(careful(c)); err != nil {
		return err
	}
	e.UseArrayEncodedStructs(false)
	e.SetCustomStructTag("")
	e.SetOmitEmpty(false)
	e.SetSortMapKeys(false)
	e.UseCompactFloats(false)
	e.UseCompactInts(true)
	return nil
}

// DecodeMsgpack reads what EncodeMsgpack wrote.
func (c *Careful) DecodeMsgpack(d *msgpack.Decoder) error {
	d.SetCustomStructTag("json")
	defer d.SetCustomStructTag("")
	return d.Decode((*careful)(c))
}

// Texts that make a Careful stop in the middle of its encoding.
const (
	panics = "panics"
	fails  = "fails"
)

// Stops reports whether the record with a number stops in the middle of its
// encoding when it is to be stored: then the command has no effect.
func Stops(n int64) bool { return n%97 == 7 }

// interning writes strings by their number, which nobody else can read: it is
// refused, and must not be noticed by others.
type interning struct{ First, Second string }

// EncodeMsgpack has the encoder remember strings.
func (i interning) EncodeMsgpack(e *msgpack.Encoder) error {
	e.UseInternedStrings(true)
	return e.EncodeMulti(i.First, i.Second, i.First)
}

// DecodeMsgpack has the decoder remember strings.
func (i *interning) DecodeMsgpack(d *msgpack.Decoder) error {
	d.UseInternedStrings(true)
	return d.DecodeMulti(&i.First, &i.Second, &i.First)
}

// Own writes itself as one msgpack value, by another of the library's ways.
type Own struct{ N uint16 }

// MarshalMsgpack returns the number as two bytes.
func (o Own) MarshalMsgpack() ([]byte, error) {
	return msgpack.Marshal(binary.BigEndian.AppendUint16(nil, o.N))
}

// UnmarshalMsgpack reads what MarshalMsgpack wrote.
func (o *Own) UnmarshalMsgpack(src []byte) error {
	var b []byte
	if err := msgpack.Unmarshal(src, &b); err != nil {
		return err
	}
	if len(b) != 2 {
		return fmt.Errorf("%d bytes, want 2", len(b))
	}
	o.N = binary.BigEndian.Uint16(b)
	return nil
}

// Base is embedded in a Record.
type Base struct{ Level int8 }

// Record is a value with as much in it as fits that is hard to encode: maps,
// which have no order, values of no type, times, numbers at their ends, values
// that write themselves. The flags come last: in one value, too, they change how
// what follows is written.
type Record struct {
	Base
	N     int64
	Inner *Plain
	Map   map[string]int
	Deep  map[int16]map[string][]Plain
	Any   any
	At    time.Time
	Float []float64
	Bytes []byte
	Own   Own
	Part  Careful
	Last  Plain
}

// Make returns the record with a number. Equal numbers give equal records.
func Make(n int64) Record {
	r := Record{
		Base: Base{Level: int8(n)}, N: n, At: time.Unix(n*7919%1e9, n*104729%1e9).UTC(),
		Own: Own{N: uint16(n)}, Part: Careful{Low: int(n % 3), Text: text(n)}, Last: Plain{Name: text(n), Count: int(n)},
	}
	if n%2 == 0 {
		r.Inner = &Plain{Name: text(n + 1), Count: int(-n), On: n%4 == 0}
	}
	for k := range n % 4 {
		if r.Map == nil {
			r.Map = map[string]int{}
		}
		r.Map[text(n+k)] = int(n * k)
	}
	if n%3 == 0 {
		r.Deep = map[int16]map[string][]Plain{int16(n): {text(n): {{Name: text(n + 2)}}, "": nil}, -1: {"b": nil, "a": nil}}
	}
	switch n % 6 {
	case 1:
		r.Any = text(n)
	case 2:
		r.Any = map[string]any{"z": true, "a": nil, text(n): []any{0.5, text(n)}}
	case 3:
		r.Any = []any{math.Inf(-1), map[string]any{"b": "x", "a": "y"}}
	case 4:
		r.Any = true
	}
	if n%5 == 1 {
		r.Float, r.Bytes = []float64{math.Copysign(0, -1), math.MaxFloat64, float64(n)}, []byte{0, 0xff, byte(n)}
	}
	return r
}

// text is one of a few texts, so that they come again and again.
func text(n int64) string {
	words := [...]string{"first", "second", "third", "Zürich", "naïve\x00", strings.Repeat("long ", 8)}
	return words[uint64(n)%uint64(len(words))]
}

// Check reports how a record that was written and read back differs from the
// one with its number.
func (r Record) Check() error {
	want := Make(r.N)
	if !r.At.Equal(want.At) {
		return fmt.Errorf("record %d has the time %v, want %v", r.N, r.At, want.At)
	}
	r.At = want.At // in another zone
	if !reflect.DeepEqual(r, want) {
		return fmt.Errorf("record %d is %+v, want %+v", r.N, r, want)
	}
	return nil
}

// MakeFlags returns the flags with a number.
func MakeFlags(n int64) Flags { return Flags{N: n, Text: text(n)} }

// Check reports how flags that were written and read back differ from those with
// their number.
func (f Flags) Check() error {
	if want := MakeFlags(f.N); f != want {
		return fmt.Errorf("flags %d are %+v, want %+v", f.N, f, want)
	}
	return nil
}
