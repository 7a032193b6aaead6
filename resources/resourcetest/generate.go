package resourcetest

import (
	"math/rand/v2"
	"reflect"
	"time"
)

// generate draws a value of a type. Values are small and repeat often, so that
// commands meet each other's keys; now and then comes an extreme one.
func generate(r *rand.Rand, t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	if t == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(r.Int64N(4), r.Int64N(2)).In(time.FixedZone("somewhere", 3600*r.IntN(3)))))
		return v
	}
	switch t.Kind() {
	case reflect.Interface:
		if inside := anything(r, depth); inside != nil {
			v.Set(reflect.ValueOf(inside))
		}
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(integer(r, t.Bits()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(uint64(r.IntN(8)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(float64(r.IntN(100)) / 4)
	case reflect.String:
		v.SetString(word(r))
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(word(r)))
			break
		}
		for range r.IntN(4) {
			v.Set(reflect.Append(v, element(r, t.Elem(), depth)))
		}
	case reflect.Array:
		for i := range t.Len() {
			v.Index(i).Set(element(r, t.Elem(), depth))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		for range r.IntN(6) {
			v.SetMapIndex(element(r, t.Key(), depth), element(r, t.Elem(), depth))
		}
	case reflect.Pointer:
		if depth < depthMax && r.IntN(4) > 0 {
			v.Set(reflect.New(t.Elem()))
			v.Elem().Set(generate(r, t.Elem(), depth+1))
		}
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() {
				v.Field(i).Set(generate(r, t.Field(i).Type, depth+1))
			}
		}
	}
	return v
}

// anything draws what people put into an interface.
func anything(r *rand.Rand, depth int) any {
	inside := []reflect.Type{
		reflect.TypeFor[int](), reflect.TypeFor[uint16](), reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[bool](),
		reflect.TypeFor[string](), reflect.TypeFor[[]byte](), reflect.TypeFor[time.Time](), reflect.TypeFor[[]any](), reflect.TypeFor[map[string]any](),
	}
	n := r.IntN(len(inside) + 1)
	if n == len(inside) || depth >= depthMax {
		return nil
	}
	return generate(r, inside[n], depth+1).Interface()
}

// depthMax bounds types that contain themselves.
const depthMax = 6

func element(r *rand.Rand, t reflect.Type, depth int) reflect.Value {
	if depth >= depthMax {
		return reflect.Zero(t)
	}
	return generate(r, t, depth+1)
}

// integer is small in most cases, and sometimes the least or the greatest.
func integer(r *rand.Rand, bits int) int64 {
	switch r.IntN(20) {
	case 0:
		return -1 << (bits - 1)
	case 1:
		return 1<<(bits-1) - 1
	}
	return int64(r.IntN(12) - 2)
}

var words = []string{"", "a", "b", "ab", "hat", "\x00", "\xff\xff", "a\x00b", "Zürich"}

func word(r *rand.Rand) string {
	if r.IntN(30) == 0 {
		long := make([]byte, 1+r.IntN(600))
		for i := range long {
			long[i] = byte(r.IntN(256))
		}
		return string(long)
	}
	return words[r.IntN(len(words))]
}
