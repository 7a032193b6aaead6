package machine

import (
	"encoding/binary"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// The answer that a session keeps of a command is encoded as: the session's
// floor at that time, then one byte, then for answerKept the length of the
// code, the code, and the data. The text of an error is left away; see
// session.texts.
const (
	answerKept = 0
	answerLost = 1
)

func appendAnswer(dst []byte, floor uint64, r *protocol.Result) []byte {
	dst = binary.AppendUvarint(dst, floor)
	dst = append(dst, answerKept)
	dst = binary.AppendUvarint(dst, uint64(len(r.Code)))
	dst = append(dst, r.Code...)
	return append(dst, r.Data...)
}

// appendLost turns a kept answer into one that is gone.
func appendLost(dst, kept []byte) []byte {
	_, n := binary.Uvarint(kept)
	return append(append(dst, kept[:n]...), answerLost)
}

// answerSize returns what an answer counts towards the bound of its session.
func answerSize(stored []byte) int {
	_, n := binary.Uvarint(stored)
	if stored[n] == answerLost {
		return 0
	}
	return len(stored)
}

func parseAnswer(stored []byte, text string) protocol.Result {
	_, n := binary.Uvarint(stored)
	if stored[n] == answerLost {
		return protocol.Failed(protocol.ErrAnswerLost)
	}
	stored = stored[n+1:]
	size, n := binary.Uvarint(stored)
	invariant.Check(n > 0 && size <= uint64(len(stored)-n), "a stored answer is whole: % x", stored)
	code, data := stored[n:n+int(size)], stored[n+int(size):]
	if len(data) == 0 {
		data = nil
	}
	return protocol.Result{Code: protocol.Code(code), Text: text, Data: data}
}
