package machine

import (
	"encoding/binary"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// appendAnswer appends an answer that is kept: the length of the code, the code, and the
// data. The text of an error is left away; see session.texts.
func appendAnswer(dst []byte, r *protocol.Result) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(r.Code)))
	dst = append(dst, r.Code...)
	return append(dst, r.Data...)
}

// parseAnswer reads what appendAnswer wrote, and aliases it.
func parseAnswer(stored []byte, text string) protocol.Result {
	size, n := binary.Uvarint(stored)
	invariant.Check(n > 0 && size <= uint64(len(stored)-n), "a stored answer is whole: % x", stored)
	code, data := stored[n:n+int(size)], stored[n+int(size):]
	if len(data) == 0 {
		data = nil
	}
	return protocol.Result{Code: protocol.Code(code), Text: text, Data: data}
}

// isAnswer reports whether stored is what appendAnswer wrote.
func isAnswer(stored []byte) bool {
	size, rest, ok := sessionop.TakeUint(stored)
	return ok && size <= uint64(len(rest))
}
