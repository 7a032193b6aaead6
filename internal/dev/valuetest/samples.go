package valuetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Types of the list. Their values are drawn field by field, so fields that are
// stored have names in upper case.
type (
	// Level is a number with a name.
	Level uint8
	// Word is a string with a name.
	Word string
	word string
	// Blob is bytes with a name.
	Blob []byte
	// Point can be the key of a map.
	Point struct{ X, Y int32 }
	// User is a plain struct.
	User struct {
		Name  string
		Age   int
		Admin bool
		Tags  []string
		Score float32
		Photo []byte
	}
	// Address is inside of Account.
	Address struct {
		Street string
		Zip    *uint32
	}
	// Account has structs inside.
	Account struct {
		User    User
		Home    Address
		Work    *Address
		Friends []User
		Limits  map[string]int16
		Grid    [2][2]int8
	}
	// Tagged has names of its own for its fields.
	Tagged struct {
		A string `msgpack:"alpha"`
		B int    `msgpack:"-"`
		C []int  `msgpack:" c , omitempty"`
		D *Word  `json:"delta"`
		E uint64 `msgpack:"e,unknown,key:value"`
	}
	// Sparse leaves away what is empty.
	Sparse struct {
		S  string         `msgpack:",omitempty"`
		N  int64          `msgpack:",omitempty"`
		F  float64        `msgpack:",omitempty"`
		B  bool           `msgpack:",omitempty"`
		P  *int           `msgpack:",omitempty"`
		L  []int          `msgpack:",omitempty"`
		M  map[string]int `msgpack:",omitempty"`
		T  time.Time      `msgpack:",omitempty"`
		U  User           `msgpack:",omitempty"`
		SA SparseAll      `msgpack:",omitempty"`
		A  [2]int         `msgpack:",omitempty"`
		Y  []byte         `msgpack:",omitempty"`
	}
	// SparseAll says so once.
	SparseAll struct {
		//lint:ignore U1000 the library reads its tag
		_msgpack struct{} `msgpack:",omitempty"`
		S        string
		N        uint16
		L        []string
	}
	// Listed is written as a list.
	Listed struct {
		//lint:ignore U1000 the library reads its tag
		_msgpack struct{} `msgpack:",as_array"`
		A        string
		B        *int `msgpack:",omitempty"`
		C        map[string]Point
	}
	// Aliased has fields with former names.
	Aliased struct {
		A string `msgpack:"a,alias:former"`
		B string `msgpack:"b"`
	}
	// Base is embedded.
	Base struct {
		ID   string
		Seen []int
	}
	base struct{ ID string }
	// Embedding takes the fields of Base in.
	Embedding struct {
		Base
		Name string
	}
	// Sheltering takes in the fields of a struct that nobody else can name.
	Sheltering struct {
		base
		Name string
	}
	// Shadowing has a field that Base has, too, before it.
	Shadowing struct {
		ID string
		Base
	}
	// ShadowingLate has it after it.
	ShadowingLate struct {
		Base
		ID string
	}
	// Inlining says what Embedding does.
	Inlining struct {
		Base `msgpack:",inline"`
		Name string
	}
	// NotInlining keeps Base in one piece.
	NotInlining struct {
		Base  `msgpack:",noinline"`
		*User `msgpack:"u,noinline"`
		Name  string
	}
	// Clashing has no methods of its embedded fields, because two are alike.
	Clashing struct {
		time.Time
		netip.Addr
		Name string
	}
	// Mixed has anything inside.
	Mixed struct {
		Any  any
		List []any
		Map  map[string]any
		Name string
	}
	// Dated has times at every place.
	Dated struct {
		At   time.Time
		Also *time.Time
		List []time.Time
		Map  map[string]time.Time
		Deep map[string][]struct{ T [1]time.Time }
		For  time.Duration
	}
	// Box is generic.
	Box[T any] struct {
		Value T
		More  []T
	}
	// Partly has a field that is not stored.
	Partly struct {
		Name string
		//lint:ignore U1000 that it is not stored is the point
		cached int
	}
	// List has itself inside, by pointer.
	List struct {
		Value int
		Next  *List
	}
	// Tree has itself inside, by slice.
	Tree struct {
		Name     Word
		Children []Tree
	}
	// Forest has itself inside, by map.
	Forest map[string]Forest
	// Nest is nothing but itself.
	Nest []Nest
	// Left and Right have each other inside.
	Left struct {
		N     int
		Right []Right
	}
	// Right is inside of Left.
	Right struct {
		S    string
		Left *Left
	}
	// Services has types with methods of the standard library.
	Services struct {
		Addr  netip.Addr
		Route netip.Prefix
		URL   url.URL
		Home  *url.URL
		Big   big.Int
		Sum   *big.Int
		IP    net.IP
		Match *regexp.Regexp
		Peers map[netip.AddrPort]netip.Addr
	}
	// Wrapper has the methods of the only field.
	Wrapper struct{ netip.Addr }
	// Locked has a mutex.
	Locked struct {
		sync.Mutex
		N int
	}
	// Moment has the methods of the time, which drop the name.
	Moment struct {
		time.Time
		Name string
	}
	// Inherited has the methods of Temperature.
	Inherited struct {
		Temperature
		Place string
	}
	// InheritedText has the methods of Color, by pointer.
	InheritedText struct {
		*Color
		Name string
	}
	// Ouroboros embeds itself.
	Ouroboros struct {
		*Ouroboros
		N int
	}
	// Endless is a pointer to itself.
	Endless *Endless
	int8x   = [2]int8
)

// Temperature encodes itself as a number.
type Temperature struct{ Degrees int32 }

// EncodeMsgpack writes the number.
func (t Temperature) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeInt(int64(t.Degrees)) }

// DecodeMsgpack reads the number.
func (t *Temperature) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	t.Degrees, err = d.DecodeInt32()
	return err
}

// Pair encodes itself as a list of two, by pointer.
type Pair struct {
	Key   string
	Value []int
}

// EncodeMsgpack writes both.
func (p *Pair) EncodeMsgpack(e *msgpack.Encoder) error {
	if err := e.EncodeArrayLen(2); err != nil {
		return err
	}
	return e.EncodeMulti(p.Key, p.Value)
}

// DecodeMsgpack reads both.
func (p *Pair) DecodeMsgpack(d *msgpack.Decoder) error {
	if n, err := d.DecodeArrayLen(); err != nil || n != 2 {
		return fmt.Errorf("got %d elements, %w, want 2", n, err)
	}
	return d.DecodeMulti(&p.Key, &p.Value)
}

// Loud sets every flag of the encoder and leaves it there.
type Loud struct {
	Name string
	N    int64
	F    float64
}

// EncodeMsgpack writes a list of the fields.
func (l Loud) EncodeMsgpack(e *msgpack.Encoder) error {
	e.SetSortMapKeys(true)
	e.UseArrayEncodedStructs(true)
	e.UseCompactInts(false)
	e.UseCompactFloats(true)
	e.SetOmitEmpty(true)
	type plain Loud
	return e.Encode(plain(l))
}

// DecodeMsgpack reads what EncodeMsgpack wrote.
func (l *Loud) DecodeMsgpack(d *msgpack.Decoder) error {
	type plain Loud
	return d.Decode((*plain)(l))
}

// Renaming has the encoder look at another tag, and leaves it so.
type Renaming struct {
	Name string `json:"name"`
}

// EncodeMsgpack writes the field by its JSON name.
func (n Renaming) EncodeMsgpack(e *msgpack.Encoder) error {
	e.SetCustomStructTag("json")
	type plain Renaming
	return e.Encode(plain(n))
}

// DecodeMsgpack reads the field by its JSON name.
func (n *Renaming) DecodeMsgpack(d *msgpack.Decoder) error {
	d.SetCustomStructTag("json")
	type plain Renaming
	return d.Decode((*plain)(n))
}

// Chatty encodes itself by another encoder.
type Chatty struct {
	Name  string
	Words map[string]int
}

// MarshalMsgpack writes the fields, the map in any order.
func (c Chatty) MarshalMsgpack() ([]byte, error) {
	type plain Chatty
	return msgpack.Marshal(plain(c))
}

// UnmarshalMsgpack reads the fields.
func (c *Chatty) UnmarshalMsgpack(b []byte) error {
	type plain Chatty
	return msgpack.Unmarshal(b, (*plain)(c))
}

// Packed encodes itself as bytes.
type Packed struct{ A, B uint16 }

// MarshalBinary packs the numbers.
func (p Packed) MarshalBinary() ([]byte, error) {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, p.A), p.B), nil
}

// UnmarshalBinary unpacks the numbers.
func (p *Packed) UnmarshalBinary(b []byte) error {
	if len(b) != 4 {
		return errors.New("four bytes are wanted")
	}
	p.A, p.B = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return nil
}

// Color encodes itself as text.
type Color struct{ R, G, B uint8 }

// MarshalText writes the color as the web does.
func (c Color) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "#%02x%02x%02x", c.R, c.G, c.B), nil
}

// UnmarshalText reads what MarshalText wrote.
func (c *Color) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "#%02x%02x%02x", &c.R, &c.G, &c.B)
	return err
}

// Gadgets has a field of each kind of methods.
type Gadgets struct {
	T  Temperature
	TP *Temperature
	P  Pair
	PP *Pair
	C  Chatty
	K  Packed
	R  Color
	L  []Pair
	M  map[string]Color
	MP map[string]*Packed
	A  [2]Pair
}

// Own has methods of its own, which keep what those of the time would drop.
type Own struct {
	time.Time
	Name string
}

// MarshalText writes both fields.
func (o Own) MarshalText() ([]byte, error) {
	return []byte(o.Time.UTC().Format(time.RFC3339Nano) + " " + o.Name), nil
}

// UnmarshalText reads both fields.
func (o *Own) UnmarshalText(b []byte) (err error) {
	at, name, _ := strings.Cut(string(b), " ")
	o.Name = name
	o.Time, err = time.Parse(time.RFC3339Nano, at)
	return err
}

// MarshalBinary writes both fields.
func (o Own) MarshalBinary() ([]byte, error) { return o.MarshalText() }

// UnmarshalBinary reads both fields.
func (o *Own) UnmarshalBinary(b []byte) error { return o.UnmarshalText(b) }

// Optional says itself when it is empty.
type Optional struct {
	D Digits  `msgpack:",omitempty"`
	P *Digits `msgpack:",omitempty"`
}

// Digits is a number as text.
type Digits struct{ Text string }

// IsZero reports whether there is nothing.
func (d Digits) IsZero() bool { return d.Text == "" }

// MarshalText writes the text.
func (d Digits) MarshalText() ([]byte, error) { return []byte(d.Text), nil }

// UnmarshalText reads the text.
func (d *Digits) UnmarshalText(b []byte) error {
	d.Text = string(b)
	return nil
}

// HalfOwn writes both fields, and reads by the method of the time.
type HalfOwn struct {
	time.Time
	Name string
}

// MarshalBinary writes both fields.
func (h HalfOwn) MarshalBinary() ([]byte, error) { return []byte(h.Name), nil }

// Mute cannot be read.
type Mute struct{ A int }

// MarshalText writes nothing of use.
func (Mute) MarshalText() ([]byte, error) { return nil, nil }

// Deaf cannot be written.
type Deaf struct{ A int }

// UnmarshalBinary reads nothing of use.
func (*Deaf) UnmarshalBinary([]byte) error { return nil }

// Crossed is written by one kind of methods and read by another.
type Crossed struct{ A int }

// MarshalText writes nothing of use.
func (Crossed) MarshalText() ([]byte, error) { return nil, nil }

// UnmarshalText reads nothing of use.
func (*Crossed) UnmarshalText([]byte) error { return nil }

// UnmarshalBinary reads nothing of use.
func (*Crossed) UnmarshalBinary([]byte) error { return nil }

// TwoFaced has text for its value and bytes for its pointer.
type TwoFaced struct{ A int }

// MarshalText writes nothing of use.
func (TwoFaced) MarshalText() ([]byte, error) { return nil, nil }

// UnmarshalText reads nothing of use.
func (TwoFaced) UnmarshalText([]byte) error { return nil }

// MarshalBinary writes nothing of use.
func (*TwoFaced) MarshalBinary() ([]byte, error) { return nil, nil }

// UnmarshalBinary reads nothing of use.
func (*TwoFaced) UnmarshalBinary([]byte) error { return nil }
