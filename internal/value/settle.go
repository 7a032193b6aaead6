package value

import (
	"math"
	"reflect"
	"time"
)

// settle gives what was decoded the form that it has on every member: times are
// in UTC, not in the zone of the machine; whole numbers in interfaces are int64,
// or uint64 if they are too large for that, however wide their bytes are. It does
// not look into parts with methods of their own.
func (n *node) settle(v reflect.Value) {
	if !n.any && !n.times {
		return
	}
	switch n.kind {
	case kindTime:
		v.Set(reflect.ValueOf(v.Interface().(time.Time).UTC()))
	case kindAny:
		if !v.IsNil() {
			v.Set(reflect.ValueOf(plain(v.Interface())))
		}
	case kindPointer:
		if !v.IsNil() {
			n.elem.settle(v.Elem())
		}
	case kindSlice, kindArray:
		for i := range v.Len() {
			n.elem.settle(v.Index(i))
		}
	case kindMap:
		n.settleMap(v)
	case kindStruct:
		for _, f := range n.layout.list {
			f.node.settle(v.FieldByIndex(f.index))
		}
	}
}

// settleMap settles the values of a map. Keys have neither times nor interfaces.
func (n *node) settleMap(v reflect.Value) {
	if v.IsNil() {
		return
	}
	for _, key := range v.MapKeys() { // order does not matter: each entry alone
		inner := reflect.New(n.elem.typ).Elem()
		inner.Set(v.MapIndex(key))
		n.elem.settle(inner)
		v.SetMapIndex(key, inner)
	}
}

// plain settles what the library has made of a value without a type.
func plain(v any) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
	case time.Time:
		return v.UTC()
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for key := range v { // order does not matter: each entry alone
			v[key] = plain(v[key])
		}
	}
	return v
}
