package replica

import (
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// act is what a member does if its standing lets it.
//
// [S] To vote and to store is not among them: whoever has a seat does that as long as its
// disk lets it, whatever its state is, or it would cost the quorum.
type act uint16

const (
	mayApply   act = 1 << iota // hand committed entries to the state machine
	mayAnswer                  // answer reads, and commands that it applies
	mayLead                    // stand for election: else it would lead, and answer nobody
	mayVouch                   // say what its state is: its digest, its age
	mayGive                    // give its checkpoints, and feed others from them
	mayFeed                    // be where others turn to first
	mayTrim                    // give up the head of its log
	mayChange                  // take entries into its log, or repair it
	mayInstall                 // put a checkpoint of others in the place of what it holds
	mayKeep                    // keep what is applied, if a checkpoint is from below that

	mayAll = 1<<iota - 1
)

// trouble is why a member may not do all.
type trouble uint8

const (
	lost         trouble = iota // the log begins above the state: only a checkpoint completes it
	discarded                   // the state has diverged: it counts for nothing (quarantine)
	replaying                   // it is a good one again, and not yet as far as it was (quarantine)
	unconfirmed                 // it is that of a checkpoint of others, which the log has not confirmed so far
	renewing                    // the log is about to begin anew after a checkpoint
	otherHistory                // the log is of another history than the actives': it stays as it is
	halted                      // the state machine applies nothing more
	outgrown                    // the log goes on at a format level that this member does not know
	beyond                      // so does what is committed
	troubles
)

// forbids says which acts each trouble forbids. A member in several may do what none
// of them forbids.
var forbids = [troubles]act{
	lost:         mayApply | mayFeed,
	discarded:    mayApply | mayAnswer | mayLead | mayVouch | mayGive | mayFeed | mayTrim | mayKeep,
	replaying:    mayAnswer | mayLead | mayVouch | mayGive | mayFeed | mayTrim,
	unconfirmed:  mayAnswer | mayVouch | mayGive | mayFeed | mayTrim,
	renewing:     mayChange,
	otherHistory: mayAnswer | mayTrim | mayChange | mayInstall,
	halted:       mayLead,
	outgrown:     mayLead,
	beyond:       mayAnswer | mayLead | mayGive, // what it applies, it does up to there: see formats
}

// standing is the state of a member beside its role: which troubles it is in, and so what
// it may do. All parts ask here, and nothing else.
type standing struct {
	log *log
	in  [troubles]bool // lost is not kept, but looked up
	// forbidden is what the troubles forbid together.
	forbidden act
	// epoch is that of the state, as the gate before the answers has it (see Effects.Gate):
	// it rises whenever the state may answer no more.
	epoch uint64

	quarantine quarantine
	diverged   *gossip.Divergence // how it knows that it is diverged
	halt       string             // why it is halted
	older      string             // what release it needs, outgrown or beyond
}

// may reports whether this member may do something, or all of several things.
func (s *standing) may(a act) bool {
	return s.forbidden&a == 0 && (forbids[lost]&a == 0 || s.log.handed >= s.log.logTerms().PrevIndex)
}

// set notes that the member is in a trouble, or not any more.
func (s *standing) set(t trouble, on bool) {
	answered := s.answering() != 0
	s.in[t], s.forbidden = on, 0
	for t, in := range s.in {
		if in {
			s.forbidden |= forbids[t]
		}
	}
	if answered && s.answering() == 0 {
		s.epoch++
	}
}

// answering is the epoch of the state if that may answer, or 0. [S] What was handed to
// the state machine in one epoch is answered in no other: if the state came right
// meanwhile, or another one took its place, what had been applied before is in doubt.
func (s *standing) answering() uint64 {
	if s.forbidden&mayAnswer != 0 {
		return 0
	}
	return s.epoch
}

// stray says that the log is of another history. [S] It is kept, with its checkpoints
// and all, and nobody is served from it: it may be the only copy of what was
// acknowledged.
func (s *standing) stray(d *gossip.Divergence) {
	s.diverged = d
	s.set(otherHistory, true)
}

// notServing is why the state must not be read, or nil if it may be.
func (s *standing) notServing() error {
	switch {
	case s.may(mayAnswer):
		return nil
	case s.in[otherHistory]:
		return protocol.ErrNotServing.With(s.diverged.String())
	case s.in[beyond] && !s.quarantined():
		return protocol.ErrNotServing.With("this member cannot apply what is committed: " + s.older)
	}
	if s.in[unconfirmed] && !s.quarantined() {
		return protocol.ErrNotServing.With("the checkpoint that the state came from is not confirmed by the log so far: it is served as soon as it is")
	}
	return protocol.ErrNotServing.With(s.quarantine.says())
}

// unfit is why this member could answer nobody as a leader, or empty. One that only
// cannot read its log may lead: it may hold what the others lack, and when they have it,
// it hands over to one that can read it (see handOverHampered).
func (s *standing) unfit() string {
	switch {
	case s.may(mayLead):
		return ""
	case s.quarantined():
		return "its state has diverged"
	case s.in[outgrown]:
		return s.older
	}
	return s.halt
}

// quarantined reports whether the state has diverged, and is not as far as it was again.
func (s *standing) quarantined() bool { return s.in[discarded] || s.in[replaying] }
