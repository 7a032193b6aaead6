package repair

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Config of a Core. A zero field means its documented default.
type Config struct {
	ID protocol.MemberID
	// Seed decides whom it asks first.
	Seed uint64
	// Run and Zone are the member's, for the gossip of a Start.
	Run  protocol.RunID
	Zone string
	// Timeout is how long it waits for an answer; default 1 s.
	Timeout time.Duration
	// Pause is how long it waits after everybody was asked and nothing came of
	// it; default 500 ms.
	Pause time.Duration
	// Parallel is how many members it asks at a time; default 2.
	Parallel int
	// Patience is for how long it asks before a checkpoint of its own takes the
	// place of entries that somebody may still have; default 5 s.
	Patience time.Duration
	// PatchBytesMax limits the entries that it keeps in memory; default 256 MiB.
	// Beyond it only a checkpoint helps.
	PatchBytesMax int
}

func (c *Config) setDefaults() {
	if c.Timeout <= 0 {
		c.Timeout = time.Second
	}
	if c.Pause <= 0 {
		c.Pause = 500 * time.Millisecond
	}
	if c.Parallel <= 0 {
		c.Parallel = 2
	}
	if c.Patience <= 0 {
		c.Patience = 5 * time.Second
	}
	if c.PatchBytesMax <= 0 {
		c.PatchBytesMax = 256 << 20
	}
}

// Log is what is read of the damaged log: storage.Log has it. It is called for
// indexes in good ranges only, and fails with protocol.ErrCorrupt where they
// turn out not to be.
type Log interface {
	Read(first, last protocol.Index, bytes int) ([]protocol.Entry, error)
}

// Needed reports whether a member must not start before its log is repaired: it
// is damaged, or does not say who is active at its commit index.
func Needed(id protocol.MemberID, rec *storage.Opened) bool {
	return rec.Damage != nil || rec.Configurations.RoleOf(id, rec.State.Commit, rec.LogTerms.Empty()) == protocol.RoleNone
}

// Core repairs one log. It belongs to one goroutine; it starts none, knows no
// clock, and touches the disk only by Log.Read.
//
// Invariants: the chain is a log from its begin to chain.at that may be
// relied on: each of its parts joins the one before. It grows, or is begun anew
// for a stated reason.
type Core struct {
	cfg   Config
	log   Log
	state protocol.HardState
	good  []storage.Range
	own   storage.Begin
	// usable says that the chain can begin where the log does. head-lost says that
	// nothing tells where that was, and that own is the beginning of all logs.
	usable      bool
	headLost    bool
	checkpoints []storage.Begin // by index

	chain chain
	peers []peer // in the order of asking
	// idle says that everybody was asked and nothing came of it; at resume they
	// are asked again.
	idle   bool
	resume protocol.Instant
	// patient is until when own checkpoints are kept back.
	patient protocol.Instant
	now     protocol.Instant // of the last Tick

	verdict Verdict
	ready   Ready
}

// Verdict is where things stand. At most one field is set; none: it goes on
// asking.
type Verdict struct {
	// Plan is how to repair the log: the end.
	Plan *storage.RepairPlan
	// Checkpoint, if not 0, is wanted: what is needed is in nobody's log, but a
	// checkpoint at that index or above would do (see Core.Checkpoint). The
	// owner fetches one; meanwhile the core goes on asking.
	Checkpoint protocol.Index
	// Lost says why the log can never be repaired: the member has to join as a
	// new one. It has the code of protocol.ErrCorrupt.
	Lost error
}

// Ready is what is to be done.
type Ready struct {
	Messages []protocol.Envelope
	Events   []protocol.Event
}

// New returns a core for a log that Needed says must be repaired. checkpoints are
// the ones that the member keeps itself, with content that was verified.
func New(now protocol.Instant, cfg Config, rec *storage.Opened, log Log, checkpoints []storage.Begin) *Core {
	cfg.setDefaults()
	c := &Core{cfg: cfg, log: log, state: rec.State, patient: now.Add(cfg.Patience)}
	if d := rec.Damage; d != nil {
		c.good, c.own = d.Good, d.Begin
		c.usable = len(d.Good) > 0 && d.Good[0].After == d.Begin.Index && d.Begin.Index <= rec.State.Commit &&
			(d.Begin.Index == 0 || d.Begin.Configuration.Index > 0)
		if d.EndUnknown || len(d.Good) == 0 {
			c.lose("nothing says where it ended: what the member acknowledged is not known")
		}
		if d.HeadLost && !slices.ContainsFunc(checkpoints, func(b storage.Begin) bool { return b.Index >= d.Begin.Index }) {
			// [S] A log that begins above all checkpoints has no state: the member
			// would wait for a checkpoint that perhaps nobody has, and could be
			// elected meanwhile.
			c.own, c.usable, c.headLost = storage.Begin{}, true, true
		}
	} else {
		s := &rec.LogTerms
		c.own = storage.Begin{Index: s.PrevIndex, Term: s.PrevTerm, Sum: s.PrevSum}
		c.good = []storage.Range{{After: s.PrevIndex, Sum: s.PrevSum, Last: s.LastIndex(), LastSum: rec.LastSum}}
	}
	for _, b := range checkpoints {
		c.addCheckpoint(b)
	}
	c.begin(nil)
	c.advance(now)
	return c
}

// lose ends it.
func (c *Core) lose(why string) {
	if !c.done() {
		c.verdict = Verdict{Lost: protocol.ErrCorrupt.With("the log is damaged and cannot be repaired: " + why +
			"; move the directory away and let the member join as a new one")}
	}
}

// done reports whether there is a final verdict.
func (c *Core) done() bool { return c.verdict.Plan != nil || c.verdict.Lost != nil }

// Verdict returns where things stand.
func (c *Core) Verdict() Verdict { return c.verdict }

// Ready returns what there is to do since the last call.
func (c *Core) Ready() Ready {
	out := c.ready
	c.ready = Ready{}
	return out
}

// Deadline is when Tick is wanted at the latest; far in the future if it waits
// for nothing but members.
func (c *Core) Deadline() protocol.Instant {
	at := protocol.Instant(math.MaxInt64)
	if c.done() {
		return at
	}
	if c.idle {
		at = c.resume
		if len(c.checkpoints) > 0 && c.patient > c.now {
			at = min(at, c.patient)
		}
	}
	for i := range c.peers {
		if p := &c.peers[i]; p.asked {
			at = min(at, p.until)
		}
	}
	return at
}

// Tick lets time pass.
func (c *Core) Tick(now protocol.Instant) {
	c.now = now
	if c.done() {
		return
	}
	for i := range c.peers {
		if p := &c.peers[i]; p.asked && now >= p.until {
			p.asked, p.tried = false, true
		}
	}
	if c.idle && now >= c.resume {
		c.nextRound()
	}
	c.advance(now)
}

// Receive takes a Repair or a RepairWant; the latter it answers from what is
// good. Other messages are for a role that is not there yet.
func (c *Core) Receive(now protocol.Instant, from protocol.MemberID, m protocol.Message) {
	switch m := m.(type) {
	case *protocol.RepairWant:
		c.send(from, c.answer(m))
	case *protocol.Repair:
		if !c.done() {
			c.onRepair(from, m)
			c.advance(now)
		}
	}
}

// Checkpoint tells of a checkpoint that the member has now, durably and
// verified. It is used when it is needed.
func (c *Core) Checkpoint(now protocol.Instant, b storage.Begin) {
	if c.done() {
		return
	}
	c.addCheckpoint(b)
	c.advance(now)
}

func (c *Core) addCheckpoint(b storage.Begin) {
	if b.Index == 0 || b.Configuration.Index == 0 {
		return
	}
	i, found := slices.BinarySearchFunc(c.checkpoints, b.Index, func(b storage.Begin, i protocol.Index) int {
		return int(min(max(int64(b.Index)-int64(i), -1), 1))
	})
	if !found {
		c.checkpoints = slices.Insert(c.checkpoints, i, b)
	}
}

func (c *Core) send(to protocol.MemberID, m protocol.Message) {
	c.ready.Messages = append(c.ready.Messages, protocol.Envelope{From: c.cfg.ID, To: to, Message: m})
}

func (c *Core) tell(index protocol.Index, from protocol.MemberID, format string, args ...any) {
	c.ready.Events = append(c.ready.Events, protocol.Event{Kind: protocol.EventRepaired, Term: c.state.Term, Index: index,
		Member: from, Text: fmt.Sprintf(format, args...)})
}
