package sim

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// nothingHeld is the log of a gossip core that only looks for checkpoints.
type nothingHeld struct{}

func (nothingHeld) Entries(protocol.Index, protocol.Index, int) []protocol.Entry { return nil }
func (nothingHeld) SumBefore(protocol.Index) (protocol.LogSum, bool) {
	return protocol.LogSum{}, false
}

// repairFetch looks for a checkpoint while one is wanted.
func (m *member) repairFetch(now protocol.Instant) {
	g := m.repairing
	f, wanted := &g.fetch, g.core.Verdict().Checkpoint
	if f.flock == nil {
		if wanted == 0 || g.own >= wanted && now < g.began.Add(ownFirst) {
			return
		}
		f.flock = gossip.New(now, gossip.Config{ID: m.id, Run: m.runID, Seed: mix(m.s.seed ^ m.starts), NoRepair: true}, nothingHeld{})
		f.flock.SetPeers(now, m.told)
		m.s.trace.tell(m, colorQuiet, "repairing: a checkpoint at %d or above is wanted", wanted)
	}
	if least := max(wanted, g.own+1); wanted != 0 && f.d == nil && least != f.least {
		f.least = least
		f.flock.Progress(now, gossip.Progress{Applied: least - 1, Role: protocol.RolePassive, Lost: true})
	}
	if now >= f.flock.Deadline() {
		f.flock.Tick(now)
	}
	for f.flock.HasReady() {
		r := f.flock.Ready()
		if r.Offer != nil && wanted != 0 && f.d == nil {
			m.repairOffer(now, r.Offer)
		}
		for i := range r.Chunks {
			m.repairChunk(now, &r.Chunks[i])
		}
		m.repairSend(r.Messages)
	}
}

func (m *member) repairOffer(now protocol.Instant, o *protocol.Offer) {
	f := &m.repairing.fetch
	d, err := storage.DecodeDescription(o.Description)
	if err != nil || d.Index < f.least {
		return
	}
	missing, err := f.install.Begin(context.Background(), m.checkpoints.store, d)
	if err != nil {
		m.repairStoreFailed(err)
		return
	}
	f.d, f.left = &d, len(missing)
	if f.left == 0 {
		m.repairInstalled(now)
		return
	}
	f.flock.Fetch(now, gossip.Fetching{Index: d.Index, Sum: d.LogSum, Missing: missing})
}

func (m *member) repairChunk(now protocol.Instant, c *gossip.ChunkArrived) {
	f := &m.repairing.fetch
	if f.d == nil || c.Index != f.d.Index {
		return
	}
	err := f.install.Chunk(replica.Chunk{Number: c.Number, Data: c.Data})
	if err != nil && !errors.Is(err, protocol.ErrCorrupt) {
		m.repairGivesUp(now, err)
		return
	}
	f.flock.ChunkAdded(now, c.Number, err == nil)
	if err != nil {
		return
	}
	m.s.counts.add(countChunks, 1)
	if f.left--; f.left == 0 {
		m.repairInstalled(now)
	}
}

// repairInstalled makes the fetched checkpoint one of the member's.
func (m *member) repairInstalled(now protocol.Instant) {
	g := m.repairing
	f := &g.fetch
	d := *f.d
	if _, err := f.install.Finish(context.Background(), m.newMachine(), nil); err != nil {
		m.repairGivesUp(now, err)
		return
	}
	f.flock.StopFetch(now)
	f.d, g.own = nil, max(g.own, d.Index)
	m.s.trace.tell(m, colorQuiet, "repairing: has fetched the checkpoint at %d", d.Index)
	g.core.Checkpoint(now, replica.BeginAfter(&d))
}

func (m *member) repairGivesUp(now protocol.Instant, err error) {
	f := &m.repairing.fetch
	m.repairStoreFailed(err)
	f.flock.StopFetch(now)
	f.d = nil
}

// repairStoreFailed accepts no failure of the store but a full disk and a
// checkpoint that is bad.
func (m *member) repairStoreFailed(err error) {
	m.s.trace.tell(m, colorTrouble, "%% fetching a checkpoint: %v", err)
	if errors.Is(err, protocol.ErrDiskFailed) && m.disk.ails() {
		m.ill.startFails(err)
	} else if errors.Is(err, protocol.ErrDiskFailed) {
		m.s.fail(violated(RuleFault, "%s: the disk fails without a cause: %v", m.name, err))
	}
}
