package sim

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/starlinghq/starling/internal/machine"
	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/standin"
	"github.com/starlinghq/starling/storage/wal"
)

// openStore opens the store of production, on what stands for Badger on the simulated
// disk.
func (m *member) openStore() (err error) {
	m.store, err = checkpoint.Open(m.disk.fs, filepath.Join(directory, checkpoint.Folder), standin.New(m.disk.fs, m.s.plan.chunk), checkpoint.Options{
		SpaceReserve: 1, BootID: fmt.Sprintf("%s/%d", m.label(), m.boots), ChunkBytes: m.s.plan.chunk,
	})
	return err
}

// startFrom brings log, checkpoints and machine together, and lets the checkers
// follow.
func (m *member) startFrom() (storage.Opened, replica.OpenedState, error) {
	m.keepsChanges()
	m.machine = m.newMachine(m.behind)
	before := m.wal.Opened()
	rec, restored, err := snapshotter.Start(context.Background(), m.wal, m.store, m.machine, snapshotter.Options{Level: m.format})
	m.unsure = err != nil
	if err != nil {
		return rec, restored, err
	}
	if rec.LogTerms.PrevIndex != before.LogTerms.PrevIndex { // a crash had come between an installation's two ends
		m.s.counts.add(countInstallsResumed, 1)
		if err := m.log.reset(m.s.ledger, &storage.Begin{Index: rec.LogTerms.PrevIndex, Term: rec.LogTerms.PrevTerm, Sum: rec.LogTerms.PrevSum}, rec.State); err != nil {
			return rec, restored, err
		}
		m.log.synced(0)
	}
	if restored.Quarantine, err = wal.ReadQuarantine(m.disk.fs, directory); err != nil {
		return rec, restored, err
	}
	m.disk.quarantine = restored.Quarantine.At != 0
	m.applied = restored.Applied
	if restored.Applied > 0 {
		m.s.counts.add(countFromCheckpoint, 1)
		m.s.fail(m.takesOver(restored.Applied, true))
	}
	return rec, restored, nil
}

// noted counts what has come of a step on the store.
func (h *hands) noted(n *driver.Note) {
	switch n.Doing {
	case driver.Recounting:
		h.s.counts.add(countRecounted, 1)
	case driver.Taking:
		if n.Err == nil {
			h.s.counts.add(countCheckpoints, 1)
			if h.isWrong() {
				h.s.counts.add(countWrongKept, 1)
			}
			h.tell(colorQuiet, "checkpoint %d", n.Index)
		} else if h.disk.ails() {
			h.s.counts.add(countCheckpointsGivenUp, 1)
			h.tell(colorTrouble, "%% no checkpoint %d: %v", n.Index, n.Err)
		}
	case driver.Beginning:
		if n.Count > 1 {
			h.s.counts.add(countManyChunks, 1)
		}
		if n.Count < n.Of && n.Count > 0 {
			h.s.counts.add(countInstallsResumed, 1)
		}
	case driver.Installed:
		if n.Err == nil {
			h.tell(colorQuiet, "has installed %d", n.Index)
		}
	case driver.Noting:
		h.greeter.mustKeep("its quarantine", n.Err)
		if n.Err == nil {
			h.disk.quarantine = n.Index != 0
		}
	case driver.Pinning:
		h.s.counts.add(countPins, uint64(n.Count))
	}
}

// onInstalled checks a state that did not come from entries.
func (s *state) onInstalled(name string, m *machine.Machine, i protocol.Index) error {
	index, digest := m.Digest()
	if index != i || i > protocol.Index(len(s.applies)) {
		return violated(RuleOrder, "%s takes over a state at %d, its machine is at %d, the newest that anybody applied is %d", name, i, index, len(s.applies))
	}
	if then := s.applies[i-1]; then.digest != digest {
		return violated(RuleDigest, "%s has taken over %s at %d, another member has applied to %s", name, digest, i, then.digest)
	}
	return nil
}
