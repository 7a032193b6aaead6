package machine

import (
	"encoding/binary"
	"fmt"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// The limit of the state comes with a configuration, and stands in the state from there
// on: whoever begins with a checkpoint goes by the same.

// setLimit takes over the limit that a configuration brings, 0 for none.
func (m *Machine) setLimit(limit int64) {
	if limit == m.limit {
		return
	}
	m.limit, m.full = limit, false
	if limit == 0 {
		m.state.Remove(m.state.System(), []byte{keyLimit})
		return
	}
	m.state.Set(m.state.System(), []byte{keyLimit}, binary.AppendUvarint(nil, uint64(limit)))
}

// limitOf returns the limit that stands in a state; 0: none. Anybody may ask.
func limitOf(s *state.State) int64 {
	v := s.System().Get([]byte{keyLimit})
	if v == nil {
		return 0
	}
	limit, _ := parseLimit(v.Value())
	return limit
}

func parseLimit(value []byte) (int64, bool) {
	n, rest, ok := sessionop.TakeUint(value)
	return int64(n), ok && len(rest) == 0 && n >= protocol.StateBytesMin && n <= protocol.StateBytesMax
}

// fits refuses what a command has written if the state is above its limit with that and
// holds more than before. What frees space passes.
//
// [S] It goes by what the state holds, which all members have alike, and never by memory
// in use, nor by what is declared of an operation, which is no part of a type's version:
// one that refused what the others did would have another state.
func (m *Machine) fits(before int64) error {
	held := m.state.Held()
	if m.limit == 0 || held <= m.limit || held <= before {
		m.full = m.full && m.limit != 0 && held > m.limit-m.limit/16
		return nil
	}
	if !m.full {
		m.full = true
		m.log.Warn("the state is full: writes that need more room are refused until something is deleted, or the limit is raised with starling autopilot set --state-bytes",
			"bytes", before, "limit", m.limit, "index", m.state.Index())
	}
	return protocol.ErrStateFull.With(fmt.Sprintf("the state holds %d bytes, with this write it would hold %d, and its limit is %d: "+
		"delete something, or raise the limit (starling autopilot set --state-bytes)", before, held, m.limit))
}
