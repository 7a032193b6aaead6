package repair

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

const (
	// Tries is how often a log is repaired before its member starts: what breaks again
	// at once stands on a disk that should be replaced.
	Tries = 3
	// ownFirst is for how long a checkpoint of this member that would do keeps it
	// from fetching another one: Core uses its own after some patience.
	ownFirst = 20 * time.Second
)

// Start is a member that has no role yet because its log is damaged: events in, effects
// out. It asks the others for entries and, where nobody has those any more, for a
// checkpoint. It belongs to one goroutine.
//
// [S] It takes part in nothing: see Takes.
type Start struct {
	cfg   Config
	core  *Core
	peers []protocol.Peer
	// own is the newest checkpoint of this member, 0 without one.
	own   protocol.Index
	began protocol.Instant
	// flock looks for a checkpoint; nil: none has been wanted yet. least is the index
	// of the lowest one that it looks for; 0: it does not know yet.
	flock *gossip.Core
	least protocol.Index
	fetch install.Checkpoint
	asked protocol.Range // the entries that were asked for last
	over  bool           // there is a plan, or never will be
	gave  []protocol.MemberID
	out   StartEffects
}

// StartEffects is what a Start wants done.
type StartEffects struct {
	// Send goes to the network, the Datagrams as such if they fit. What is lost is
	// sent again.
	Send, Datagrams []protocol.Envelope
	// Install goes to the store of checkpoints, in order; each step is answered by
	// Installed.
	Install []install.Step
	Events  []protocol.Event
	// Write, if not nil, is the end: the log is to be closed, written by that plan
	// (wal.Repair), and opened again. If more turns out to be damaged than was known,
	// all of it begins anew, up to Tries times.
	Write *storage.RepairPlan
}

// NewStart returns a Start for a log that Needed says must be repaired. own are the
// checkpoints that the member keeps itself, with content that was verified.
func NewStart(now protocol.Instant, cfg Config, rec *storage.Opened, log Log, own []storage.Begin) *Start {
	s := &Start{cfg: cfg, core: New(now, cfg, rec, log, own), began: now}
	for _, b := range own {
		s.own = max(s.own, b.Index)
	}
	s.pump(now)
	return s
}

// Takes reports whether a message is for a member whose log is being repaired. [S]
// Votes, entries and the rest are for a role, which is not there: nothing is answered,
// as if the member were down.
func Takes(m protocol.Message) bool {
	switch m.(type) {
	case *protocol.RepairWant, *protocol.Repair, *protocol.Have, *protocol.Busy, *protocol.Manifest, *protocol.Chunk,
		*protocol.Echo, *protocol.EchoAnswer, *protocol.StreamEcho, *protocol.StreamEchoAnswer:
		return true
	}
	return false
}

// SetPeers says who is alive besides this member, passives included.
func (s *Start) SetPeers(now protocol.Instant, peers []protocol.Peer) {
	s.peers = peers
	s.core.SetPeers(now, peers)
	if s.flock != nil {
		s.flock.SetPeers(now, peers)
	}
	s.pump(now)
}

// Receive takes a message.
func (s *Start) Receive(now protocol.Instant, from protocol.MemberID, m protocol.Message) {
	if !Takes(m) {
		return
	}
	switch m.(type) {
	case *protocol.RepairWant, *protocol.Repair:
		s.core.Receive(now, from, m)
	default:
		if s.flock != nil {
			s.flock.Step(now, from, m)
		}
	}
	s.pump(now)
}

// Tick lets time pass.
func (s *Start) Tick(now protocol.Instant) { s.pump(now) }

// Deadline is when Tick is wanted at the latest.
func (s *Start) Deadline() protocol.Instant {
	if s.flock == nil {
		return s.core.Deadline()
	}
	return min(s.core.Deadline(), s.flock.Deadline())
}

// Effects returns what there is to do since the last call.
func (s *Start) Effects() StartEffects {
	out := s.out
	s.out = StartEffects{}
	return out
}

// Installed answers a step of StartEffects.Install; missing are the numbers of the
// chunks that are wanted, after Begin.
func (s *Start) Installed(now protocol.Instant, step *install.Step, missing []int, err error) {
	var next *install.Step
	switch {
	case step.Begin != nil:
		next, err = s.fetch.Begun(now, s.flock, step.Begin.Index, missing, err)
	case step.Chunk != nil:
		if err == nil && !slices.Contains(s.gave, step.Chunk.From) {
			s.gave = append(s.gave, step.Chunk.From)
		}
		next, err = s.fetch.Added(now, s.flock, step.Chunk.Number, err)
	case step.Finish && err == nil && s.fetch.Phase == install.Finishes:
		d := s.fetch.D
		s.fetch.End(now, s.flock)
		s.own = max(s.own, d.Index)
		s.tell(protocol.EventInstalled, d.Index, "the checkpoint at %d is there", d.Index)
		s.core.Checkpoint(now, storage.BeginAfter(&d))
	}
	if err != nil {
		s.tell(protocol.EventGaveUp, s.fetch.D.Index, "fetching the checkpoint at %d: %v", s.fetch.D.Index, err)
		s.fetch.End(now, s.flock)
	}
	s.install(next)
	s.pump(now)
}

func (s *Start) install(step *install.Step) {
	if step != nil {
		s.out.Install = append(s.out.Install, *step)
	}
}

func (s *Start) tell(kind protocol.EventKind, i protocol.Index, format string, args ...any) {
	s.out.Events = append(s.out.Events, protocol.Event{Kind: kind, Index: i, Text: fmt.Sprintf(format, args...)})
}

// pump goes on as far as possible.
func (s *Start) pump(now protocol.Instant) {
	if s.over {
		return
	}
	if now >= s.core.Deadline() {
		s.core.Tick(now)
	}
	s.seek(now)
	ready := s.core.Ready()
	for i := range ready.Messages {
		if want, ok := ready.Messages[i].Message.(*protocol.RepairWant); ok {
			s.asked = protocol.Range{First: want.First, Last: want.Last}
		}
	}
	s.out.Send = append(s.out.Send, ready.Messages...)
	s.out.Events = append(s.out.Events, ready.Events...)
	v := s.core.Verdict()
	s.over, s.out.Write = v.Plan != nil || v.Lost != nil, v.Plan
}

// seek looks for a checkpoint while one is wanted, and takes the next steps of the
// fetch that is under way.
func (s *Start) seek(now protocol.Instant) {
	wanted := s.core.Verdict().Checkpoint
	if s.flock == nil {
		if wanted == 0 || s.own >= wanted && now < s.began.Add(ownFirst) {
			return
		}
		s.flock = gossip.New(now, gossip.Config{ID: s.cfg.ID, Run: s.cfg.Run, Seed: s.cfg.Seed, Zone: s.cfg.Zone, NoRepair: true}, noEntries{})
		s.flock.SetPeers(now, s.peers)
		s.tell(protocol.EventCheckpoint, wanted, "the damaged entries are in nobody's log any more: a checkpoint at %d or above is wanted", wanted)
	}
	if least := max(wanted, s.own+1); wanted != 0 && s.fetch.Phase == install.None && least != s.least {
		// What Lost wants is a checkpoint at Applied+1 or above.
		s.least = least
		s.flock.Progress(now, gossip.Progress{Applied: least - 1, Role: protocol.RolePassive, Lost: true})
	}
	if now >= s.flock.Deadline() {
		s.flock.Tick(now)
	}
	for s.flock.HasReady() {
		r := s.flock.Ready()
		if r.Offer != nil && wanted != 0 && s.fetch.Phase == install.None {
			s.offered(now, r.Offer)
		}
		for i := range r.Chunks {
			s.install(s.fetch.Arrived(now, s.flock, &r.Chunks[i]))
		}
		s.out.Datagrams = append(s.out.Datagrams, r.Messages...)
		s.out.Send = append(s.out.Send, r.Streamed...)
	}
}

// offered takes the manifest of a checkpoint that gossip trusts.
func (s *Start) offered(now protocol.Instant, o *protocol.ManifestOffer) {
	d, err := storage.DecodeManifest(o.Manifest)
	if err != nil || d.Index < s.least {
		return
	}
	s.tell(protocol.EventCheckpoint, d.Index, "fetching the checkpoint at %d: %d bytes in %d chunks", d.Index, d.Bytes, len(d.Chunks))
	s.install(s.fetch.Begin(now, s.flock, d))
}

// Lost says why the log can never be repaired, if that is so: see Verdict.
func (s *Start) Lost() error { return s.core.Verdict().Lost }

// Helpers returns whose entries or chunks were used, each at least once.
func (s *Start) Helpers() []protocol.MemberID { return append(s.core.Givers(), s.gave...) }

// String says what is waited for.
func (s *Start) String() string {
	wanted := s.core.Verdict().Checkpoint
	switch {
	case s.fetch.Phase != install.None:
		return fmt.Sprintf("fetching the checkpoint at %d: %d of %d chunks are still to come", s.fetch.D.Index, s.fetch.Left(), s.fetch.Chunks())
	case len(s.peers) == 0:
		return "no other member answers"
	case wanted != 0:
		return fmt.Sprintf("the %d members that answer do not have the entries; waiting for a checkpoint at %d or above", len(s.peers), wanted)
	}
	return fmt.Sprintf("asking %d members for entries %d to %d", len(s.peers), s.asked.First, s.asked.Last)
}

// noEntries is the log of a gossip core that only looks for checkpoints.
type noEntries struct{}

// Entries implements gossip.Log.
func (noEntries) Entries(protocol.Index, protocol.Index, int) []protocol.Entry { return nil }

// SumBefore implements gossip.Log.
func (noEntries) SumBefore(protocol.Index) (protocol.LogSum, bool) { return protocol.LogSum{}, false }
