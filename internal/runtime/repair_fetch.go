package runtime

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/keeper"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// ownFirst is for how long a checkpoint of this member that would do keeps it
// from fetching another one: repair.Core uses its own after some patience.
const ownFirst = 20 * time.Second

// fetching gets a checkpoint from other members for a log that cannot be repaired
// from entries. The zero value does nothing.
type fetching struct {
	flock   *gossip.Core
	least   protocol.Index // that the flock looks for; 0: it does not know yet
	install keeper.Installation
	d       *storage.Description // under way
	left    int                  // chunks still to come
}

func (f *fetching) active() bool { return f.d != nil }

func (f *fetching) deadline() protocol.Instant {
	if f.flock == nil {
		return protocol.Instant(math.MaxInt64)
	}
	return f.flock.Deadline()
}

func (f *fetching) setPeers(now protocol.Instant, peers []protocol.Peer) {
	if f.flock != nil {
		f.flock.SetPeers(now, peers)
	}
}

func (f *fetching) step(now protocol.Instant, from protocol.MemberID, msg protocol.Message) {
	if f.flock != nil {
		f.flock.Step(now, from, msg)
	}
}

// end leaves a fetch where it is; the store knows the chunks that are there.
func (f *fetching) end() { f.flock, f.d = nil, nil }

// fetchCheckpoint looks for a checkpoint while one is wanted, and takes the next
// steps of the one that is under way. The disk is written here: nothing else has
// to be served fast.
func (g *repairing) fetchCheckpoint(ctx context.Context, now protocol.Instant) {
	f := &g.fetch
	wanted := g.core.Verdict().Checkpoint
	if f.flock == nil {
		if wanted == 0 || g.own >= wanted && now < g.began.Add(ownFirst) {
			return
		}
		f.flock = gossip.New(now, gossip.Config{
			ID: g.m.identity.Member, Run: g.m.run, Seed: seed(g.m.identity.Member, g.m.identity.Starts), Zone: g.m.cfg.Zone, NoRepair: true,
		}, noEntries{})
		f.flock.SetPeers(now, g.peers)
	}
	if least := max(wanted, g.own+1); wanted != 0 && !f.active() && least != f.least {
		// What Lost wants is a checkpoint at Applied+1 or above.
		f.least = least
		f.flock.Progress(now, gossip.Progress{Applied: least - 1, Role: protocol.RolePassive, Lost: true})
	}
	if now >= f.flock.Deadline() {
		f.flock.Tick(now)
	}
	for f.flock.HasReady() {
		r := f.flock.Ready()
		if r.Offer != nil && wanted != 0 && !f.active() {
			g.beginFetch(ctx, now, r.Offer)
		}
		for i := range r.Chunks {
			g.addChunk(ctx, now, &r.Chunks[i])
		}
		out := make([]replica.Send, len(r.Messages))
		for i, e := range r.Messages {
			out[i] = replica.Send{Envelope: e, Datagram: true}
		}
		g.m.transport.send(out)
	}
}

func (g *repairing) beginFetch(ctx context.Context, now protocol.Instant, o *protocol.Offer) {
	f := &g.fetch
	d, err := storage.DecodeDescription(o.Description)
	if err != nil || d.Index < f.least {
		return
	}
	missing, err := f.install.Begin(ctx, g.m.checkpoints.store, d)
	if err != nil {
		g.m.logger.Warn("fetching a checkpoint", "index", d.Index, "err", err)
		return
	}
	f.d, f.left = &d, len(missing)
	g.m.logger.Warn("the damaged entries are in nobody's log any more: fetching a checkpoint", "index", d.Index, "chunks", len(d.Chunks), "missing", len(missing))
	if f.left == 0 {
		g.finishFetch(ctx, now)
		return
	}
	f.flock.Fetch(now, gossip.Fetching{Index: d.Index, Sum: d.LogSum, Missing: missing})
}

func (g *repairing) addChunk(ctx context.Context, now protocol.Instant, c *gossip.ChunkArrived) {
	f := &g.fetch
	if f.d == nil || c.Index != f.d.Index {
		return
	}
	err := f.install.Chunk(replica.Chunk{Number: c.Number, Data: c.Data})
	if err != nil && !errors.Is(err, protocol.ErrCorrupt) {
		g.giveUpFetch(now, err)
		return
	}
	f.flock.ChunkAdded(now, c.Number, err == nil)
	if err != nil {
		return
	}
	g.helpedBy(c.From)
	f.left--
	g.say("fetching the checkpoint at %d: %d of %d chunks are still to come", f.d.Index, f.left, len(f.d.Chunks))
	if f.left == 0 {
		g.finishFetch(ctx, now)
	}
}

// finishFetch makes the checkpoint one of this member's, durably, and tells the
// core of it.
func (g *repairing) finishFetch(ctx context.Context, now protocol.Instant) {
	f := &g.fetch
	d := *f.d
	if _, err := f.install.Finish(ctx, g.m.emptyMachine(), g.m.logProgress("building the state of a fetched checkpoint")); err != nil {
		g.giveUpFetch(now, err)
		return
	}
	f.flock.StopFetch(now)
	f.d, g.own = nil, max(g.own, d.Index)
	g.core.Checkpoint(now, replica.BeginAfter(&d))
}

func (g *repairing) giveUpFetch(now protocol.Instant, err error) {
	f := &g.fetch
	g.m.logger.Warn("fetching a checkpoint", "index", f.d.Index, "err", err)
	f.flock.StopFetch(now)
	f.d = nil
}
