package replica

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// digestsKept is of how many checkpoint entries a member knows the digest that its state
	// had there: enough for one that is a few checkpoints behind to ask.
	digestsKept = 16
	// pollsKept bounds the indexes in question at a time: one is compared, and
	// a checkpoint that is offered meanwhile is another.
	pollsKept = 4
	// digestPause is between two questions to a member that has not answered
	// or does not know yet, digestPatience how long an answer is sought.
	digestPause, digestPatience = time.Second, time.Minute
	// reportsMax bounds what is remembered of one index: more voters there are
	// not, in two halves.
	reportsMax = 2 * protocol.ActivesMax
)

// audit is what a member knows of the states at the checkpoint entries, and of whether its
// own is right.
//
// All members take their digest at the same indexes, the checkpoint entries. A checkpoint entry carries
// the leader's of the checkpoint entry before. That of one member proves nothing, not even
// the leader's: it may be the one that has diverged. So a member that has
// another one asks all actives.
//
// [S] A member gives its state up when a majority of the actives has one digest
// and it has another. It stops serving, feeding and leading before anything
// else. Without such a majority nobody acts and all who know say so. So one that
// is wrong punishes nobody but itself, and a leader that is wrong finds out from
// those who ask it.
type audit struct {
	ground
	// install takes up an offer when it is known whose state is right, and joint is told
	// that this member has given its state up, and may not try another one before again,
	// or that it keeps it after all.
	install interface {
		offered(now protocol.Instant, o *protocol.ManifestOffer, byLeader bool)
	}
	joint interface {
		fell(now, again protocol.Instant)
		acquitted(now protocol.Instant)
	}

	differences   differences
	confirmations confirmations

	own    []digestAt // of the states here, oldest first; at most digestsKept
	polled []digestAt // what majorities were heard to have, likewise: the log need not say so
	polls  []poll     // oldest first; at most pollsKept

	// disputed says, for the status, why this state is in doubt while nobody
	// acts: of disputedAt, the newest such index.
	disputed   string
	disputedAt protocol.Index
	// noteAt is when a quarantine, or its end, that is not on disk is put there again; 0: it is.
	noteAt protocol.Instant
}

// digestAt is the digest of a state at a checkpoint entry.
type digestAt struct {
	index  protocol.Index
	digest [16]byte
}

// poll is what the voters say of one index.
type poll struct {
	index   protocol.Index
	reports []digestReport // by member
	// asking says that this member asks, again at next, until then at most.
	asking      bool
	next, until protocol.Instant
	// offer, if not nil, is a checkpoint of that index, which is to be trusted
	// if the majority has its digest.
	offer *protocol.ManifestOffer
	// told says that there was something to tell, and it has been told.
	told bool
}

// digestReport is what a voter says its digest is.
type digestReport struct {
	member protocol.MemberID
	digest [16]byte
}

// start takes what was found at start.
func (d *audit) start(restored OpenedState) {
	for _, k := range slices.Backward(restored.Kept) {
		if k.Index <= restored.Applied {
			d.own = keepDigest(d.own, digestAt{k.Index, k.Digest})
		}
	}
}

func findDigest(list []digestAt, i protocol.Index) ([16]byte, bool) {
	for k := range list {
		if list[k].index == i {
			return list[k].digest, true
		}
	}
	return [16]byte{}, false
}

// keepDigest notes a digest, once for an index, the newest one.
func keepDigest(list []digestAt, x digestAt) []digestAt {
	list = slices.DeleteFunc(list, func(m digestAt) bool { return m.index == x.index })
	if len(list) == digestsKept {
		list = slices.Delete(list, 0, 1)
	}
	return append(list, x)
}

// note takes the digest of the state here at a checkpoint entry. Others may have asked
// about it already.
func (d *audit) note(now protocol.Instant, i protocol.Index, digest [16]byte) {
	d.own = keepDigest(d.own, digestAt{i, digest})
	if d.judge(now, i) {
		return
	}
	if k := slices.IndexFunc(d.polls, func(x poll) bool { return x.index == i }); k >= 0 {
		if d.standing.may(mayVouch) {
			for _, c := range d.polls[k].reports { // they may be waiting for this one
				d.out.send(c.member, &protocol.DigestAnswer{Index: i, Known: true, Digest: digest})
			}
		}
		d.compareReports(now, &d.polls[k])
		d.conclude(now, i)
	}
	if d.log.leads() && d.standing.may(mayVouch) {
		d.seek(now, i)
	}
}

// judge holds the digest of the state here against what is known to be right, and reports whether
// it is another one.
func (d *audit) judge(now protocol.Instant, i protocol.Index) bool {
	if right, says, known := d.right(i); known {
		d.decide(now, i, right, says)
	}
	return d.standing.in[discarded]
}

// compare compares what the leader had at a checkpoint entry with what was here.
func (d *audit) compare(now protocol.Instant, term protocol.Term, i protocol.Index, theirs [16]byte) {
	mine, known := findDigest(d.own, i)
	switch {
	case !known || !d.standing.may(mayVouch):
	case mine == theirs:
		d.stood(i)
		d.settle(now, i)
	default:
		d.out.Events = append(d.out.Events, protocol.Event{Kind: protocol.EventDiverged, Term: term, Index: i,
			Text: fmt.Sprintf("the state at %d has digest %x here and %x at the leader of the time: the actives are asked", i, mine, theirs)})
		d.ask(now, i)
		d.conclude(now, i)
	}
}

// settle asks, while it is not known who is right, whether a majority is as this member was at
// a later checkpoint entry. That it is as the leader was says little: the leader may be wrong.
func (d *audit) settle(now protocol.Instant, i protocol.Index) {
	if d.doubts() && i > d.disputedAt {
		d.ask(now, i)
		d.conclude(now, i)
	}
}

// dispute says what is not known and what is refused meanwhile, or nothing.
func (d *audit) dispute() string {
	text := d.disputed
	if refused := d.differences.refused; refused != nil {
		text = cmp.Or(text, "the states of the actives differ, and it is not known which one is right") + "; reads of and commands on what differs are refused: " + refused.text
	}
	return text
}

// isDisputed reports whether it is known that no majority agrees, or that too few answer.
func (d *audit) isDisputed() bool { return d.disputedAt != 0 }

// doubts reports whether states differ and nobody knows who is right.
func (d *audit) doubts() bool { return d.disputedAt != 0 || d.differences.refused != nil }

// Recounted says that the digest of the state at a checkpoint entry was counted anew over
// all that it holds, and is not the one that was kept along the way: memory has
// changed without an entry. The one counted is what is really here.
func (r *Replica) Recounted(now protocol.Instant, i protocol.Index, digest [16]byte) {
	r.checkpoints.busy = false
	if r.standing.may(mayVouch) {
		if r.checkpoints.entryAt == i {
			r.checkpoints.digest = digest // a leader tells it in the next checkpoint entry
		}
		r.audit.recounted(now, i, digest)
	}
	r.pump(now)
}

// recounted takes what was counted.
func (d *audit) recounted(now protocol.Instant, i protocol.Index, digest [16]byte) {
	d.out.event(protocol.EventDiverged, fmt.Sprintf("the state at %d has another digest than its entries led to: memory was damaged; the actives are asked", i))
	d.own = keepDigest(d.own, digestAt{i, digest})
	if !d.judge(now, i) {
		d.ask(now, i)
		d.conclude(now, i)
	}
}

// poll returns what is said of an index, made if need be.
func (d *audit) poll(i protocol.Index) *poll {
	k := slices.IndexFunc(d.polls, func(x poll) bool { return x.index == i })
	if k < 0 {
		if len(d.polls) == pollsKept {
			d.polls = slices.Delete(d.polls, 0, 1)
		}
		d.polls = append(d.polls, poll{index: i})
		k = len(d.polls) - 1
	}
	return &d.polls[k]
}

// ask begins to ask the actives for their digests at an index.
func (d *audit) ask(now protocol.Instant, i protocol.Index) {
	x := d.poll(i)
	if !x.asking {
		x.asking, x.until = true, now.Add(digestPatience)
		d.askAgain(now, x)
	}
}

// askAgain asks those who have not said anything so far.
func (d *audit) askAgain(now protocol.Instant, x *poll) {
	x.next = now.Add(digestPause)
	mine, known := findDigest(d.own, x.index)
	known = known && d.standing.may(mayVouch) // it would count
	for _, id := range d.auditors() {
		if id == d.cfg.ID || x.reportOf(id) >= 0 {
			continue
		}
		d.out.send(id, &protocol.DigestQuestion{Index: x.index, Known: known, Digest: mine})
	}
}

// tick asks again, gives up what has been asked for long enough, and puts a quarantine on
// disk that is not there.
func (d *audit) tick(now protocol.Instant) {
	if d.noteAt != 0 && now >= d.noteAt {
		d.noteQuarantine()
	}
	for k := range d.polls {
		x := &d.polls[k]
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
func (d *audit) deadline(at protocol.Instant) protocol.Instant {
	if d.noteAt != 0 {
		at = min(at, d.noteAt)
	}
	for k := range d.polls {
		if x := &d.polls[k]; x.asking {
			at = min(at, x.next)
		}
	}
	return at
}

// onDigestQuestion answers a member that wants to know this one's digest, and
// takes note of what it says of its own.
func (d *audit) onDigestQuestion(now protocol.Instant, from protocol.MemberID, q *protocol.DigestQuestion) {
	a := &protocol.DigestAnswer{Index: q.Index}
	if d.standing.may(mayVouch) {
		a.Digest, a.Known = findDigest(d.own, q.Index)
	}
	d.out.send(from, a)
	if q.Known && (!a.Known || a.Digest != q.Digest) {
		d.onReport(now, from, q.Index, q.Digest)
	}
	if q.Disputed && a.Known && slices.Contains(d.auditors(), from) && !d.poll(q.Index).told {
		d.ask(now, q.Index)
	}
}

// warn tells a passive that asks for a read index that actives differ: one that is as they
// are of whom it has heard asks nobody by itself, and others answer otherwise.
func (d *audit) warn(now protocol.Instant, who protocol.MemberID) {
	i := max(d.disputedAt, d.differences.newest())
	if mine, known := findDigest(d.own, i); known && d.standing.may(mayVouch) && !slices.Contains(d.auditors(), who) && d.differences.affords(now) {
		d.out.send(who, &protocol.DigestQuestion{Index: i, Known: true, Digest: mine, Disputed: true})
	}
}

// onDigestAnswer takes what an active has at an index.
func (d *audit) onDigestAnswer(now protocol.Instant, from protocol.MemberID, a *protocol.DigestAnswer) {
	if a.Known && slices.ContainsFunc(d.polls, func(x poll) bool { return x.index == a.Index }) {
		d.onReport(now, from, a.Index, a.Digest)
	}
}

// onReport takes what a member says it has at an index. Passives have no say.
func (d *audit) onReport(now protocol.Instant, from protocol.MemberID, i protocol.Index, digest [16]byte) {
	if !slices.Contains(d.auditors(), from) {
		return
	}
	x := d.poll(i)
	if k := x.reportOf(from); k >= 0 {
		x.reports[k].digest = digest // its state may have been healed since
	} else if len(x.reports) < reportsMax {
		x.reports = append(x.reports, digestReport{from, digest})
	}
	d.compareReports(now, x)
	d.conclude(now, i)
}

// compareReports asks everybody as soon as one active contradicts this member, and looks for
// what differs.
func (d *audit) compareReports(now protocol.Instant, x *poll) {
	mine, known := findDigest(d.own, x.index)
	if !known || !d.standing.may(mayVouch) {
		return
	}
	contradicted := false
	for _, c := range x.reports {
		if c.digest == mine {
			d.differences.agrees(x.index, c.member)
			continue
		}
		contradicted = true
		d.differences.begin(now, x.index, mine, c)
	}
	if contradicted && !x.told {
		d.ask(now, x.index)
	}
}

func (x *poll) reportOf(id protocol.MemberID) int {
	return slices.IndexFunc(x.reports, func(c digestReport) bool { return c.member == id })
}

// auditors are the actives whose digests count: the voters of the committed
// configuration, of both halves if it is a joint one.
func (d *audit) auditors() []protocol.MemberID {
	conf, _ := d.log.configurations().At(d.log.commit)
	list := slices.Concat(conf.Configuration.Voters(), conf.Configuration.OutgoingVoters())
	slices.SortFunc(list, protocol.MemberID.Compare)
	return slices.Compact(list)
}

// conclude draws the conclusion, if there is one, from what is said of an
// index.
func (d *audit) conclude(now protocol.Instant, i protocol.Index) {
	if i <= d.confirmations.imposed && d.imposing() {
		return // [S] an operator is about to say what counts from there on, and only this member may have it: see ruling
	}
	x := d.poll(i)
	mine, known := findDigest(d.own, i)
	if later := &d.standing.quarantine.later; d.standing.in[discarded] && i == later.index {
		mine, known = later.digest, true
	}
	winner, decided := d.majority(x, mine, known)
	if !decided {
		if d.haveAllReported(x) {
			x.asking, x.offer = false, nil
			d.nobodyActs(x, "no majority of them agrees")
		}
		return
	}
	x.asking = false
	o := x.offer
	x.offer = nil
	if known && mine == winner && d.standing.may(mayVouch) && !x.told {
		x.told = true
		for _, c := range x.reports {
			if c.digest != winner {
				d.out.Events = append(d.out.Events, protocol.Event{Kind: protocol.EventDiverged, Term: d.log.role.HardState().Term, Index: i, Member: c.member,
					Text: fmt.Sprintf("the state at %d has digest %x at a majority of the actives and here, and %x at this active", i, winner, c.digest)})
			}
		}
	}
	d.polled = keepDigest(d.polled, digestAt{i, winner})
	d.decide(now, i, winner, majoritySays)
	if o != nil {
		d.install.offered(now, o, false)
	}
}

// majority returns the digest that a majority of the actives has, of both halves
// of a joint configuration, if there is one. This member counts as what it is, unless it has that from
// others and the log has not confirmed it.
func (d *audit) majority(x *poll, mine [16]byte, known bool) ([16]byte, bool) {
	conf, _ := d.log.configurations().At(d.log.commit)
	candidates := make([][16]byte, 0, len(x.reports)+1)
	known = known && !d.standing.in[unconfirmed]
	if known {
		candidates = append(candidates, mine)
	}
	for _, c := range x.reports {
		candidates = append(candidates, c.digest)
	}
	agree := func(voters []protocol.MemberID, digest [16]byte) bool {
		return protocol.Majority(voters, func(id protocol.MemberID) bool {
			if id == d.cfg.ID {
				return known && mine == digest
			}
			k := x.reportOf(id)
			return k >= 0 && x.reports[k].digest == digest
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

func (d *audit) haveAllReported(x *poll) bool {
	for _, id := range d.auditors() {
		if id != d.cfg.ID && x.reportOf(id) < 0 {
			return false
		}
	}
	return true
}

// nobodyActs says, once, that states differ and that it is not known which one
// is right.
func (d *audit) nobodyActs(x *poll, why string) {
	mine, known := findDigest(d.own, x.index)
	if x.told || !known || !d.standing.may(mayVouch) || !slices.ContainsFunc(x.reports, func(c digestReport) bool { return c.digest != mine }) {
		return
	}
	x.told = true
	if x.index <= d.differences.settled || x.index < d.disputedAt {
		return // a later state has been agreed upon, or is in dispute
	}
	d.disputedAt = x.index
	d.disputed = fmt.Sprintf("the states of the actives at %d differ and %s: it is not known which one is right, and nobody acts", x.index, why)
	d.out.event(protocol.EventDiverged, d.disputed)
	d.differences.refuse()
}
