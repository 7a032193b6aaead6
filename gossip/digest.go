package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// asksMax is how many questions for freshness are remembered: those of
	// more than a second.
	asksMax = 64
	// A member gets this many answers (digests, sums) per second, and at once.
	answersPerSecond, answersBurst = 400, 200
	// rttMax bounds what is believed of a round trip.
	rttMax = 10 * time.Second
)

// digest is when HAVEs go out, and which await an answer.
type digest struct {
	at        protocol.Instant // of the next
	askedFeed protocol.Instant // an active was last asked
	everAsked bool
	asks      [asksMax]ask
	next      int
	scratch   [4]*member
}

// ask is a question for freshness: its nonce, and this member's clock before
// it was sent.
type ask struct {
	nonce uint64
	to    protocol.MemberID
	at    protocol.Instant
}

// sendDigests sends the digest to the member that freshness comes from and to
// a random one, where there is no such member to two random ones. Whoever gets
// one answers; so each member hears of four on average. A leader of mode Hybrid
// sends none: freshness begins with it, and its followers and random members ask
// it, more often than it could ask.
func (c *Core) sendDigests(now protocol.Instant) {
	d := &c.digest
	d.at = d.at.Add(c.cfg.Have)
	if d.at <= now { // paused: no catching up
		d.at = now.Add(c.cfg.Have)
	}
	to := d.scratch[:0]
	feed := c.feed(now)
	if feed == nil {
		feed = c.anchorMember()
		if feed != nil && feed.id == c.self.Leader {
			feed, _ = c.follower() // others ask this member, as their anchor
		}
	}
	switch {
	case feed != nil:
		to = append(c.company(to, 1, feed.id), feed)
	case c.cfg.Mode == Hybrid && c.self.Leader == c.cfg.ID:
	default:
		to = c.company(to, 2, protocol.MemberID{})
	}
	for _, m := range to {
		nonce := max(c.rng.Uint64(), 1)
		d.asks[d.next] = ask{nonce: nonce, to: m.id, at: c.Longest(now)}
		d.next = (d.next + 1) % asksMax
		h := c.have(now)
		h.Nonce = nonce
		c.send(m.id, h)
	}
}

// company draws k members at random into dst, exclude excepted. Where this member
// knows some passives of a large flock only, it draws actives as seldom as if it
// knew all: they must not pay for what it does not know.
func (c *Core) company(dst []*member, k int, exclude protocol.MemberID) []*member {
	ms := &c.members
	known := len(ms.passives)
	if c.cfg.Flock > known && known > k && c.rng.IntN(c.cfg.Flock) >= known {
		return c.pick(dst, ms.passives, k, exclude)
	}
	return c.pick(dst, ms.all, k, exclude)
}

// feed returns the member that freshness is to come from this time, or nil for
// a random one. Claims arise at the leader: actives ask it each time, and
// passives ask an active, seldom enough that actives are not asked more the
// more passives there are. Random members carry claims between those times.
func (c *Core) feed(now protocol.Instant) *member {
	if c.self.Role == protocol.RoleActive {
		return c.members.get(c.self.Leader)
	}
	m, count := c.follower()
	if m == nil {
		return nil
	}
	d := &c.digest
	asking, _ := c.flock()
	pause := time.Duration(asking) * time.Second / time.Duration(count*c.cfg.ActiveAsks)
	if d.everAsked && now.Sub(d.askedFeed) < max(pause, c.cfg.Have)-c.cfg.Have/2 {
		return nil
	}
	d.askedFeed, d.everAsked = now, true
	return m
}

// follower draws one of the actives, and says of how many: of those that do not
// lead, which spare the leader; without any it must do.
func (c *Core) follower() (m *member, count int) {
	actives := c.members.actives
	if len(actives) == 0 {
		return nil, 0
	}
	for _, x := range actives {
		if x.id == c.self.Leader {
			continue
		}
		if count++; c.rng.IntN(count) == 0 {
			m = x
		}
	}
	if count == 0 {
		return actives[c.rng.IntN(len(actives))], len(actives)
	}
	return m, count
}

// have is what this member says of itself now. A member that is no source
// claims to hold nothing, so that nobody pulls from it.
func (c *Core) have(now protocol.Instant) *protocol.Have {
	h := &protocol.Have{
		Applied: c.self.Applied,
		Commit:  max(c.self.Commit, c.self.Tip),
		Term:    c.self.Term,
		Leader:  c.self.Leader,
		Behind:  c.behindNow(),
	}
	if c.source() {
		h.First, h.Tip = c.self.First, c.self.Tip
		h.Checkpoints = c.giving.announced()
	}
	if n := len(c.buffer.held.list); n > 0 && c.takes() {
		end := c.buffer.held.list[n-1].Last
		h.Holes = c.buffer.held.gaps(nil, protocol.Range{First: c.self.Tip + 1, Last: end}, protocol.HolesMax)
	}
	if p, age, ok := c.fresh.newest(c.Longest(now)); ok && !c.wrong {
		h.FreshKnown, h.FreshIndex, h.FreshSum, h.FreshAge = true, p.index, p.sum, int64(age)
	}
	if c.wrong {
		h.Diverged = c.diverged
	}
	return h
}

func (c *Core) onHave(now protocol.Instant, from protocol.MemberID, h *protocol.Have) {
	m := c.members.get(from)
	if h.AnswerTo != 0 {
		c.answered(now, from, m, h)
	}
	if m != nil && h.Tip <= protocol.IndexMax {
		m.known = true
		m.first, m.tip, m.likely = h.First, h.Tip, 0
		m.heard = Heard{ID: from, Applied: h.Applied, Tip: h.Tip, Diverged: h.Diverged, At: now}
		m.heard.Age, m.heard.AgeKnown = m.claims.age(now, h)
		c.learnCheckpoints(now, m, h.Checkpoints)
		c.learnBehind(now, m, h.Behind)
		c.pulling.denied(now, m)
		if c.heeds(from) {
			c.evidence(now, h.Tip, c.graceOfDigests())
		}
	}
	if h.Nonce != 0 && h.AnswerTo == 0 && c.mayAnswer(now, from) {
		a := c.have(now)
		a.AnswerTo = h.Nonce
		c.signStanding(a)
		c.send(from, a)
	}
}

// claims are what another member has said of the age of the others' writes. A claim
// about an index that its state has not come to says nothing of the age of its state:
// so it may be a million entries behind, and hear every 100 ms how far the others are.
type claims struct {
	// reached is when the newest claim held that the state has come to, waits the
	// oldest that it has not.
	reached    protocol.Instant
	waits      pair
	isKnown    bool
	waitsKnown bool
}

// age bounds the age of another member's state, by its own word, for display only.
func (c *claims) age(now protocol.Instant, h *protocol.Have) (time.Duration, bool) {
	if c.waitsKnown && c.waits.index <= h.Applied {
		c.reached, c.isKnown, c.waitsKnown = c.waits.at, true, false
	}
	if age := time.Duration(h.FreshAge); h.FreshKnown && age >= 0 && age <= ageMax {
		p := pair{index: h.FreshIndex, at: now.Add(-age)}
		switch {
		case p.index <= h.Applied:
			c.reached, c.isKnown, c.waitsKnown = p.at, true, false
		case !c.waitsKnown:
			c.waits, c.waitsKnown = p, true
		}
	}
	if !c.isKnown {
		return 0, false
	}
	return now.Sub(c.reached), true
}

// answered takes the freshness of an answer to a question of ours. Nothing
// else counts: an unsolicited age may have waited in a socket while this
// member was stopped.
func (c *Core) answered(now protocol.Instant, from protocol.MemberID, m *member, h *protocol.Have) {
	i := slices.IndexFunc(c.digest.asks[:], func(a ask) bool { return a.nonce == h.AnswerTo && a.to == from })
	if i < 0 {
		return
	}
	asked := c.digest.asks[i].at
	c.digest.asks[i] = ask{}
	if c.heeds(from) && c.standing(now, from, h) {
		if p, ok := answered(asked, from, h); ok {
			c.learnFresh(now, p)
		}
	}
	if m != nil {
		rtt := min(max(c.Longest(now).Sub(asked), 1), rttMax)
		m.rtt = smooth(m.rtt, rtt)
		c.pulling.rtt = smooth(c.pulling.rtt, rtt)
	}
}

// mayAnswer charges one small answer to a member.
func (c *Core) mayAnswer(now protocol.Instant, to protocol.MemberID) bool {
	return c.members.budget(to).answers.take(now, 1, answersPerSecond, answersBurst)
}

// smooth moves an average towards a sample; the first sample is the average.
func smooth(average, sample time.Duration) time.Duration {
	if average == 0 {
		return sample
	}
	return average + (sample-average)/8
}
