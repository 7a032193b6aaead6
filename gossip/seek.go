package gossip

import (
	"crypto/sha256"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// seekPatience is how long a manifest may take, doubled with each time
	// in a row that nothing came of asking, up to seekPatienceMax.
	seekPatience, seekPatienceMax = 500 * time.Millisecond, 30 * time.Second
	// seekPassives is how many passives are asked at once for the manifest
	// of a checkpoint, and seekRounds how often, before an active is.
	seekPassives, seekRounds = 2, 2
	// askedMax bounds how many members may answer with a manifest, and
	// manifestsSeenMax how many manifests wait for another member's.
	askedMax, manifestsSeenMax = 16, 8
	// offerPause is how long the owner has to begin a fetch after an offer,
	// before there is another offer; doubled like seekPatience.
	offerPause = time.Second
)

// seek is the search for a checkpoint that this member could begin anew from.
type seek struct {
	base
	heed     *heed
	trust    *trust
	fetching *fetching

	search
}

// search is the state of seek.
type search struct {
	needed bool             // nobody was found to pull what comes next from
	at     protocol.Instant // the next step; never if there is none
	rounds int              // rounds of questions without an offer
	offers int              // offers in a row that led to no fetch
	asked  []protocol.MemberID
	heard  []manifestSeen
}

// manifestSeen is the hash of a manifest, and a member that sent it.
type manifestSeen struct {
	from protocol.MemberID
	hash [sha256.Size]byte
}

// later looks for a checkpoint soon, if one is wanted by then.
func (s *seek) later(now protocol.Instant) {
	if s.at == never {
		s.at = now.Add(s.cfg.Have)
	}
}

// lacking says that an entry is missing which no known member was found to
// hold. That may pass: another digest is waited for.
func (s *seek) lacking(now protocol.Instant) {
	s.needed = true
	s.later(now)
}

// wanted returns the index above which a checkpoint is wanted, if one is.
func (s *seek) wanted(now protocol.Instant) (above protocol.Index, want bool) {
	f := s.fetching
	if f.active && !f.gone || s.self.wrong {
		// One is being fetched, or installed. [S] A log of another history is not
		// replaced: it may be the only copy.
		return 0, false
	}
	p := s.self
	switch {
	case p.Lost:
		// A state just below the log's beginning makes the log useful again.
		if above = p.Applied; p.First > 2 {
			above = max(above, p.First-2)
		}
		above = max(above, p.Above)
	case s.needed && s.self.follows() && s.belowAll(now):
		above = p.LastIndex
	case f.active: // its leader told this active to fetch what is gone now
	default:
		return 0, false
	}
	if f.active && f.misfit {
		above = max(above, f.want.Index-1) // the same one, as another member describes it
	} else if f.active {
		above = max(above, f.want.Index)
	}
	return above, true
}

// belowAll reports whether somebody holds what comes after this member's log,
// and everybody who does has given up what comes next. One that has been
// silent for long does not count.
func (s *seek) belowAll(now protocol.Instant) bool {
	next, someone := s.self.LastIndex+1, false
	for _, m := range s.members.all {
		if m.lastIndex < next || !s.heed.heeds(m.id) || m.silences > silencesMax && now < m.skipUntil {
			continue
		}
		if m.first <= next {
			return false
		}
		someone = true
	}
	return someone
}

// step takes the next step: asks for manifests, if one is still wanted.
func (s *seek) step(now protocol.Instant) {
	above, want := s.wanted(now)
	if !want {
		s.search = search{at: never}
		return
	}
	to := s.manifestAsked(now, above)
	if len(to) == 0 {
		// Whoever has one will say so in a digest.
		s.at = now.Add(max(s.cfg.Have, seekPatience/4))
		return
	}
	for _, m := range to {
		if !slices.Contains(s.asked, m.id) {
			if len(s.asked) == askedMax {
				s.asked = slices.Delete(s.asked, 0, 1)
			}
			s.asked = append(s.asked, m.id)
		}
		s.outbox.send(m.id, &protocol.ManifestWant{Above: above})
	}
	s.at = now.Add(min(seekPatience<<min(s.rounds, 8), seekPatienceMax))
	s.rounds++
}

// manifestAsked draws whom to ask: passives first, so that actives are spared,
// then an active, the leader last. An active's word is enough; two passives
// are asked because they have to agree.
func (s *seek) manifestAsked(now protocol.Instant, above protocol.Index) []*member {
	var passives, actives []*member
	var leader *member
	for _, m := range s.members.all {
		switch {
		case !s.heed.heeds(m.id) || len(m.checkpoints) == 0 || slices.Max(m.checkpoints) <= above || now < m.chunks.badUntil && !s.fetching.misfit || m.distrusted(now):
		case m.id == s.self.Leader:
			leader = m
		case s.heed.vouches(m):
			actives = append(actives, m)
		case now >= m.chunks.skipUntil && !s.cfg.checks(): // where they are, an active has to sign
			passives = append(passives, m)
		}
	}
	switch {
	case len(passives) >= seekPassives && s.rounds < seekRounds:
		return s.members.pick(nil, passives, seekPassives, protocol.MemberID{})
	case len(actives) > 0 && (leader == nil || s.rounds%4 != 3):
		return s.members.pick(nil, actives, 1, protocol.MemberID{})
	case leader != nil:
		return []*member{leader}
	case len(passives) >= seekPassives:
		return s.members.pick(nil, passives, seekPassives, protocol.MemberID{})
	}
	return nil
}

// onManifest takes a manifest that was asked for. [S] It is believed from
// an active, or when two members sent the very same one: whoever else sends one
// could make up a whole state with sums that fit. Where signatures are checked an
// active has to have signed it.
func (s *seek) onManifest(now protocol.Instant, from protocol.MemberID, d *protocol.Manifest) {
	m := s.members.get(from)
	i := slices.Index(s.asked, from)
	if m == nil || i < 0 || !s.heed.heeds(from) {
		return
	}
	s.asked = slices.Delete(s.asked, i, i+1)
	if len(d.Manifest) == 0 {
		m.checkpoints = nil // its digest was of another time
		s.at = min(s.at, now.Add(s.cfg.Have))
		return
	}
	above, want := s.wanted(now)
	if !want {
		return
	}
	if s.cfg.checks() {
		if err := s.trust.verify(protocol.ManifestStatement(d.Manifest), &d.Signature); err != nil {
			s.trust.forged(now, from, above, "the manifest of a checkpoint: "+err.Error())
			return
		}
	} else if !s.heed.vouches(m) && !s.confirmed(from, d.Manifest) {
		return
	}
	s.outbox.ready.Offer = &protocol.ManifestOffer{From: from, Manifest: d.Manifest}
	pause := min(offerPause<<min(s.offers, 8), seekPatienceMax)
	s.search = search{needed: s.needed, offers: s.offers + 1, at: now.Add(pause)}
}

// confirmed reports whether another member has sent the same manifest, and
// remembers this one.
func (s *seek) confirmed(from protocol.MemberID, manifest []byte) bool {
	hash := sha256.Sum256(manifest)
	for _, x := range s.heard {
		if x.from != from && x.hash == hash {
			return true
		}
	}
	s.heard = slices.DeleteFunc(s.heard, func(x manifestSeen) bool { return x.from == from })
	if len(s.heard) == manifestsSeenMax {
		s.heard = slices.Delete(s.heard, 0, 1)
	}
	s.heard = append(s.heard, manifestSeen{from, hash})
	return false
}

// begun gives the search up: a checkpoint is being fetched.
func (s *seek) begun() { s.search = search{needed: s.needed, at: never} }

// refused asks a member no more that said BUSY, for a while, and others soon.
func (s *seek) refused(now protocol.Instant, m *member, pause time.Duration) {
	i := slices.Index(s.asked, m.id)
	if i < 0 {
		return
	}
	s.asked = slices.Delete(s.asked, i, i+1)
	s.at = min(s.at, now.Add(s.cfg.Have))
	m.chunks.skipUntil = max(m.chunks.skipUntil, now.Add(pause))
}

// gone looks at once for another checkpoint than the one that nobody gives any more.
func (s *seek) gone(now protocol.Instant) { s.at = now }
