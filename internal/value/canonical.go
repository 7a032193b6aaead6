package value

import (
	"bytes"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// appendSorted moves one value from src, which has been checked, to dst, with
// the entries of each map, at any depth, in the order of their encoded keys.
func appendSorted(dst, src []byte) (out, rest []byte) {
	head, inside, _ := protocol.ScanMsgpack(src)
	isMap := isMapCode(src[0])
	dst, src = append(dst, src[:head]...), src[head:]
	if !isMap {
		for range inside {
			dst, src = appendSorted(dst, src)
		}
		return dst, src
	}
	type pair struct{ key, value []byte }
	pairs := make([]pair, inside/2)
	for i := range pairs {
		pairs[i].key, src = appendSorted(nil, src)
		pairs[i].value, src = appendSorted(nil, src)
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return bytes.Compare(a.key, b.key) })
	for _, p := range pairs {
		dst = append(append(dst, p.key...), p.value...)
	}
	return dst, src
}

// isMapCode reports whether a value that begins with c is a map.
func isMapCode(c byte) bool { return c&0xf0 == 0x80 || c == 0xde || c == 0xdf }
