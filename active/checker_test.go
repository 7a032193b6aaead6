package active

import (
	"bytes"
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// checker looks at the whole cluster, which no member can, and holds it to the
// five invariants of the paper's figure 3, and to what the design promises
// beyond them. It panics with an invariant.Violation.
type checker struct {
	leaders map[protocol.Term]protocol.MemberID
	entries map[place]content // all that was ever in any log
	done    []protocol.Entry  // committed, in order
	doneAt  []protocol.Instant
	seen    map[protocol.MemberID]sight
	counts  struct{ elections, truncations, commits, reads, changes, joint, installs int }
}

// place is a position that log matching says has one content.
type place struct {
	index protocol.Index
	term  protocol.Term
}

type content struct {
	raw  []byte
	prev protocol.Term // of the entry before
}

// sight is what a node was when it was last looked at.
type sight struct {
	run    int
	term   protocol.Term
	commit protocol.Index
	state  State
	last   int
}

func newChecker() *checker {
	return &checker{
		leaders: map[protocol.Term]protocol.MemberID{}, entries: map[place]content{},
		seen: map[protocol.MemberID]sight{},
	}
}

// observe checks a node after a step.
func (k *checker) observe(c *cluster, n *node) {
	was := k.seen[n.id]
	now := sight{run: n.runs, commit: n.commit(), last: len(n.log)}
	if n.m != nil {
		now.term, now.state = n.m.hard.Term, n.m.state
		n.m.checkInvariants()
	}
	if now.run == was.run {
		invariant.Check(now.commit >= was.commit, "%s: commit index went back from %d to %d", n.name, was.commit, now.commit)
	} else {
		was = sight{}
	}
	k.match(n, was)
	if now.state == StateLeader {
		k.electionSafety(n, was, now)
	}
	k.seen[n.id] = now
}

// match is log matching: two logs that have an entry with the same index and
// term have the same content there and before. What was ever written down at a
// place is remembered, with the term of the entry before it; by induction the
// logs are then equal below.
func (k *checker) match(n *node, was sight) {
	from := 0
	if was.state == StateLeader && was.last <= len(n.log) {
		from = was.last
	} else if d := len(n.log) - 64; was.run == n.runs && d > 0 {
		from = d // older ones were looked at when they were new
	}
	for i := from; i < len(n.log); i++ {
		e := &n.log[i]
		prev := protocol.Term(0)
		if i > 0 {
			prev = n.log[i-1].Term
		}
		at := place{e.Index, e.Term}
		known, ok := k.entries[at]
		if !ok {
			k.entries[at] = content{e.Raw, prev}
			continue
		}
		if !bytes.Equal(known.raw, e.Raw) || known.prev != prev {
			invariant.Check(false, "log matching: %s holds another %s", n.name, *e)
		}
	}
}

// electionSafety: at most one leader in a term. On its election also leader
// completeness: it holds all that is committed. While it leads it only appends.
func (k *checker) electionSafety(n *node, was, now sight) {
	leader, ok := k.leaders[now.term]
	invariant.Check(!ok || leader == n.id, "election safety: %s and %s lead term %d", nameOf(leader), n.name, now.term)
	if was.state == StateLeader && was.term == now.term {
		invariant.Check(now.last >= was.last, "leader append-only: %s went from %d entries to %d", n.name, was.last, now.last)
		return
	}
	if !ok {
		k.counts.elections++
	}
	k.leaders[now.term] = n.id
	for i := range k.done {
		invariant.Check(i < len(n.log) && n.log[i].Term == k.done[i].Term && bytes.Equal(n.log[i].Raw, k.done[i].Raw),
			"leader completeness: leader %s of term %d lacks the committed %s", n.name, now.term, k.done[i])
	}
}

func (k *checker) truncated(n *node, after protocol.Index) {
	k.counts.truncations++
	invariant.Check(n.m.state != StateLeader, "leader append-only: leader %s truncates its log after %d", n.name, after)
	invariant.Check(after >= k.seen[n.id].commit || k.seen[n.id].run != n.runs, "%s truncates after %d, commit %d", n.name, after, k.seen[n.id].commit)
}

// committed is state machine safety: all members have the same entry at a
// committed index. What is committed for the first time is on a majority of
// disks.
func (k *checker) committed(c *cluster, n *node, commit protocol.Index) {
	from := protocol.Index(0)
	if s := k.seen[n.id]; s.run == n.runs {
		from = s.commit
	}
	for i := from; i < commit; i++ {
		e := n.log[i]
		if int(i) < len(k.done) {
			invariant.Check(bytes.Equal(e.Raw, k.done[i].Raw), "state machine safety: %s has committed %s, which was %s", n.name, e, k.done[i])
			continue
		}
		k.done = append(k.done, e)
		k.doneAt = append(k.doneAt, c.now)
		k.counts.commits++
		if e.Kind == protocol.EntryConfiguration {
			k.counts.changes++
			if conf, err := protocol.DecodeConfiguration(e.Data); err == nil && conf.Joint() {
				k.counts.joint++
			}
		}
	}
	if n.m != nil && n.m.state == StateLeader && commit > from && !c.solo {
		k.durable(c, n, commit)
	}
}

// durable: a leader commits only what a majority of its voters have on disk,
// under a joint configuration a majority of either half. The configuration is
// read as the paper says it, not as the member does. A leader that commits a
// joint configuration appends the final one in the same step: either will do.
func (k *checker) durable(c *cluster, n *node, commit protocol.Index) {
	all := n.m.configs.All()
	most := ""
	for i := len(all) - 1; i >= 0 && i >= len(all)-2; i-- {
		most = ""
		for _, half := range [][]protocol.MemberID{all[i].Configuration.Voters(), all[i].Configuration.OutgoingVoters()} {
			have := 0
			for _, id := range half {
				log := c.byID(id).durable.log
				if len(log) >= int(commit) && bytes.Equal(log[commit-1].Raw, n.log[commit-1].Raw) {
					have++
				}
			}
			if len(half) > 0 && have < majority(len(half)) {
				most = fmt.Sprintf("%d of %d disks", have, len(half))
			}
		}
		if most == "" || i > 0 && !all[i-1].Configuration.Joint() {
			break
		}
	}
	invariant.Check(most == "", "durability: %s committed %d, which is on %s", n.name, commit, most)
}

// fresh: every write that was committed before the claim's instant has an index
// of at most the claim's.
func (k *checker) fresh(c *cluster, claims []protocol.Fresh) {
	for _, f := range claims {
		if int(f.Index) < len(k.done) {
			at := k.doneAt[f.Index]
			invariant.Check(at >= f.At, "freshness: %d claimed for %d, index %d was committed at %d", f.Index, f.At, f.Index+1, at)
		}
	}
}
