package value

import (
	"fmt"
	"reflect"
	"strings"
)

// layout is a struct as the library writes it: its fields with those of embedded
// structs that it takes in, in order.
type layout struct {
	list    []*field
	names   map[string]*field // by encoded name or alias; whole ones, too
	whole   []*field          // embedded structs, which are also read in one piece
	asArray bool
	hidden  int // fields that nobody outside of the package can set
	faults  []fault
}

// field is one field that is written.
type field struct {
	name      string // as it is written
	path      string // as Go says it, from the struct on
	index     []int
	typ       reflect.Type
	omitEmpty bool
	node      *node
}

// fault says what cannot be stored, and the way out.
type fault struct{ path, why string }

// tag is a field's tag as the library reads it.
type tag struct {
	name    string
	options map[string]string
}

func (t tag) has(option string) bool { _, ok := t.options[option]; return ok }

// parseTag reads a tag in the form that everybody uses. Quotes, brackets and
// backslashes, for which the library has rules of its own, are refused.
func parseTag(s string) (tag, string) {
	if strings.ContainsAny(s, `'\()`) {
		return tag{}, "its msgpack tag has a quote, a bracket or a backslash: write name,option,option"
	}
	t := tag{options: map[string]string{}}
	for i, part := range strings.Split(s, ",") {
		key, value, pair := strings.Cut(part, ":")
		key = strings.TrimSpace(key)
		switch {
		case pair:
			t.options[key] = strings.TrimSpace(value)
		case i == 0:
			t.name = key
		default:
			t.options[key] = ""
		}
	}
	return t, ""
}

// layoutOf looks at a struct as the library does. Within are the structs that
// are being taken into.
func layoutOf(t reflect.Type, within ...reflect.Type) *layout {
	l := &layout{names: map[string]*field{}}
	var omitEmpty bool
	for i := range t.NumField() {
		f := t.Field(i)
		tag, fault := parseTag(f.Tag.Get("msgpack"))
		if fault != "" {
			l.refuse(f.Name, "%s", fault)
			continue
		}
		if tag.name == "-" {
			continue
		}
		if f.Name == "_msgpack" {
			l.asArray = tag.has("as_array") || tag.has("asArray")
			omitEmpty = omitEmpty || tag.has("omitempty")
			continue
		}
		if !f.IsExported() && !f.Anonymous {
			if f.Name != "_" {
				l.hidden++
			}
			continue
		}
		if tag.has("intern") {
			l.refuse(f.Name, "the tag intern makes one part of a value depend on another, and nobody else can read it: leave the option away")
			continue
		}
		fd := &field{name: tag.name, path: f.Name, index: f.Index, typ: f.Type, omitEmpty: omitEmpty || tag.has("omitempty")}
		if fd.name == "" {
			fd.name = f.Name
		}
		if f.Anonymous && !tag.has("noinline") && l.embed(fd, tag.has("inline"), append(within, t)) {
			continue
		}
		if !f.IsExported() {
			l.refuse(f.Name, "nobody outside of its package can set an embedded field with a name in lower case: give it a name of its own, or the tag `msgpack:\"-\"`")
			continue
		}
		l.add(fd)
		if alias, ok := tag.options["alias"]; ok {
			if other := l.names[alias]; other != nil && other != fd {
				l.refuse(f.Name, "its alias %q is the name of another field: one of them would not come back", alias)
			}
			l.names[alias] = fd
		}
	}
	return l
}

// named returns the field of an encoded name, or nil. It is most likely the one
// with the same number.
func (l *layout) named(name []byte, number int) *field {
	if number < len(l.list) && l.list[number].name == string(name) {
		return l.list[number]
	}
	return l.names[string(name)]
}

// add takes a field up.
func (l *layout) add(fd *field) {
	if other := l.names[fd.name]; other != nil && other.index != nil {
		l.refuse(fd.path, "it is written as %q like the field %s, and one of them would not come back: rename one by a tag, or leave it away with `msgpack:\"-\"`",
			fd.name, other.path)
	}
	l.names[fd.name] = fd
	l.list = append(l.list, fd)
}

// embed takes the fields of an embedded struct up if the library does, and
// reports whether that is so.
func (l *layout) embed(fd *field, demanded bool, within []reflect.Type) bool {
	t := fd.typ
	pointer := t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
	if pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || encodesItself(t) || t == timeType {
		if demanded {
			l.refuse(fd.path, "only a struct without methods that encode it can be inlined: leave the option inline away")
		}
		return demanded
	}
	for _, outer := range within {
		if outer == t {
			l.refuse(fd.path, "%s embeds itself, which the encoder would follow for ever: give the field a name and the tag option noinline", t)
			return true
		}
	}
	inner := layoutOf(t, within...)
	for _, f := range inner.list {
		if l.names[f.name] == nil {
			continue
		}
		if demanded {
			l.refuse(fd.path+"."+f.path, "another field is written as %q, too, and this one would not come back: rename one by a tag", f.name)
		}
		if !demanded {
			return false // the library leaves the struct in one piece
		}
	}
	if pointer {
		l.refuse(fd.path, "an embedded pointer that is nil would come back as one to zeros: embed the struct, give the field a name, or use the tag option noinline")
		return true
	}
	l.inline(fd, inner)
	return true
}

// inline takes the fields of an embedded struct up.
func (l *layout) inline(fd *field, inner *layout) {
	for _, f := range inner.faults {
		l.faults = append(l.faults, fault{joinPath(fd.path, f.path), f.why})
	}
	if len(inner.list) == 0 && inner.hidden > 0 {
		l.refuse(fd.path, "%s", hiddenFault)
	}
	for _, f := range inner.list {
		f.path = fd.path + "." + f.path
		f.index = append(append([]int{}, fd.index...), f.index...)
		l.add(f)
	}
	if l.names[fd.name] != nil {
		l.refuse(fd.path, "another field is written as %q, the name of the embedded struct, and would not come back: rename it by a tag", fd.name)
	}
	whole := &field{name: fd.name, path: fd.path, typ: fd.typ}
	l.names[fd.name], l.whole = whole, append(l.whole, whole)
	l.hidden += inner.hidden
}

const hiddenFault = "it has no field that could be stored, because all have names in lower case: leave it away with the tag `msgpack:\"-\"`, or give its type methods that encode it"

func (l *layout) refuse(path, format string, args ...any) {
	l.faults = append(l.faults, fault{path, fmt.Sprintf(format, args...)})
}

func joinPath(a, b string) string {
	if b == "" || b[0] == '[' {
		return a + b
	}
	return a + "." + b
}
