package sim

import (
	"fmt"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// describe says a message in a few words, for arrows.
func describe(msg protocol.Message) string {
	switch m := msg.(type) {
	case *protocol.Vote:
		return ballot(m.Pre, "vote", m.Term) + fmt.Sprintf(" mine %d@%d", m.LastIndex, m.LastTerm)
	case *protocol.VoteAnswer:
		if m.Granted {
			return ballot(m.Pre, "yes", m.Term)
		}
		return ballot(m.Pre, "no", m.Term)
	case *protocol.Append:
		return fmt.Sprintf("%s t%d", run(m.PrevIndex+1, m.PrevIndex+protocol.Index(len(m.Entries)), fmt.Sprintf("after %d", m.PrevIndex)), m.Term)
	case *protocol.AppendAnswer:
		if m.Reject {
			return fmt.Sprintf("no %d, try %d", m.Index, m.HintIndex)
		}
		return fmt.Sprintf("ack %d", m.Index)
	case *protocol.Heartbeat:
		return fmt.Sprintf("beat t%d", m.Term)
	case *protocol.HeartbeatAnswer:
		return "beat ok"
	case *protocol.Frame:
		r := m.Range()
		return "frame " + run(r.First, r.Last, "")
	case *protocol.Have:
		return fmt.Sprintf("have %d", m.LastIndex)
	case *protocol.Want:
		return "want " + wanted(m.Ranges)
	case *protocol.Forward:
		return fmt.Sprintf("forward #%d", m.Request)
	case *protocol.ForwardAnswer:
		return fmt.Sprintf("#%d %s at %d", m.Request, orOK(m.Result.Code), m.Result.Index)
	case *protocol.ReadIndex:
		return fmt.Sprintf("read? #%d", m.Request)
	case *protocol.ReadIndexAnswer:
		return fmt.Sprintf("read #%d at %d", m.Request, m.Index)
	case *protocol.TimeoutNow:
		return fmt.Sprintf("lead now t%d", m.Term)
	}
	return fmt.Sprint(msg.Kind())
}

func ballot(pre bool, what string, t protocol.Term) string {
	if pre {
		return fmt.Sprintf("pre-%s t%d", what, t)
	}
	return fmt.Sprintf("%s t%d", what, t)
}

// run names entries; without any it says what stands for none.
func run(first, last protocol.Index, none string) string {
	switch {
	case last < first:
		return none
	case last == first:
		return fmt.Sprintf("+%d", first)
	}
	return fmt.Sprintf("+%d..%d", first, last)
}

func wanted(list []protocol.Range) string {
	var words []string
	for _, r := range list {
		words = append(words, strings.TrimPrefix(run(r.First, r.Last, "?"), "+"))
	}
	return strings.Join(words, " ")
}

func orOK(c protocol.Code) string {
	if c == protocol.OK {
		return "ok"
	}
	return string(c)
}

// nameOf returns what the trace calls a member.
func (s *cluster) nameOf(id protocol.MemberID) string {
	if m := s.byID(id); m != nil {
		return m.label()
	}
	if g, gone := s.graves[id]; gone {
		return g.name
	}
	if id.IsZero() {
		return "anybody"
	}
	return id.Short()
}

// traced returns how an event of a replica looks in the trace; no text if it is
// not worth a line.
func (p *process) traced(e *protocol.Event) (string, color) {
	switch e.Kind {
	case protocol.EventAppended, protocol.EventBecameFollower, protocol.EventVoted, protocol.EventTruncated:
		return "", colorPlain // the write or the next event tells it
	case protocol.EventCommitted:
		if !p.replica.Status(p.now()).Leads {
			return "", colorPlain
		}
		return fmt.Sprintf("commit %d", e.Index), colorPlain
	case protocol.EventBecamePreCand:
		return fmt.Sprintf("could I lead t%d?", e.Term+1), colorTrouble
	case protocol.EventBecameCandidate:
		return fmt.Sprintf("campaign t%d", e.Term), colorTrouble
	case protocol.EventBecameLeader:
		return fmt.Sprintf("leader t%d", e.Term), colorLeader
	case protocol.EventSteppedDown:
		return "steps down: " + e.Text, colorTrouble
	case protocol.EventVoteRefused:
		return fmt.Sprintf("no vote for %s: %s", p.s.nameOf(e.Member), e.Text), colorPlain
	case protocol.EventRejected:
		return fmt.Sprintf("rejects %d", e.Index), colorPlain
	case protocol.EventBecameActive, protocol.EventBecamePassive:
		return "# " + string(e.Kind), colorSuffrage
	case protocol.EventConfiguration:
		return fmt.Sprintf("# %d: %s", e.Index, e.Text), colorSuffrage
	case protocol.EventPolicy:
		return "# policy: " + e.Text, colorSuffrage
	case protocol.EventTransfer:
		return fmt.Sprintf("# hands over to %s: %s", p.s.nameOf(e.Member), e.Text), colorSuffrage
	}
	text := string(e.Kind)
	if e.Index > 0 {
		text += fmt.Sprintf(" %d", e.Index)
	}
	if !e.Member.IsZero() {
		text += " " + p.s.nameOf(e.Member)
	}
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text, colorPlain
}

// describeWrite says what goes to the disk.
func (w *witnessed) describeWrite(p *protocol.Write) string {
	var words []string
	if p.Truncate {
		words = append(words, fmt.Sprintf("cut %d", p.After))
	}
	if !p.Empty() {
		words = append(words, run(p.First, p.Last, ""))
	}
	was := &w.log.written.state
	if p.State.Term != was.Term {
		words = append(words, fmt.Sprintf("t%d", p.State.Term))
	}
	if p.State.Vote != was.Vote && !p.State.Vote.IsZero() {
		words = append(words, "for "+w.s.nameOf(p.State.Vote))
	}
	if len(words) == 0 {
		words = append(words, fmt.Sprintf("commit %d", p.State.Commit))
	}
	return strings.Join(words, " ")
}
