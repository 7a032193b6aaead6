package resources

import (
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// keeping reads itself into itself.
type keeping struct{ read int }

func (k keeping) AppendRaw(dst []byte) ([]byte, error) { return dst, nil }

func (k *keeping) ParseRaw([]byte) (keeping, error) {
	k.read++
	return *k, nil
}

// plain reads itself, from bytes that are not empty.
type plain struct{ first byte }

func (p plain) AppendRaw(dst []byte) ([]byte, error) { return append(dst, p.first), nil }

func (p plain) ParseRaw(src []byte) (plain, error) {
	if p.first != 0 || len(src) == 0 {
		return p, errors.New("it is not")
	}
	return plain{src[0]}, nil
}

// [S] A codec that is made once must have nothing that one argument leaves to the next: members would
// read different ones.
func TestArgumentsAreReadApart(t *testing.T) {
	keeps, plains := parserOf[keeping](), parserOf[plain]()
	for range 3 {
		if k, err := keeps(nil); k.read != 1 || err != nil {
			t.Errorf("got %+v, %v, want what a new one reads", k, err)
		}
		if p, err := plains([]byte{7}); p.first != 7 || err != nil {
			t.Errorf("got %+v, %v, want 7", p, err)
		}
		if _, err := plains(nil); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("got %v, want %v", err, protocol.ErrMalformed)
		}
	}
	src := []byte{7}
	if n := testing.AllocsPerRun(100, func() { _, _ = plains(src) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if n, err := parserOf[uint64]()([]byte{5}); n != 5 || err != nil {
		t.Errorf("got %d, %v, want 5", n, err)
	}
}
