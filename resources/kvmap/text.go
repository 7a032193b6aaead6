package kvmap

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/starlinghq/starling/internal/notation"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// tagUint is what tells an unsigned key from a signed one in exact JSON.
const tagUint = "$uint"

// String shows a key to people: a string as it is, quoted as in Go if something
// in it is not visible, if its ends could be overlooked or if it begins with a
// double quote; a number in decimal; bytes in base64; a malformed key as
// {"$raw":...}. Two keys of one kind never look alike.
func (k RawKey) String() string {
	switch k.Kind() {
	case KindString:
		return notation.Quote(string(k[1:]))
	case KindBytes:
		return base64.StdEncoding.EncodeToString(k[1:])
	}
	return string(k.appendJSON(nil, false))
}

// shown is String for a text that is to stay short.
func shown(stored []byte) string {
	const most = 40
	if len(stored) <= most {
		return RawKey(stored).String()
	}
	return RawKey(stored[:most]).String() + "..."
}

// MarshalJSON returns a string key as a JSON string, {"$str_b64":...} if it is
// not UTF-8, an integer key as a number, bytes as {"$b64":...}, and a malformed
// key as {"$raw":...} with all its bytes; each in base64.
func (k RawKey) MarshalJSON() ([]byte, error) { return k.appendJSON(nil, false), nil }

// AppendJSON appends the key as JSON from which [ParseRawKey] reads it back. It
// is that of MarshalJSON, but for unsigned keys: {"$uint":7}.
func (k RawKey) AppendJSON(dst []byte) []byte { return k.appendJSON(dst, true) }

func (k RawKey) appendJSON(dst []byte, exact bool) []byte {
	switch k.Kind() {
	case KindString:
		return notation.AppendText(dst, k[1:])
	case KindBytes:
		return notation.AppendBytes(dst, k[1:])
	case KindInt:
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(k[1:])^1<<63), 10)
	case KindUint:
		n := binary.BigEndian.Uint64(k[1:])
		if !exact {
			return strconv.AppendUint(dst, n, 10)
		}
		return append(strconv.AppendUint(append(dst, `{"`+tagUint+`":`...), n, 10), '}')
	}
	return notation.AppendRaw(dst, k)
}

// ParseRawKey reads a key that AppendJSON wrote. The error is for people.
func ParseRawKey(text []byte) (RawKey, error) {
	text = bytes.TrimSpace(text)
	name, content, tagged, err := notation.ParseTagged(text)
	switch {
	case err != nil:
		return nil, err
	case tagged:
		return parseTaggedKey(name, content)
	case len(text) > 0 && text[0] == '"':
		s, err := notation.ParseString(text)
		return AppendKey(nil, s), err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return nil, fmt.Errorf(`a key is a string, a whole number of 64 bits, {"%s":N}, or bytes as {"$b64":...}`, tagUint)
	}
	return AppendKey(nil, n), nil
}

func parseTaggedKey(name string, content []byte) (RawKey, error) {
	if name == tagUint {
		n, err := strconv.ParseUint(string(content), 10, 64)
		if err != nil {
			return nil, errors.New(tagUint + " takes a whole number from 0 to 18446744073709551615")
		}
		return AppendKey(nil, n), nil
	}
	b, err := notation.ParseBase64(content)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case name == "$b64":
		return AppendKey(nil, b), nil
	case name == "$str_b64":
		return AppendKey(nil, string(b)), nil
	case name == "$raw" && len(b) > 0:
		return b, nil
	}
	return nil, fmt.Errorf("no key is written with the field %q", name)
}

// Watch follows the keys of a map that begin with prefix, which comes from
// EncodePrefix or EncodeKey (nil: all), after index from, or from now on if it
// is 0. See [resources.WatchStream].
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

// Changes decodes what a stream yields. Only, if not nil, picks one key, as
// EncodeKey gives it, out of a watch on it as a prefix. The last pair has the error that ended the stream;
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
	if out.Key, err = ParseKey[K](c.Key); err != nil {
		return out, err
	}
	if c.Kind == protocol.ChangePut {
		out.Value, err = resources.ParseValue[V](c.Value)
	}
	return out, err
}
