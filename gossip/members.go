package gossip

import (
	"math/rand/v2"
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
	// first..lastIndex is what the member said it holds. likely is a guess beyond
	// that: it passed on a frame that begins just above.
	first, lastIndex, likely protocol.Index
	checkpoints              []protocol.Index // that it said it has

	rtt      time.Duration // smoothed; 0: not measured
	silences int           // pulls in a row that it left unanswered
	accused  bool          // that was said of it
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

	small   smallness
	chunks  chunkSource
	link    link
	carrier carrier
}

// members are the live peers. Every list is sorted by id.
type members struct {
	cfg    *Config
	rng    *rand.Rand
	self   *standing
	outbox *outbox

	byID     map[protocol.MemberID]*member // for look-ups; never ranged over
	all      []*member
	actives  []*member
	passives []*member // everybody else
	zones    bool      // not all are of one zone
	// stranger is the one budget that all unknown members share.
	stranger member
	rtt      time.Duration // smoothed over all; 0: not measured
}

func (ms *members) set(peers []protocol.Peer) {
	byID := make(map[protocol.MemberID]*member, len(peers))
	ms.all, ms.actives, ms.passives, ms.zones = nil, nil, nil, false
	for _, p := range peers {
		if p.ID.IsZero() || p.ID == ms.cfg.ID || byID[p.ID] != nil {
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

// flock returns how many passives and actives there are, this member included.
func (ms *members) flock() (passives, actives int) {
	passives, actives = len(ms.passives), len(ms.actives)
	if ms.self.Role == protocol.RoleActive {
		actives++
	} else {
		passives++
	}
	return max(passives, ms.cfg.Flock), actives
}

// direct reports whether the actives reach all passives themselves.
func (ms *members) direct() bool {
	passives, actives := ms.flock()
	return passives <= feedsEach*actives
}

// near reports whether a member is of this zone.
func (ms *members) near(m *member) bool { return m != nil && m.peer.Zone == ms.cfg.Zone }

// pick draws up to k distinct members of list, exclude excepted, into dst.
func (ms *members) pick(dst, list []*member, k int, exclude protocol.MemberID) []*member {
	k += len(dst)
	if len(list)+len(dst) <= k+1 {
		excluded := slices.ContainsFunc(list, func(m *member) bool { return m.id == exclude })
		if len(list)+len(dst) <= k || excluded { // few: all of them, in order
			for _, m := range list {
				if m.id != exclude {
					dst = append(dst, m)
				}
			}
			return dst
		}
	}
	for len(dst) < k {
		m := list[ms.rng.IntN(len(list))]
		if m.id != exclude && !slices.Contains(dst, m) {
			dst = append(dst, m)
		}
	}
	return dst
}

// took takes note of how long a question and its answer took.
func (ms *members) took(m *member, rtt time.Duration) {
	rtt = min(max(rtt, 1), rttMax)
	m.rtt, ms.rtt = smooth(m.rtt, rtt), smooth(ms.rtt, rtt)
}

// smooth takes one more sample into an average. A single one moves it by half of it and a few
// milliseconds at most: a stream that stood still for seconds, after a cut, says nothing of the
// next answer, and pulls would wait for seconds on its account.
func smooth(average, sample time.Duration) time.Duration {
	if average == 0 {
		return min(sample, firstTripMax)
	}
	return average + (min(sample, max(tripGrowth*average, tripNoise))-average)/8
}

// What one sample counts for at most: the first, one beside a small average, and one beside a
// larger one, in averages.
const (
	firstTripMax = 500 * time.Millisecond
	tripNoise    = 40 * time.Millisecond
	tripGrowth   = 5
)

// mayAnswer charges one small answer to a member.
func (ms *members) mayAnswer(now protocol.Instant, to protocol.MemberID) bool {
	return ms.budget(to).answers.take(now, 1, answersPerSecond, answersBurst)
}

// refuse says BUSY, and who else holds the log.
func (ms *members) refuse(now protocol.Instant, to protocol.MemberID) {
	if !ms.mayAnswer(now, to) {
		return
	}
	busy := &protocol.Busy{RetryAfter: int64(busyPause)}
	for _, m := range ms.pick(nil, ms.passives, othersMax, to) {
		busy.Others = append(busy.Others, m.id)
	}
	ms.outbox.send(to, busy)
}

// learnHolders notes who must hold what, going by a frame: its origin made it
// from its own log, and who passed it on got what lies before in all
// likelihood.
func (ms *members) learnHolders(from protocol.MemberID, f *protocol.Frame) {
	r := f.Range()
	if m := ms.get(f.Origin); m != nil {
		m.lastIndex = max(m.lastIndex, r.Last)
	}
	if m := ms.get(from); m != nil && f.Flags&protocol.FramePulled == 0 {
		m.likely = max(m.likely, r.First-1)
	}
}

// answered takes note that a member gives what it is asked for.
func (m *member) answered() { m.silences, m.accused = 0, false }

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
