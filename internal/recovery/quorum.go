package recovery

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// Quorum is what directories say of whether their cluster can still go on.
type Quorum struct {
	// Configuration is the latest one in the log that reaches furthest; index 0:
	// no directory has any, and nothing is known.
	Configuration protocol.ConfigurationAt
	// Voters are those of both halves, by name.
	Voters []Voter
	// Intact says that a majority, of both halves, is here and may take part: the
	// cluster goes on when they are started. Refusing says that it is here and may
	// not, because directories were put back or copied: as they are they never go
	// on. Damaged says that it is here and some cannot be read as they are, which
	// their members may repair when all are started.
	Intact, Refusing, Damaged bool
	// Ahead are those that are no voters and reach further than all voters that are
	// here: the voters' directories may have been put back together.
	Ahead []Survivor
}

// Voter is one whose vote counts.
type Voter struct {
	protocol.ActiveMember
	// Dir is the directory among those given with which it may take part, or, if
	// there is none, one that is its; empty: none was given.
	Dir string
	// Fault says why that directory cannot be used as it is, Refused why its member
	// does not take part; both are empty if it may.
	Fault, Refused string
}

// usable reports whether the voter is here and may take part.
func (v *Voter) usable() bool { return v.Dir != "" && v.Fault == "" && v.Refused == "" }

// QuorumOf looks at directories of one cluster together. The latest configuration is
// that of the log with the highest last term and index: a leader of that term had
// everything that was ever committed, and a configuration that only a lesser log
// has was never in force after it (the paper, section 5.4).
func QuorumOf(list []Survivor) Quorum {
	var q Quorum
	var furthest *Survivor
	for i := range list {
		s := &list[i]
		if s.Configuration.Index > 0 && (furthest == nil || cmp.Or(cmp.Compare(s.Term, furthest.Term), cmp.Compare(s.Last, furthest.Last)) > 0) {
			furthest = s
		}
	}
	if furthest == nil {
		return q
	}
	q.Configuration = furthest.Configuration
	for _, line := range q.Configuration.Configuration.Members {
		if line.Suffrage == protocol.SuffrageVoter || line.Outgoing {
			q.Voters = append(q.Voters, q.voter(line, list))
		}
	}
	slices.SortFunc(q.Voters, func(a, b Voter) int { return cmp.Or(cmp.Compare(a.Label(), b.Label()), a.ID.Compare(b.ID)) })
	q.Intact = q.majority((*Voter).usable)
	if !q.Intact {
		q.Refusing = q.majority(func(v *Voter) bool { return v.Dir != "" && v.Fault == "" })
		q.Damaged = !q.Refusing && q.majority(func(v *Voter) bool { return v.Dir != "" && v.Refused == "" })
	}
	q.ahead(list)
	return q
}

// ahead looks for those that hold more than all voters: what a passive has was
// committed.
func (q *Quorum) ahead(list []Survivor) {
	var best *Survivor
	for i := range list {
		if s := &list[i]; q.votes(s) && (best == nil || s.Compare(best) > 0) {
			best = s
		}
	}
	for i := range list {
		if s := &list[i]; best != nil && !q.votes(s) && s.Fault == nil && s.Commit > 0 && s.Compare(best) > 0 {
			q.Ahead = append(q.Ahead, *s)
		}
	}
}

func (q *Quorum) votes(s *Survivor) bool {
	return slices.ContainsFunc(q.Voters, func(v Voter) bool { return v.ID == s.Member })
}

// voter looks for the directory of a voter. Of several the one that may take part
// counts: they are copies, and a member runs once.
func (q *Quorum) voter(line protocol.ActiveMember, list []Survivor) Voter {
	v := Voter{ActiveMember: line}
	for i := range list {
		s := &list[i]
		if s.Member != line.ID || v.usable() {
			continue
		}
		x := Voter{ActiveMember: line, Dir: s.Dir, Refused: q.refused(s, list)}
		if s.Fault != nil && !s.Votes {
			x.Fault = s.Fault.Error()
		}
		if v.Dir == "" || x.Fault == "" {
			v = x
		}
	}
	return v
}

// refused says why the member of a directory does not take part: the directory
// is marked, or an active remembers that it had come further. What others
// remember counts for nothing among members, so it does not here.
func (q *Quorum) refused(s *Survivor, list []Survivor) string {
	var why []string
	if s.Refusal != nil {
		why = append(why, "its directory was refused: "+s.Refusal.Text)
	}
	for i := range list {
		o := &list[i]
		if o.Member == s.Member || !q.Configuration.Configuration.Names(o.Member) {
			continue
		}
		if seen, older := o.refuses(s); older {
			why = append(why, fmt.Sprintf("%s refuses it, because it has seen start %d and record %d of a directory that is now at start %d and record %d: it was put back to an older copy",
				o.Name, seen.Starts, seen.Sequence, s.Starts, s.DurableSequence))
		}
	}
	return strings.Join(why, "; ")
}

// refuses reports whether a member would refuse another one that is started with
// its directory now, and what it remembers.
func (s *Survivor) refuses(o *Survivor) (remembers protocol.Watermark, older bool) {
	var seen replica.Watermarks
	for _, x := range slices.Backward(s.Seen) {
		// Each member is there once, so nothing is refused here.
		seen.Raise(protocol.Hello{Member: x.Member, Starts: x.Starts, Run: x.Run, Sequence: x.Sequence})
	}
	return seen.Seen(o.Member), seen.Check(protocol.Hello{Member: o.Member, Name: o.Name, Starts: o.Starts + 1, Sequence: o.DurableSequence}) != nil
}

// majority reports whether a majority of each half is as asked.
func (q *Quorum) majority(is func(*Voter) bool) bool {
	majority := func(half []protocol.MemberID) bool {
		return protocol.Majority(half, func(id protocol.MemberID) bool {
			return slices.ContainsFunc(q.Voters, func(v Voter) bool { return v.ID == id && is(&v) })
		})
	}
	conf := q.Configuration.Configuration
	return majority(conf.Voters()) && (!conf.Joint() || majority(conf.OutgoingVoters()))
}

// names lists voters for people.
func (q *Quorum) names(which func(*Voter) bool) string {
	var list []string
	for i := range q.Voters {
		if which(&q.Voters[i]) {
			list = append(list, q.Voters[i].Label())
		}
	}
	switch n := len(list); n {
	case 0:
		return ""
	case 1:
		return list[0]
	default:
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
}

func everybody(*Voter) bool { return true }

// Text says what the verdict is, who does not take part and why, and what to do,
// in one or more lines without a full stop at the end.
func (q *Quorum) Text() string {
	if q.Configuration.Index == 0 {
		return "Nobody knows who the voters are: none of the logs says so"
	}
	given := func(v *Voter) bool { return v.Dir != "" }
	voters := fmt.Sprintf("%s (configuration %d)", q.names(everybody), q.Configuration.Index)
	usable := q.names((*Voter).usable)
	switch {
	case q.Intact:
		lost, are := ": nothing is lost", "they are"
		if len(q.Voters) == 1 {
			are = "it is"
		}
		for i := range q.Ahead {
			s := &q.Ahead[i]
			lost = fmt.Sprintf(". But %s (%s) reaches further than all of them, to %d in term %d: if they were put back together, it holds acknowledged writes that they have lost. A new cluster from that directory alone keeps those, and loses what was written to the voters since",
				s.Name, s.Dir, s.Last, s.Term)
		}
		return fmt.Sprintf("The quorum is intact: of the voters %s a majority is here and sound, %s%s.\nStart %s as %s%s",
			voters, usable, q.troubles(), usable, are, lost)
	case q.Refusing:
		return fmt.Sprintf("Of the voters %s a majority is here, %s, but as they are they can never go on%s.\nThe way out is a new cluster, from the best directory",
			voters, q.names(given), q.troubles())
	case q.Damaged:
		return fmt.Sprintf("Of the voters %s a majority is here, %s, but not all are sound%s.\nFirst start all of them as they are: they repair one another where they can. If they cannot, begin a new cluster",
			voters, q.names(given), q.troubles())
	}
	here := "none is here"
	if slices.ContainsFunc(q.Voters, func(v Voter) bool { return given(&v) }) {
		here = "no majority is here, only " + q.names(given)
	}
	return fmt.Sprintf("Of the voters %s %s%s.\nIf the others can be had back, start them as they are instead: then nothing is lost",
		voters, here, q.troubles())
}

// troubles has a line for each voter that is here and does not take part.
func (q *Quorum) troubles() string {
	var b strings.Builder
	for i := range q.Voters {
		if v := &q.Voters[i]; v.Dir != "" && !v.usable() {
			fmt.Fprintf(&b, "\n  %s (%s): %s", v.Label(), v.Dir, strings.Join(slices.DeleteFunc([]string{v.Fault, v.Refused}, func(s string) bool { return s == "" }), "; "))
		}
	}
	return b.String()
}
