package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

// A leader hands its core at most this much at once, so that an overload
// refuses only what is beyond the limit.
const (
	proposeMax      = 1024
	proposeBytesMax = 1 << 20
	// entryOverhead is more than an entry has around its data.
	entryOverhead = 64
	// commandBytesMax limits an encoded command, in the log and on the way to
	// the leader, whose end of the link breaks on a longer one.
	commandBytesMax = protocol.EntryBytesMax - entryOverhead
)

// requests are the clients' commands and reads that wait for something. Lists
// are in order of age, so that nothing depends on the order of a map.
type requests struct {
	run protocol.RunID

	// commands have been submitted and wait for the end of this step.
	commands []command
	// reads wait likewise; one read index serves all of them.
	reads []uint64

	next      uint64
	proposed  []proposed // by index; only while this member leads
	gathered  gathering  // only while this member leads
	abroad    abroad
	asked     []readGroup // by until
	transfers []transfer
	proofs    []proof    // by until; only while this member leads
	changes   []changing // by index; only while this member leads
}

// command is one to propose or to forward, and whom to answer.
type command struct {
	from    origin
	encoded []byte
	checked bool // nothing is left to refuse, and it is no keep-alive
}

// origin is who wants an answer: a request of this member, or another member
// that forwarded one.
type origin struct {
	request uint64
	member  protocol.MemberID // zero: this member
	run     protocol.RunID
}

// proposed is a command in the log of this leader.
type proposed struct {
	index protocol.Index
	term  protocol.Term
	from  origin
	// gathered, if not nil, are those of a list of keep-alives.
	gathered []origin
}

// readGroup is a set of reads that one read index answers.
type readGroup struct {
	id       uint64
	requests []uint64
	to       protocol.MemberID // the leader that was asked
	until    protocol.Instant
	// held is what was known here to be committed when the leader was asked. What
	// came later says nothing about the answer.
	held     protocol.Index
	answered bool
	by       protocol.MemberID // whose answer it is, if not the one of this member's own core
	index    protocol.Index
	sum      protocol.LogSum // the leader's, at index
	// compared says that this member's log has the same sum there.
	compared bool
}

func (q *requests) init(run protocol.RunID) { q.run = run }

// patience is how long the leader may stay silent about what it was asked for or
// after, as long as nothing else says that it leads no more: an election takes
// about as long.
func (r *Replica) patience() time.Duration { return 4 * r.cfg.Active.Election }

// Submission is one command of a client.
type Submission struct {
	Request uint64
	Command []byte
	// Checked says that the submitter has asked Config.Accepts, that the
	// encoding is good, and that it is no keep-alive of a session: those of many
	// sessions share an entry.
	Checked bool
}

// Submit takes encoded commands of clients: all that wait, so that they share one
// step: one batch, one append, one sync. Each is answered once, by an Answer with the
// same request number. Codes that a client may retry with the same session and
// sequence: not_leader, no_leader, overloaded, no_space_here, unknown_outcome.
func (r *Replica) Submit(now protocol.Instant, list ...Submission) {
	for _, s := range list {
		r.requests.commands = append(r.requests.commands, command{from: origin{request: s.Request}, encoded: s.Command, checked: s.Checked})
	}
	r.pump(now)
}

// Read asks for an index at which linearizable reads may be served. The reads
// of one call share one question. Each is answered by a ReadAnswer, once the
// state has reached the index.
func (r *Replica) Read(now protocol.Instant, list ...uint64) {
	r.requests.reads = append(r.requests.reads, list...)
	r.pump(now)
}

// answer tells whoever wanted to know.
func (r *Replica) answer(o origin, result protocol.Result) {
	if o.member.IsZero() {
		r.out.answer(o.request, result)
		return
	}
	r.out.Send = append(r.out.Send, Send{Envelope: protocol.Envelope{From: r.cfg.ID, To: o.member, Message: &protocol.ForwardAnswer{
		Run: o.run, Request: o.request, Leader: r.leader(), Term: r.leaderTerm(), Result: result,
	}}})
}

// flush proposes or forwards what was submitted, and asks for read indexes.
func (q *requests) flush(now protocol.Instant, r *Replica) {
	if len(q.commands) > 0 {
		list := q.commands
		q.commands = nil
		if r.log.leads() {
			q.propose(now, list, r)
		} else {
			r.forward(now, list)
		}
	}
	if len(q.reads) > 0 {
		list := q.reads
		q.reads = nil
		q.ask(now, list, r)
	}
}

// propose hands commands to the core, in batches.
func (q *requests) propose(now protocol.Instant, list []command, r *Replica) {
	allCan, roomy := r.allCan(), r.heirs.lacks(r) == ""
	list = slices.DeleteFunc(list, func(c command) bool {
		if c.checked && allCan && roomy {
			return false
		}
		decoded, err := r.check(c.encoded)
		if err == nil && !allCan {
			err = r.checkType(&decoded)
		}
		if err == nil && !roomy {
			err = r.heirs.checkRoom(&decoded, r)
		}
		if err != nil {
			r.answer(c.from, protocol.Failed(withoutRoom(err, r)))
			return true
		}
		return q.gather(now, &decoded, c.from, r)
	})
	for len(list) > 0 {
		n, bytes := 0, 0
		for n < len(list) && n < proposeMax && (n == 0 || bytes+len(list[n].encoded) <= proposeBytesMax) {
			bytes += len(list[n].encoded)
			n++
		}
		q.proposeBatch(now, list[:n], r)
		list = list[n:]
	}
}

func (q *requests) proposeBatch(now protocol.Instant, batch []command, r *Replica) {
	proposals := make([]active.Proposal, len(batch))
	for i := range batch {
		proposals[i] = active.Proposal{Kind: protocol.EntryCommand, Data: batch[i].encoded}
	}
	first, err := r.log.lead().Propose(now, proposals)
	if err != nil {
		for i := range batch {
			r.answer(batch[i].from, protocol.Failed(err))
		}
		return
	}
	term := r.log.lead().Term()
	for i := range batch {
		q.proposed = append(q.proposed, proposed{index: first + protocol.Index(i), term: term, from: batch[i].from})
	}
}

// check refuses a command that must not reach the log.
func (r *Replica) check(encoded []byte) (protocol.Command, error) {
	if len(encoded) > commandBytesMax {
		return protocol.Command{}, errCommandTooLarge(encoded)
	}
	c, err := protocol.DecodeCommand(encoded)
	if err == nil && r.cfg.Accepts != nil {
		err = r.cfg.Accepts(&c)
	}
	return c, err
}

func errCommandTooLarge(encoded []byte) error {
	return protocol.ErrTooLarge.With(fmt.Sprintf("the command has %d bytes, the limit is %d", len(encoded), commandBytesMax))
}

// applied answers the commands of a batch.
func (q *requests) applied(batch []protocol.Entry, results []protocol.Result, r *Replica) {
	for len(q.proposed) > 0 && q.proposed[0].index <= batch[len(batch)-1].Index {
		p := q.proposed[0]
		q.proposed = q.proposed[1:]
		if p.index < batch[0].Index {
			continue
		}
		at := p.index - batch[0].Index
		if batch[at].Term != p.term { // another leader's entry took the place: ours will never be
			p.tell(r, protocol.Failed(protocol.ErrNotLeader))
			continue
		}
		result := results[at]
		result.Index = p.index
		p.tell(r, result)
	}
	q.serveReads(r)
}

// skipped answers what the state has passed over by adopting another member's:
// that has the effects, but not the answers.
func (q *requests) skipped(to protocol.Index, r *Replica) {
	for len(q.proposed) > 0 && q.proposed[0].index <= to {
		p := q.proposed[0]
		q.proposed = q.proposed[1:]
		p.tell(r, protocol.Failed(protocol.ErrUnknownOutcome.With("the state came from another member; the write may have happened")))
	}
	q.serveReads(r)
}

// follow notices that this member no longer leads.
func (q *requests) follow(now protocol.Instant, r *Replica) {
	if !r.log.leads() {
		if len(q.proposed) > 0 {
			q.leaderLost(r)
		}
		q.changesLost(r, errLeaderLost)
		if len(q.proofs) > 0 {
			q.unproven(func(*proof) bool { return true }, r.notLeading(), r)
		}
		q.turnAway(r)
	}
	q.transferred(now, r)
}

// leaderLost tells everybody who waits for this leader's entries that the
// outcome is open. What is committed only waits to be applied: so a leader that
// was removed can answer whoever removed it.
func (q *requests) leaderLost(r *Replica) { q.giveUp(r, r.log.commit) }

// errLeaderLost is the error of what was proposed by a leader that is none any more.
var errLeaderLost = protocol.ErrUnknownOutcome.With("the leader lost its leadership; the write may have happened")

// giveUp fails what was proposed above an index.
func (q *requests) giveUp(r *Replica, above protocol.Index) {
	n := 0
	for n < len(q.proposed) && q.proposed[n].index <= above {
		n++
	}
	list := q.proposed[n:]
	q.proposed = q.proposed[:n:n]
	for _, p := range list {
		p.tell(r, protocol.Failed(errLeaderLost))
	}
}

// expire asks after what the leader has not answered, and gives up on what it has
// said nothing about.
func (q *requests) expire(now protocol.Instant, r *Replica) {
	r.askAfter(now)
	q.transferred(now, r)
	q.unsettled(now, r)
	for len(q.asked) > 0 && q.asked[0].until <= now {
		if g := q.asked[0]; g.answered { // the state has not got there yet
			q.asked[0].until = now.Add(r.patience())
			q.resortReads()
			continue
		}
		q.failGroup(0, protocol.ErrNoLeader.With("the leader did not answer a read"), r)
	}
}

// deadline returns when expire has something to do.
func (q *requests) deadline() (protocol.Instant, bool) {
	at, ok := q.abroad.deadline()
	if len(q.asked) > 0 && (!ok || q.asked[0].until < at) {
		at, ok = q.asked[0].until, true
	}
	if len(q.proofs) > 0 && (!ok || q.proofs[0].until < at) {
		at, ok = q.proofs[0].until, true
	}
	for _, t := range q.transfers {
		if t.until != 0 && (!ok || t.until < at) {
			at, ok = t.until, true
		}
	}
	return at, ok
}

// failAll answers everything that waits.
func (q *requests) failAll(r *Replica, err error) {
	r.disown(err, func(*forwarded) bool { return true })
	for _, t := range q.transfers {
		r.answer(origin{request: t.request}, protocol.Failed(err))
	}
	q.transfers = nil
	q.changesLost(r, err)
	q.unproven(func(*proof) bool { return true }, err, r)
	q.turnAway(r)
	q.giveUp(r, 0)
	q.failReads(r)
}
