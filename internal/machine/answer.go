package machine

import (
	"encoding/binary"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// An answer that is kept is encoded as: one byte, then for answerKept the length of
// the code, the code, and the data. The text of an error is left away; see
// session.texts. A session keeps its floor at that time before it.
const (
	answerKept = 0
	answerLost = 1
)

func appendAnswer(dst []byte, floor uint64, r *protocol.Result) []byte {
	return appendKept(binary.AppendUvarint(dst, floor), r)
}

func appendKept(dst []byte, r *protocol.Result) []byte {
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
	return parseKept(stored[n:], text)
}

func parseKept(stored []byte, text string) protocol.Result {
	if stored[0] == answerLost {
		return protocol.Failed(protocol.ErrAnswerLost)
	}
	stored = stored[1:]
	size, n := binary.Uvarint(stored)
	invariant.Check(n > 0 && size <= uint64(len(stored)-n), "a stored answer is whole: % x", stored)
	code, data := stored[n:n+int(size)], stored[n+int(size):]
	if len(data) == 0 {
		data = nil
	}
	return protocol.Result{Code: protocol.Code(code), Text: text, Data: data}
}

// isKept reports whether stored is what appendKept wrote, or what became of it.
func isKept(stored []byte) bool {
	if len(stored) == 0 {
		return false
	}
	switch kind, rest := stored[0], stored[1:]; kind {
	case answerKept:
		size, rest, ok := sessionop.TakeUint(rest)
		return ok && size <= uint64(len(rest))
	case answerLost:
		return len(rest) == 0
	}
	return false
}
