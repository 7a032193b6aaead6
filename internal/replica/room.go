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
func (h *heirs) lookForRoom(r *Replica) {
	s := r.log.lead().Status()
	h.begin(s.Term)
	cramped := ""
	if !h.now.Full {
		cramped = cramps(&s, r)
	}
	if (cramped == "") != (h.cramped == "") && !h.now.Full {
		e := protocol.Event{Kind: protocol.EventRoom, Term: s.Term, Index: r.log.commit, Text: "writes are taken again"}
		if cramped != "" {
			e.Kind, e.Text = protocol.EventCramped, "writes are refused: "+cramped
		}
		r.out.Events = append(r.out.Events, e)
	}
	h.cramped = cramped
}

// cramps says of each half of the configuration why no majority of it could store more;
// empty: one could, or none answers.
func cramps(s *active.Status, r *Replica) string {
	answers, full := map[protocol.MemberID]bool{r.cfg.ID: true}, map[protocol.MemberID]bool{}
	for i := range s.Progress {
		p := &s.Progress[i]
		answers[p.ID], full[p.ID] = p.Active, p.Told && !p.Room
	}
	conf, _ := r.log.configurations().Latest()
	for _, voters := range [][]protocol.MemberID{conf.Configuration.Voters(), conf.Configuration.OutgoingVoters()} {
		if len(voters) == 0 || !protocol.Majority(voters, func(id protocol.MemberID) bool { return answers[id] }) ||
			protocol.Majority(voters, func(id protocol.MemberID) bool { return answers[id] && !full[id] }) {
			continue
		}
		var names []string
		for _, id := range voters {
			if full[id] {
				names = append(names, r.labelOf(id))
			}
		}
		return fmt.Sprintf("the disks of %d of %d voters are nearly full (%s), and the others that answer are no majority: "+
			"make room there; writes resume by themselves, and deletes are taken", len(names), len(voters), strings.Join(names, ", "))
	}
	return ""
}

// checkRoom refuses a command that takes space which a majority does not have.
func (h *heirs) checkRoom(c *protocol.Command, r *Replica) error {
	why := h.lacks(r)
	if why == "" || r.cfg.Frees == nil || r.cfg.Frees(c) {
		return nil
	}
	if conf, _ := r.log.configurations().Latest(); conf.Configuration.Joint() {
		return protocol.ErrNoSpaceHere.With(why) // who decides is about to be others
	}
	return protocol.ErrNoSpace.With(why)
}

// lacks says why this leader takes no writes but those that free space, for want of
// room elsewhere; empty if it does, or does not lead.
func (h *heirs) lacks(r *Replica) string {
	if !r.log.leads() || h.term != r.log.lead().Term() {
		return ""
	}
	return h.cramped
}

// withoutRoom is what a command is answered that this leader has no room for, err. As
// long as the lead may pass to a voter with room, that is ErrNoSpaceHere: nothing has
// happened, and clients ask again until another member leads. Once nobody has room it
// is ErrNoSpace, at once: no waiting helps then.
func withoutRoom(err error, r *Replica) error {
	if code, text := protocol.CodeOf(err); code == protocol.ErrNoSpaceHere.Code && !mayHaveRoom(r) {
		return protocol.ErrNoSpace.With(text)
	}
	return err
}

// mayHaveRoom reports whether the lead is being handed over, or a voter that is not known
// to be silent has room, or has not said in this term whether it has: a new leader hears
// that with the first answers, or takes the voter for silent an election timeout later.
func mayHaveRoom(r *Replica) bool {
	s := r.log.lead().Status()
	return !s.Heir.IsZero() || slices.ContainsFunc(s.Progress, func(p active.Progress) bool {
		return p.Seat == protocol.SeatVoter && p.Active && !p.Unfit && (p.Room || !p.Told)
	})
}
