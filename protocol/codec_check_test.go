package protocol

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// Lengths of 32 bits become ints, sums and doubles of ints; none of them may be what an
// int of 32 bits has no room for: as a negative number it would be below every limit,
// and a scan of it would never end.
func TestAnnouncedLengthsFitAnyInt(t *testing.T) {
	for _, code := range []byte{codeBin32, codeStr32, 0xc9, codeArray32, 0xdf} {
		for _, n := range []uint32{0, 1 << 20, math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32} {
			b := append(binary.BigEndian.AppendUint32([]byte{code}, n), make([]byte, 16)...)
			size, inside, ok := ScanMsgpack(b)
			if !ok || size < 5 || size > math.MaxInt32 || inside < 0 || inside > math.MaxInt32 {
				t.Errorf("%#x of %d: got size %d, inside %d, %v: want what fits 31 bits", code, n, size, inside, ok)
			}
			if err := CheckMsgpack(b); !errors.Is(err, ErrMalformed) {
				t.Errorf("%#x of %d: got %v, want ErrMalformed", code, n, err)
			}
			if _, end := parseBin(b); end < 0 || end > math.MaxInt32 {
				t.Errorf("%#x of %d: a byte string ends at %d", code, n, end)
			}
		}
	}
}
