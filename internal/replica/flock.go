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

// voices returns what tells whether a voter is heard: the membership has it alive, and it
// answers the pre-votes of this member.
func (f *flock) voices() func(protocol.MemberID) bool {
	silent := f.log.role.Silent()
	return func(id protocol.MemberID) bool { return f.hears(id) && !slices.Contains(silent, id) }
}

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

// quorumText says which of the voters are not heard and what that
// means for an election.
func (f *flock) quorumText() string {
	latest, ok := f.log.configurations().Latest()
	if !ok {
		return "this member does not know the voters yet"
	}
	var heard, lost []string
	hears := f.voices()
	for _, m := range latest.Configuration.Members {
		switch {
		case m.Suffrage != protocol.SuffrageVoter && !m.Outgoing:
		case hears(m.ID):
			heard = append(heard, m.Label())
		default:
			lost = append(lost, m.Label())
		}
	}
	if len(lost) == 0 {
		return "a majority of the voters cannot be reached, or an election is under way; all of them are heard"
	}
	slices.Sort(heard)
	slices.Sort(lost)
	of := fmt.Sprintf("of the %d voters %s", len(heard)+len(lost), are(lost, "is not heard", "are not heard"))
	if len(heard) > 0 {
		of += ", " + are(heard, "is", "are")
	}
	if f.areQuorum(hears) {
		return "a majority of the voters cannot be reached, or an election is under way; " + of
	}
	return "a majority of the voters cannot be reached: " + of
}

// are says something of one, or of several.
func are(names []string, one, several string) string {
	if len(names) == 1 {
		return names[0] + " " + one
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1] + " " + several
}

// hearsQuorum reports whether a majority of the voters, of both halves, is heard.
func (f *flock) hearsQuorum() bool { return f.areQuorum(f.voices()) }

// areQuorum reports whether those that are heard are a majority of the voters, of both
// halves; so they are where the voters are not known.
func (f *flock) areQuorum(hears func(protocol.MemberID) bool) bool {
	latest, known := f.log.configurations().Latest()
	majority := func(voters []protocol.MemberID) bool { return protocol.Majority(voters, hears) }
	conf := latest.Configuration
	return !known || majority(conf.Voters()) && (!conf.Joint() || majority(conf.OutgoingVoters()))
}
