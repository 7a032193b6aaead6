package active

import (
	"math"
	"slices"

	"github.com/starlinghq/starling/protocol"
)

// What a quorum decides is asked here and nowhere else. Under joint consensus
// each question is put to both halves (the paper, section 6): the lower of two
// agreed values counts, and an election is won when it is won in both.

// quorum is who decides under a configuration.
type quorum struct {
	voters   []protocol.MemberID // of either half, sorted
	incoming []protocol.MemberID // sorted
	outgoing []protocol.MemberID // sorted; none unless the configuration is joint
}

func quorumUnder(c protocol.Configuration) quorum {
	q := quorum{incoming: c.Voters(), outgoing: c.OutgoingVoters()}
	q.voters = q.incoming
	if len(q.outgoing) > 0 {
		q.voters = slices.Concat(q.incoming, q.outgoing)
		slices.SortFunc(q.voters, protocol.MemberID.Compare)
		q.voters = slices.Compact(q.voters)
	}
	return q
}

// halves calls f for each set of voters of which a majority is needed.
func (q *quorum) halves(f func(voters []protocol.MemberID)) {
	f(q.incoming)
	if len(q.outgoing) > 0 {
		f(q.outgoing)
	}
}

// majority returns how many of n voters decide.
func majority(n int) int { return n/2 + 1 }

// agreed returns the highest value that a majority has reached, given what each
// voter has reached; 0 without voters. It reorders the values.
func agreed(values []uint64) uint64 {
	if len(values) == 0 {
		return 0
	}
	for i := 1; i < len(values); i++ { // a handful of values, sorted high to low
		for k := i; k > 0 && values[k] > values[k-1]; k-- {
			values[k], values[k-1] = values[k-1], values[k]
		}
	}
	return values[majority(len(values))-1]
}

// electionResult is how an election stands.
type electionResult uint8

const (
	electionOpen electionResult = iota
	electionWon
	electionLost
)

// tally counts ballots, one for each voter.
func tally(ballots []ballot) electionResult {
	granted, refused := 0, 0
	for _, b := range ballots {
		switch b {
		case ballotGranted:
			granted++
		case ballotRefused:
			refused++
		}
	}
	need := majority(len(ballots))
	switch {
	case len(ballots) > 0 && granted >= need:
		return electionWon
	case granted+len(ballots)-granted-refused < need:
		return electionLost
	}
	return electionOpen
}

// election returns how an election stands, in both halves together.
func (m *Member) election() electionResult {
	result := electionWon
	m.quorum.halves(func(voters []protocol.MemberID) {
		half := make([]ballot, len(voters))
		for i, id := range voters {
			k, _ := slices.BinarySearchFunc(m.quorum.voters, id, protocol.MemberID.Compare)
			half[i] = m.ballots[k]
		}
		switch r := tally(half); {
		case r == electionLost || result == electionLost:
			result = electionLost
		case r == electionOpen:
			result = electionOpen
		}
	})
	return result
}

// alone reports whether this member is the only voter.
func (m *Member) alone() bool { return m.voter && len(m.quorum.voters) == 1 }

// quorumOf returns what a majority of the voters, of each half, has reached,
// given what this member has and how to read it off another's progress. Leader
// only.
func (m *Member) quorumOf(own uint64, of func(*progress) uint64) uint64 {
	all := uint64(math.MaxUint64)
	m.quorum.halves(func(voters []protocol.MemberID) {
		m.values = m.values[:0]
		for _, id := range voters {
			if id == m.cfg.ID {
				m.values = append(m.values, own)
			} else {
				m.values = append(m.values, of(m.lead.find(id)))
			}
		}
		all = min(all, agreed(m.values))
	})
	return all
}

func matchOf(p *progress) uint64 { return uint64(p.match) }
func roundOf(p *progress) uint64 { return p.round }

// orderOf maps instants to unsigned numbers of the same order, and instantOf back.
func orderOf(t protocol.Instant) uint64   { return uint64(t) ^ 1<<63 }
func instantOf(n uint64) protocol.Instant { return protocol.Instant(n ^ 1<<63) }

func heardOf(p *progress) uint64 { return orderOf(max(p.heard, p.pulsed)) }

// quorumHeard returns the latest instant by which a majority was heard, counting
// this member as heard now.
func (m *Member) quorumHeard() protocol.Instant {
	return instantOf(m.quorumOf(orderOf(m.now), heardOf))
}
