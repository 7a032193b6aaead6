package passive

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// onInstallCheckpoint hands a leader's offer to the owner, and tells the leader, as
// always, where this log ends.
func (m *Member) onInstallCheckpoint(from protocol.MemberID, c *protocol.InstallCheckpoint) {
	if c.Term >= m.state.Term {
		m.event(protocol.EventCheckpoint, from, m.logTerms.LastIndex(), "offered")
		m.ready.Checkpoint = &protocol.ManifestOffer{From: from, Manifest: c.Manifest}
	}
	m.answer(from, c.Term)
}

// Install says that a checkpoint is in place and durable, and the log with it.
// Either the log holds the checkpoint's last entry: then the owner has left it
// alone, and all of it stays. Or it ends below: then the owner has reset it, on
// disk and in memory, to begin after that entry, with no write of entries under
// way. A checkpoint from below the log's beginning changes nothing.
//
// [S] Any entry that is taken, also as a part of a checkpoint, raises the term
// to at least its own: a passive that becomes active must not follow a leader
// that was deposed before.
func (m *Member) Install(_ protocol.Instant, b protocol.Begin) {
	if b.Index > m.logTerms.LastIndex() {
		m.beginAfter(b)
	} else if t, held := m.logTerms.TermAt(b.Index); held {
		// Everything that a passive holds is committed: another entry there
		// means that one of the two is of another cluster's history.
		if t != b.Term {
			m.ready.Stop = protocol.TwoHistories(fmt.Sprintf("committed entry %d, of term %d here, is another one, of term %d, in a checkpoint of other members", b.Index, t, b.Term))
			return
		}
		if _, known := m.confs.At(b.Index); !known {
			m.confs = protocol.NewConfigurations(append([]protocol.ConfigurationAt{b.Configuration}, m.confs.All()...)...)
		}
	}
	m.event(protocol.EventInstalled, protocol.MemberID{}, b.Index, fmt.Sprintf("the log is %d..%d", m.logTerms.FirstIndex(), m.logTerms.LastIndex()))
}

func (m *Member) beginAfter(b protocol.Begin) {
	m.logTerms = protocol.LogTerms{PrevIndex: b.Index, PrevTerm: b.Term, PrevSum: b.Sum}
	m.confs = protocol.NewConfigurations(b.Configuration)
	m.lastSum, m.lastTime = b.Sum, b.Time
	m.ready.Delta = protocol.Delta{}
	m.state.Commit, m.written, m.cut = b.Index, b.Index, false
	m.unwritten, m.waiting = m.flying, nil
	m.raiseTerm(b.Term)
	m.event(protocol.EventConfiguration, protocol.MemberID{}, b.Configuration.Index, b.Configuration.Configuration.String())
}

// DropHead follows the log when it loses its entries up to i, whose log sum is
// given. Only what a durable checkpoint covers may go.
func (m *Member) DropHead(i protocol.Index, sum protocol.LogSum) {
	invariant.Check(i <= m.written, "head dropped to %d, the disk has been given %d", i, m.written)
	m.logTerms.DropHead(i, sum)
	m.confs.DropHead(i)
}
