package replica

import (
	"cmp"
	"fmt"
	"slices"

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

// commands are the commands of clients, of this member and forwarded by others, that wait
// for something: to be proposed, or forwarded; for the leader's answer; to be applied.
// Lists are in order of age, so that nothing depends on the order of a map.
type commands struct {
	ground
	ids         *numbers
	who         *hearing
	types       *types
	room        *transferees
	differences interface{ differing() *Differing }

	waiting  []command      // for the end of this step
	turns    turns          // only while this member leads
	proposed []proposed     // by index; only while this member leads
	batched  keepAliveBatch // only while this member leads
	abroad   abroad
	epoch    uint64 // of the state, in which all of proposed wait
}

// command is one to propose or to forward, and whom to answer.
type command struct {
	from    origin
	encoded []byte
	checked bool // nothing is left to refuse, and it is no keep-alive
	// session and sequence name it in the log; 0: it is of another member, or has none.
	session  protocol.SessionID
	sequence uint64
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
	turn  turn
	// batched, if not nil, are those of a list of keep-alives.
	batched []origin
}

// answer tells whoever wanted to know.
func (q *commands) answer(o origin, result protocol.Result) {
	if o.member.IsZero() {
		q.out.answer(o.request, result)
		return
	}
	q.out.send(o.member, &protocol.ForwardAnswer{Run: o.run, Request: o.request, Leader: q.who.leader(), Term: q.who.term(), Result: result})
}

// flush proposes or forwards what was submitted.
func (q *commands) flush(now protocol.Instant) {
	list := q.waiting
	q.waiting = nil
	switch {
	case q.log.leads():
		q.propose(now, list)
	case len(list) > 0:
		q.forward(now, list)
	}
}

// propose hands commands to the core, in batches, and lets those wait whose turn comes later.
func (q *commands) propose(now protocol.Instant, list []command) {
	if len(list) == 0 && !q.turns.may(now) {
		return
	}
	b := batch{refuses: q.refusing()}
	for _, c := range list {
		session := c.session
		if !c.checked {
			decoded, err := q.check(c.encoded)
			if err == nil && b.refuses != nil {
				err = b.refuses(&decoded)
			}
			if err != nil {
				q.answer(c.from, protocol.Failed(q.room.without(err)))
				continue
			}
			if q.batchKeepAlive(now, &decoded, c.from) {
				continue
			}
			session, c.checked = decoded.Session, true
		}
		from := caller{session: session}
		if session == 0 {
			from.member = c.from.member
		}
		l, goes, err := q.turns.add(now, from, c)
		switch {
		case err != nil:
			q.answer(c.from, protocol.Failed(err))
		case goes:
			q.addTo(now, &b, turn{line: l}, c)
		}
	}
	for l, c, ok := q.turns.next(now); ok; l, c, ok = q.turns.next(now) {
		q.addTo(now, &b, turn{l, len(c.encoded)}, c)
	}
	q.proposeBatch(now, &b)
}

// batch is what goes to the core at once.
type batch struct {
	refuses  func(*protocol.Command) error // nil: nothing
	commands []command
	turns    []turn
	bytes    int
}

// turn is what a command counts in the leader's turns.
type turn struct {
	line  *line // whose it is; nil: those of keep-alives
	bytes int   // of it, if it had a turn
}

func (q *commands) addTo(now protocol.Instant, b *batch, p turn, c command) {
	if b.refuses != nil {
		decoded, err := protocol.DecodeCommand(c.encoded)
		if err == nil {
			err = b.refuses(&decoded)
		}
		if err != nil {
			q.turns.leave(p)
			q.answer(c.from, protocol.Failed(q.room.without(err)))
			return
		}
	}
	if len(b.commands) >= proposeMax || len(b.commands) > 0 && b.bytes+len(c.encoded) > proposeBytesMax {
		q.proposeBatch(now, b)
	}
	b.commands, b.turns, b.bytes = append(b.commands, c), append(b.turns, p), b.bytes+len(c.encoded)
}

// refusing returns what refuses commands at present; nil: nothing.
func (q *commands) refusing() func(*protocol.Command) error {
	allCan, roomy, differ := q.types.allCan(), q.room.lacks() == "", q.differences.differing()
	if allCan && roomy && differ == nil {
		return nil
	}
	return func(c *protocol.Command) (err error) {
		if !allCan {
			err = q.types.check(c)
		}
		if err == nil && !roomy {
			err = q.room.checkRoom(c)
		}
		if err == nil {
			err = differ.RefusesCommand(c)
		}
		return err
	}
}

// proposeBatch hands a batch to the core, and empties it.
func (q *commands) proposeBatch(now protocol.Instant, b *batch) {
	if len(b.commands) == 0 {
		return
	}
	proposals := make([]active.Proposal, len(b.commands))
	for i := range b.commands {
		proposals[i] = active.Proposal{Kind: protocol.EntryCommand, Data: b.commands[i].encoded}
	}
	first, err := q.log.lead().Propose(now, proposals)
	for i := range b.commands {
		c := &b.commands[i]
		if err != nil {
			q.turns.leave(b.turns[i])
			q.answer(c.from, protocol.Failed(err))
			continue
		}
		q.proposed = append(q.proposed, proposed{index: first + protocol.Index(i), term: q.log.lead().Term(), from: c.from, turn: b.turns[i]})
	}
	b.commands, b.turns, b.bytes = b.commands[:0], b.turns[:0], 0
}

// check refuses a command that must not reach the log.
func (q *commands) check(encoded []byte) (protocol.Command, error) {
	if len(encoded) > commandBytesMax {
		return protocol.Command{}, errCommandTooLarge(encoded)
	}
	c, err := protocol.DecodeCommand(encoded)
	if err == nil && q.cfg.Accepts != nil {
		err = q.cfg.Accepts(&c)
	}
	return c, err
}

func errCommandTooLarge(encoded []byte) error {
	return protocol.ErrTooLarge.With(fmt.Sprintf("the command has %d bytes, the limit is %d", len(encoded), commandBytesMax))
}

// expected returns the proposals whose entries are first..last. They stay until it is
// known that these are applied.
func (q *commands) expected(first, last protocol.Index) []proposed {
	at := func(i protocol.Index) int {
		n, _ := slices.BinarySearchFunc(q.proposed, i, func(p proposed, i protocol.Index) int { return cmp.Compare(p.index, i) })
		return n
	}
	if len(q.proposed) == 0 {
		return nil
	}
	from, to := at(first), at(last+1)
	return q.proposed[from:to:to]
}

// outcome is what has come of a proposal whose entry is in a batch that was applied.
func (p *proposed) outcome(batch []protocol.Entry, results []protocol.Result) protocol.Result {
	at := p.index - batch[0].Index
	if batch[at].Term != p.term { // another leader's entry took the place: ours will never be
		return protocol.Failed(protocol.ErrNotLeader)
	}
	result := results[at]
	if result.Index == 0 { // a copy has that of its command, from the state machine
		result.Index = p.index
	}
	return result
}

// applied answers the members that have forwarded commands of a batch. This member's own
// clients were answered by whoever has applied it: see Apply.Answer.
func (q *commands) applied(batch []protocol.Entry, results []protocol.Result) {
	for len(q.proposed) > 0 && q.proposed[0].index <= batch[len(batch)-1].Index {
		p := q.proposed[0]
		q.proposed = q.proposed[1:]
		q.turns.leave(p.turn)
		if p.index < batch[0].Index {
			continue
		}
		p.tell(p.outcome(batch, results), func(o origin, result protocol.Result) {
			if !o.member.IsZero() {
				q.answer(o, result)
			}
		})
	}
}

// suspend tells all who wait for what is committed that its outcome is open, when the
// state may answer no more, or has not been allowed to for a while. [S] None of them is
// forgotten: who applies answers nothing of an epoch that is over. What is not committed
// waits for what becomes of the leadership.
func (q *commands) suspend() {
	if q.epoch != q.standing.epoch || q.standing.answering() == 0 {
		q.epoch = q.standing.epoch
		q.skipped(q.log.commit)
	}
}

// skipped answers what the state has passed over by taking over another member's:
// that has the effects, but not the answers.
func (q *commands) skipped(to protocol.Index) {
	for len(q.proposed) > 0 && q.proposed[0].index <= to {
		p := q.proposed[0]
		q.proposed = q.proposed[1:]
		q.turns.leave(p.turn)
		p.tell(protocol.Failed(protocol.ErrUnknownOutcome.With("the state that took it was replaced or in doubt; the write may have happened")), q.answer)
	}
}

// leaderLost tells everybody who waits for this leader's entries that the
// outcome is open. What is committed only waits to be applied: so a leader that
// was removed can answer whoever removed it.
func (q *commands) leaderLost() { q.giveUp(q.log.commit) }

// errLeaderLost is the error of what was proposed by a leader that is none any more.
var errLeaderLost = protocol.ErrUnknownOutcome.With("the leader lost its leadership; the write may have happened")

// giveUp fails what was proposed above an index.
func (q *commands) giveUp(above protocol.Index) {
	n := 0
	for n < len(q.proposed) && q.proposed[n].index <= above {
		n++
	}
	list := q.proposed[n:]
	q.proposed = q.proposed[:n:n]
	for _, p := range list {
		q.turns.leave(p.turn)
		p.tell(protocol.Failed(errLeaderLost), q.answer)
	}
}
