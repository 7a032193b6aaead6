package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// digestsKept is of how many marks a member knows the digest that its state
	// had there: enough for one that is a few checkpoints behind to ask.
	digestsKept = 16
	// roundsKept bounds the indexes in question at a time: one is compared, and
	// a checkpoint that is offered meanwhile is another.
	roundsKept = 4
	// digestPause is between two questions to a member that has not answered
	// or does not know yet, digestPatience how long an answer is sought.
	digestPause, digestPatience = time.Second, time.Minute
	// claimsMax bounds what is remembered of one index: more voters there are
	// not, in two halves.
	claimsMax = 2 * protocol.ActivesMax
)

// digests is what a member knows of the states at the marks, and of whether its
// own is right.
//
// All members take their digest at the same indexes, the marks. A mark carries
// the leader's of the mark before. That of one member proves nothing, not even
// the leader's: it may be the one that has diverged. So a member that has
// another one asks all actives.
//
// [S] A member gives its state up when a majority of the actives has one digest
// and it has another. It stops serving, feeding and leading before anything
// else. Without such a majority nobody acts and all who know say so. So one that
// is wrong punishes nobody but itself, and a leader that is wrong finds out from
// those who ask it.
type digests struct {
	ground
	// install takes up an offer when it is known whose state is right, and joint is told
	// that this member has given its state up, and may not try another one before again,
	// or that it keeps it after all.
	install interface {
		offered(now protocol.Instant, o *protocol.Offer, byLeader bool)
	}
	joint interface {
		fell(now, again protocol.Instant)
		acquitted(now protocol.Instant)
	}

	own    []markDigest // of the states here, oldest first; at most digestsKept
	right  []markDigest // what majorities have said, likewise
	rounds []round      // oldest first; at most roundsKept

	// disputed says, for the status, why this state is in doubt while nobody
	// acts: of disputedAt, the newest such index.
	disputed   string
	disputedAt protocol.Index
}

// markDigest is the digest of a state at a mark.
type markDigest struct {
	index  protocol.Index
	digest [16]byte
}

// round is what the voters say of one index.
type round struct {
	index  protocol.Index
	claims []markClaim // by member
	// asking says that this member asks, again at next, until then at most.
	asking      bool
	next, until protocol.Instant
	// offer, if not nil, is a checkpoint of that index, which is to be trusted
	// if the majority has its digest.
	offer *protocol.Offer
	// told says that there was something to tell, and it has been told.
	told bool
}

// markClaim is what a voter says its digest is.
type markClaim struct {
	member protocol.MemberID
	digest [16]byte
}

// start takes what was found at start.
func (d *digests) start(restored Restored) {
	for _, k := range slices.Backward(restored.Kept) {
		if k.Index <= restored.Applied {
			d.own = keepDigest(d.own, markDigest{k.Index, k.Digest})
		}
	}
}

func findDigest(list []markDigest, i protocol.Index) ([16]byte, bool) {
	for k := range list {
		if list[k].index == i {
			return list[k].digest, true
		}
	}
	return [16]byte{}, false
}

// keepDigest notes a digest, once for an index, the newest one.
func keepDigest(list []markDigest, x markDigest) []markDigest {
	list = slices.DeleteFunc(list, func(m markDigest) bool { return m.index == x.index })
	if len(list) == digestsKept {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, x)
}

// note takes the digest of the state here at a mark. Others may have asked
// about it already.
func (d *digests) note(now protocol.Instant, i protocol.Index, digest [16]byte) {
	d.own = keepDigest(d.own, markDigest{i, digest})
	if k := slices.IndexFunc(d.rounds, func(x round) bool { return x.index == i }); k >= 0 {
		d.compareClaims(now, &d.rounds[k])
		d.judge(now, i)
	}
}

// compare compares what the leader had at a mark with what was here.
func (d *digests) compare(now protocol.Instant, term protocol.Term, i protocol.Index, theirs [16]byte) {
	mine, known := findDigest(d.own, i)
	switch {
	case !known || !d.standing.may(mayVouch):
	case mine == theirs:
		d.standing.quarantine.falls = 0
		d.settle(i, d.log.leads())
	default:
		d.out.Events = append(d.out.Events, protocol.Event{Kind: protocol.EventDiverged, Term: term, Index: i,
			Text: fmt.Sprintf("the state at %d has digest %x here and %x at the leader of the time: the actives are asked", i, mine, theirs)})
		d.ask(now, i)
		d.judge(now, i)
	}
}

// settle ends a dispute when a later digest is the leader's. A leader, which
// always agrees with itself, waits one mark longer for somebody to contradict.
func (d *digests) settle(i protocol.Index, leads bool) {
	if leads {
		k := slices.IndexFunc(d.own, func(m markDigest) bool { return m.index == i })
		if k < 1 {
			return
		}
		i = d.own[k-1].index
	}
	if i > d.disputedAt {
		d.disputed, d.disputedAt = "", 0
	}
}

// Recounted says that the digest of the state at a mark was counted anew over
// all that it holds, and is not the one that was kept along the way: memory has
// changed without an entry. The one counted is what is really here.
func (r *Replica) Recounted(now protocol.Instant, i protocol.Index, digest [16]byte) {
	if r.standing.may(mayVouch) {
		if r.checkpoints.mark == i {
			r.checkpoints.digest = digest // a leader tells it in the next mark
		}
		r.digests.recounted(now, i, digest)
	}
	r.pump(now)
}

// recounted takes what was counted.
func (d *digests) recounted(now protocol.Instant, i protocol.Index, digest [16]byte) {
	d.out.event(protocol.EventDiverged, fmt.Sprintf("the state at %d has another digest than its entries led to: memory was damaged; the actives are asked", i))
	d.own = keepDigest(d.own, markDigest{i, digest})
	d.ask(now, i)
	d.judge(now, i)
}

// round returns what is said of an index, made if need be.
func (d *digests) round(i protocol.Index) *round {
	k := slices.IndexFunc(d.rounds, func(x round) bool { return x.index == i })
	if k < 0 {
		if len(d.rounds) == roundsKept {
			d.rounds = slices.Delete(d.rounds, 0, 1)
		}
		d.rounds = append(d.rounds, round{index: i})
		k = len(d.rounds) - 1
	}
	return &d.rounds[k]
}

// ask begins to ask the actives for their digests at an index.
func (d *digests) ask(now protocol.Instant, i protocol.Index) {
	x := d.round(i)
	if !x.asking {
		x.asking, x.until = true, now.Add(digestPatience)
		d.askAgain(now, x)
	}
}

// askAgain asks those who have not said anything so far.
func (d *digests) askAgain(now protocol.Instant, x *round) {
	x.next = now.Add(digestPause)
	mine, known := findDigest(d.own, x.index)
	for _, id := range d.judges() {
		if id == d.cfg.ID || x.claimOf(id) >= 0 {
			continue
		}
		d.out.send(id, &protocol.DigestQuestion{Index: x.index, Known: known, Digest: mine})
	}
}

// tick asks again, and gives up what has been asked for long enough.
func (d *digests) tick(now protocol.Instant) {
	for k := range d.rounds {
		x := &d.rounds[k]
		switch {
		case !x.asking || now < x.next:
		case now >= x.until:
			x.asking, x.offer = false, nil
			d.nobodyActs(x, "too few of the actives have answered")
		default:
			d.askAgain(now, x)
		}
	}
}

// deadline is when tick has something to do.
func (d *digests) deadline(at protocol.Instant) protocol.Instant {
	for k := range d.rounds {
		if x := &d.rounds[k]; x.asking {
			at = min(at, x.next)
		}
	}
	return at
}

// question answers a member that wants to know this one's digest, and
// takes note of what it says of its own.
func (d *digests) question(now protocol.Instant, from protocol.MemberID, q *protocol.DigestQuestion) {
	a := &protocol.DigestAnswer{Index: q.Index}
	if d.standing.may(mayVouch) {
		a.Digest, a.Known = findDigest(d.own, q.Index)
	}
	d.out.send(from, a)
	if q.Known && (!a.Known || a.Digest != q.Digest) {
		d.claimed(now, from, q.Index, q.Digest)
	}
}

// answer takes what an active has at an index.
func (d *digests) answer(now protocol.Instant, from protocol.MemberID, a *protocol.DigestAnswer) {
	if a.Known && slices.ContainsFunc(d.rounds, func(x round) bool { return x.index == a.Index }) {
		d.claimed(now, from, a.Index, a.Digest)
	}
}

// claimed takes what a member says it has at an index. Passives have no say.
func (d *digests) claimed(now protocol.Instant, from protocol.MemberID, i protocol.Index, digest [16]byte) {
	if !slices.Contains(d.judges(), from) {
		return
	}
	x := d.round(i)
	if k := x.claimOf(from); k >= 0 {
		x.claims[k].digest = digest // its state may have been healed since
	} else if len(x.claims) < claimsMax {
		x.claims = append(x.claims, markClaim{from, digest})
	}
	d.compareClaims(now, x)
	d.judge(now, i)
}

// compareClaims asks everybody as soon as one active contradicts this member.
func (d *digests) compareClaims(now protocol.Instant, x *round) {
	mine, known := findDigest(d.own, x.index)
	if known && !x.told && d.standing.may(mayVouch) && slices.ContainsFunc(x.claims, func(c markClaim) bool { return c.digest != mine }) {
		d.ask(now, x.index)
	}
}

func (x *round) claimOf(id protocol.MemberID) int {
	return slices.IndexFunc(x.claims, func(c markClaim) bool { return c.member == id })
}

// judges are the actives whose digests count: the voters of the committed
// configuration, of both halves if it is a joint one.
func (d *digests) judges() []protocol.MemberID {
	conf, _ := d.log.configurations().At(d.log.commit)
	list := slices.Concat(conf.Configuration.Voters(), conf.Configuration.OutgoingVoters())
	slices.SortFunc(list, protocol.MemberID.Compare)
	return slices.Compact(list)
}

// judge draws the conclusion, if there is one, from what is said of an
// index.
func (d *digests) judge(now protocol.Instant, i protocol.Index) {
	x := d.round(i)
	mine, known := findDigest(d.own, i)
	doubted := d.standing.in[discarded]
	if later := &d.standing.quarantine.later; doubted && i == later.index {
		mine, known = later.digest, true
	}
	winner, decided := d.majority(x, mine, known)
	if !decided {
		if d.allClaimed(x) {
			x.asking, x.offer = false, nil
			d.nobodyActs(x, "no majority of them agrees")
		}
		return
	}
	x.asking = false
	d.right = keepDigest(d.right, markDigest{i, winner})
	o := x.offer
	x.offer = nil
	switch {
	case known && doubted && mine == winner:
		d.acquit(now)
	case !known || !d.standing.may(mayVouch):
	case mine != winner:
		d.enterQuarantine(now, i, mine, winner)
	case !x.told:
		x.told = true
		for _, c := range x.claims {
			if c.digest != winner {
				d.out.Events = append(d.out.Events, protocol.Event{Kind: protocol.EventDiverged, Term: d.log.role.HardState().Term, Index: i, Member: c.member,
					Text: fmt.Sprintf("the state at %d has digest %x at a majority of the actives and here, and %x at this active", i, winner, c.digest)})
			}
		}
	}
	if o != nil {
		d.install.offered(now, o, false)
	}
}

// majority returns the digest that a majority of the actives has, of both halves
// of a joint configuration, if there is one. This member counts as what it is.
func (d *digests) majority(x *round, mine [16]byte, known bool) ([16]byte, bool) {
	conf, _ := d.log.configurations().At(d.log.commit)
	candidates := make([][16]byte, 0, len(x.claims)+1)
	if known {
		candidates = append(candidates, mine)
	}
	for _, c := range x.claims {
		candidates = append(candidates, c.digest)
	}
	agree := func(voters []protocol.MemberID, digest [16]byte) bool {
		return protocol.Majority(voters, func(id protocol.MemberID) bool {
			if id == d.cfg.ID {
				return known && mine == digest
			}
			k := x.claimOf(id)
			return k >= 0 && x.claims[k].digest == digest
		})
	}
	for _, digest := range candidates {
		if agree(conf.Configuration.Voters(), digest) &&
			(!conf.Configuration.Joint() || agree(conf.Configuration.OutgoingVoters(), digest)) {
			return digest, true
		}
	}
	return [16]byte{}, false
}

func (d *digests) allClaimed(x *round) bool {
	for _, id := range d.judges() {
		if id != d.cfg.ID && x.claimOf(id) < 0 {
			return false
		}
	}
	return true
}

// nobodyActs says, once, that states differ and that it is not known which one
// is right.
func (d *digests) nobodyActs(x *round, why string) {
	mine, known := findDigest(d.own, x.index)
	if x.told || !known || !d.standing.may(mayVouch) || !slices.ContainsFunc(x.claims, func(c markClaim) bool { return c.digest != mine }) {
		return
	}
	x.told = true
	d.disputedAt = x.index
	d.disputed = fmt.Sprintf("the states of the actives at %d differ and %s: it is not known which one is right, and nobody acts", x.index, why)
	d.out.event(protocol.EventDiverged, d.disputed)
}
