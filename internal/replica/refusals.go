package replica

import (
	"errors"

	"github.com/starlinghq/starling/protocol"
)

// Refusals weighs what others say of this member's own directory. [S] Only a voter
// of the latest configuration in this member's log, in either half, reached at its
// address there, can say that the directory was put back, or is a copy: a passive, a
// learner, or a stranger at an address that the membership has for a voter, could
// else stop every voter. One such word is enough to vote and acknowledge no more, for good:
// that the others remember less does not make it untrue. A majority of the voters
// ends the member. The zero value has heard nothing. It belongs to one goroutine at
// a time.
type Refusals struct {
	by    map[protocol.MemberID]bool
	first error
}

// Refused reports whether an error is the refusal of a directory.
func Refused(err error) bool {
	return errors.Is(err, protocol.ErrRolledBack) || errors.Is(err, protocol.ErrTwin)
}

// Hear takes a refusal from a member that was reached at an address, and reports
// whether it counts. conf is the latest configuration in this member's log.
func (f *Refusals) Hear(conf protocol.Configuration, by protocol.MemberID, address string, refusal error) bool {
	line, _ := conf.Find(by)
	if !Refused(refusal) || !conf.IsVoter(by) || line.Address == "" || line.Address != address {
		return false
	}
	if f.by == nil {
		f.by = map[protocol.MemberID]bool{}
	}
	f.by[by] = true
	if f.first == nil || errors.Is(refusal, protocol.ErrTwin) && !errors.Is(f.first, protocol.ErrTwin) {
		f.first = refusal
	}
	return true
}

// Err is the first refusal that counted, or the first that says that this member is a
// copy: while it is not nil, this member neither votes nor acknowledges.
func (f *Refusals) Err() error { return f.first }

// Ends reports whether a majority of the voters of the latest configuration, in
// either half, has refused this member, or whether it is a copy beside its
// original: then it stops.
func (f *Refusals) Ends(conf protocol.Configuration) bool {
	if errors.Is(f.first, protocol.ErrTwin) {
		return true
	}
	refuses := func(id protocol.MemberID) bool { return f.by[id] }
	return protocol.Majority(conf.Voters(), refuses) || protocol.Majority(conf.OutgoingVoters(), refuses)
}
