package replica

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// talliesKept is of how many checkpoint entries a member knows what its state was made of.
	talliesKept = 4
	// comparisonsMax bounds what is compared at a time: the last few entries, with each voter.
	comparisonsMax = 2 * reportsMax
	// differNamedMax is how many resources one comparison names. Where more differ, the
	// buckets that are left count as a whole.
	differNamedMax = 32
	// comparePatience is how long an answer is sought. A large state is counted for minutes.
	comparePatience = 10 * time.Minute
	// toPassivesPerSecond is how many answers and warnings all members without a seat get: they
	// are many, and ask again.
	toPassivesPerSecond = 20
)

// Tally is what the digest of a state at the index of a checkpoint entry is made of. It does
// not change.
type Tally struct {
	index   protocol.Index
	digest  [16]byte
	sums    [protocol.DigestBuckets][16]byte
	buckets [protocol.DigestBuckets][]protocol.ResourceDigest // each by name
}

// NewTally returns what a state was made of, given what its resources have in the digest, by
// name. It takes time in proportion to them.
func NewTally(i protocol.Index, digest [16]byte, list []protocol.ResourceDigest) *Tally {
	t := &Tally{index: i, digest: digest}
	for _, x := range list {
		b := protocol.DigestBucket(x.Name)
		t.buckets[b] = append(t.buckets[b], x)
		for k := range x.Digest {
			t.sums[b][k] ^= x.Digest[k]
		}
	}
	return t
}

// from returns the resources of a bucket whose names are above one; all if that is empty.
func (t *Tally) from(bucket uint64, after string) []protocol.ResourceDigest {
	list := t.buckets[bucket]
	if after == "" {
		return list
	}
	k, found := slices.BinarySearchFunc(list, after, byName)
	if found {
		k++
	}
	return list[k:]
}

// Counted says what the state at a checkpoint entry is made of: it was counted anew.
func Counted(r *Replica, now protocol.Instant, t *Tally) {
	r.audit.differences.count(now, t)
	r.pump(now)
}

// differences finds out which resources differ where two members have other states at a checkpoint
// entry: first the sums of buckets of resources are exchanged, and then what is in the
// buckets that differ.
//
// [S] As long as no majority of the actives has one digest, reads of what differs are
// refused, and commands on it are not proposed: whatever was answered, another member might
// answer something else. A bucket that is not gone through counts as a whole.
type differences struct {
	ground
	audit   interface{ isDisputed() bool }
	tallies []*Tally     // oldest first
	list    []comparison // oldest first
	settled protocol.Index
	refused *Differing
	// spent is how much of toPassivesPerSecond is used up, in the second from spentAt on.
	spent   int
	spentAt protocol.Instant
}

// comparison is of the states that this member and an active had at a checkpoint entry.
type comparison struct {
	index        protocol.Index
	with         protocol.MemberID
	mine, theirs [16]byte
	// next is when it is asked again, until when at most; over: it is asked no more.
	next, until protocol.Instant
	over        bool
	// moot says that nothing is refused for it: it is known who is right.
	moot bool
	// summed says that the sums are known: then whole are the buckets that differ and are
	// not gone through, of the first one what is above after, and named what was found.
	summed bool
	whole  []uint64
	after  string
	named  []protocol.ResourceDigest
}

// count notes what the state was at a checkpoint entry, and compares what waits for it.
func (p *differences) count(now protocol.Instant, t *Tally) {
	p.tallies = slices.DeleteFunc(p.tallies, func(x *Tally) bool { return x.index == t.index })
	if len(p.tallies) == talliesKept {
		p.tallies = slices.Delete(p.tallies, 0, 1)
	}
	p.tallies = append(p.tallies, t)
	for k := range p.list {
		if c := &p.list[k]; !c.over && c.index == t.index {
			p.ask(now, c)
		}
	}
}

func (p *differences) tally(i protocol.Index, digest [16]byte) *Tally {
	for _, t := range p.tallies {
		if t.index == i && t.digest == digest {
			return t
		}
	}
	return nil
}

// begin begins to look for what differs from what an active has, unless it has begun.
func (p *differences) begin(now protocol.Instant, i protocol.Index, mine [16]byte, other digestReport) {
	same := func(c comparison) bool { return c.index == i && c.with == other.member }
	if slices.ContainsFunc(p.list, func(c comparison) bool { return same(c) && c.mine == mine && c.theirs == other.digest }) {
		return
	}
	// [S] What is refused stays refused until it is known what is to be instead.
	refusesNothing := func(c comparison) bool { return c.moot || !c.summed }
	p.list = slices.DeleteFunc(p.list, func(c comparison) bool { return same(c) && refusesNothing(c) })
	if len(p.list) == comparisonsMax {
		k := max(0, slices.IndexFunc(p.list, refusesNothing))
		p.list = slices.Delete(p.list, k, k+1)
	}
	p.list = append(p.list, comparison{
		index: i, with: other.member, mine: mine, theirs: other.digest, until: now.Add(comparePatience), moot: i <= p.settled,
	})
	p.refuse()
	if c := &p.list[len(p.list)-1]; p.log.names(p.cfg.ID) {
		p.ask(now, c)
	} else {
		c.next = now.Add(digestPause) // by then it is known, usually, who is right
	}
}

// ask asks for what comes next.
func (p *differences) ask(now protocol.Instant, c *comparison) {
	c.next = now.Add(digestPause)
	if c.moot && !p.log.names(p.cfg.ID) {
		c.over = true // actives tell what differed; the others are many
		return
	}
	if p.tally(c.index, c.mine) == nil {
		return // it is being counted
	}
	q := &protocol.PartsQuestion{Index: c.index, Digest: c.theirs, Sums: !c.summed}
	if c.summed {
		q.Bucket, q.After = c.whole[0], c.after
	}
	p.out.send(c.with, q)
}

func (p *differences) tick(now protocol.Instant) {
	for k := range p.list {
		switch c := &p.list[k]; {
		case c.over || now < c.next:
		case now >= c.until:
			if c.over = true; c.summed {
				p.found(c)
				p.refuse()
				return // the list is another one
			}
		default:
			p.ask(now, c)
		}
	}
}

// affords reports whether one more message may go to a member without a seat now.
func (p *differences) affords(now protocol.Instant) bool {
	if now >= p.spentAt.Add(time.Second) {
		p.spentAt, p.spent = now, 0
	}
	p.spent++
	return p.spent <= toPassivesPerSecond
}

// deadline returns when tick has something to do, or at.
func (p *differences) deadline(at protocol.Instant) protocol.Instant {
	for k := range p.list {
		if c := &p.list[k]; !c.over {
			at = min(at, c.next)
		}
	}
	return at
}

// onQuestion answers a member whose state differs. That this one's is in doubt is no reason not
// to: the answer is no word on who is right.
func (p *differences) onQuestion(now protocol.Instant, from protocol.MemberID, q *protocol.PartsQuestion) {
	if p.log.names(from) || p.affords(now) {
		p.out.send(from, p.answer(q))
	}
}

func (p *differences) answer(q *protocol.PartsQuestion) *protocol.PartsAnswer {
	a := &protocol.PartsAnswer{Index: q.Index, Digest: q.Digest, Bucket: q.Bucket, After: q.After}
	if t := p.tally(q.Index, q.Digest); t != nil && q.Sums {
		a.Known, a.Sums = true, t.sums[:]
	} else if t != nil && q.Bucket < protocol.DigestBuckets {
		a.Known = true
		a.Resources, a.More = protocol.DigestPage(t.from(q.Bucket, q.After))
	}
	return a
}

// onAnswer takes what an active's state was made of.
func (p *differences) onAnswer(now protocol.Instant, from protocol.MemberID, a *protocol.PartsAnswer) {
	at := slices.IndexFunc(p.list, func(c comparison) bool { return c.index == a.Index && c.with == from && c.theirs == a.Digest })
	if at < 0 || p.list[at].over || !a.Known {
		return
	}
	c := &p.list[at]
	mine := p.tally(c.index, c.mine)
	switch {
	case mine == nil:
		return
	case !c.summed && len(a.Sums) == protocol.DigestBuckets:
		c.summed = true
		for b := range a.Sums {
			if a.Sums[b] != mine.sums[b] {
				c.whole = append(c.whole, uint64(b))
			}
		}
	case c.summed && len(a.Sums) == 0 && a.Bucket == c.whole[0] && a.After == c.after:
		c.page(mine.from(a.Bucket, a.After), a)
	default:
		return // the answer to a question before
	}
	c.until = now.Add(comparePatience)
	if c.over = len(c.whole) == 0 || len(c.named) >= differNamedMax; c.over {
		p.found(c)
	} else {
		p.ask(now, c)
	}
	p.refuse()
}

// page compares a page of the first bucket, and moves on behind it, unless too much differs to
// be named: then the bucket counts as a whole.
func (c *comparison) page(mine []protocol.ResourceDigest, a *protocol.PartsAnswer) {
	theirs, more := a.Resources, false
	if n := len(theirs); a.More && n > 0 && theirs[n-1].Name > c.after {
		more = true
		k, found := slices.BinarySearchFunc(mine, theirs[n-1].Name, byName)
		if found {
			k++
		}
		mine = mine[:k]
	}
	c.merge(mine, theirs)
	switch {
	case len(c.named) > differNamedMax:
		c.named = c.named[:differNamedMax]
	case more:
		c.after = theirs[len(theirs)-1].Name
	default:
		c.whole, c.after = c.whole[1:], ""
	}
}
