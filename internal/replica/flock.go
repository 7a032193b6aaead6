package replica

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// ground is what every part stands on: values and leaves, and no other part. What a part
// needs beside it, it names as a port of its own.
type ground struct {
	cfg      *Config
	log      *log
	out      *outbox
	standing *standing
	flock    *flock
}

// patience is how long the leader may stay silent about what it was asked for or
// after, as long as nothing else says that it leads no more: an election takes
// about as long.
func (g *ground) patience() time.Duration { return 4 * g.cfg.Active.Election }

// flock is who else is there: the members that the membership has alive.
type flock struct {
	self  protocol.MemberID
	name  string
	log   *log
	peers []protocol.Peer
}

// find returns what the membership knows of a live member, or nil.
func (f *flock) find(id protocol.MemberID) *protocol.Peer {
	if i := slices.IndexFunc(f.peers, func(p protocol.Peer) bool { return p.ID == id }); i >= 0 {
		return &f.peers[i]
	}
	return nil
}

// hears reports whether a member is this one, or the membership has it alive.
func (f *flock) hears(id protocol.MemberID) bool { return id == f.self || f.find(id) != nil }

// labelOf returns what a member is called that is alive, or has a seat.
func (f *flock) labelOf(id protocol.MemberID) string {
	return protocol.LabelOf(id, func(yield func(protocol.MemberID, string) bool) {
		for _, m := range f.log.latest().Members {
			if !yield(m.ID, m.Name) {
				return
			}
		}
		if !yield(f.self, f.name) {
			return
		}
		for _, p := range f.peers {
			if !yield(p.ID, p.Name) {
				return
			}
		}
	})
}

// noLeader says that no leader is known, and which voters are not heard.
func (f *flock) noLeader() error {
	return protocol.ErrNoLeader.With("no leader is known: " + f.quorumText())
}

// quorumText says which of the voters are not heard, by the membership, and what that
// means for an election.
func (f *flock) quorumText() string {
	latest, ok := f.log.configurations().Latest()
	if !ok {
		return "this member does not know the voters yet"
	}
	conf := latest.Configuration
	lost, all := []string(nil), 0
	for _, m := range conf.Members {
		if m.Seat != protocol.SeatVoter && !m.Outgoing {
			continue
		}
		all++
		if !f.hears(m.ID) {
			lost = append(lost, m.Label())
		}
	}
	slices.Sort(lost)
	switch {
	case len(lost) == 0:
		return "a majority of the voters cannot be reached, or an election is under way; all of them are heard"
	case f.quorumHeard(conf.Voters()) && (!conf.Joint() || f.quorumHeard(conf.OutgoingVoters())):
		return fmt.Sprintf("a majority of the voters cannot be reached, or an election is under way; of the %d voters %s", all, notHeard(lost))
	}
	return fmt.Sprintf("a majority of the voters cannot be reached: of the %d voters %s", all, notHeard(lost))
}

func notHeard(names []string) string {
	if len(names) == 1 {
		return names[0] + " is not heard"
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " are not heard"
}

// quorumHeard reports whether a majority of some voters is heard.
func (f *flock) quorumHeard(voters []protocol.MemberID) bool {
	n := 0
	for _, id := range voters {
		if f.hears(id) {
			n++
		}
	}
	return 2*n > len(voters)
}
