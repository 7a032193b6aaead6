package gossip

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// never is a deadline that is not set, longAgo one that is over. Instants may
// be negative: zero says nothing.
const (
	never   = protocol.Instant(math.MaxInt64)
	longAgo = protocol.Instant(math.MinInt64)
)

// Log is what the core reads of the committed prefix that the member holds. It
// answers from memory.
type Log interface {
	// Entries returns entries first.. up to last, about as many as fit into
	// bytes and at least one; nil if first is not in memory. They may be kept
	// and are not changed.
	Entries(first, last protocol.Index, bytes int) []protocol.Entry
	// SumBefore returns the log sum after entry first-1, if it is in memory.
	SumBefore(first protocol.Index) (protocol.LogSum, bool)
}

// Progress is where the member stands. The owner reports every change.
type Progress struct {
	First   protocol.Index // lowest index held
	Tip     protocol.Index // min(commit, held): the committed prefix ends here
	Applied protocol.Index
	Commit  protocol.Index // highest index known to be committed
	Term    protocol.Term
	Leader  protocol.MemberID // zero if none is known
	Role    protocol.Role
	// Adrift says of an active that it has heard no leader for long: it takes
	// entries from the flock, as a passive does.
	Adrift bool
	// Source says that others may be fed from this log: it is complete and not
	// in doubt.
	Source bool
	// Lost says that the state cannot be completed from this log: a checkpoint
	// is wanted, even if entries fit. Above is where one must be above, if not 0.
	Lost  bool
	Above protocol.Index
	// Needs says that this member is far behind, and which entry of the log it
	// needs next; 0: it is level. Others keep the log from there on. A checkpoint
	// that is fetched says so by itself. Pressed says that it does not get level
	// at the rate that it is given.
	Needs   protocol.Index
	Pressed bool
}

// Run is a piece of the committed log for the passive role. The runs of a
// Ready are in order, and the first one joins the tip; a run may begin at or
// below the tip, so that the role can verify where it joins.
type Run struct {
	// From sent it, Origin made it from its own log.
	From, Origin protocol.MemberID
	// Before is the log sum before the first entry, as the origin says.
	Before  protocol.LogSum
	Entries []protocol.Entry
	// Commit is the origin's commit index; no entry is above it.
	Commit protocol.Index
}

// RangeRead asks the owner to read entries from the disk, at least one and up
// to Bytes, for a member that pulls them, and to hand them to Answer.
type RangeRead struct {
	To    protocol.MemberID
	Range protocol.Range
	Bytes int
}

// Divergence says that this member's log is of another history than the actives':
// it must stop serving. The core is no source from then on, takes nothing and seeks
// nothing: what this member holds may be the only copy of what was acknowledged.
type Divergence struct {
	// Index is where the log sums differ. With Short the actives' log ended below
	// it: its sums are not known.
	Index        protocol.Index
	Mine, Theirs protocol.LogSum
	Short        bool
	By           protocol.MemberID // the active whose word that is; zero: not known
	Name         string            // what people call it; empty: not known
	// Holds is what this member holds as committed.
	Holds protocol.Index
}

// String says what happened, and what to do.
func (d *Divergence) String() string {
	what := fmt.Sprintf("the log of this member differs from that of the actives at %d (by the word of %s)", d.Index, cmp.Or(d.Name, d.By.Short()))
	if d.Short {
		what = fmt.Sprintf("the log of the actives ended at %d, and this member had come to %d before it asked", d.Index-1, d.Holds)
	}
	return fmt.Sprintf("%s: theirs is of another history, as after a restore from an old copy. This member has committed entries up to %d, among them perhaps acknowledged writes that the actives have lost. It serves nobody and keeps what it has: `starling recover` from its directory keeps them; to discard them start it with an empty directory", what, d.Holds)
}

// Ready is what the core hands out. Messages are safe to send at any time:
// they speak of committed entries.
type Ready struct {
	Messages []protocol.Envelope
	Reads    []RangeRead
	Runs     []Run
	Diverged *Divergence
	// Prove asks the owner to have the leader asked for a read index: the actives
	// say nothing that settles a doubt, and that would.
	Prove  bool
	Events []protocol.Event
	// Led, if not nil, is what an active has signed of who leads. It comes only
	// where signatures are checked: elsewhere every HAVE says it.
	Led *Led
	// Offer, if not nil, describes a checkpoint that may be trusted: this
	// member's log ends below where everybody else's begins, or Progress.Lost.
	// The owner installs it, by way of Fetch; if it does nothing, there will be
	// others.
	Offer *protocol.Offer
	// Chunks are pieces of the checkpoint that is being fetched; each is
	// answered by ChunkAdded.
	Chunks []ChunkArrived
	// ChunkReads are chunks that others want; each is answered by ChunkIs.
	ChunkReads []ChunkRead
}

// Core is one member's part of the flock.
//
// Invariant: tip <= given, and given-tip is what was handed out in Runs and is
// not taken yet. Nothing above self.Tip ever leaves the member, except frames
// that are passed on as they came.
type Core struct {
	cfg Config
	log Log
	rng *rand.Rand
	protocol.WallAhead

	members  members
	self     Progress
	started  bool // Progress was called
	diverged protocol.Index
	wrong    bool // the log is of another history than the actives', since index diverged

	push    push
	links   links
	buffer  buffer
	seen    ranges // indexes above the tip that came by, kept or not
	given   protocol.Index
	pulling pulling
	serving serving
	fresh   freshness
	digest  digest
	doubt   doubt
	trust   trust
	heed    heed

	seek     seek
	fetching fetching
	giving   giving
	needs    []need // of members that are behind, in the order in which they said so

	ready Ready
}

// New returns a core that knows nobody.
func New(now protocol.Instant, cfg Config, log Log) *Core {
	cfg = cfg.withDefaults()
	c := &Core{
		cfg: cfg,
		log: log,
		rng: rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Run))),
	}
	c.members.byID = make(map[protocol.MemberID]*member)
	c.buffer.bytesMax = cfg.BufferBytesMax
	c.push.flushAt = never
	c.pulling.at = never
	c.doubt.at = never
	c.links.refreshAt = never
	c.seek.at = never
	c.fetching.at, c.fetching.nobodySince = never, never
	// The first digest comes at a random moment, or members that start
	// together speak together for ever.
	c.digest.at = now.Add(time.Duration(c.rng.Int64N(int64(cfg.Have))))
	return c
}

// SetPeers tells the core who lives, itself excepted. What it knows of members
// that stay is kept.
func (c *Core) SetPeers(now protocol.Instant, peers []protocol.Peer) {
	c.members.set(c.cfg.ID, peers)
	c.pulling.forgetStrangers(now, &c.members)
	for i := range c.fetching.out {
		if c.members.get(c.fetching.out[i].to) == nil {
			c.fetching.out[i].until = now // the next Tick asks elsewhere
		}
	}
	c.relink(now)
}

// Progress tells the core where its member stands.
func (c *Core) Progress(now protocol.Instant, p Progress) {
	before := c.self
	c.self = p
	if p.Lost {
		c.seekLater(now)
	}
	if !c.started || p.Role != before.Role || p.Adrift != before.Adrift {
		c.started = true
		c.becomeRole(now, p)
	}
	if p.Leader != before.Leader {
		c.relink(now)
	}
	c.fresh.applied(p.Applied)
	c.fresh.holds(c.Longest(now), p.Tip)
	c.compareFresh(now)
	if p.Tip > c.given || len(c.ready.Runs) == 0 {
		c.given = p.Tip
	}
	c.seen.dropTo(p.Tip)
	c.buffer.dropTo(p.Tip)
	if c.follows() {
		c.deliver()
		return
	}
	c.pushTip(now)
}

// becomeRole starts afresh in a role: history is not pushed, and an active
// takes nothing from the flock unless it is adrift.
func (c *Core) becomeRole(now protocol.Instant, p Progress) {
	c.push.done, c.push.flushAt = p.Tip, never
	c.given = p.Tip
	c.buffer.clear()
	c.seen.clear()
	c.pulling.clear()
	c.ready.Runs = nil
	c.unlink(now)
}

// follows reports whether this member gets its entries from the flock. An
// active gets them from its leader, as long as it hears one. [S] One that does
// not may have been removed while it was away, and hears of it nowhere else.
func (c *Core) follows() bool { return c.self.Role != protocol.RoleActive || c.self.Adrift }

// takes reports whether this member takes entries from the flock now.
func (c *Core) takes() bool { return c.follows() && !c.wrong }

// source reports whether others may be fed from this member's log.
func (c *Core) source() bool { return c.self.Source && !c.wrong }

// Step takes a message from another member. Messages of other kinds than
// gossip's are ignored, and so is everything that makes no sense: what comes
// in was decoded, but not otherwise checked.
func (c *Core) Step(now protocol.Instant, from protocol.MemberID, msg protocol.Message) {
	if from == c.cfg.ID || from.IsZero() {
		return
	}
	switch msg := msg.(type) {
	case *protocol.Frame:
		c.onFrame(now, from, msg)
	case *protocol.Have:
		c.onHave(now, from, msg)
	case *protocol.Want:
		c.onWant(now, from, msg)
	case *protocol.Busy:
		c.onBusy(now, from, msg)
	case *protocol.SumQuestion:
		c.onSumQuestion(now, from, msg)
	case *protocol.SumAnswer:
		c.onSumAnswer(now, from, msg)
	case *protocol.Describe:
		c.onDescribe(now, from, msg)
	case *protocol.Description:
		c.onDescription(now, from, msg)
	case *protocol.ChunkWant:
		c.onChunkWant(now, from, msg)
	case *protocol.Chunk:
		c.onChunk(now, from, msg)
	case *protocol.Prune:
		c.onPrune(now, from)
	case *protocol.Graft:
		c.onGraft(now, from)
	}
}

// Tick tells the core that time passed.
func (c *Core) Tick(now protocol.Instant) {
	if c.given > c.self.Tip && len(c.ready.Runs) == 0 {
		// Runs were handed out and not taken (the disk is behind): offer them
		// again.
		c.given = c.self.Tip
		c.deliver()
	}
	if now >= c.push.flushAt {
		c.flush(now)
	}
	if now >= c.digest.at {
		c.sendDigests(now)
	}
	c.expirePulls(now)
	if now >= c.pulling.at {
		c.pull(now)
	}
	if now >= c.doubt.at {
		c.askSum(now)
	}
	if now >= c.links.refreshAt {
		c.refreshLinks(now)
	}
	c.expireAsks(now)
	if now >= c.seek.at {
		c.seekNow(now)
	}
}

// Deadline returns when Tick is wanted, at the latest.
func (c *Core) Deadline() protocol.Instant {
	return min(c.push.flushAt, c.digest.at, c.pulling.at, c.pulling.expiry(), c.doubt.at,
		c.links.refreshAt, c.seek.at, c.fetching.at, c.fetching.expiry())
}

// HasReady reports whether Ready would say anything.
func (c *Core) HasReady() bool {
	r := &c.ready
	return len(r.Messages) > 0 || len(r.Runs) > 0 || len(r.Reads) > 0 || len(r.Events) > 0 || r.Diverged != nil || r.Prove ||
		r.Offer != nil || r.Led != nil || len(r.Chunks) > 0 || len(r.ChunkReads) > 0
}

// Ready returns everything since the last call.
func (c *Core) Ready() Ready {
	out := c.ready
	c.ready = Ready{}
	return out
}

// Confirmed takes a freshness claim from this member's own rounds as leader. It is
// of this member's own history.
func (c *Core) Confirmed(f protocol.Fresh) {
	c.fresh.learn(pair{index: f.Index, sum: f.Sum.Head(), at: f.At, mine: true})
}

// Age returns an upper bound on the age of a state at applied: every write
// acknowledged longer ago is in it. False if nothing is known. It holds for
// the moment that now was read, and the wall clock as SetWallAhead was told. A member
// of another history than the actives' has no age.
func (c *Core) Age(now protocol.Instant, applied protocol.Index) (time.Duration, bool) {
	if c.wrong {
		return 0, false
	}
	return c.fresh.age(c.Longest(now), applied)
}

// Source returns how long ago it was true, at the youngest, that this member knew
// of the leader: by its own rounds, or by what others told when it asked. False:
// it never did. A state may be older, while it is brought up to date.
func (c *Core) Source(now protocol.Instant) (time.Duration, bool) {
	_, age, known := c.fresh.newest(c.Longest(now))
	return age, known
}

// Heard is what another member last said of itself. It is for display, and for
// the policy; no promise rests on it.
type Heard struct {
	ID      protocol.MemberID
	Applied protocol.Index
	Tip     protocol.Index
	// Diverged is where its log is of another history than the actives', as it
	// says; 0: nowhere.
	Diverged protocol.Index
	// AgeKnown says that Age was the bound on the age of the member's state at At.
	AgeKnown bool
	Age      time.Duration
	At       protocol.Instant // when it was heard, on this member's clock
}

// Heard returns what live members said of themselves, sorted by id. Members
// that have not been heard are missing.
func (c *Core) Heard() []Heard {
	var out []Heard
	for _, m := range c.members.all {
		if m.known {
			out = append(out, m.heard)
		}
	}
	return out
}

func (c *Core) send(to protocol.MemberID, msg protocol.Message) {
	c.ready.Messages = append(c.ready.Messages, protocol.Envelope{From: c.cfg.ID, To: to, Message: msg})
}

func (c *Core) event(kind protocol.EventKind, who protocol.MemberID, at protocol.Index, text string) {
	c.ready.Events = append(c.ready.Events, protocol.Event{
		Kind: kind, Term: c.self.Term, Index: at, Member: who, Text: text,
	})
}

// pick draws up to k distinct members of list, exclude excepted, into dst.
func (c *Core) pick(dst, list []*member, k int, exclude protocol.MemberID) []*member {
	k += len(dst)
	if len(list)+len(dst) <= k+1 {
		excluded := slices.ContainsFunc(list, func(m *member) bool { return m.id == exclude })
		if len(list)+len(dst) <= k || excluded { // few: all of them, in order
			for _, m := range list {
				if m.id != exclude {
					dst = append(dst, m)
				}
			}
			return dst
		}
	}
	for len(dst) < k {
		m := list[c.rng.IntN(len(list))]
		if m.id != exclude && !slices.Contains(dst, m) {
			dst = append(dst, m)
		}
	}
	return dst
}
