package runtime

import (
	"errors"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// reserveText is why a reserve answers nothing.
const reserveText = "this member is a reserve and holds nothing until it is needed: ask another member"

// errDoubted is the cause of who does not serve because what was told already may be wrong.
var errDoubted = errors.New("what was told may be wrong")

// quarantineOn returns what puts one on a member's disk, or nil if it has none.
func quarantineOn(m *Member) func(storage.Quarantine) error {
	if m.cfg.Dir == "" {
		return nil
	}
	return func(q storage.Quarantine) error { return wal.WriteQuarantine(m.cfg.logDisk, m.cfg.Dir, q) }
}

// gateServing lets nobody read while there is nothing that may be read, because the
// state is in quarantine or not confirmed, this member is a reserve, or the log is at a format level that
// it does not know, and lets them again when
// that is over. It is called before what comes of it begins: the state is not
// replaced before all readers can know. Only the loop calls it,
// and the start before that runs.
func (m *Member) gateServing(s *replica.Situation) {
	why, cause := s.Quarantine, error(nil)
	if why != "" {
		cause = errDoubted
	}
	switch {
	case s.Role == protocol.RoleReserve:
		why = reserveText
	case why == "" && s.Unconfirmed != "":
		why = s.Unconfirmed
	case s.Beyond != "":
		why = "this member cannot apply what is committed: " + s.Beyond
	}
	switch {
	case why != "" && (m.withheld == nil || cause != nil && !errors.Is(*m.withheld, errDoubted)):
		err := error(&protocol.Error{Code: protocol.ErrNotServing.Code, Text: why, Cause: cause})
		if m.suspended.CompareAndSwap(m.withheld, &err) { // whatever else stands in the way stays
			m.withheld = &err
		}
	case why == "" && m.withheld != nil:
		m.suspended.CompareAndSwap(m.withheld, nil)
		m.withheld = nil
	}
}
