package active

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// ProgressState says how a leader feeds another active.
type ProgressState uint8

const (
	// ProgressProbe looks for the place where the logs meet: one append at a
	// time.
	ProgressProbe ProgressState = iota
	// ProgressReplicate sends ahead of the answers.
	ProgressReplicate
	// ProgressCatchUp is for a log that ends below the beginning of the
	// leader's, or of what the leader can read: entries alone do not help it. It is offered a checkpoint, and
	// sent nothing else but heartbeats, until it acknowledges the beginning.
	ProgressCatchUp
)

// String returns the state's name.
func (s ProgressState) String() string {
	return protocol.EnumText(s, "progress", "probe", "replicate", "catch-up")
}

// probeBytesMax limits the entries that a probe carries: most of them are sent
// in vain.
const probeBytesMax = 64 << 10

// progress is what a leader knows of one other active. Invariant: match is
// what the member has acknowledged as durable in this term, and never sinks,
// unless it is found that the member's directory was put back.
type progress struct {
	id       protocol.MemberID
	suffrage protocol.Suffrage
	voter    bool // in either half
	state    ProgressState
	// passive says that the member answered as a passive: it takes committed
	// entries only, and what it holds is not durable.
	passive bool

	match, next protocol.Index
	// run is the run of the member that acknowledged match, or owed; 0: none that is
	// to be held to it. putBack is a run that lacks some of that, see forgot, and owed
	// what a run after it must have.
	run, putBack protocol.RunID
	owed         protocol.Index
	sentCommit   protocol.Index // the highest commit index that it was told

	probing bool             // a probe is under way
	probeAt protocol.Instant // since when

	flying window // appends under way, in replicate

	// heard is when it was heard last on a stream in this term, or when it began to be
	// fed; answered says which. pulsed is when it was heard last by datagram.
	heard    protocol.Instant
	answered bool
	pulsed   protocol.Instant
	round    uint64 // the highest round that it answered
	// unfit and room are what it said last, on a stream, if told: that it could answer
	// nobody as a leader (see SetUnfit), and that it would take writes.
	unfit, room, told bool
	takes             time.Duration // a write, there, as it said last; 0: it does not say
}

// hears notes that the member has answered.
func (p *progress) hears(now protocol.Instant) { p.heard, p.answered = now, true }

// find returns the progress of a member, nil if it is not fed.
func (l *leadership) find(id protocol.MemberID) *progress {
	i, ok := slices.BinarySearchFunc(l.progress, id, func(p progress, id protocol.MemberID) int { return p.id.Compare(id) })
	if !ok {
		return nil
	}
	return &l.progress[i]
}

// follow makes the list of progress follow the latest configuration. Newcomers
// are probed at the end of the log.
func (l *leadership) follow(m *Member) {
	old := l.progress
	l.progress = make([]progress, 0, len(m.current.Configuration.Members))
	for _, line := range m.current.Configuration.Members {
		if line.ID == m.cfg.ID {
			continue
		}
		p := progress{id: line.ID, next: m.logTerms.LastIndex() + 1, heard: m.now, pulsed: m.now}
		if i, ok := slices.BinarySearchFunc(old, line.ID, func(p progress, id protocol.MemberID) int { return p.id.Compare(id) }); ok {
			p = old[i]
		}
		p.suffrage, p.voter = line.Suffrage, line.Suffrage == protocol.SuffrageVoter || line.Outgoing
		l.progress = append(l.progress, p)
	}
}

// probe starts over from next.
func (p *progress) probe(next protocol.Index) {
	p.state, p.next, p.probing = ProgressProbe, next, false
	p.flying.clear()
}

// retry lets something go out again, to a member that has been silent for an
// election timeout or has been offered a checkpoint that long ago, and reports
// whether it did. One that became a passive does not answer heartbeats: only
// another append finds out where it is. The log begins after prev.
func (p *progress) retry(now protocol.Instant, election time.Duration, prev protocol.Index) bool {
	switch {
	case p.probing && now >= p.probeAt.Add(election):
		p.probing = false
	case len(p.flying.list) > 0 && now >= p.heard.Add(election):
		p.probe(max(p.match, prev) + 1)
	default:
		return false
	}
	return true
}

// acknowledged follows an answer that says that the member holds the leader's
// log up to i, durably. It reports whether that is news. The log begins after
// prev: below it, no entry can follow.
func (p *progress) acknowledged(a *protocol.AppendAnswer, prev protocol.Index) bool {
	i := a.Index
	news := i > p.match
	if i >= p.held() {
		p.run, p.owed = a.Run, 0
	}
	p.match = max(p.match, i)
	p.next = max(p.next, p.match+1)
	p.passive = false
	if p.state != ProgressReplicate && p.match >= prev {
		p.state, p.probing, p.next = ProgressReplicate, false, p.match+1
	}
	p.flying.release(p.match)
	return news
}

// window is the appends under way to one follower, in order.
type window struct {
	list  []flying
	bytes int // of all
}

// flying is an append under way, as the last index in it.
type flying struct {
	last  protocol.Index
	bytes int
	at    protocol.Instant // when it was sent, or asked after
}

// room reports whether another append may be sent. One always may, however
// large.
func (w *window) room(cfg *Config) bool {
	return len(w.list) == 0 ||
		len(w.list) < cfg.InflightMax && w.bytes+cfg.AppendBytesMax <= cfg.InflightBytesMax
}

func (w *window) clear() { w.list, w.bytes = w.list[:0], 0 }

func (w *window) add(last protocol.Index, bytes int, at protocol.Instant) {
	w.list = append(w.list, flying{last, bytes, at})
	w.bytes += bytes
}

// release forgets what is acknowledged up to an index.
func (w *window) release(i protocol.Index) {
	n := 0
	for n < len(w.list) && w.list[n].last <= i {
		w.bytes -= w.list[n].bytes
		n++
	}
	if n > 0 {
		w.list = w.list[:copy(w.list, w.list[n:])]
	}
}
