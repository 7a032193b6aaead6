package valuetest

import (
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// Type is a type with the name by which tests speak of it.
type Type struct {
	Name string
	Type reflect.Type
	// Refused is a piece of what the refusal says. Empty: values of the type
	// can be stored.
	Refused string
}

func of[T any](name string) Type { return Type{Name: name, Type: reflect.TypeFor[T]()} }

func refused[T any](name, why string) Type {
	return Type{Name: name, Type: reflect.TypeFor[T](), Refused: why}
}

// Types returns types as people write them, those that can be stored first.
func Types() []Type {
	return slices.Concat(stored(), refusedKinds(), refusedMethods(), refusedFields())
}

func stored() []Type {
	return []Type{
		of[bool]("bool"), of[int]("int"), of[int8]("int8"), of[int16]("int16"), of[int32]("int32"), of[int64]("int64"),
		of[uint]("uint"), of[uint8]("uint8"), of[uint16]("uint16"), of[uint32]("uint32"), of[uint64]("uint64"),
		of[float32]("float32"), of[float64]("float64"), of[string]("string"), of[[]byte]("bytes"), of[Level]("a named number"),
		of[Word]("a named string"), of[Blob]("named bytes"), of[time.Time]("time"), of[time.Duration]("duration"), of[struct{}]("nothing"),
		of[any]("any"), of[[]any]("list of any"), of[map[string]any]("map of any"),
		of[[]string]("strings"), of[[]Word]("named strings"), of[[][]int]("lists"), of[[3]float64]("array"), of[[4]byte]("byte array"),
		of[[4]Level]("array of named bytes"), of[[]Level]("list of named bytes"), of[[]*int]("list of pointers"), of[*int]("pointer"),
		of[*User]("pointer to struct"), of[*int8x]("pointer to a named array"),
		of[map[string]string]("map of strings"), of[map[string]bool]("map of bools"), of[map[Word][]int]("map by named string"),
		of[map[int]string]("map by number"), of[map[uint8]*User]("map of pointers"), of[map[bool]int]("map by bool"),
		of[map[[2]int16]string]("map by array"), of[map[[4]byte]string]("map by byte array"), of[map[Point]Word]("map by struct"),
		of[map[netip.Addr]int]("map by address"), of[map[string]map[int][]User]("maps in maps"), of[map[string][2]User]("map of arrays"),

		of[User]("struct"), of[Account]("nested struct"), of[Tagged]("tags"), of[Sparse]("omitempty"), of[SparseAll]("omitempty for all"),
		of[Listed]("as_array"), of[Aliased]("alias"), of[Embedding]("embedded"), of[Sheltering]("embedded, in lower case"),
		of[Shadowing]("embedded, shadowed"), of[Inlining]("inline"), of[NotInlining]("noinline"), of[Clashing]("methods of two embedded fields"),
		of[Mixed]("any in a struct"), of[Dated]("times"), of[Box[int]]("generic"), of[Box[Account]]("generic struct"), of[Partly]("fields in lower case"),
		of[List]("list in itself"), of[Tree]("tree"), of[Forest]("map in itself"), of[Left]("types in each other"), of[Nest]("slice of itself"),

		of[netip.Addr]("address"), of[netip.Prefix]("prefix"), of[netip.AddrPort]("address and port"), of[url.URL]("URL"), of[*url.URL]("pointer to URL"),
		of[big.Int]("big.Int"), of[*big.Int]("pointer to big.Int"), of[[]*big.Int]("list of big.Int"), of[map[string]*big.Int]("map of big.Int"),
		of[net.IP]("net.IP"), of[[]net.IP]("list of net.IP"), of[net.IPNet]("net.IPNet"), of[*regexp.Regexp]("regexp"), of[Services]("types of the library"),
		of[Wrapper]("one embedded field with methods"), of[msgpack.RawMessage]("RawMessage"), of[map[string]msgpack.RawMessage]("map of RawMessage"),

		of[Temperature]("EncodeMsgpack"), of[*Temperature]("pointer to EncodeMsgpack"), of[Pair]("EncodeMsgpack of a list"),
		of[map[string]*Pair]("map of EncodeMsgpack by pointer"), of[Loud]("flags left behind"), of[Renaming]("struct tag left behind"),
		of[Chatty]("MarshalMsgpack"), of[[]Chatty]("list of MarshalMsgpack"), of[Packed]("MarshalBinary"), of[*Packed]("pointer to MarshalBinary"),
		of[Color]("MarshalText"), of[[]Color]("list of MarshalText"), of[map[Color]int]("map by MarshalText"), of[Gadgets]("methods of each kind"),
		of[Own]("own methods over an embedded time"), of[Optional]("IsZero of its own, with methods"),
	}
}

func refusedKinds() []Type {
	return []Type{
		refused[chan int]("channel", "a chan cannot be stored"),
		refused[func()]("function", "a func cannot be stored"),
		refused[complex128]("complex", "a complex128 cannot be stored"),
		refused[uintptr]("uintptr", "a uintptr means nothing"),
		refused[error]("error", "an interface with methods"),
		refused[map[string]error]("map of errors", "[]: an interface with methods"),
		refused[struct{ A struct{ B []chan int } }]("channel inside", "the struct.A.B[]: a chan"),
		refused[map[string][4]Level]("array of named bytes in a map", "use [4]byte"),
		refused[**int]("pointer to pointer", "a pointer to a ptr that is nil"),
		refused[*[]int]("pointer to slice", "a pointer to a slice that is nil"),
		refused[*map[string]int]("pointer to map", "a pointer to a map that is nil"),
		refused[*any]("pointer to any", "a pointer to a interface that is nil"),
		refused[Endless]("pointer to itself", "a pointer to a ptr that is nil"),
		refused[map[float64]int]("map by float", "[key]: a NaN is equal to nothing"),
		refused[map[*int]int]("map by pointer", "[key]: a pointer that is read"),
		refused[map[any]int]("map by any", "[key]: what is in an interface"),
		refused[map[time.Time]int]("map by time", "[key]: a time comes back in UTC"),
		refused[map[struct{ A float32 }]int]("map by struct with float", "its field A: a NaN"),
		refused[map[struct{ A, b int }]int]("map by struct with hidden field", "would make keys the same"), //nolint:unused // that is the point
	}
}

func refusedMethods() []Type {
	return []Type{
		refused[Moment]("embedded time with others", "MarshalBinary is that of an embedded field"),
		refused[struct {
			time.Time
			Name string
		}]("embedded time with others, no name", "MarshalBinary is that of an embedded field"),
		refused[[]struct{ time.Time }]("embedded time alone", "the time zone of whoever writes"),
		refused[Inherited]("embedded EncodeMsgpack", "EncodeMsgpack is that of an embedded field"),
		refused[InheritedText]("embedded MarshalText", "MarshalText is that of an embedded field"),
		refused[HalfOwn]("one half of its own", "one of MarshalBinary and UnmarshalBinary is its own"),
		refused[Mute]("encoder only", "it has MarshalText without UnmarshalText"),
		refused[Deaf]("decoder only", "it has UnmarshalBinary without MarshalBinary"),
		refused[Crossed]("halves of two kinds", "written by MarshalText and read by UnmarshalBinary"),
		refused[[]*TwoFaced]("other methods by pointer", "its pointer has other methods"),
		refused[map[string]Pair]("pointer receiver in a map", "has a pointer receiver"),
		refused[big.Float]("big.Float", "its text leaves its precision out"),
		refused[*big.Float]("pointer to big.Float", "its text leaves its precision out"),
		refused[struct{ List []map[string]*big.Float }]("big.Float inside", "the struct.List[][]: a big.Float comes back"),
		refused[map[string][2]big.Int]("pointer receiver in an array in a map", "has a pointer receiver"),
	}
}

func refusedFields() []Type {
	return []Type{
		refused[Locked]("mutex", "Locked.Mutex: it has no field"),
		refused[struct{ mu int }]("lower case only", "it has no field"), //nolint:unused // that is the point
		refused[struct {
			A string `msgpack:"x"`
			B string `msgpack:"x"`
		}]("two fields of one name", "the struct.B: it is written as \"x\" like the field A"),
		refused[struct {
			A string
			B string `msgpack:"b,alias:A"`
		}]("alias of another field", "its alias \"A\" is the name of another field"),
		refused[ShadowingLate]("embedded, shadowed later", "written as \"ID\" like the field Base.ID"),
		refused[struct {
			ID   string
			Base `msgpack:",inline"`
		}]("inline, shadowed", "Base.ID: another field is written as \"ID\""),
		refused[struct {
			X     int `msgpack:"Point"`
			Point `msgpack:",inline"`
		}]("name of an embedded struct", "the name of the embedded struct"),
		refused[struct{ *Base }]("embedded pointer", "an embedded pointer that is nil"),
		refused[struct{ *base }]("embedded pointer, lower case", "an embedded pointer that is nil"),
		refused[struct {
			word
			N int
		}]("embedded string, lower case", "nobody outside of its package can set"),
		refused[Ouroboros]("embeds itself", "embeds itself"),
		refused[struct {
			S string `msgpack:",intern"`
		}]("intern", "the tag intern"),
		refused[struct {
			S int `msgpack:",intern"`
		}]("intern of a number", "the tag intern"),
		refused[struct {
			S int `msgpack:"'a,b'"`
		}]("quotes", "a quote"),
		refused[struct {
			O *Own `msgpack:",omitempty"`
		}]("omitempty by an embedded IsZero", "omitempty would ask an embedded field"),
		refused[struct {
			Big big.Int `msgpack:",omitempty"`
		}]("omitempty of hidden fields", "omitempty would leave it away"),
	}
}
