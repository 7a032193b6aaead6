package kvmap

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// StringKey returns the key of a map[string]... handle.
func StringKey(s string) []byte { return []byte(s) }

// StringValue returns the value of a map[...]string handle.
func StringValue(s string) []byte {
	b, _ := resources.AppendValue(nil, s) // a string can be encoded
	return b
}

// KeyText shows a key: itself if it is printable text, otherwise in Go's quoted
// form. An integer key shows as its eight bytes, because keys do not say what
// they are.
func KeyText(key []byte) string {
	if utf8.Valid(key) && bytes.IndexFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return string(key)
	}
	return strconv.Quote(string(key))
}

// ValueText shows a value: a string as it is, anything else as JSON.
func ValueText(value []byte) string {
	decoded, err := decode(value)
	if s, ok := decoded.(string); ok && err == nil {
		return s
	}
	return string(ValueJSON(value))
}

// ValueJSON returns a value as JSON. Bytes are base64. A value that nobody here
// can decode is shown as the string of its bytes, quoted.
func ValueJSON(value []byte) json.RawMessage {
	decoded, err := decode(value)
	if err == nil {
		var out []byte
		if out, err = json.Marshal(decoded); err == nil {
			return out
		}
	}
	out, _ := json.Marshal(strconv.QuoteToASCII(string(value))) // a string can be encoded
	return out
}

// decode reads a msgpack value into what encoding/json can write.
func decode(value []byte) (out any, err error) {
	if err := protocol.CheckMsgpack(value); err != nil {
		return nil, err
	}
	// The decoder panics on a map whose key is a map or an array.
	defer func() {
		if cause := recover(); cause != nil {
			out, err = nil, fmt.Errorf("undecodable value: %v", cause)
		}
	}()
	r := bytes.NewReader(value)
	d := msgpack.NewDecoder(r)
	d.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return d.DecodeUntypedMap() })
	if out, err = d.DecodeInterface(); err != nil {
		return nil, err
	}
	if r.Len() > 0 {
		return nil, fmt.Errorf("%d bytes follow the value", r.Len())
	}
	return jsonable(out), nil
}

func jsonable(v any) any {
	switch v := v.(type) {
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, value := range v { // order does not matter: encoding/json sorts
			out[fmt.Sprint(key)] = jsonable(value)
		}
		return out
	case []any:
		for i := range v {
			v[i] = jsonable(v[i])
		}
	case float32:
		return jsonable(float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	}
	return v
}

// Watch follows the keys of a map that begin with prefix (nil: all), after
// index from, or from now on if it is 0. See [resources.WatchStream].
func Watch(ctx context.Context, c resources.Caller, name string, prefix []byte, from protocol.Index) (resources.WatchStream, error) {
	return c.Watch(ctx, protocol.Watch{Resource: name, Type: Type.Name(), Prefix: prefix, From: from})
}

// Change is one typed change of a map. Value is the zero value for a delete.
type Change[K resources.Key, V any] struct {
	Index  protocol.Index
	Kind   protocol.ChangeKind
	Key    K
	Value  V
	Ignore bool // no change: everything up to Index has been seen
}

// Changes decodes what a stream yields. Only, if not nil, picks one key out of
// a watch on it as a prefix. The last pair has the error that ended the stream;
// who leaves the loop earlier has to close it all the same.
func Changes[K resources.Key, V any](ctx context.Context, stream resources.WatchStream, only []byte) iter.Seq2[Change[K, V], error] {
	return func(yield func(Change[K, V], error) bool) {
		for {
			next, err := stream.Next(ctx)
			if err != nil {
				yield(Change[K, V]{}, err)
				return
			}
			if len(next.Changes) == 0 && !yield(Change[K, V]{Index: next.Index, Ignore: true}, nil) {
				return
			}
			for _, c := range next.Changes {
				if only != nil && !bytes.Equal(c.Key, only) {
					continue
				}
				change, err := typed[K, V](next.Index, c)
				if !yield(change, err) || err != nil {
					return
				}
			}
		}
	}
}

func typed[K resources.Key, V any](i protocol.Index, c protocol.Change) (Change[K, V], error) {
	out := Change[K, V]{Index: i, Kind: c.Kind}
	var err error
	if out.Key, err = resources.ParseKey[K](c.Key); err != nil {
		return out, err
	}
	if c.Kind == protocol.ChangePut {
		out.Value, err = resources.ParseValue[V](c.Value)
	}
	return out, err
}
