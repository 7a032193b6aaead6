//go:build starling_next

package replica

import (
	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

// proposeNext has a leader write what only format level 2 has, from the moment it is in
// force: behind whatever else was written.
func proposeNext(now protocol.Instant, r *Replica) {
	end := r.log.tail.entries
	if n := len(end); !r.log.latest().Level.Has(protocol.EntryNext) || n == 0 || end[n-1].Kind == protocol.EntryNext {
		return
	}
	// Refused only by a leader that is overloaded or hands over: it is tried again.
	_, _ = r.log.lead().Propose(now, []active.Proposal{{Kind: protocol.EntryNext}})
}
