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

// haves is when HAVEs go out, and which await an answer.
type haves struct {
	base
	clock    *protocol.WallAhead
	carriers *carriers
	presence announcer
	links    *links
	heed     *heed
	trust    *trust
	fresh    *freshness

	at        protocol.Instant // of the next
	askedFeed protocol.Instant // an active was last asked
	everAsked bool
	asks      [asksMax]ask
	next      int
	suspected bool // the last ones went to a suspect, and not to one at random
	scratch   [4]*member
}

// ask is a question for freshness: its nonce, and this member's clock before
// it was sent.
type ask struct {
	nonce uint64
	to    protocol.MemberID
	at    protocol.Instant
	// stream says that it went over the stream: its answer says nothing of datagrams.
	stream bool
}

// sendAll sends the digest to the member that freshness comes from and to
// a random one, where there is no such member to two random ones. Whoever gets
// one answers; so each member hears of four on average. A leader of mode Hybrid
// sends none: freshness begins with it, and its followers and random members ask
// it, more often than it could ask.
func (d *haves) sendAll(now protocol.Instant) {
	d.at = d.at.Add(d.cfg.Have)
	if d.at <= now { // paused: no catching up
		d.at = now.Add(d.cfg.Have)
	}
	to := d.scratch[:0]
	feed := d.feed(now)
	if feed == nil {
		feed = d.links.anchorMember()
		if feed != nil && feed.id == d.self.Leader {
			feed, _ = d.follower() // others ask this member, as their anchor
		}
	}
	switch {
	case feed != nil:
		to = append(d.company(to, 1, feed.id), feed)
	case d.cfg.Mode == Hybrid && d.self.Leader == d.cfg.ID:
	default:
		to = d.company(to, 2, protocol.MemberID{})
	}
	if m := d.suspect(now); m != nil && len(to) > 0 && !d.suspected && !slices.Contains(to, m) {
		to[0], d.suspected = m, true // in the random one's place
	} else {
		d.suspected = false
	}
	for _, m := range to {
		nonce := max(d.rng.Uint64(), 1)
		d.carriers.asked(now, m)
		d.asks[d.next] = ask{nonce: nonce, to: m.id, at: d.clock.Longest(now), stream: m.carrier.streams()}
		d.next = (d.next + 1) % asksMax
		h := d.presence.have(now)
		h.Nonce = nonce
		d.outbox.send(m.id, h)
	}
}

// suspect returns whom to ask because it has not answered, and datagrams may be lost
// between the two; nil: nobody.
func (d *haves) suspect(now protocol.Instant) (most *member) {
	for i := range d.asks {
		a := &d.asks[i]
		if a.nonce == 0 || a.stream {
			continue
		}
		m := d.members.get(a.to)
		if m == nil || m.carrier.streams() || now.Sub(m.carrier.last) < m.carrier.patience(m.rtt, askAgain) {
			continue
		}
		if n := m.carrier.unanswered; n > 0 && (most == nil || n > most.carrier.unanswered) {
			most = m
		}
	}
	return most
}

// company draws k members at random into dst, exclude excepted. Where this member
// knows some passives of a large flock only, it draws actives as seldom as if it
// knew all: they must not pay for what it does not know.
func (d *haves) company(dst []*member, k int, exclude protocol.MemberID) []*member {
	ms := d.members
	known := len(ms.passives)
	if d.cfg.Flock > known && known > k && d.rng.IntN(d.cfg.Flock) >= known {
		return d.members.pick(dst, ms.passives, k, exclude)
	}
	return d.members.pick(dst, ms.all, k, exclude)
}

// feed returns the member that freshness is to come from this time, or nil for
// a random one. Claims arise at the leader: actives ask it each time, and
// passives ask an active, seldom enough that actives are not asked more the
// more passives there are. Random members carry claims between those times.
func (d *haves) feed(now protocol.Instant) *member {
	if d.self.Role == protocol.RoleActive {
		return d.members.get(d.self.Leader)
	}
	m, count := d.follower()
	if m == nil {
		return nil
	}
	asking, _ := d.members.flock()
	pause := time.Duration(asking) * time.Second / time.Duration(count*d.cfg.ActiveAsks)
	if d.everAsked && now.Sub(d.askedFeed) < max(pause, d.cfg.Have)-d.cfg.Have/2 {
		return nil
	}
	d.askedFeed, d.everAsked = now, true
	return m
}

// follower draws one of the actives, and says of how many: of those that do not
// lead, which spare the leader; without any it must do.
func (d *haves) follower() (m *member, count int) {
	actives := d.members.actives
	if len(actives) == 0 {
		return nil, 0
	}
	for _, x := range actives {
		if x.id == d.self.Leader {
			continue
		}
		if count++; d.rng.IntN(count) == 0 {
			m = x
		}
	}
	if count == 0 {
		return actives[d.rng.IntN(len(actives))], len(actives)
	}
	return m, count
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
func (d *haves) answered(now protocol.Instant, from protocol.MemberID, m *member, h *protocol.Have) {
	i := slices.IndexFunc(d.asks[:], func(a ask) bool { return a.nonce == h.AnswerTo && a.to == from })
	if i < 0 {
		return
	}
	asked := d.asks[i].at
	if m != nil && (!d.asks[i].stream || !m.carrier.doubted) {
		d.carriers.answered(m)
	}
	d.asks[i] = ask{}
	if d.heed.heeds(from) && d.trust.checkFreshness(now, from, h) {
		if p, ok := answered(asked, from, h); ok {
			d.fresh.learnFresh(now, p)
		}
	}
	if m != nil {
		d.members.took(m, d.clock.Longest(now).Sub(asked))
	}
}
