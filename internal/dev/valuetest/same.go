package valuetest

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"strings"
	"time"
)

// Same returns what came back as something else than was written. Of a struct it
// looks at the fields that are stored. Nil and empty slices and maps are the
// same, times are that are equal, and a number that is not one is itself. What
// was in an interface has come back in its plain form; see resources.AppendValue.
func Same(wrote, read reflect.Value) error {
	if wrote.Type() != read.Type() {
		return fmt.Errorf("a %v came back as a %v", wrote.Type(), read.Type())
	}
	differs := fmt.Errorf("%v came back as %v", wrote, read)
	switch a := wrote.Interface().(type) {
	case time.Time:
		return check(a.Equal(read.Interface().(time.Time)) && read.Interface().(time.Time).Location() == time.UTC, differs)
	case *big.Int:
		b := read.Interface().(*big.Int)
		return check((a == nil) == (b == nil) && (a == nil || a.Cmp(b) == 0), differs)
	case big.Int:
		b := read.Interface().(big.Int)
		return check(a.Cmp(&b) == 0, differs)
	case interface{ String() string }:
		if hidden(wrote.Type()) { // a type with methods of the library
			b := read.Interface().(interface{ String() string })
			if wrote.Kind() == reflect.Pointer && (wrote.IsNil() || read.IsNil()) {
				return check(wrote.IsNil() == read.IsNil(), differs)
			}
			return check(a.String() == b.String(), differs)
		}
	}
	switch wrote.Kind() {
	case reflect.Float32, reflect.Float64:
		a, b := wrote.Float(), read.Float()
		return check(a == b || math.IsNaN(a) && math.IsNaN(b), differs)
	case reflect.Pointer:
		if wrote.IsNil() || read.IsNil() {
			return check(wrote.IsNil() == read.IsNil(), differs)
		}
		return Same(wrote.Elem(), read.Elem())
	case reflect.Slice, reflect.Array:
		if wrote.Len() != read.Len() {
			return differs
		}
		for i := range wrote.Len() {
			if err := Same(wrote.Index(i), read.Index(i)); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case reflect.Map:
		return sameMap(wrote, read, differs)
	case reflect.Struct:
		return sameFields(wrote, read)
	case reflect.Interface:
		if wrote.IsNil() || read.IsNil() {
			return check(read.IsNil() && plain(wrote) == nil, differs)
		}
		return samePlain(plain(wrote.Elem()), read.Interface())
	}
	return check(wrote.Equal(read), differs)
}

func check(same bool, differs error) error {
	if same {
		return nil
	}
	return differs
}

// hidden reports whether values of a type, or what it points to, have nothing
// that could be compared but their text.
func hidden(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return strings.HasPrefix(t.PkgPath(), "net") || t.PkgPath() == "regexp"
}

func sameMap(wrote, read reflect.Value, differs error) error {
	if wrote.Len() != read.Len() {
		return differs
	}
	for entries := wrote.MapRange(); entries.Next(); {
		found := read.MapIndex(entries.Key())
		if !found.IsValid() {
			return fmt.Errorf("the key %v is lost", entries.Key())
		}
		if err := Same(entries.Value(), found); err != nil {
			return fmt.Errorf("[%v]: %w", entries.Key(), err)
		}
	}
	return nil
}

func sameFields(wrote, read reflect.Value) error {
	for i := range wrote.NumField() {
		f := wrote.Type().Field(i)
		if strings.HasPrefix(f.Tag.Get("msgpack"), "-") || !f.IsExported() && !(f.Anonymous && f.Type.Kind() == reflect.Struct) {
			continue
		}
		if !f.IsExported() {
			if err := sameFields(wrote.Field(i), read.Field(i)); err != nil {
				return err
			}
			continue
		}
		if err := Same(wrote.Field(i), read.Field(i)); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// plain returns the plain form of what is in an interface, as documented, for
// the types that randomAny draws.
func plain(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if t, ok := v.Interface().(time.Time); ok {
		return t.UTC()
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return plain(v.Elem())
	case reflect.Bool:
		return v.Bool()
	case reflect.String:
		return v.String()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if v.Uint() <= math.MaxInt64 {
			return int64(v.Uint())
		}
		return v.Uint()
	case reflect.Float32:
		return float32(v.Float())
	case reflect.Float64:
		return v.Float()
	case reflect.Slice, reflect.Array:
		return plainList(v)
	case reflect.Map:
		if v.IsNil() {
			return nil
		}
		m := map[string]any{}
		for _, key := range v.MapKeys() {
			m[key.String()] = plain(v.MapIndex(key))
		}
		return m
	}
	m := map[string]any{}
	for i := range v.NumField() {
		m[v.Type().Field(i).Name] = plain(v.Field(i))
	}
	return m
}

func plainList(v reflect.Value) any {
	if v.Kind() == reflect.Slice && v.IsNil() {
		return nil
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		return b
	}
	list := make([]any, v.Len())
	for i := range list {
		list[i] = plain(v.Index(i))
	}
	return list
}

// samePlain compares two values in plain form, by their Go types, too.
func samePlain(wrote, read any) error {
	differs := fmt.Errorf("%T(%v) came back as %T(%v)", wrote, wrote, read, read)
	switch a := wrote.(type) {
	case []any:
		b, ok := read.([]any)
		if !ok || len(a) != len(b) {
			return differs
		}
		for i := range a {
			if err := samePlain(a[i], b[i]); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return nil
	case map[string]any:
		b, ok := read.(map[string]any)
		if !ok || len(a) != len(b) {
			return differs
		}
		for key := range a {
			found, ok := b[key]
			if !ok {
				return fmt.Errorf("the key %q is lost", key)
			}
			if err := samePlain(a[key], found); err != nil {
				return fmt.Errorf("[%q]: %w", key, err)
			}
		}
		return nil
	case float32, float64, time.Time:
		if reflect.TypeOf(wrote) != reflect.TypeOf(read) {
			return differs
		}
		return Same(reflect.ValueOf(wrote), reflect.ValueOf(read))
	}
	return check(reflect.DeepEqual(wrote, read), differs)
}
