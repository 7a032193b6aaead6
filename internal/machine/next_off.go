//go:build !starling_next

package machine

import "github.com/starlinghq/starling/protocol"

// applyNext applies what only the next format level has; see protocol/version_next.go.
func applyNext(*Machine, *protocol.Entry) {}
