package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// member is what the core knows of a live peer.
type member struct {
	id   protocol.MemberID
	peer protocol.Peer

	known  bool // heard is set
	heard  Heard
	claims claims
	// first..tip is what the member said it holds. likely is a guess beyond
	// that: it passed on a frame that begins just above.
	first, tip, likely protocol.Index
	checkpoints        []protocol.Index // that it said it has

	rtt      time.Duration // smoothed; 0: not measured
	silences int           // pulls in a row that it left unanswered
	// skipUntil and avoidUntil keep pulls away: it was silent or busy, or it
	// was the origin of frames that do not fit. Until distrustUntil it is known
	// for something that nobody has signed.
	skipUntil, avoidUntil, distrustUntil protocol.Instant
	// guessAfter keeps guesses away: it said that it did not hold what it was
	// asked for.
	guessAfter protocol.Instant

	answers bucket // digests and sums that it gets
	wants   bucket // pulls that it may ask for
	served  bucket // bytes that it gets
	given   bucket // bytes of checkpoints that it gets
	// forgeries are the false signatures of its that were checked.
	forgeries bucket
	// keyless counts the answers in a row of an active that were not signed.
	keyless int

	chunks chunkSource
	link   link
}

// members are the live peers. Every list is sorted by id.
type members struct {
	byID     map[protocol.MemberID]*member // for look-ups; never ranged over
	all      []*member
	actives  []*member
	passives []*member // everybody else
	zones    bool      // not all are of one zone
	// stranger is the one budget that all unknown members share.
	stranger member
}

func (ms *members) set(self protocol.MemberID, peers []protocol.Peer) {
	byID := make(map[protocol.MemberID]*member, len(peers))
	ms.all, ms.actives, ms.passives, ms.zones = nil, nil, nil, false
	for _, p := range peers {
		if p.ID.IsZero() || p.ID == self || byID[p.ID] != nil {
			continue
		}
		m := ms.byID[p.ID]
		if m == nil {
			m = &member{id: p.ID, skipUntil: longAgo, avoidUntil: longAgo, distrustUntil: longAgo, guessAfter: longAgo, link: newLink()}
			m.chunks.skipUntil, m.chunks.badUntil = longAgo, longAgo
		}
		m.peer = p
		byID[p.ID] = m
		ms.all = append(ms.all, m)
		ms.zones = ms.zones || p.Zone != peers[0].Zone
	}
	slices.SortFunc(ms.all, func(a, b *member) int { return a.id.Compare(b.id) })
	for _, m := range ms.all {
		if m.peer.Role == protocol.RoleActive {
			ms.actives = append(ms.actives, m)
		} else {
			ms.passives = append(ms.passives, m)
		}
	}
	ms.byID = byID
}

// get returns a live peer, or nil.
func (ms *members) get(id protocol.MemberID) *member { return ms.byID[id] }

// budget returns where to charge work done for a sender.
func (ms *members) budget(id protocol.MemberID) *member {
	if m := ms.byID[id]; m != nil {
		return m
	}
	return &ms.stranger
}

// bucket is a token bucket. The zero value is full.
type bucket struct {
	used int64 // tokens missing
	at   protocol.Instant
}

// take takes n tokens if there is at least one, and reports whether. It may go
// into debt, so that one large thing is possible and then paid off.
func (b *bucket) take(now protocol.Instant, n, perSecond, burst int64) bool {
	if b.used <= 0 {
		b.used, b.at = 0, now
	} else if back := now.Sub(b.at).Seconds() * float64(perSecond); back >= float64(b.used) {
		b.used, b.at = 0, now
	} else if back >= 1 {
		b.used -= int64(back)
		b.at = now
	}
	if b.used >= burst {
		return false
	}
	b.used += n
	return true
}
