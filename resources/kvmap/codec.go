package kvmap

import (
	"encoding/binary"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// The requests and answers encode themselves ([resources.RawCodec]), because the map is on the hot
// path: numbers as varints, bytes behind their length. Decoded bytes alias the
// input; the state copies what it keeps.

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// input reads what was appended. After the first fault it yields zeros.
type input struct {
	src    []byte
	failed bool
}

func (in *input) uint() uint64 {
	v, n := binary.Uvarint(in.src)
	if n <= 0 {
		in.failed, in.src = true, nil
		return 0
	}
	in.src = in.src[n:]
	return v
}

func (in *input) bytes() []byte {
	n := in.uint()
	if n > uint64(len(in.src)) {
		in.failed, in.src = true, nil
		return nil
	}
	b := in.src[:n:n]
	in.src = in.src[n:]
	return b
}

// byte takes one byte off the front.
func (in *input) byte() byte {
	if len(in.src) == 0 {
		in.failed = true
		return 0
	}
	b := in.src[0]
	in.src = in.src[1:]
	return b
}

func (in *input) end() error {
	if in.failed || len(in.src) > 0 {
		return protocol.ErrMalformed.With("malformed request to a map")
	}
	return nil
}

// AppendRaw appends the request's encoding.
func (r PutRequest) AppendRaw(dst []byte) ([]byte, error) {
	dst = slices.Grow(dst, 1+3*binary.MaxVarintLen64+len(r.Key)+len(r.Value))
	dst = append(dst, byte(r.Condition))
	dst = binary.AppendUvarint(dst, uint64(r.Version))
	return appendBytes(appendBytes(dst, r.Key), r.Value), nil
}

// ParseRaw reads what AppendRaw wrote, or ErrMalformed.
func (PutRequest) ParseRaw(src []byte) (PutRequest, error) {
	var r PutRequest
	in := input{src: src}
	r.Condition = Condition(in.byte())
	r.Version = protocol.Index(in.uint())
	r.Key, r.Value = in.bytes(), in.bytes()
	return r, in.end()
}

// AppendRaw appends the request's encoding.
func (r DeleteRequest) AppendRaw(dst []byte) ([]byte, error) {
	dst = append(dst, byte(r.Condition))
	dst = binary.AppendUvarint(dst, uint64(r.Version))
	return appendBytes(dst, r.Key), nil
}

// ParseRaw reads what AppendRaw wrote, or ErrMalformed.
func (DeleteRequest) ParseRaw(src []byte) (DeleteRequest, error) {
	var r DeleteRequest
	in := input{src: src}
	r.Condition = Condition(in.byte())
	r.Version = protocol.Index(in.uint())
	r.Key = in.bytes()
	return r, in.end()
}

// AppendRaw appends the encoding of the pairs.
func (p Pairs) AppendRaw(dst []byte) ([]byte, error) {
	for _, pair := range p {
		dst = appendBytes(appendBytes(dst, pair.Key), pair.Value)
	}
	return dst, nil
}

// ParseRaw reads what AppendRaw wrote, or ErrMalformed.
func (Pairs) ParseRaw(src []byte) (Pairs, error) {
	var p Pairs
	in := input{src: src}
	for len(in.src) > 0 {
		p = append(p, Pair{Key: in.bytes(), Value: in.bytes()})
	}
	return p, in.end()
}

// AppendRaw appends the key.
func (k KeyRequest) AppendRaw(dst []byte) ([]byte, error) { return append(dst, k...), nil }

// ParseRaw takes any bytes.
func (KeyRequest) ParseRaw(src []byte) (KeyRequest, error) { return src, nil }

// AppendRaw appends the item's encoding.
func (i Item) AppendRaw(dst []byte) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(i.Version))
	return appendBytes(appendBytes(dst, i.Key), i.Value), nil
}

// ParseRaw reads what AppendRaw wrote, or ErrMalformed.
func (Item) ParseRaw(src []byte) (Item, error) {
	var i Item
	in := input{src: src}
	i.read(&in)
	return i, in.end()
}

func (i *Item) read(in *input) {
	i.Version = protocol.Index(in.uint())
	i.Key, i.Value = in.bytes(), in.bytes()
}

// AppendRaw appends the request's encoding.
func (r ScanRequest) AppendRaw(dst []byte) ([]byte, error) {
	dst = appendBytes(appendBytes(dst, r.From), r.To)
	dst = binary.AppendUvarint(dst, uint64(max(r.Limit, 0)))
	if r.KeysOnly {
		return append(dst, 1), nil
	}
	return append(dst, 0), nil
}

// ParseRaw reads what AppendRaw wrote, or ErrMalformed.
func (ScanRequest) ParseRaw(src []byte) (ScanRequest, error) {
	var r ScanRequest
	in := input{src: src}
	r.From, r.To = in.bytes(), in.bytes()
	r.Limit = int(min(in.uint(), PageItemsMax))
	r.KeysOnly = in.uint() != 0
	return r, in.end()
}

// AppendRaw appends the page's encoding.
func (p Page) AppendRaw(dst []byte) ([]byte, error) {
	dst = appendBytes(dst, p.Next)
	for _, item := range p.Items {
		dst, _ = item.AppendRaw(dst) // an item can always be encoded
	}
	return dst, nil
}

// ParseRaw reads what AppendRaw wrote, or ErrMalformed.
func (Page) ParseRaw(src []byte) (Page, error) {
	var p Page
	in := input{src: src}
	p.Next = in.bytes()
	for len(in.src) > 0 {
		var item Item
		item.read(&in)
		p.Items = append(p.Items, item)
	}
	return p, in.end()
}
