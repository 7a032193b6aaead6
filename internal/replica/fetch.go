package replica

import (
	"slices"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
)

// purpose says what entries are read from the disk for.
type purpose uint8

const (
	fetchAppend purpose = iota // to fill in an append
	fetchGossip                // to answer a pull
	fetchApply                 // to replay
	fetchAgain                 // to see whether a place can be read again
)

// fetch is one read of the disk that is under way.
type fetch struct {
	id          uint64
	purpose     purpose
	first, last protocol.Index
	bytes       int
	to          protocol.MemberID
	append      *protocol.Append
}

// fetches are the reads under way, in order of id.
type fetches struct {
	out  *outbox
	next uint64
	list []fetch
}

func (f *fetches) add(x fetch) {
	f.next++
	x.id = f.next
	f.list = append(f.list, x)
	f.out.ReadLog = append(f.out.ReadLog, ReadLog{ID: x.id, First: x.first, Last: x.last, Bytes: x.bytes})
}

// feeding gives entries of the log to others: what Raft sends, and what they pull.
type feeding struct {
	ground
	reads       *fetches
	places      *unreadable
	room        *transferees
	checkpoints interface {
		fillIn(now protocol.Instant, after protocol.Index, e protocol.Envelope, m *protocol.InstallCheckpoint)
	}
	gossip interface {
		Answer(protocol.Instant, protocol.MemberID, []protocol.Entry)
		CannotRead(protocol.Instant, protocol.MemberID, protocol.Index)
	}
}

// give reads what gossip gives to another member.
//
// [S] The disk is asked for nothing above where the tail begins. It may hold entries
// there that are about to be cut off, while what was committed in their place waits to
// be written: the others would take for committed what never was.
func (f *feeding) give(now protocol.Instant, want gossip.RangeRead) {
	first, last := want.Range.First, min(want.Range.Last, f.log.commit)
	switch {
	case f.log.tail.holds(first, last):
		f.gossip.Answer(now, want.To, f.log.tail.slice(first, f.log.tail.fit(first, last, want.Bytes)))
	case first >= f.log.tail.first || f.places.at(first) != nil:
		f.gossip.CannotRead(now, want.To, first)
	default:
		f.reads.add(fetch{purpose: fetchGossip, to: want.To, first: first, last: min(last, f.log.tail.first-1), bytes: want.Bytes})
	}
}

// send passes a role's message on, with the entries that it speaks of.
func (f *feeding) send(now protocol.Instant, e protocol.Envelope) {
	if m, ok := e.Message.(*protocol.InstallCheckpoint); ok {
		f.checkpoints.fillIn(now, f.places.givesAfter(), e, m)
		return
	}
	if h, ok := e.Message.(*protocol.HeartbeatAnswer); ok {
		_, applied := f.room.hindered()
		h.Room, h.Unfit = !f.room.now.Full, h.Unfit || applied != 0
		h.Takes = f.room.slow.says(now)
	}
	a, ok := e.Message.(*protocol.Append)
	if !ok || a.Last <= a.PrevIndex {
		f.out.Send = append(f.out.Send, Send{Envelope: e, Datagram: e.Message.Kind().Datagram()})
		return
	}
	if !f.log.tail.holds(a.PrevIndex+1, a.Last) {
		if f.places.at(a.PrevIndex+1) != nil {
			return // as if it were lost
		}
		f.reads.add(fetch{purpose: fetchAppend, first: a.PrevIndex + 1, last: a.Last, bytes: protocol.AppendBytesMax, to: e.To, append: a})
		return
	}
	a.Entries = f.log.tail.slice(a.PrevIndex+1, a.Last)
	f.out.Send = append(f.out.Send, Send{Envelope: e})
}

// appendRead sends what was read of an append, and reads on for the rest. The
// log may have changed since the core asked: only what still is this leader's
// log, in the same term, may go out.
func (f *feeding) appendRead(now protocol.Instant, x fetch, entries []protocol.Entry) {
	a := x.append
	if lead := f.log.lead(); lead == nil || lead.Term() != a.Term {
		return
	}
	last := min(entries[len(entries)-1].Index, a.Last)
	entries = entries[:last-x.first+1]
	if t, ok := f.log.logTerms().TermAt(last); !ok || t != entries[len(entries)-1].Term {
		return
	}
	part := *a
	part.Last, part.Entries = last, entries
	f.out.send(x.to, &part)
	if last < a.Last {
		rest := *a
		rest.PrevIndex, rest.PrevTerm = last, entries[len(entries)-1].Term
		f.send(now, protocol.Envelope{From: f.cfg.ID, To: x.to, Message: &rest})
	}
}

// LogRead answers a ReadLog with at least one entry, from its first index on,
// or with an error. Entries that were truncated meanwhile make it an error,
// which is harmless: whoever needed them asks again. What cannot be read
// (storage.Unreadable) is tried again by this replica.
func (r *Replica) LogRead(now protocol.Instant, id uint64, entries []protocol.Entry, err error) {
	i := slices.IndexFunc(r.fetches.list, func(x fetch) bool { return x.id == id })
	if i < 0 {
		return
	}
	x := r.fetches.list[i]
	r.fetches.list = slices.Delete(r.fetches.list, i, i+1)
	ok := err == nil && len(entries) > 0 && entries[0].Index == x.first
	switch x.purpose {
	case fetchApply:
		r.apply.reading = false
		if ok && x.first == r.log.handed+1 && r.standing.may(mayKeep) {
			r.apply.dispatchRun(now, entries)
		}
	case fetchGossip:
		if ok && entries[len(entries)-1].Index <= r.log.commit {
			r.gossip.Answer(now, x.to, entries)
		} else if err != nil {
			r.gossip.CannotRead(now, x.to, x.first)
		}
	case fetchAppend:
		if ok {
			r.feeding.appendRead(now, x, entries)
		}
	case fetchAgain:
		r.unreadable.triedAgain(now, &x, err)
	}
	if err != nil && x.purpose != fetchAgain {
		if r.unreadable.cannotRead(now, &x, err) && r.unreadable.stuck() != "" {
			r.reads.failWith(r.reads.withheld())
		}
	}
	r.pump(now)
}

// Held says from what this member can answer those who repair their logs.
//
// [S] As for gossip, nothing counts that waits to be written. What the disk has there
// may be about to be cut off, and whoever repairs would take it for what was committed.
func (r *Replica) Held() repair.Held {
	logTerms, settled := r.log.logTerms(), r.disk.settled()
	return repair.Held{
		Begin: logTerms.PrevIndex, Sum: logTerms.PrevSum, Last: min(logTerms.LastIndex(), settled), Commit: min(r.log.commit, logTerms.LastIndex(), settled),
		Active: r.log.knows() && r.install.Phase == install.None,
	}
}
