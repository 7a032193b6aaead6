package valuetest

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// depthMax bounds how deep random types and values are.
const depthMax = 4

// RandomType draws a type: of Go's own kinds, those of the list, and structs of
// them with tags. Whether its values can be stored is left open.
func RandomType(r *rand.Rand) reflect.Type { return randomType(r, 0) }

var leaves = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[int16](), reflect.TypeFor[int32](),
	reflect.TypeFor[int64](), reflect.TypeFor[uint](), reflect.TypeFor[uint8](), reflect.TypeFor[uint16](), reflect.TypeFor[uint32](),
	reflect.TypeFor[uint64](), reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](),
	reflect.TypeFor[time.Time](), reflect.TypeFor[any](), reflect.TypeFor[Level](), reflect.TypeFor[Word](), reflect.TypeFor[[]string](),
	reflect.TypeFor[map[string]any](), reflect.TypeFor[map[string]string](),
}

func randomType(r *rand.Rand, depth int) reflect.Type {
	if depth >= depthMax || r.IntN(3) == 0 {
		if r.IntN(4) == 0 {
			list := Types()
			return list[r.IntN(len(list))].Type
		}
		return leaves[r.IntN(len(leaves))]
	}
	inner := func() reflect.Type { return randomType(r, depth+1) }
	switch r.IntN(6) {
	case 0:
		return reflect.PointerTo(inner())
	case 1:
		return reflect.SliceOf(inner())
	case 2:
		return reflect.ArrayOf(r.IntN(4), inner())
	case 3:
		if key := inner(); key.Comparable() {
			return reflect.MapOf(key, inner())
		}
		return reflect.MapOf(reflect.TypeFor[string](), inner())
	}
	return randomStruct(r, inner)
}

// randomStruct draws a struct with tags.
func randomStruct(r *rand.Rand, inner func() reflect.Type) reflect.Type {
	var fields []reflect.StructField
	if r.IntN(8) == 0 {
		fields = append(fields, reflect.StructField{Name: "_msgpack", PkgPath: "valuetest", Type: reflect.TypeFor[struct{}](), Tag: `msgpack:",as_array"`})
	}
	if r.IntN(3) == 0 {
		fields = append(fields, randomEmbedded(r))
	}
	for i := range r.IntN(6) {
		f := reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: inner()}
		switch r.IntN(13) {
		case 7:
			f.Tag = reflect.StructTag(fmt.Sprintf(`msgpack:"%s"`, []string{"ID", "X", "Base", "Point"}[r.IntN(4)]))
		case 0, 1, 2:
			f.Tag = `msgpack:",omitempty"`
		case 3:
			f.Tag = reflect.StructTag(fmt.Sprintf(`msgpack:"n%d,omitempty"`, i))
		case 4:
			f.Tag = reflect.StructTag(fmt.Sprintf(`msgpack:"n%d,alias:o%d"`, r.IntN(12), i))
		case 5:
			f.Tag = `msgpack:"-"`
		case 6:
			f.Name, f.PkgPath = fmt.Sprintf("f%d", i), "valuetest"
		}
		fields = append(fields, f)
	}
	if n := len(fields); n > 1 && r.IntN(2) == 0 {
		fields[0], fields[n-1] = fields[n-1], fields[0] // embedded ones may come last
	}
	return reflect.StructOf(fields)
}

// randomEmbedded draws an embedded struct, which reflect can only make without
// methods.
func randomEmbedded(r *rand.Rand) reflect.StructField {
	t := []reflect.Type{reflect.TypeFor[Base](), reflect.TypeFor[Point](), reflect.TypeFor[Embedding](), reflect.TypeFor[SparseAll]()}[r.IntN(4)]
	f := reflect.StructField{Name: t.Name(), Type: t, Anonymous: true}
	if r.IntN(5) == 0 {
		f.Type = reflect.PointerTo(t)
	}
	switch r.IntN(5) {
	case 0:
		f.Tag = `msgpack:",inline"`
	case 1:
		f.Tag = `msgpack:",noinline"`
	case 2:
		f.Tag = `msgpack:"X,omitempty"`
	}
	return f
}

// Random draws a value of a type; see [Types] for what it can be.
func Random(r *rand.Rand, t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	random(r, v, 0)
	return v
}

func random(r *rand.Rand, v reflect.Value, depth int) {
	if sample, ok := sampleOf(r, v.Type()); ok {
		v.Set(reflect.ValueOf(sample))
		return
	}
	count := r.IntN(4)
	if depth > depthMax {
		count = 0
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(randomBits(r)))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(randomBits(r))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(randomFloat(r))
	case reflect.String:
		v.SetString(randomString(r))
	case reflect.Pointer:
		if depth <= depthMax && r.IntN(4) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			random(r, v.Elem(), depth+1)
		}
	case reflect.Slice:
		if r.IntN(4) > 0 {
			v.Set(reflect.MakeSlice(v.Type(), count, count))
		}
		randomElements(r, v, depth)
	case reflect.Array:
		randomElements(r, v, depth)
	case reflect.Map:
		if r.IntN(4) == 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range count {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			random(r, key, depth+1)
			random(r, elem, depth+1)
			if key.Comparable() { // what is in an interface may not be
				v.SetMapIndex(key, elem)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if v.Field(i).CanSet() || f.Anonymous && f.Type.Kind() == reflect.Struct {
				random(r, v.Field(i), depth+1)
			}
		}
	case reflect.Interface:
		if plain := randomAny(r, depth); plain != nil && v.NumMethod() == 0 {
			v.Set(reflect.ValueOf(plain))
		}
	}
}

func randomElements(r *rand.Rand, v reflect.Value, depth int) {
	for i := range v.Len() {
		random(r, v.Index(i), depth+1)
	}
}

// randomBits is small in most cases, and sometimes at an edge.
func randomBits(r *rand.Rand) uint64 {
	switch r.IntN(3) {
	case 0:
		return uint64(1)<<r.IntN(64) - uint64(r.IntN(3))
	case 1:
		return -(uint64(1)<<r.IntN(64) - uint64(r.IntN(3)))
	}
	return uint64(r.IntN(100))
}

func randomFloat(r *rand.Rand) float64 {
	special := []float64{0, math.Copysign(0, -1), 1, -3, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32, math.SmallestNonzeroFloat32}
	if r.IntN(2) == 0 {
		return special[r.IntN(len(special))]
	}
	return r.NormFloat64()
}

func randomString(r *rand.Rand) string {
	words := []string{"", "a", "abc", "abc", "name", "\x00", "\xff\xfe", "Zürich", "a\nb", "a longer one, of more than thirty-one bytes"}
	if r.IntN(40) == 0 {
		return string(make([]byte, 200+r.IntN(200)))
	}
	return words[r.IntN(len(words))]
}

func randomTime(r *rand.Rand) time.Time {
	at := time.Unix(r.Int64N(1<<33), r.Int64N(1e9))
	switch r.IntN(6) {
	case 0:
		return time.Time{}
	case 1:
		return time.Unix(r.Int64N(1<<32), 0).UTC()
	case 2:
		return time.Date(1+r.IntN(9000), 2, 3, 4, 5, 6, r.IntN(1e9), time.UTC)
	case 3:
		return at.In(time.FixedZone("somewhere", 3600*r.IntN(10)))
	}
	return at
}

// randomAny draws what people put into an interface.
func randomAny(r *rand.Rand, depth int) any {
	if depth < depthMax {
		switch r.IntN(9) {
		case 0:
			return []any{randomAny(r, depth+1), randomAny(r, depth+1)}
		case 1:
			return map[string]any{randomString(r): randomAny(r, depth+1), "k": randomAny(r, depth+1)}
		case 2:
			kinds := []reflect.Type{
				reflect.TypeFor[[]int16](), reflect.TypeFor[[]string](), reflect.TypeFor[map[string]int](), reflect.TypeFor[map[Word]bool](),
				reflect.TypeFor[[2]uint](), reflect.TypeFor[[3]byte](), reflect.TypeFor[*int](), reflect.TypeFor[Point](), reflect.TypeFor[*Account](),
				reflect.TypeFor[User](), reflect.TypeFor[Blob](), reflect.TypeFor[Dated](), reflect.TypeFor[Mixed](), reflect.TypeFor[*time.Time](),
			}
			return Random(r, kinds[r.IntN(len(kinds))]).Interface()
		}
	}
	switch r.IntN(4) {
	case 0:
		return nil
	case 1:
		return randomTime(r)
	}
	return Random(r, leaves[r.IntN(15)]).Interface()
}

// sampleOf draws a value of a type whose fields cannot be drawn.
func sampleOf(r *rand.Rand, t reflect.Type) (any, bool) {
	addr := netip.AddrFrom4([4]byte{10, byte(r.IntN(256)), 0, byte(r.IntN(4))})
	if r.IntN(3) == 0 {
		addr = netip.MustParseAddr("2001:db8::1%eth0")
	}
	number := new(big.Int).Lsh(big.NewInt(r.Int64()-1<<62), uint(r.IntN(100)))
	page := &url.URL{Scheme: "https", Host: "example.org", Path: "/" + []string{"a", "b c", "ü"}[r.IntN(3)], RawQuery: "q=1"}
	switch t {
	case reflect.TypeFor[time.Time]():
		return randomTime(r), true
	case reflect.TypeFor[netip.Addr]():
		return addr, true
	case reflect.TypeFor[netip.Prefix]():
		return netip.PrefixFrom(addr.WithZone(""), r.IntN(32)), true
	case reflect.TypeFor[netip.AddrPort]():
		return netip.AddrPortFrom(addr, uint16(r.IntN(1<<16))), true
	case reflect.TypeFor[big.Int]():
		return *number, true
	case reflect.TypeFor[url.URL]():
		return *page, true
	case reflect.TypeFor[regexp.Regexp]():
		return *regexp.MustCompile("a+"), true
	case reflect.TypeFor[net.IP]():
		return net.IP(addr.AsSlice()), true
	case reflect.TypeFor[msgpack.RawMessage]():
		return msgpack.RawMessage([][]byte{{0x07}, {0x82, 0xa1, 'a', 1, 0xa1, 'b', 0x90}}[r.IntN(2)]), true
	}
	return nil, false
}
