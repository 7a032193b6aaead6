package runtime

import (
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// quarantined lets nobody read while the state is in quarantine, and lets them
// again when it has been healed. It is called before what comes of it begins:
// the state is not replaced before all readers can know. Only the loop calls it.
func (m *Member) quarantined(s *replica.Status) {
	switch {
	case s.Quarantine != "" && m.quarantine == nil:
		err := error(protocol.ErrNotServing.With(s.Quarantine))
		if m.doubted.CompareAndSwap(nil, &err) { // whatever else stands in the way stays
			m.quarantine = &err
		}
	case s.Quarantine == "" && m.quarantine != nil:
		m.doubted.CompareAndSwap(m.quarantine, nil)
		m.quarantine = nil
	}
}
