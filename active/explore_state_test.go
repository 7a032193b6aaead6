package active

import (
	"slices"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// world is one state of three members, their disks and the wire. It is never
// changed once it is made: an action makes another, which shares what is the
// same.
type world struct {
	nodes [3]*host
	wire  []*letter // a set
	// History, as far as the invariants need it.
	done    []mark   // what was ever committed, in order
	leaders [9]uint8 // by term: 1 + the number of who led it

	proposals, crashes, duplicates, compactions, waits int

	before *world // and the action that made this of it
	by     action
	depth  int
}

// mark is a committed entry.
type mark struct {
	term protocol.Term // of the entry
	data byte
	at   protocol.Term // in which it was committed
}

// host is one member with its disk.
type host struct {
	m       *Member
	log     []protocol.Entry // up to durable.begin as the state of a checkpoint
	durable image
	write   *protocol.Write
	entries []protocol.Entry   // of write
	ahead   *protocol.Ahead    // in flight, ahead of write
	voted   protocol.HardState // term and vote of the newest one that landed in this run
	// offered is the index of a checkpoint that a leader has offered, and
	// installing the one that is being fetched; 0 is none.
	offered, installing protocol.Index
	print               prints
}

// letter is a message under way.
type letter struct {
	protocol.Envelope
	print prints
}

// Fit lets one entry into an append, so that appends can be told apart.
func (h *host) Fit(first, _ protocol.Index, _ int) protocol.Index { return first }

// SumAt knows of no other history: reads are not explored.
func (h *host) SumAt(protocol.Index) (protocol.LogSum, bool) { return protocol.LogSum{}, true }

const standstill protocol.Instant = 1_000_000_000

func newWorld(b *bounds) *world {
	w := &world{}
	for i := range w.nodes {
		h := &host{durable: image{state: protocol.HardState{Term: protocol.Term(b.term)}, log: logOf(b.logs[i]...)}}
		for k := range h.durable.log {
			e := &h.durable.log[k]
			e.Data = []byte{byte('A' + e.Term)}
		}
		protocol.EncodeEntries(h.durable.log)
		w.nodes[i] = h
		h.boot(i)
		w.serve(i)
		h.seal(i)
	}
	return w
}

// boot starts a member from its disk.
func (h *host) boot(i int) {
	h.log, h.write, h.entries, h.offered, h.installing = slices.Clip(h.durable.log), nil, nil, 0, 0
	h.ahead, h.voted = nil, protocol.HardState{}
	start := Start{
		State:          h.durable.state,
		LogTerms:       shapeOf(h.log, h.durable.begin),
		Configurations: protocol.NewConfigurations(protocol.ConfigurationAt{Configuration: configurationOf("a", "b", "c")}),
	}
	start.State.Commit = max(start.State.Commit, h.durable.begin)
	h.m = New(standstill, Config{ID: idOf(string(rune('a' + i))), Run: 1, Seed: 1, AppendBytesMax: 1, NamedOnly: true}, start, h)
}

// clone copies a host so that it can take one more step.
func (h *host) clone() *host {
	n := *h
	n.log, n.durable.log = slices.Clip(h.log), slices.Clip(h.durable.log)
	m := *h.m
	n.m = &m
	m.log, m.values = &n, nil
	m.logTerms = m.logTerms.Clone()
	m.ballots = slices.Clone(m.ballots)
	m.disk.held = cloneHeld(m.disk.held)
	if f := m.disk.flight; f != nil {
		c := *f
		c.held = cloneHeld(c.held)
		m.disk.flight = &c
	}
	if a := m.disk.ahead; a != nil {
		c := *a
		m.disk.ahead = &c
	}
	if l := m.lead; l != nil {
		c := *l
		c.progress = slices.Clone(c.progress)
		for i := range c.progress {
			c.progress[i].flying.list = slices.Clone(c.progress[i].flying.list)
		}
		c.rounds, c.reads, c.batches = slices.Clone(c.rounds), slices.Clone(c.reads), slices.Clone(c.batches)
		m.lead = &c
	}
	return &n
}

// cloneHeld copies acknowledgements too: later ones are merged into them.
func cloneHeld(list []held) []held {
	list = slices.Clone(list)
	for i := range list {
		if a, ok := list[i].msg.(*protocol.AppendAnswer); ok {
			c := *a
			list[i].msg = &c
		}
	}
	return list
}

// after makes one action and checks the invariants.
func (w *world) after(b *bounds, a action) *world {
	n := *w
	n.wire, n.done = slices.Clone(w.wire), slices.Clip(w.done)
	n.before, n.by, n.depth = w, a, w.depth+1
	if a.kind == actDeliver || a.kind == actLose {
		n.wire = slices.DeleteFunc(n.wire, func(l *letter) bool { return l == a.message })
	}
	if a.kind == actLose {
		return &n
	}
	was := w.nodes[a.node]
	h := was.clone()
	n.nodes[a.node] = h
	switch a.kind {
	case actCampaign:
		h.m.campaign(true)
	case actStepDown:
		h.m.stepDown("it likes to")
	case actPropose:
		n.proposals++
		_, err := h.m.Propose(standstill, []Proposal{{Kind: protocol.EntryCommand, Data: []byte{byte('0' + n.proposals)}}})
		invariant.Check(err == nil, "a leader refuses a proposal: %v", err)
	case actPersist, actWait, actRoom, actAhead, actCrash, actCrashLate, actCrashVoted:
		n.disk(h, a)
	case actCompact:
		n.compactions++
		at := h.compactable()
		h.durable.begin = at
		h.m.DropHead(at, sumOf(h.log[:at]))
	case actFetch:
		h.offered, h.installing = 0, h.offered
		h.m.SetInstalling(standstill, true)
	case actInstall:
		n.install(h)
	case actDuplicate, actDeliver:
		if a.kind == actDuplicate {
			n.duplicates++
		}
		h.m.Step(standstill, a.message.From, a.message.Message)
	}
	n.serve(a.node)
	h.seal(a.node)
	n.check(a.node, was)
	n.tidy()
	return &n
}

// disk makes an action of a host's disk.
func (w *world) disk(h *host, a action) {
	switch a.kind {
	case actPersist:
		id := h.write.ID
		h.land()
		h.m.SetWaiting(standstill, false)
		h.m.Persisted(standstill, id)
		h.checkKnown()
	case actWait:
		w.waits++
		h.m.SetWaiting(standstill, true)
	case actRoom:
		h.m.SetWaiting(standstill, false)
	case actAhead:
		id := h.ahead.ID
		h.landAhead()
		h.m.Persisted(standstill, id)
		h.checkKnown()
	case actCrash, actCrashLate, actCrashVoted:
		w.crashes++
		switch a.kind {
		case actCrashLate:
			h.land()
		case actCrashVoted:
			h.landAhead()
		}
		h.boot(a.node)
	}
}

// checkKnown: a member whose disk has answered knows which term and vote are there. Of more
// it would release what a crash takes back; of less, it would write them again.
func (h *host) checkKnown() {
	known, state := h.m.disk.durable, h.durable.state
	invariant.Check(known.Term == state.Term && known.Vote == state.Vote,
		"%s takes %v for durable, on its disk is %v", nameOf(h.m.cfg.ID), known, state)
}

// compactable returns up to where a member may drop its log's head: what it
// knows to be committed, and has on disk.
func (h *host) compactable() protocol.Index {
	at := min(h.m.hard.Commit, protocol.Index(len(h.durable.log)))
	if !slices.EqualFunc(h.log[:at], h.durable.log[:at], sameEntry) {
		return 0
	}
	return at
}

// install puts the checkpoint that a host fetched in place: one at an index has
// what was ever committed up to there, whoever it comes from.
func (w *world) install(h *host) {
	at := h.installing
	state := make([]protocol.Entry, at)
	for i, d := range w.done[:at] {
		state[i] = protocol.Entry{Index: protocol.Index(i + 1), Term: d.term, Kind: protocol.EntryCommand, Data: []byte{d.data}}
		if d.data == 0 {
			state[i].Kind, state[i].Data = protocol.EntryNoop, nil
		}
	}
	protocol.EncodeEntries(state)
	if int(at) > len(h.log) || !sameEntry(h.log[at-1], state[at-1]) {
		h.durable = image{state: h.durable.state, log: state, begin: at}
		h.durable.state.Commit = at
		h.log = slices.Clip(state)
	}
	h.installing = 0
	base := protocol.ConfigurationAt{Configuration: configurationOf("a", "b", "c")}
	h.m.Install(standstill, protocol.Begin{Index: at, Term: state[at-1].Term, Sum: sumOf(state), Configuration: base})
}

// serve takes what a member has to say.
func (w *world) serve(i int) {
	h := w.nodes[i]
	for h.m.HasReady() {
		r := h.m.Ready()
		if r.Delta.Truncate {
			h.log = slices.Clip(h.log[:r.Delta.After])
		}
		h.log = append(slices.Clip(h.log), r.Delta.Entries...)
		if o := r.Checkpoint; o != nil {
			h.offered = protocol.Index(o.Manifest[0])
		}
		if r.Write != nil {
			invariant.Check(h.write == nil, "two writes in flight")
			h.write, h.entries = r.Write, nil
			if !r.Write.Empty() {
				h.entries = slices.Clip(h.log[r.Write.First-1 : r.Write.Last])
			}
		}
		if r.Ahead != nil {
			invariant.Check(h.ahead == nil && h.write != nil, "a vote ahead of nothing, or two")
			h.ahead = r.Ahead
		}
		for _, e := range r.Messages {
			switch msg := e.Message.(type) {
			case *protocol.HeartbeatAnswer:
				continue
			case *protocol.Heartbeat:
				if msg.Commit == 0 {
					continue // an append says as much
				}
			case *protocol.Append:
				invariant.Check(msg.PrevIndex >= h.durable.begin, "an append follows %d, the log begins at %d", msg.PrevIndex, h.durable.begin+1)
				msg.Entries = slices.Clip(h.log[msg.PrevIndex:msg.Last])
			case *protocol.InstallCheckpoint:
				msg.Manifest = []byte{byte(h.durable.begin)}
			}
			l := &letter{Envelope: e}
			l.seal()
			if !slices.ContainsFunc(w.wire, func(other *letter) bool { return other.print == l.print }) {
				w.wire = append(w.wire, l)
			}
		}
	}
}

// land makes the write in flight durable, raised to the votes that went ahead of it.
func (h *host) land() {
	w := h.write
	if w == nil {
		return
	}
	log := h.durable.log
	if w.Truncate && int(w.After) < len(log) {
		log = log[:w.After]
	}
	if !w.Empty() {
		invariant.Check(int(w.First) == len(log)+1, "write of %d..%d on a disk that ends at %d", w.First, w.Last, len(log))
		log = append(slices.Clip(log), h.entries...)
	}
	state := w.State.Noting(h.voted.Term, h.voted.Vote)
	mayFollow(nameOf(h.m.cfg.ID), h.durable.state, state)
	h.durable.state, h.durable.log = state, slices.Clip(log)
	h.write, h.entries = nil, nil
}

// landAhead makes the vote durable that is in flight ahead of a write. The entries and the
// commit index on the disk stay what they are.
func (h *host) landAhead() {
	h.durable.state = votedAhead(nameOf(h.m.cfg.ID), h.durable.state, h.ahead)
	h.voted = h.voted.Noting(h.ahead.Term, h.ahead.Vote)
	h.ahead = nil
}

// tidy takes off the wire what can change nothing any more: its receiver has a
// higher term on disk, or is not what the answer is for and cannot become it.
func (w *world) tidy() {
	w.wire = slices.DeleteFunc(w.wire, func(l *letter) bool {
		h := w.nodes[indexOf(l.To)]
		switch msg := l.Message.(type) {
		case *protocol.Vote:
			return msg.Term < h.durable.state.Term
		case *protocol.Append:
			return msg.Term < h.durable.state.Term
		case *protocol.InstallCheckpoint:
			return msg.Term < h.durable.state.Term
		case *protocol.Heartbeat:
			return msg.Term < h.durable.state.Term
		case *protocol.VoteAnswer:
			return msg.Term < h.m.hard.Term || msg.Term == h.m.hard.Term && h.m.state != StateCandidate
		case *protocol.AppendAnswer:
			return msg.Term < h.m.hard.Term || msg.Term == h.m.hard.Term && h.m.state != StateLeader
		}
		return false
	})
}

// check holds the state to the invariants of the paper's figure 3, as far as
// the step of one member can have broken them.
func (w *world) check(i int, was *host) {
	h := w.nodes[i]
	if h.m.state == StateLeader {
		t := h.m.hard.Term
		led := w.leaders[t]
		invariant.Check(led == 0 || int(led) == i+1, "election safety: two members lead term %d", t)
		w.leaders[t] = uint8(i + 1)
		if was.m.state == StateLeader && was.m.hard.Term == t {
			invariant.Check(len(h.log) >= len(was.log) && slices.EqualFunc(h.log[:len(was.log)], was.log, sameEntry),
				"leader append-only: the leader of term %d changed its log", t)
		}
	}
	for k, other := range w.nodes {
		if k == i {
			continue
		}
		same := false
		for at := min(len(h.log), len(other.log)) - 1; at >= 0; at-- {
			if h.log[at].Term == other.log[at].Term {
				same = true
			}
			invariant.Check(!same || sameEntry(h.log[at], other.log[at]), "log matching: two logs differ at %d, and agree above", at+1)
		}
	}
	for at := range int(h.m.hard.Commit) {
		e := h.log[at]
		if at < len(w.done) {
			invariant.Check(w.done[at].term == e.Term && w.done[at].data == dataOf(e), "state machine safety: %d is committed with two contents", at+1)
			continue
		}
		w.done = append(w.done, mark{term: e.Term, data: dataOf(e), at: h.m.hard.Term})
		w.checkDurable(at, e)
	}
	for _, other := range w.nodes {
		if other.m.state != StateLeader {
			continue
		}
		for at, d := range w.done {
			invariant.Check(d.at >= other.m.hard.Term || at < len(other.log) && other.log[at].Term == d.term,
				"leader completeness: the leader of term %d lacks %d, committed in term %d", other.m.hard.Term, at+1, d.at)
		}
	}
}

// checkDurable: what is committed is on a majority of disks.
func (w *world) checkDurable(at int, e protocol.Entry) {
	have := 0
	for _, h := range w.nodes {
		if at < len(h.durable.log) && sameEntry(h.durable.log[at], e) {
			have++
		}
	}
	invariant.Check(have >= 2, "durability: %d is committed, and on %d disks", at+1, have)
}

func sameEntry(a, b protocol.Entry) bool { return a.Term == b.Term && dataOf(a) == dataOf(b) }

// dataOf returns what tells entries of one place and term apart; 0 of a no-op.
func dataOf(e protocol.Entry) byte {
	if len(e.Data) == 0 {
		return 0
	}
	return e.Data[0]
}
