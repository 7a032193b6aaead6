//go:build !starling_next

package replica

import "github.com/starlinghq/starling/protocol"

// proposeNext has a leader write what only the next format level has; see
// protocol/version_next.go.
func proposeNext(protocol.Instant, *Replica) {}
