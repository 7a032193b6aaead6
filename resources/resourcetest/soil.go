package resourcetest

import (
	"bytes"
	"errors"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/resources"
)

// soiled is a value whose methods do to the encoder and the decoder all that
// methods can do, by its kind, and leave them so.
type soiled struct {
	Kind int    `json:"k"`
	Word string `json:"w"`
}

const (
	soilFlags = iota
	soilTag
	soilIntern
	soilPanic
	soilError
	soilWriter
	soilKinds
)

// EncodeMsgpack leaves the encoder soiled.
func (s soiled) EncodeMsgpack(e *msgpack.Encoder) error {
	soilEncoder(s.Kind, e)
	switch s.Kind {
	case soilIntern:
		_ = e.EncodeString(words[3])
		return e.EncodeString("Zürich")
	case soilPanic:
		_ = e.EncodeArrayLen(7)
		panic("in the middle of an encoding")
	case soilError:
		_ = e.EncodeMapLen(7)
		return errors.New("in the middle of an encoding")
	}
	type plain soiled
	return e.Encode(plain(s))
}

// DecodeMsgpack leaves the decoder soiled.
func (s *soiled) DecodeMsgpack(d *msgpack.Decoder) error {
	soilDecoder(d)
	if code, err := d.PeekCode(); err != nil || code&0xf0 == 0x90 {
		panic("in the middle of a decoding")
	}
	type plain soiled
	return d.Decode((*plain)(s))
}

func soilEncoder(kind int, e *msgpack.Encoder) {
	if kind == soilFlags || kind == soilPanic {
		e.UseArrayEncodedStructs(true)
		e.UseCompactInts(false)
		e.UseCompactFloats(true)
		e.SetOmitEmpty(true)
		e.SetSortMapKeys(true)
	}
	if kind == soilTag || kind == soilError {
		e.SetCustomStructTag("json")
	}
	if kind == soilIntern {
		e.UseInternedStrings(true)
	}
	if kind == soilWriter {
		e.ResetWriter(new(bytes.Buffer))
	}
}

func soilDecoder(d *msgpack.Decoder) {
	d.SetCustomStructTag("json")
	d.UseLooseInterfaceDecoding(true)
	d.UseInternedStrings(true)
	d.DisallowUnknownFields(true)
	d.SetMapDecoder(func(*msgpack.Decoder) (any, error) { return nil, errors.New("the decoder of somebody else") })
}

// soil encodes and decodes values of one kind, which leaves its traces in
// whatever is used again: in the pools of this program, and in those of the
// library, for types that take encoders and decoders out of them.
func soil(kind int) {
	quietly(func() { _, _ = resources.AppendValue(nil, []any{soiled{Kind: kind}, words}) })
	quietly(func() { _, _ = resources.AppendValue(nil, soiled{Kind: kind, Word: "Zürich"}) }) // last: it succeeds
	quietly(func() { _, _ = resources.ParseValue[soiled]([]byte{0x81, 0xa1, 'w', 0xa1, 'a'}) })
	quietly(func() { _, _ = resources.ParseValue[[]soiled]([]byte{0x91, 0x90}) })
	e := msgpack.GetEncoder()
	quietly(func() {
		e.Reset(new(bytes.Buffer))
		soilEncoder(kind, e)
		_ = e.Encode(words)
	})
	msgpack.PutEncoder(e)
	d := msgpack.GetDecoder()
	d.Reset(bytes.NewReader(nil))
	soilDecoder(d)
	msgpack.PutDecoder(d)
}

// quietly goes on after a panic.
func quietly(do func()) {
	defer func() { _ = recover() }()
	do()
}

// soilAll does all kinds.
func soilAll() {
	for kind := range soilKinds {
		soil(kind)
	}
}

// amidSoil does something while others soil all that is used again.
func amidSoil(do func()) {
	soilAll()
	var others sync.WaitGroup
	others.Go(soilAll)
	do()
	others.Wait()
}
