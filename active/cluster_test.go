package active

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// A cluster of cores in one goroutine, for tests: an owner for each member, a
// network that is a list, disks that are copies, and the checker, which looks
// on. Nothing happens unless a test makes it happen.

type cluster struct {
	tampered bool // with directories
	now      protocol.Instant
	base     protocol.ConfigurationAt // known to all where the log begins
	nodes    []*node                  // by id
	wire     []protocol.Envelope      // under way, oldest first
	cut      map[[2]protocol.MemberID]bool
	check    *checker
	trace    func(format string, args ...any)
	loud     bool // somebody reads the trace
	tune     func(*Config)
	solo     bool // the others are played by the test
	ahead    int  // votes that landed ahead of what waits
}

// image is what a disk holds. The state of a checkpoint at index i is all
// entries up to i: log has those of the checkpoint, up to begin, and after them
// those of the log, which begins there.
type image struct {
	state protocol.HardState
	log   []protocol.Entry
	begin protocol.Index
}

// node owns one member: active if m is set, else passive, unless it is down.
type node struct {
	id   protocol.MemberID
	name string
	down bool
	runs int
	m    *Member
	// state is the hard state in memory while it is passive.
	state protocol.HardState
	log   []protocol.Entry // in memory; index i at log[i-1]
	begin protocol.Index   // the log begins after it; what lies below is the state of a checkpoint

	offered    *offer // by a leader, not taken up yet
	installing *offer // being fetched

	durable image
	write   *protocol.Write    // in flight
	entries []protocol.Entry   // of write
	async   bool               // writes wait for persist
	full    bool               // there is no room for them
	spare   int                // bytes that a full disk takes all the same: the rest of a segment
	ahead   *protocol.Ahead    // in flight, ahead of write
	voted   protocol.HardState // term and vote of the newest one that landed

	reads []protocol.Read
	fresh []protocol.Fresh
	// putBack are those whom it has condemned, stop is why it stops.
	putBack []protocol.RunOf
	stop    error
	old     *image // a copy of its disk
}

func idOf(name string) protocol.MemberID {
	var id protocol.MemberID
	copy(id[:], name)
	return id
}

func nameOf(id protocol.MemberID) string {
	if id.IsZero() {
		return "-"
	}
	n := slices.Index(id[:], 0)
	return string(id[:n])
}

func configurationOf(voters ...string) protocol.Configuration {
	var c protocol.Configuration
	for _, v := range voters {
		c = c.With(protocol.ActiveMember{ID: idOf(v), Name: v, Suffrage: protocol.SuffrageVoter})
	}
	return c
}

func newCluster(voters ...string) *cluster {
	c := &cluster{
		now: 1_000_000_000, base: protocol.ConfigurationAt{Configuration: configurationOf(voters...)},
		cut: map[[2]protocol.MemberID]bool{}, check: newChecker(),
		trace: func(string, ...any) {}, tune: func(*Config) {},
	}
	for _, v := range voters {
		c.add(v, image{})
	}
	return c
}

// add starts a node over what its disk holds.
func (c *cluster) add(name string, disk image) *node {
	n := &node{id: idOf(name), name: name, durable: disk}
	c.nodes = append(c.nodes, n)
	slices.SortFunc(c.nodes, func(a, b *node) int { return a.id.Compare(b.id) })
	c.start(n, false)
	return n
}

func (c *cluster) node(name string) *node {
	for _, n := range c.nodes {
		if n.name == name {
			return n
		}
	}
	panic("no member " + name)
}

func (c *cluster) member(name string) *Member { return c.node(name).m }

func (c *cluster) byID(id protocol.MemberID) *node { return c.node(nameOf(id)) }

// start begins a run with what is on disk. [S] after a restart the recorded
// commit index is a lower bound: an active keeps what lies above it, a passive
// drops it.
func (c *cluster) start(n *node, taking bool) {
	n.down, n.write, n.m, n.ahead, n.voted = false, nil, nil, nil, protocol.HardState{}
	n.runs++
	n.log, n.begin = slices.Clone(n.durable.log), n.durable.begin
	n.state = n.durable.state
	n.state.Commit = max(n.state.Commit, n.begin)
	n.offered, n.installing = nil, nil
	configs := c.configurations(n)
	if configs.RoleOf(n.id, n.state.Commit, len(n.log) == 0) == protocol.RoleActive {
		c.becomeActive(n, taking)
	} else {
		n.log = n.log[:n.state.Commit]
		n.durable.log = n.durable.log[:n.state.Commit]
	}
	c.check.committed(c, n, n.state.Commit)
	c.settle(n)
}

// crash loses what is not durable.
func (c *cluster) crash(n *node) { n.down, n.m, n.write = true, nil, nil }

func (c *cluster) configurations(n *node) protocol.Configurations {
	if n.m != nil {
		return n.m.Configurations().Clone()
	}
	return configurationsOf(c.base, n.log)
}

func configurationsOf(base protocol.ConfigurationAt, log []protocol.Entry) protocol.Configurations {
	out := protocol.NewConfigurations(base)
	for _, e := range log {
		if e.Kind == protocol.EntryConfiguration {
			conf, err := protocol.DecodeConfiguration(e.Data)
			if err != nil {
				panic(err)
			}
			out.Append(protocol.ConfigurationAt{Index: e.Index, Configuration: conf})
		}
	}
	return out
}

func (c *cluster) becomeActive(n *node, taking bool) {
	cfg := LAN
	cfg.ID, cfg.Run, cfg.Seed = n.id, protocol.RunID(100*n.runs)+protocol.RunID(n.id[0]), uint64(n.runs)<<32|uint64(n.id[0])
	c.tune(&cfg)
	start := Start{State: n.state, Configurations: configurationsOf(c.base, n.log), Taking: taking}
	start.LogTerms = shapeOf(n.log, n.begin)
	start.Configurations.DropHead(n.begin)
	if len(n.log) > 0 {
		start.LastTime = n.log[len(n.log)-1].Time
	}
	n.m = New(c.now, cfg, start, n)
	if n.installing != nil {
		n.m.SetInstalling(c.now, true)
	}
}

// Fit lets a node be the member's Log.
func (n *node) Fit(first, last protocol.Index, bytes int) protocol.Index {
	invariant.Check(first > n.begin, "%s is asked for %d, its log begins at %d", n.name, first, n.begin+1)
	size, i := len(n.log[first-1].Raw), first
	for i < last && size+len(n.log[i].Raw) <= bytes {
		size += len(n.log[i].Raw)
		i++
	}
	return i
}

// SumAt reckons the sum anew: the log of a node is short.
func (n *node) SumAt(i protocol.Index) (protocol.LogSum, bool) { return sumOf(n.log[:i]), true }

func (n *node) commit() protocol.Index {
	if n.m != nil {
		return n.m.hard.Commit
	}
	return n.state.Commit
}

// settle serves Readies until there are none, and judges the role at the end.
func (c *cluster) settle(n *node) {
	for {
		for n.m != nil && n.m.HasReady() {
			c.serve(n)
		}
		if !c.judge(n) {
			break
		}
	}
	c.check.observe(c, n)
}

func (c *cluster) judge(n *node) bool {
	configs := c.configurations(n)
	role := configs.RoleOf(n.id, n.commit(), len(n.log) == 0)
	switch {
	case n.m == nil && role == protocol.RoleActive:
		c.trace("%s takes the active role", n.name)
		c.becomeActive(n, true)
	case n.m != nil && role == protocol.RolePassive:
		c.trace("%s becomes passive", n.name)
		n.state = n.m.HardState()
		n.m, n.write, n.ahead = nil, nil, nil
		n.log = n.log[:n.state.Commit]
		n.durable = image{n.state, slices.Clone(n.log), n.begin}
	default:
		return false
	}
	return true
}

// serve takes one Ready, in the order of safety.
func (c *cluster) serve(n *node) {
	r := n.m.Ready()
	for _, e := range r.Events {
		if c.loud {
			c.traceEvent(n, e)
		}
	}
	if r.Delta.Truncate {
		c.check.truncated(n, r.Delta.After)
		n.log = slices.Clone(n.log[:r.Delta.After])
	}
	for _, e := range r.Delta.Entries {
		invariant.Check(int(e.Index) == len(n.log)+1, "delta has %s at %d", e, len(n.log)+1)
		n.log = append(n.log, e)
	}
	if r.Write != nil {
		invariant.Check(n.write == nil, "two writes in flight")
		n.write = r.Write
		n.entries = nil
		if r.Write.SyncAll {
			n.entries = slices.Clone(n.log[:r.Write.Last])
		} else if !r.Write.Empty() {
			n.entries = slices.Clone(n.log[r.Write.First-1 : r.Write.Last])
		}
		if c.loud {
			c.trace("%s writes %s", n.name, describeWrite(r.Write))
		}
	}
	if r.Ahead != nil {
		invariant.Check(n.ahead == nil && n.write != nil, "a vote ahead of nothing, or two")
		n.ahead = r.Ahead
	}
	for _, e := range r.Messages {
		switch a := e.Message.(type) {
		case *protocol.Append:
			invariant.Check(a.PrevIndex >= n.gives(), "%s sends what follows %d, it has entries from %d on", n.name, a.PrevIndex, n.gives()+1)
			a.Entries = slices.Clone(n.log[a.PrevIndex:a.Last])
		case *protocol.InstallCheckpoint:
			a.Manifest = fmt.Append(nil, n.gives())
		}
		c.send(e)
	}
	if o := r.Checkpoint; o != nil {
		n.offered = offerOf(o)
	}
	for _, read := range r.Reads {
		c.trace("%s read %d of run %d: index=%d %s", n.name, read.Request, read.Run, read.Index, read.Code)
	}
	for _, f := range r.Fresh {
		c.trace("%s is fresh: index=%d %v ago", n.name, f.Index, n.m.Longest(c.now).Sub(f.At))
	}
	c.histories(n, &r)
	n.reads = append(n.reads, r.Reads...)
	n.fresh = append(n.fresh, r.Fresh...)
	c.check.fresh(c, r.Fresh)
	c.check.committed(c, n, r.Commit)
	if n.write != nil && !n.async {
		c.persist(n)
	}
}

func (c *cluster) send(e protocol.Envelope) {
	if c.loud {
		c.trace("  %s->%s %s", nameOf(e.From), nameOf(e.To), describe(e.Message))
	}
	c.wire = append(c.wire, e)
}

// land makes the write in flight durable, without telling the member.
func (n *node) land() {
	w := n.write
	state := w.State.Noting(n.voted.Term, n.voted.Vote)
	mayFollow(n.name, n.durable.state, state)
	if w.SyncAll {
		n.durable = image{state, n.entries, n.begin}
		return
	}
	if w.Truncate && int(w.After) < len(n.durable.log) {
		n.durable.log = slices.Clone(n.durable.log[:w.After])
	}
	if !w.Empty() {
		invariant.Check(int(w.First) == len(n.durable.log)+1, "write of %d..%d on a disk that ends at %d", w.First, w.Last, len(n.durable.log))
		n.durable.log = append(slices.Clone(n.durable.log), n.entries...)
	}
	n.durable.state = state
}

// persist makes the write in flight durable and says so.
func (c *cluster) persist(n *node) {
	if n.write == nil || n.full && !n.takes() {
		c.waits(n)
		return
	}
	n.land()
	id := n.write.ID
	n.write = nil
	n.m.SetWaiting(c.now, false)
	n.m.Persisted(c.now, id)
	c.waits(n)
}

// deliver takes message i off the wire and hands it over.
func (c *cluster) deliver(i int) {
	e := c.wire[i]
	c.wire = slices.Delete(c.wire, i, i+1)
	to := c.byID(e.To)
	if c.cut[[2]protocol.MemberID{e.From, e.To}] || to.down || c.byID(e.From).down {
		c.trace("%s loses %s from %s", to.name, e.Message.Kind(), nameOf(e.From))
		return
	}
	c.trace("%s takes %s from %s", to.name, e.Message.Kind(), nameOf(e.From))
	c.step(to, e.From, e.Message)
}

func (c *cluster) step(to *node, from protocol.MemberID, msg protocol.Message) {
	switch a := msg.(type) {
	case *protocol.Append:
		if to.m == nil {
			c.passiveAppend(to, from, a)
		}
	case *protocol.InstallCheckpoint:
		if to.m == nil {
			to.offered = offerOf(&protocol.ManifestOffer{From: from, Manifest: a.Manifest})
			c.passiveAppend(to, from, &protocol.Append{Term: a.Term})
		}
	}
	if to.m != nil {
		to.m.Step(c.now, from, msg)
	}
	c.settle(to)
}

// passiveAppend is the passive role in short: it takes an append as a frame.
func (c *cluster) passiveAppend(n *node, from protocol.MemberID, a *protocol.Append) {
	n.state.Term = max(n.state.Term, a.Term)
	for _, e := range a.Entries {
		if e.Index == protocol.Index(len(n.log))+1 && e.Index <= a.Commit {
			n.log = append(n.log, e)
			n.state.Commit = e.Index
		}
	}
	c.check.committed(c, n, n.state.Commit)
	c.send(protocol.Envelope{From: n.id, To: from, Message: &protocol.AppendAnswer{
		Term: n.state.Term, Passive: true, Index: protocol.Index(len(n.log)),
	}})
}

// take over lets the flock bring committed entries of one node to another.
func (c *cluster) adopt(to, from *node, first, last protocol.Index) Verdict {
	run := Run{From: from.id, Entries: slices.Clone(from.log[first-1 : last]), Commit: from.commit()}
	if to.m != nil {
		v := to.m.CatchUp(c.now, run)
		c.settle(to)
		return v
	}
	for _, e := range run.Entries { // the passive role in short
		if e.Index == protocol.Index(len(to.log))+1 && e.Index <= run.Commit {
			to.log = append(to.log, e)
			to.state.Commit = e.Index
			if e.Term > to.state.Term {
				to.state.Term, to.state.Vote = e.Term, protocol.MemberID{}
			}
		}
	}
	c.check.committed(c, to, to.state.Commit)
	c.settle(to)
	return CaughtUp
}

// stabilize delivers in order until nothing is under way.
func (c *cluster) stabilize() {
	for round := 0; len(c.wire) > 0; round++ {
		invariant.Check(round < 100_000, "the cluster does not settle")
		c.deliver(0)
	}
}

// tick lets time pass in one step and wakes all, or those named.
func (c *cluster) tick(d time.Duration, names ...string) {
	c.now = c.now.Add(d)
	for _, n := range c.nodes {
		if n.m != nil && (len(names) == 0 || slices.Contains(names, n.name)) {
			n.m.Tick(c.now)
			c.settle(n)
		}
	}
}

// pass lets time pass in small steps with everything delivered in between.
func (c *cluster) pass(d time.Duration) {
	for end := c.now.Add(d); c.now < end; {
		c.tick(25 * time.Millisecond)
		c.stabilize()
	}
}

// campaign lets a member's election timeout pass now.
func (c *cluster) campaign(name string) {
	n := c.node(name)
	n.m.electionAt = c.now
	n.m.Tick(c.now)
	c.settle(n)
}

func (c *cluster) propose(name string, data ...string) (protocol.Index, error) {
	n := c.node(name)
	list := make([]Proposal, len(data))
	for i := range data {
		list[i] = Proposal{Kind: protocol.EntryCommand, Data: []byte(data[i])}
	}
	first, err := n.m.Propose(c.now, list)
	c.settle(n)
	return first, err
}

func (c *cluster) change(name string, next protocol.Configuration) (protocol.Index, error) {
	n := c.node(name)
	i, err := n.m.ProposeConfiguration(c.now, n.m.current.Index, next)
	c.settle(n)
	return i, err
}

func (c *cluster) partition(sides ...[]string) {
	clear(c.cut)
	side := map[protocol.MemberID]int{}
	for i, names := range sides {
		for _, name := range names {
			side[idOf(name)] = i + 1
		}
	}
	for _, a := range c.nodes {
		for _, b := range c.nodes {
			if side[a.id] != side[b.id] {
				c.cut[[2]protocol.MemberID{a.id, b.id}] = true
			}
		}
	}
}

func (c *cluster) heal() { clear(c.cut) }

// leader returns the leader of the highest term, nil without one.
func (c *cluster) leader() *node {
	var found *node
	for _, n := range c.nodes {
		if n.m != nil && n.m.state == StateLeader && (found == nil || n.m.hard.Term > found.m.hard.Term) {
			found = n
		}
	}
	return found
}
