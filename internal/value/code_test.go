package value_test

import (
	"bytes"
	"errors"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/value"
	"github.com/starlinghq/starling/protocol"
)

// mute cannot be written.
type mute struct{ Word string }

func (mute) MarshalText() ([]byte, error) { return nil, errors.New("mute") }
func (*mute) UnmarshalText([]byte) error  { return nil }

// [S] The code of a refusal is in the answer that all members keep. Which of two
// faults in a map is met first differs from one member to the next, so every fault
// has the same code.
func TestEveryFaultOfAValueHasOneCode(t *testing.T) {
	cyclic := map[string]any{}
	cyclic["itself"] = cyclic
	faults := map[string]any{
		"cyclic":    cyclic,
		"wide":      make([]struct{}, protocol.FrameBytesMax+1),
		"long":      strings.Repeat("x", protocol.FrameBytesMax),
		"a channel": make(chan int),
		"mute":      mute{},
		"big.Float": big.NewFloat(0.1),
	}
	refused := func(what string, v map[string]any) {
		t.Helper()
		if _, err := value.Append(nil, reflect.ValueOf(v)); !errors.Is(err, protocol.ErrInvalid) {
			t.Fatalf("%s: got %v, want %v", what, err, protocol.ErrInvalid)
		}
	}
	for name, fault := range faults {
		refused(name, map[string]any{"a": fault})
	}
	for range 100 {
		refused("two faults", map[string]any{"a": faults["mute"], "b": faults["long"]})
	}
}

// What a value would take in memory is no other fault than what else may be wrong
// with its bytes.
func TestEveryFaultOfBytesHasOneCode(t *testing.T) {
	const nils = 0xffff
	heavy := append([]byte{0xdc, nils >> 8, nils & 0xff}, bytes.Repeat([]byte{0xc0}, nils)...)
	_, err := value.Parse(heavy, reflect.TypeFor[[][1 << 12]int64]())
	if code, _ := protocol.CodeOf(err); code != protocol.ErrMalformed.Code || errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want %v", err, protocol.ErrMalformed)
	}
}
