package active

import (
	"fmt"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// describe says a message in one line, with names for ids.
func describe(msg protocol.Message) string {
	switch a := msg.(type) {
	case *protocol.Vote:
		kind := "vote"
		if a.Pre {
			kind = "pre-vote"
		}
		if a.Transfer {
			kind += " transfer"
		}
		return fmt.Sprintf("%s term=%d last=%d@%d", kind, a.Term, a.LastIndex, a.LastTerm)
	case *protocol.VoteAnswer:
		kind, result := "vote", "refused"
		if a.Pre {
			kind = "pre-vote"
		}
		if a.Granted {
			result = "granted"
		}
		return fmt.Sprintf("%s %s term=%d", kind, result, a.Term)
	case *protocol.Append:
		return fmt.Sprintf("append term=%d prev=%d@%d entries=%s commit=%d", a.Term, a.PrevIndex, a.PrevTerm, describeEntries(a.Entries), a.Commit)
	case *protocol.AppendAnswer:
		switch {
		case a.Passive:
			return fmt.Sprintf("passive-ack term=%d last=%d", a.Term, a.Index)
		case a.Reject:
			return fmt.Sprintf("reject term=%d prev=%d hint=%d@%d", a.Term, a.Index, a.HintIndex, a.HintTerm)
		}
		return fmt.Sprintf("ack term=%d index=%d", a.Term, a.Index)
	case *protocol.Heartbeat:
		return fmt.Sprintf("heartbeat term=%d commit=%d round=%d", a.Term, a.Commit, a.Round)
	case *protocol.HeartbeatAnswer:
		return fmt.Sprintf("heartbeat-answer term=%d round=%d", a.Term, a.Round)
	case *protocol.ReadIndex:
		return fmt.Sprintf("read-index origin=%s run=%d request=%d", nameOf(a.Origin), a.Run, a.Request)
	case *protocol.ReadIndexAnswer:
		return fmt.Sprintf("read-index-answer run=%d request=%d index=%d %s", a.Run, a.Request, a.Index, a.Code)
	case *protocol.InstallCheckpoint:
		return fmt.Sprintf("checkpoint term=%d of=%s", a.Term, a.Manifest)
	case *protocol.TimeoutNow:
		return fmt.Sprintf("timeout-now term=%d", a.Term)
	}
	return msg.Kind().String()
}

// describeEntries lists index@term, shortened in the middle.
func describeEntries(entries []protocol.Entry) string {
	if len(entries) == 0 {
		return "none"
	}
	var words []string
	for i, e := range entries {
		if len(entries) > 6 && i >= 3 && i < len(entries)-2 {
			if i == 3 {
				words = append(words, "..")
			}
			continue
		}
		word := fmt.Sprintf("%d@%d", e.Index, e.Term)
		if e.Kind == protocol.EntryConfiguration {
			word += "(configuration)"
		}
		words = append(words, word)
	}
	return strings.Join(words, ",")
}

func describeWrite(w *protocol.Write) string {
	s := fmt.Sprintf("%d: term=%d vote=%s commit=%d", w.ID, w.State.Term, nameOf(w.State.Vote), w.State.Commit)
	if w.Truncate {
		s += fmt.Sprintf(" truncate-after=%d", w.After)
	}
	if !w.Empty() {
		s += fmt.Sprintf(" entries=%d..%d", w.First, w.Last)
	}
	if w.SyncAll {
		s += " sync-all"
	}
	return s
}

func (c *cluster) traceEvent(n *node, e protocol.Event) {
	s := fmt.Sprintf("%s %s term=%d index=%d", n.name, e.Kind, e.Term, e.Index)
	if !e.Member.IsZero() && e.Member != n.id {
		s += " " + nameOf(e.Member)
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	c.trace("%s", s)
}

func describeStatus(n *node) string {
	if n.m == nil {
		if n.down {
			return fmt.Sprintf("%s down", n.name)
		}
		return fmt.Sprintf("%s passive term=%d commit=%d last=%d durable=%d", n.name, n.state.Term, n.state.Commit, len(n.log), len(n.durable.log))
	}
	s := n.m.Status()
	out := fmt.Sprintf("%s %s term=%d leader=%s commit=%d last=%d durable=%d", n.name, s.State, s.Term, nameOf(s.Leader), s.Commit, s.Last, s.Durable)
	if n.begin > 0 {
		out += fmt.Sprintf(" begin=%d", n.begin+1)
	}
	if s.Installing {
		out += " installing"
	}
	for _, p := range s.Progress {
		quiet := ""
		if !p.Active {
			quiet = " quiet"
		}
		out += fmt.Sprintf("\n  %s %s %s match=%d next=%d%s", nameOf(p.ID), p.Suffrage, p.State, p.Match, p.Next, quiet)
	}
	return out
}

// logOf makes a log from the terms of its entries.
func logOf(terms ...int) []protocol.Entry {
	log := make([]protocol.Entry, len(terms))
	for i, t := range terms {
		log[i] = protocol.Entry{
			Index: protocol.Index(i + 1), Term: protocol.Term(t), Kind: protocol.EntryCommand,
			Data: fmt.Appendf(nil, "%d@%d", i+1, t),
		}
	}
	protocol.EncodeEntries(log)
	return log
}

func termsOf(log []protocol.Entry) []int {
	terms := make([]int, len(log))
	for i := range log {
		terms[i] = int(log[i].Term)
	}
	return terms
}
