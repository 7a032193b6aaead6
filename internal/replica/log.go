package replica

import (
	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

// log is this member's log, as the role in force keeps it, and how far it has come:
// applied <= handed <= commit, except that the state may be lost (see standing). All
// parts read it; what moves it is the joint, an installation and the state machine.
type log struct {
	id   protocol.MemberID
	role role
	tail *tail

	commit  protocol.Index
	handed  protocol.Index // highest index that the state machine was given
	applied protocol.Index
}

func (l *log) logTerms() *protocol.LogTerms             { return l.role.LogTerms() }
func (l *log) configurations() *protocol.Configurations { return l.role.Configurations() }

// latest returns the latest configuration in the log, committed or not; without
// members if none is known.
func (l *log) latest() protocol.Configuration {
	c, _ := l.configurations().Latest()
	return c.Configuration
}

// lead returns the core of this member if it is the leader, or nil.
func (l *log) lead() *active.Member { return l.role.leading() }
func (l *log) leads() bool          { return l.role.leading() != nil }

// knows reports whether the core knows by itself who leads: it has a seat then.
func (l *log) knows() bool {
	_, _, ok := l.role.knows()
	return ok
}

// names reports whether a member is a voter of a configuration that may be in
// force, as far as the log knows. Before it knows any, everybody may be.
func (l *log) names(id protocol.MemberID) bool {
	confs := l.configurations()
	inForce, known := confs.At(l.commit)
	for _, c := range confs.All() {
		if c.Index >= inForce.Index && c.Configuration.IsVoter(id) {
			return true
		}
	}
	return !known
}

// alone reports whether the log names nobody but this member, of those whose word counts.
func (l *log) alone(named []protocol.MemberID) bool {
	return len(named) == 1 && named[0] == l.id
}

// outbox gathers the effects of a step.
type outbox struct {
	Effects
	log *log
}

func (o *outbox) send(to protocol.MemberID, m protocol.Message) {
	o.Send = append(o.Send, Send{Envelope: protocol.Envelope{From: o.log.id, To: to, Message: m}})
}

func (o *outbox) event(kind protocol.EventKind, text string) {
	o.Events = append(o.Events, protocol.Event{Kind: kind, Term: o.log.role.HardState().Term, Index: o.log.commit, Text: text})
}

// answer answers a request of this member, and read one that asks for an index.
func (o *outbox) answer(request uint64, result protocol.Result) {
	o.Answers = append(o.Answers, Answer{Request: request, Result: result})
}

func (o *outbox) read(request uint64, i protocol.Index, err error) {
	o.Reads = append(o.Reads, ReadAnswer{Request: request, Index: i, Err: err})
}

// committedLog is what gossip sees of the log: the committed prefix.
type committedLog struct{ *log }

func (l committedLog) Entries(first, last protocol.Index, bytes int) []protocol.Entry {
	t := l.tail
	last = min(last, l.commit)
	if !t.holds(first, last) {
		return nil
	}
	return t.slice(first, t.fit(first, last, bytes))
}

func (l committedLog) SumBefore(first protocol.Index) (protocol.LogSum, bool) {
	if first == 0 || first-1 > l.commit {
		return protocol.LogSum{}, false
	}
	return l.tail.sumAt(first - 1)
}

// appendLog is what the Raft core asks of the log.
type appendLog struct{ *log }

// SumAt returns the log sum after index i. The tail holds it for the commit index.
func (l appendLog) SumAt(i protocol.Index) (protocol.LogSum, bool) { return l.tail.sumAt(i) }

// diskFit is how many entries the core may put into one append that has to be
// read from the disk, at most; the append is split by size when it is read.
const diskFit = 1024

func (l appendLog) Fit(first, last protocol.Index, bytes int) protocol.Index {
	t := l.tail
	if t.holds(first, last) {
		return t.fit(first, min(last, first+protocol.AppendEntriesMax-1), bytes)
	}
	// How large the entries are is on disk only: about as large as those in
	// memory, most likely.
	n := protocol.Index(diskFit)
	if len(t.entries) > 0 {
		n = protocol.Index(max(1, min(diskFit, bytes*len(t.entries)/max(1, t.bytes))))
	}
	if first > t.last() { // stamped, but not yet handed over in a Ready
		return min(last, first+n-1)
	}
	return min(last, first+n-1, max(first, t.first-1))
}
