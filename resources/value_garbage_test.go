package resources_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// garbage writes whatever it holds, as if that were one msgpack value.
type garbage struct{ B []byte }

func (g garbage) MarshalMsgpack() ([]byte, error) { return g.B, nil }

func (g *garbage) UnmarshalMsgpack(src []byte) error {
	g.B = bytes.Clone(src)
	return nil
}

// TestWhatMethodsWriteMayBeAnything: a look at bytes that are not one whole value
// once had no end, or ended the process.
func TestWhatMethodsWriteMayBeAnything(t *testing.T) {
	for _, b := range [][]byte{{0x01, 0xc1}, {0x01, 0xa5, 'a'}, {0x01, 0xc7}, {0x01, 0xd4}, {0x01, 0x01}, {0xc1}, {}} {
		if _, err := resources.AppendValue(nil, garbage{b}); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("% x: got %v, want an invalid value", b, err)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		data, err := resources.AppendValue(nil, garbage{b})
		if err != nil {
			if !errors.Is(err, protocol.ErrInvalid) {
				t.Fatalf("% x: got %v, want an invalid value", b, err)
			}
			continue
		}
		if got, err := resources.ParseValue[garbage](data); err != nil || !bytes.Equal(got.B, data) {
			t.Fatalf("% x: got % x, %v", b, got.B, err)
		}
	}
}
