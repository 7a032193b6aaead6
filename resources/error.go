package resources

import (
	"strings"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// NewError returns a sentinel for a type's package variable. The code crosses
// the wire and decides, as "type.reason"; without a dot it could be taken for
// one of the protocol's, so that is a panic. The text is for people and may
// change at any time: it is not part of the replicated state.
func NewError(code protocol.Code, text string) *protocol.Error {
	invariant.Check(strings.Contains(string(code), "."), `the code of a type's error is "type.reason", not %q`, code)
	return protocol.NewError(code, text)
}
