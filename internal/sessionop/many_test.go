package sessionop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// FuzzKeepAlives: any argument and any answer is refused or read as what can be
// written again.
func FuzzKeepAlives(f *testing.F) {
	f.Add(appendKeepAlives(nil, []Kept{{1, 1}, {1 << 40, protocol.SequenceMax}, {^protocol.SessionID(0), 0}}))
	f.Add(bytes.Repeat([]byte{1, 1}, protocol.SessionKeepAlivesMax+1))
	f.Add([]byte{0x80})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, src []byte) {
		list, err := ParseKeepAlives(src)
		if err != nil && !errors.Is(err, protocol.ErrMalformed) && !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("got %v", err)
		}
		if err == nil {
			again, err := ParseKeepAlives(appendKeepAlives(nil, list))
			if err != nil || !slices.Equal(again, list) || len(list) == 0 || len(list) > protocol.SessionKeepAlivesMax {
				t.Errorf("%v was read back as %v, %v", list, again, err)
			}
		}
		places, err := parsePlaces(src)
		if err != nil && !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("got %v, want malformed", err)
		}
		for k, place := range places {
			if place >= protocol.SessionKeepAlivesMax || k > 0 && place <= places[k-1] || place < 0 {
				t.Errorf("places %v", places)
			}
		}
	})
}

func TestPlacesBeyondTheListAreMalformed(t *testing.T) {
	last := binary.AppendUvarint(nil, protocol.SessionKeepAlivesMax)
	if got, err := parsePlaces(last); err != nil || !slices.Equal(got, []int{protocol.SessionKeepAlivesMax - 1}) {
		t.Errorf("the last: got %v, %v", got, err)
	}
	for _, src := range [][]byte{binary.AppendUvarint(nil, protocol.SessionKeepAlivesMax+1), append(last, 1), {1, 0}, {0x80}} {
		if got, err := parsePlaces(src); !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("% x: got %v, %v, want malformed", src, got, err)
		}
	}
}
