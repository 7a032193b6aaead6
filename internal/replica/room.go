package replica

import (
	"fmt"
	"slices"
	"strings"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

// lookForRoom finds out, once per heartbeat interval, whether the voters that may answer
// this leader could store what it takes without those that have said that their disks are
// nearly full. If they could not, it takes only what frees space: otherwise the disks of
// a majority get full to the last byte, and then nothing can be stored, deletes neither.
// Voters that are silent do not count as full, since they store nothing, nor do those that
// have not answered in this term yet. A leader whose own disk is full takes no such writes
// anyway, says so itself, and hands over.
func (h *transferees) lookForRoom() {
	s := h.log.lead().Status()
	h.begin(s.Term)
	cramped := ""
	if !h.now.Full {
		cramped = h.cramps(&s)
	}
	if (cramped == "") != (h.cramped == "") && !h.now.Full {
		e := protocol.Event{Kind: protocol.EventRoom, Term: s.Term, Index: h.log.commit, Text: "writes are taken again"}
		if cramped != "" {
			e.Kind, e.Text = protocol.EventCramped, "writes are refused: "+cramped
		}
		h.out.Events = append(h.out.Events, e)
	}
	h.cramped = cramped
}

// cramps says of each half of the configuration why no majority of it could store more;
// empty: one could, or none answers.
func (h *transferees) cramps(s *active.Status) string {
	answers, full := map[protocol.MemberID]bool{h.cfg.ID: true}, map[protocol.MemberID]bool{}
	for i := range s.Progress {
		p := &s.Progress[i]
		answers[p.ID], full[p.ID] = p.Active, p.Told && !p.Room
	}
	conf, _ := h.log.configurations().Latest()
	for _, voters := range [][]protocol.MemberID{conf.Configuration.Voters(), conf.Configuration.OutgoingVoters()} {
		if len(voters) == 0 || !protocol.Majority(voters, func(id protocol.MemberID) bool { return answers[id] }) ||
			protocol.Majority(voters, func(id protocol.MemberID) bool { return answers[id] && !full[id] }) {
			continue
		}
		var names []string
		for _, id := range voters {
			if full[id] {
				names = append(names, h.flock.labelOf(id))
			}
		}
		return fmt.Sprintf("the disks of %d of %d voters are nearly full (%s), and the others that answer are no majority: "+
			"make room there; writes resume by themselves, and deletes are taken", len(names), len(voters), strings.Join(names, ", "))
	}
	return ""
}

// checkRoom refuses a command that takes space which a majority does not have. What was
// looked at last is looked at again: a voter that has answered since may be the one with
// which a majority has room, and then whoever asks must not hear that none has.
func (h *transferees) checkRoom(c *protocol.Command) error {
	if h.lacks() == "" || h.cfg.Frees == nil || h.cfg.Frees(c) {
		return nil
	}
	s := h.log.lead().Status()
	why := h.cramps(&s)
	if why == "" {
		return nil
	}
	conf, _ := h.log.configurations().Latest()
	if conf.Configuration.Joint() || h.silentMayHaveRoom(&s) {
		return protocol.ErrNoSpaceHere.With(why) // who decides is about to be others, or may be
	}
	return protocol.ErrNoSpace.With(why)
}

// lacks says why this leader takes no writes but those that free space, for want of
// room elsewhere; empty if it does, or does not lead.
func (h *transferees) lacks() string {
	if !h.log.leads() || h.term != h.log.lead().Term() {
		return ""
	}
	return h.cramped
}

// without is what a command is answered that this leader has no room for, err. As
// long as the lead may pass to a voter with room, that is ErrNoSpaceHere: nothing has
// happened, and clients ask again until another member leads, or until one is back with
// which a majority has room. Once that is known of nobody it is ErrNoSpace, at once: no
// waiting helps then.
func (h *transferees) without(err error) error {
	if code, text := protocol.CodeOf(err); code == protocol.ErrNoSpaceHere.Code && !h.mayHaveRoom() {
		return protocol.ErrNoSpace.With(text)
	}
	return err
}

// mayHaveRoom reports whether the lead is being handed over, or a voter that is not known
// to be silent has room, or has not said in this term whether it has: a new leader hears
// that with the first answers, or takes the voter for silent an election timeout later.
func (h *transferees) mayHaveRoom() bool {
	s := h.log.lead().Status()
	return !s.Transferee.IsZero() || h.silentMayHaveRoom(&s) || slices.ContainsFunc(s.Progress, func(p active.Progress) bool {
		return p.Suffrage == protocol.SuffrageVoter && p.Active && !p.Unfit && (p.Room || !p.Told)
	})
}

// silentMayHaveRoom reports whether voters are silent with which a majority of each half
// would have room, unless they have said in this term that they have none: one that is
// restarted is back in a moment, and waited for as a leader is.
func (h *transferees) silentMayHaveRoom(s *active.Status) bool {
	full, silent := map[protocol.MemberID]bool{h.cfg.ID: h.now.Full}, false
	for i := range s.Progress {
		p := &s.Progress[i]
		full[p.ID] = p.Told && !p.Room
		silent = silent || p.Voter && !p.Active && !full[p.ID]
	}
	conf, _ := h.log.configurations().Latest()
	roomy := func(voters []protocol.MemberID) bool {
		return len(voters) == 0 || protocol.Majority(voters, func(id protocol.MemberID) bool { return !full[id] })
	}
	return silent && roomy(conf.Configuration.Voters()) && roomy(conf.Configuration.OutgoingVoters())
}
