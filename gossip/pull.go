package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// pullsMax is how many pulls are under way at once, each from another
	// member.
	pullsMax = 3
	// pullBytes is what one pull asks for; of an active no more than
	// pullActiveBytes, for by then a passive may be known that has the rest. It is
	// twice as much after each pull for which that has not come true, and after
	// sparingMax of them actives are not spared.
	pullBytes, pullActiveBytes, sparingMax = 256 << 10, 32 << 10, 16
	// A member that is far behind asks for more at a time, farBytes, of each member
	// for a stretch of its own, and waits farPatience at least: one answer after the
	// other, and the way there and back of a busy network decides how fast it is.
	farBytes, farPatience = protocol.AppendBytesMax, time.Second
	// entryBytes is what an entry is taken to have before any was pulled.
	entryBytes = 1 << 10
	// graceMin is how long a gap is left to the frames that are still on
	// their way; two round trips if that is longer, and graceMax at most.
	graceMin, graceMax = 2 * time.Millisecond, time.Second
	// A pull is repeated elsewhere after four round trips, within these
	// bounds, doubled with each four pulls in a row that failed: single ones
	// are lost in the network, many say that it is slower than it was.
	patienceMin, patienceMax = 12 * time.Millisecond, 4 * time.Second
	// Where much is lost, silence is a loss sooner.
	patienceLossy = 5 * time.Millisecond
	// A member that did not answer is left alone for a while: this long,
	// doubled with each time in a row.
	silenceMin, silenceMax = 25 * time.Millisecond, time.Second
	// guessesMax is how many passives that did not say they hold it are asked,
	// one after the other, before an active is. One that does not is not guessed
	// again for guessPause.
	guessesMax, guessPause = 3, 50 * time.Millisecond
	// The share of pulls that are left unanswered, in parts of allPulls, is smoothed over lostOver.
	allPulls, lostOver = 1 << 16, 32
	// byChance is how many times silences in a row must be less likely than once, if they are
	// losses, for a member to be named.
	byChance = 1_000_000
	// busyMax bounds how long a BUSY is obeyed.
	busyMax = 5 * time.Second
)

// pulling is what a member knows of its gaps.
type pulling struct {
	base
	heed   *heed
	intake gaps
	links  *links
	tree   *tree
	seek   lacker

	// known is the highest index that somebody is known to hold; ripe the part
	// of it that was known when the grace began.
	known, ripe protocol.Index
	at          protocol.Instant // when to pull; never if nothing is missing
	out         []pull
	failed      int // pulls in a row that were not answered
	lost        int // of allPulls, of all members, smoothed, those that were not answered
	fromActives int // pulls from actives since a passive gave what it was asked for
	guesses     int // in a row that came to nothing
	entry       int // bytes of an entry, smoothed over what was pulled; 0: none was
	late        lateness
	parts       []parted // of frames that are too large for a datagram
}

// gaps tells what is missing of the log.
type gaps interface {
	reached() protocol.Index
	// missing returns the first gaps up to an index that there is room for, except some.
	missing(last protocol.Index, but []protocol.Range) []protocol.Range
}

// lacker is told that an entry is missing which nobody holds.
type lacker interface {
	lacking(now protocol.Instant)
}

// pull is a WANT that awaits its answer.
type pull struct {
	to     protocol.MemberID
	ranges []protocol.Range
	until  protocol.Instant
	guess  bool // it never said that it holds this
	// small says that it is to be answered in datagrams, of bytes together, and got is what
	// has come of them. try says that it is to show whether streams get here, and bulk that
	// one datagram is not enough.
	small, try, bulk bool
	bytes, got       int
	began            bool // a frame in parts was begun for it
}

func (p *pulling) clear() {
	p.known, p.ripe, p.at, p.out, p.failed, p.guesses, p.late, p.parts = 0, 0, never, nil, 0, 0, lateness{}, nil
}

// expiry is when the first pull runs out of patience.
func (p *pulling) expiry() protocol.Instant {
	at := never
	for i := range p.out {
		at = min(at, p.out[i].until)
	}
	return at
}

// forgetStrangers gives up pulls from members that are gone.
func (p *pulling) forgetStrangers(now protocol.Instant) {
	for i := range p.out {
		if p.members.get(p.out[i].to) == nil {
			p.out[i].until = now // the next Tick asks elsewhere
		}
	}
}

func (p *pulling) find(to protocol.MemberID) int {
	return slices.IndexFunc(p.out, func(x pull) bool { return x.to == to })
}

// asked reports whether a member was asked for any of r.
func (p *pulling) asked(from protocol.MemberID, r protocol.Range) bool {
	i := p.find(from)
	return i >= 0 && slices.ContainsFunc(p.out[i].ranges, func(x protocol.Range) bool {
		return x.First <= r.Last && r.First <= x.Last
	})
}

// denied gives up a pull from a member that says it does not hold what was
// asked for.
func (p *pulling) denied(now protocol.Instant, m *member) {
	i := p.find(m.id)
	if i < 0 {
		return
	}
	if first := p.out[i].ranges[0].First; first > m.lastIndex || first < m.first {
		p.out[i].until = now
		if !p.out[i].guess {
			m.silences-- // it did answer
		}
		m.guessAfter = now.Add(guessPause)
	}
}

// grace is how long a gap is left alone. While entries are pushed in bulk each
// active does so at its own moments, and is ahead of others by up to the flush
// interval.
func (p *pulling) grace() time.Duration {
	d := max(graceMin, 2*p.members.rtt)
	if p.tree.streamed {
		d = max(d, p.late.wait())
	}
	if p.tree.bulk {
		d = max(d, 2*p.cfg.Flush)
	}
	return min(d, graceMax)
}

// graceOfDigests is how long what a digest tells of is left alone. A digest
// comes at any moment, also right after a commit, when the frame is still on its
// way through the tree; a frame beyond a gap came that way itself.
func (p *pulling) graceOfDigests() time.Duration {
	d := p.grace()
	if p.links.treed() {
		n, actives := p.members.flock()
		d += time.Duration(treeDepth(n, actives)) * p.members.rtt / 2
	}
	return min(d, graceMax)
}

// evidence notes that somebody holds the log up to an index. Whoever sees a
// higher index than it holds pulls the gap after a short grace.
func (p *pulling) evidence(now protocol.Instant, i protocol.Index, grace time.Duration) {
	if i > protocol.IndexMax || i <= p.intake.reached() || !p.self.takes() {
		return
	}
	p.known = max(p.known, i)
	p.late.heard(now, i)
	if at := now.Add(grace); at < p.at {
		p.ripe, p.at = i, at
	}
}

// pull asks for what is missing and ripe.
func (p *pulling) pull(now protocol.Instant) {
	p.at = never
	if !p.self.takes() || p.known <= p.intake.reached() {
		return
	}
	p.tree.holed(now, p.ripe)
	for len(p.out) < pullsMax && !p.cfg.NoRepair {
		missing := p.missing()
		if len(missing) == 0 {
			break
		}
		m, guess := p.unfinished(now, missing[0].First), false
		if m == nil {
			m, guess = p.giver(now, missing[0].First)
		}
		if m == nil {
			// Nobody to ask. Whoever is heard of next brings the evidence
			// back.
			p.known = max(p.intake.reached(), min(p.known, missing[0].First-1))
			p.seek.lacking(now)
			break
		}
		p.want(now, m, missing, guess)
	}
	p.tree.graftFor(now)
	if p.known > p.ripe {
		p.ripe = p.known
		p.at = now.Add(p.grace())
	}
}

// missing returns the first gaps that nobody was asked for: asked for counts as held,
// until the pull runs out of patience.
func (p *pulling) missing() []protocol.Range {
	var asked []protocol.Range
	for i := range p.out {
		asked = append(asked, p.out[i].ranges...)
	}
	return p.intake.missing(p.ripe, asked)
}

// stretch cuts from what is missing what one answer of so many bytes has room for: others
// are asked for the rest.
func (p *pulling) stretch(missing []protocol.Range, bytes int) []protocol.Range {
	room := protocol.Index(max(bytes/p.each(), 1))
	for i := range missing {
		r := &missing[i]
		if n := r.Last - r.First + 1; n < room {
			room -= n
			continue
		}
		r.Last = r.First + room - 1
		return missing[:i+1]
	}
	return missing
}

// each is what an entry is taken to have.
func (p *pulling) each() int {
	if p.entry == 0 {
		return entryBytes
	}
	return p.entry
}

// weigh takes note of how large pulled entries are.
func (p *pulling) weigh(entries []protocol.Entry) {
	each := max(protocol.RawSize(entries)/len(entries), 1)
	if p.entry == 0 {
		p.entry = each
	}
	p.entry = max((7*p.entry+each)/8, 1)
}

// giver draws a member to pull from: one that holds an index, or a passive that may well hold
// it, instead of an active.
func (p *pulling) giver(now protocol.Instant, i protocol.Index) (m *member, guess bool) {
	m = p.holder(now, i)
	if m != nil && m.peer.Role == protocol.RoleActive {
		if x := p.guess(now, i); x != nil {
			return x, true
		}
	}
	return m, false
}

// holder draws a member to pull from, among those that hold an index: a
// passive that says so, a passive that passed on what comes after, an active;
// of this zone if it can be; and one whose frames do not fit only when there is
// nobody else.
func (p *pulling) holder(now protocol.Instant, i protocol.Index) *member {
	var chosen *member
	best, count := 0, 0
	for _, m := range p.members.all {
		rank := 0
		switch {
		case now < m.skipUntil || p.find(m.id) >= 0 || m.first > i || !p.heed.heeds(m.id):
			continue
		case m.lastIndex >= i && m.peer.Role != protocol.RoleActive:
			rank = 3
		case m.lastIndex >= i:
			rank = 1
		case m.likely >= i && m.peer.Role != protocol.RoleActive:
			rank = 2
		default:
			continue
		}
		if now >= m.avoidUntil && !m.distrusted(now) {
			rank += 3
		}
		rank *= 2
		if m.peer.Zone == p.cfg.Zone {
			rank++
		}
		if rank > best {
			best, count = rank, 0
		}
		if rank == best {
			count++
			if p.rng.IntN(count) == 0 {
				chosen = m
			}
		}
	}
	return chosen
}

// guess draws a passive that may well hold an index, though it has not said so:
// by now a frame has come to nearly all. It is asked before an active is, which
// would otherwise pay for each frame that one of the members it feeds did not
// get, and for all who hear from it first that there is something. The third
// guess in a row that comes to nothing is the last.
func (p *pulling) guess(now protocol.Instant, i protocol.Index) *member {
	if p.guesses >= guessesMax || p.members.direct() {
		return nil
	}
	var near, all []*member
	for _, m := range p.members.passives {
		if now < max(m.skipUntil, m.avoidUntil, m.guessAfter) || !p.heed.heeds(m.id) || m.distrusted(now) || m.first > i || p.find(m.id) >= 0 {
			continue
		}
		all = append(all, m)
		if m.peer.Zone == p.cfg.Zone {
			near = append(near, m)
		}
	}
	if len(near) > 0 {
		all = near
	}
	if len(all) == 0 {
		return nil
	}
	return all[p.rng.IntN(len(all))]
}

// sparing reports whether a member is an active that is to be asked for little,
// because a passive may soon be known that can give the rest.
func (p *pulling) sparing(m *member) bool {
	return m.peer.Role == protocol.RoleActive && len(p.members.passives) > 1 && p.fromActives < sparingMax && !p.self.Pressed
}

// want asks a member for ranges that it holds the first of, or is guessed to.
func (p *pulling) want(now protocol.Instant, m *member, missing []protocol.Range, guess bool) {
	x := pull{to: m.id, guess: guess}
	p.ask(now, m, &x, missing)
	switch {
	case x.small:
		missing = p.stretch(missing, x.bytes)
	case x.try:
		missing = p.stretch(missing, smallBytesMin)
	case p.self.Needs != 0:
		missing = p.stretch(missing, farBytes)
	}
	x.ranges, x.until = slices.Clone(missing), now.Add(p.patience(m, (x.small || x.try) && x.bulk))
	p.out = append(p.out, x)
	if !guess && m.peer.Role == protocol.RoleActive {
		p.fromActives++
	}
	w := &protocol.Want{Ranges: missing, Bytes: uint64(x.bytes), Eager: p.tree.eagerToo(now, m), Small: x.small}
	if x.small {
		w.From = p.rest(m.id, missing[0].First)
	}
	p.outbox.send(m.id, w)
}

// patience is how long a member may leave a pull unanswered.
func (p *pulling) patience(m *member, small bool) time.Duration {
	least := patienceMin
	if p.links.lossy && m.rtt > 0 {
		least = patienceLossy
	}
	if p.tree.streamed {
		least = max(least, p.late.wait())
	}
	patience := min(max(least, 4*m.rtt)<<min(p.failed/4, 8), patienceMax)
	switch {
	case small:
		return max(patience, smallPatience)
	case p.self.Needs != 0:
		return max(patience, farPatience)
	}
	return patience
}

// pulled settles what an answer brought. A pull is over when nothing of it is
// missing, or when its bytes ran out; then the next one goes at once.
func (p *pulling) pulled(now protocol.Instant, from protocol.MemberID, f *protocol.Frame) {
	p.failed, p.guesses = 0, 0
	m := p.members.get(from)
	if m != nil {
		m.answered()
	}
	i := p.find(from)
	if i < 0 {
		return
	}
	x, r := &p.out[i], f.Range()
	short := slices.ContainsFunc(x.ranges, func(want protocol.Range) bool {
		return r.First <= want.First && want.First <= r.Last && r.Last < want.Last
	})
	rest := ranges{list: x.ranges}
	rest.remove(r)
	x.ranges = rest.list
	over := len(x.ranges) == 0
	if m != nil && m.peer.Role != protocol.RoleActive && (over || protocol.RawSize(f.Entries) >= x.bytes/2) {
		p.fromActives = 0
	}
	if x.small {
		bytes := protocol.RawSize(f.Entries)
		short = short && !p.cfg.checks() && bytes+p.each() < datagramEntriesBytes // more would have fitted: that was all
		over = p.gathered(now, x, bytes, over)
	}
	if !short && !over {
		x.until = max(x.until, now.Add(patienceMin))
		return
	}
	switch {
	case m == nil:
	case x.small:
		m.small.grow(len(x.ranges) == 0 || x.ranges[0].First > r.Last)
	case short && p.sparing(m):
		m.skipUntil = max(m.skipUntil, now.Add(p.cfg.Have)) // the rest from others, if there are any
	}
	p.out = slices.Delete(p.out, i, i+1)
	p.lost -= p.lost / lostOver
	p.ripe = max(p.ripe, min(p.known, r.Last+windowMax))
	p.pull(now)
}

// expirePulls asks elsewhere for what a member left unanswered.
func (p *pulling) expirePulls(now protocol.Instant) {
	expired := false
	for i := 0; i < len(p.out); {
		if now < p.out[i].until {
			i++
			continue
		}
		m := p.members.get(p.out[i].to)
		switch {
		case p.out[i].guess: // it never said that it holds this
			p.guesses++
			if m != nil {
				m.guessAfter = max(m.guessAfter, now.Add(guessPause))
			}
		case m == nil || p.out[i].try:
		case p.out[i].got > 0:
			m.small.grow(false)
		default:
			p.silent(now, m, &p.out[i])
		}
		p.out = slices.Delete(p.out, i, i+1)
		expired = true
	}
	if expired {
		p.at = min(p.at, now)
	}
}

// refused leaves a member alone for as long as it asks, if it was asked for anything.
func (p *pulling) refused(now protocol.Instant, m *member, pause time.Duration) {
	i := p.find(m.id)
	if i < 0 {
		return
	}
	m.skipUntil = max(m.skipUntil, now.Add(pause))
	p.out = slices.Delete(p.out, i, i+1)
	p.at = min(p.at, now)
}
