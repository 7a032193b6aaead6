package value

import (
	"errors"
	"fmt"
	"reflect"
	"time"
)

// same demands that what was read back is what was written. Nil and empty slices
// and maps are the same, and times that are equal. Parts with methods of their
// own are compared by their bytes, elsewhere.
func same(n *node, wrote, read reflect.Value) error {
	switch n.kind {
	case kindCodec:
		return nil
	case kindPointer:
		if wrote.IsNil() || read.IsNil() {
			return demand(wrote.IsNil() == read.IsNil(), wrote, read)
		}
		return same(n.elem, wrote.Elem(), read.Elem())
	case kindSlice, kindArray:
		if err := demand(wrote.Len() == read.Len(), wrote, read); err != nil {
			return err
		}
		for i := range wrote.Len() {
			if err := same(n.elem, wrote.Index(i), read.Index(i)); err != nil {
				return at(fmt.Sprintf("[%d]", i), err)
			}
		}
		return nil
	case kindMap:
		return sameMap(n, wrote, read)
	case kindStruct:
		for _, f := range n.layout.list {
			if err := same(f.node, wrote.FieldByIndex(f.index), read.FieldByIndex(f.index)); err != nil {
				return at("."+f.path, err)
			}
		}
		return nil
	case kindAny:
		if wrote.IsNil() {
			return demand(read.IsNil(), wrote, read)
		}
		return samePlain(planHidden(wrote.Elem().Type()).root, wrote.Elem(), read.Elem())
	}
	return sameLeaf(n, wrote, read)
}

// sameLeaf compares two values of a kind without others inside.
func sameLeaf(n *node, wrote, read reflect.Value) error {
	switch n.kind {
	case kindBytes:
		return demand(string(wrote.Bytes()) == string(read.Bytes()), wrote, read)
	case kindFloat:
		a, b := wrote.Float(), read.Float()
		return demand(a == b || a != a && b != b, wrote, read)
	case kindTime:
		return demand(wrote.Interface().(time.Time).Equal(read.Interface().(time.Time)), wrote, read)
	}
	return demand(wrote.Equal(read), wrote, read)
}

// sameMap compares two maps of one type. What was a key must be one that is
// found.
func sameMap(n *node, wrote, read reflect.Value) error {
	if err := demand(wrote.Len() == read.Len(), wrote, read); err != nil {
		return err
	}
	for entries := wrote.MapRange(); entries.Next(); { // an error may name any entry
		found := read.MapIndex(entries.Key())
		if !found.IsValid() {
			return fmt.Errorf("the key %v is lost", entries.Key())
		}
		if err := same(n.elem, entries.Value(), found); err != nil {
			return at(fmt.Sprintf("[%v]", entries.Key()), err)
		}
	}
	return nil
}

// demand says what came of a value if it is not the same.
func demand(same bool, wrote, read reflect.Value) error {
	if same {
		return nil
	}
	return fmt.Errorf("%s was read back as %s", show(wrote), show(read))
}

func show(v reflect.Value) string {
	if !v.IsValid() {
		return "nil"
	}
	const long = 60
	text := fmt.Sprintf("%v", v)
	if len(text) > long {
		text = text[:long] + "..."
	}
	return fmt.Sprintf("%s(%s)", v.Type(), text)
}

// samePlain compares what was in an interface, of whatever type, with the value
// that came back in its place: a plain one, in the form of [node.settle].
func samePlain(n *node, wrote, read reflect.Value) error {
	for read.IsValid() && read.Kind() == reflect.Interface {
		read = read.Elem()
	}
	switch n.kind {
	case kindCodec:
		return nil
	case kindPointer, kindAny:
		if wrote.IsNil() {
			return demand(!read.IsValid(), wrote, read)
		}
		if n.kind == kindAny {
			n = planHidden(wrote.Elem().Type()).root
			return samePlain(n, wrote.Elem(), read)
		}
		return samePlain(n.elem, wrote.Elem(), read)
	case kindSlice, kindMap, kindBytes:
		if wrote.IsNil() {
			return demand(!read.IsValid(), wrote, read)
		}
	}
	if !read.IsValid() {
		return demand(false, wrote, read)
	}
	switch n.kind {
	case kindSlice, kindArray:
		return samePlainList(n, wrote, read)
	case kindMap:
		return samePlainMap(n, wrote, read)
	case kindStruct:
		return samePlainStruct(n, wrote, read)
	}
	return demand(samePlainLeaf(n, wrote, read), wrote, read)
}

func samePlainLeaf(n *node, wrote, read reflect.Value) bool {
	switch n.kind {
	case kindBool:
		return read.Kind() == reflect.Bool && read.Bool() == wrote.Bool()
	case kindString:
		return read.Kind() == reflect.String && read.String() == wrote.String()
	case kindInt:
		return read.Kind() == reflect.Int64 && read.Int() == wrote.Int()
	case kindUint:
		if read.Kind() == reflect.Int64 {
			return read.Int() >= 0 && uint64(read.Int()) == wrote.Uint()
		}
		return read.Kind() == reflect.Uint64 && read.Uint() == wrote.Uint()
	case kindFloat:
		return read.Kind() == wrote.Kind() && sameLeaf(n, wrote, read) == nil
	case kindTime:
		t, ok := read.Interface().(time.Time)
		return ok && t.Equal(wrote.Interface().(time.Time))
	case kindBytes, kindByteArray:
		b, ok := read.Interface().([]byte)
		if !ok || len(b) != wrote.Len() {
			return false
		}
		for i := range b {
			if uint64(b[i]) != wrote.Index(i).Uint() {
				return false
			}
		}
		return true
	}
	return false
}

func samePlainList(n *node, wrote, read reflect.Value) error {
	list, ok := read.Interface().([]any)
	if !ok || len(list) != wrote.Len() {
		return demand(false, wrote, read)
	}
	for i := range list {
		if err := samePlain(n.elem, wrote.Index(i), reflect.ValueOf(list[i])); err != nil {
			return at(fmt.Sprintf("[%d]", i), err)
		}
	}
	return nil
}

func samePlainMap(n *node, wrote, read reflect.Value) error {
	m, ok := read.Interface().(map[string]any)
	if !ok || len(m) != wrote.Len() {
		return demand(false, wrote, read)
	}
	for entries := wrote.MapRange(); entries.Next(); { // an error may name any entry
		key := entries.Key().String()
		found, ok := m[key]
		if !ok {
			return fmt.Errorf("the key %q is lost", key)
		}
		if err := samePlain(n.elem, entries.Value(), reflect.ValueOf(found)); err != nil {
			return at(fmt.Sprintf("[%q]", key), err)
		}
	}
	return nil
}

// samePlainStruct compares a struct with the map, or list, of its fields.
func samePlainStruct(n *node, wrote, read reflect.Value) error {
	m, isMap := read.Interface().(map[string]any)
	list, isList := read.Interface().([]any)
	if !isMap && (!isList || len(list) != len(n.layout.list)) {
		return demand(false, wrote, read)
	}
	for i, f := range n.layout.list {
		inner := wrote.FieldByIndex(f.index)
		found, ok := m[f.name]
		if isList {
			found = list[i]
		} else if !ok {
			if !f.omitEmpty || !isEmpty(inner) {
				return at("."+f.path, errors.New("it is lost"))
			}
			continue
		}
		if err := samePlain(f.node, inner, reflect.ValueOf(found)); err != nil {
			return at("."+f.path, err)
		}
	}
	return nil
}

// isEmpty reports whether nothing is lost with a value that is left out.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	case reflect.Float32, reflect.Float64:
		return v.Float() == 0 // of either sign
	}
	return v.IsZero()
}
