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
// reads itself likewise.
type Flags struct {
	Low  int    `json:"l"`
	Text string `json:"t"`
}

// flagged is what Flags writes: without methods of its own.
type flagged Flags

// errSpoilt is the error of a value that is encoded half.
var errSpoilt = errors.New("this value is never encoded whole")

// EncodeMsgpack writes an array under names of another tag, and leaves both
// settings, and more, as they are.
func (f Flags) EncodeMsgpack(e *msgpack.Encoder) error {
	e.UseArrayEncodedStructs(true)
	e.SetCustomStructTag("json")
	e.SetOmitEmpty(true)
	e.SetSortMapKeys(true)
	e.UseCompactFloats(true)
	e.UseCompactInts(false)
	switch f.Text {
	case panics:
		if err := e.EncodeString("half"); err != nil {
			return err
		}
		panic(errSpoilt)
	case fails:
		return errors.Join(e.EncodeString("half"), errSpoilt)
	}
	return e.Encode(flagged(f))
}

// DecodeMsgpack reads what EncodeMsgpack wrote, and leaves settings behind.
func (f *Flags) DecodeMsgpack(d *msgpack.Decoder) error {
	d.SetCustomStructTag("json")
	d.UseLooseInterfaceDecoding(true)
	return d.Decode((*flagged)(f))
}

// Texts that make a Flags stop in the middle of its encoding.
const (
	panics = "panics"
	fails  = "fails"
)

// Stops reports whether the value with a number stops in the middle of its
// encoding: then a command that is to make it has no effect.
func Stops(n int64) bool { return n%97 == 7 }

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
	Flags Flags
}

// Make returns the record with a number. Equal numbers give equal records.
func Make(n int64) Record {
	r := Record{
		Base: Base{Level: int8(n)}, N: n, At: time.Unix(n*7919%1e9, n*104729%1e9).UTC(),
		Own: Own{N: uint16(n)}, Flags: Flags{Low: int(n % 3), Text: text(n)},
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

// Words are strings that are written once and then by their number.
type Words struct {
	N             int64
	First, Second string `msgpack:",intern"`
	Third         string `msgpack:"third,intern"`
}

// MakeWords returns the words with a number.
func MakeWords(n int64) Words {
	return Words{N: n, First: text(n), Second: text(n + n%2), Third: text(n)}
}

// Check reports how words that were written and read back differ from those
// with their number.
func (w Words) Check() error {
	if want := MakeWords(w.N); w != want {
		return fmt.Errorf("words %d are %+v, want %+v", w.N, w, want)
	}
	return nil
}
