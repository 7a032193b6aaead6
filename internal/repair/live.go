package repair

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// livePatience is how long the others are asked for one run of entries, and
// livePatienceMax if it comes in pieces.
const livePatience, livePatienceMax = 5 * time.Second, time.Minute

// livePhase is how far a Live is.
type livePhase uint8

const (
	liveIdle   livePhase = iota
	liveLooks            // the log looks what is lost
	liveAsks             // the others are asked for it
	liveWrites           // the log writes it
)

// Live repairs one file of the log of a running member: what the file lacks is asked of
// the others, and written again. Events in, effects out; it belongs to one goroutine.
// The zero value is idle.
//
// [S] What counts as an answer is decided by log sums, as before a start: entries lead
// from the sum before the lost ones to the one that the next good record states, or they
// are not what was lost. That an active has committed something else there does not
// matter here: it is for Raft to say so.
type Live struct {
	cfg    Config
	phase  livePhase
	id     uint64 // of the step that is awaited
	peers  []protocol.Peer
	lost   []storage.Lost
	found  [][]protocol.Entry // of lost, in order
	core   *Core
	until  protocol.Instant
	limit  protocol.Instant
	helped []protocol.MemberID // whose entries found has
	out    LiveEffects
}

// Step is one step of the repair of a running log. Exactly one of Look, Write and Stop is
// set. The first two are answered by Done.
type Step struct {
	ID uint64
	// Look asks what the file with an entry lacks (storage.Rebuilder).
	Look protocol.Index
	// Write says that the file is to be written again, with Found, and to be put in the
	// place of the old one.
	Write bool
	Found [][]protocol.Entry
	// Stop says that it is given up.
	Stop bool
}

// Done answers a Step.
type Done struct {
	ID uint64
	// Lost is what is lacking, Sound says that nothing is wrong.
	Lost  []storage.Lost
	Sound bool
	Err   error
}

// LiveEffects is what a Live wants done.
type LiveEffects struct {
	Send []protocol.Envelope
	Step *Step
	// End, if not nil: it is over, and the Live is idle.
	End *LiveEnd
}

// LiveEnd is what came of a repair. [S] After an Err nothing of the log has changed: a
// log that has failed says so itself.
type LiveEnd struct {
	// Err is why the file could not be repaired. Hopeless: nobody gives what is lacking,
	// or the log cannot take it; a disk that is full, say, has what it needs tomorrow.
	Err      error
	Hopeless bool
	// Sound says that nothing was wrong.
	Sound bool
	// Helped are those whose entries were written.
	Helped []protocol.MemberID
}

// Begin begins to repair the file with an entry.
func (l *Live) Begin(cfg Config, i protocol.Index) {
	l.become(liveLooks)
	l.cfg, l.id = cfg, l.id+1
	l.out.Step = &Step{ID: l.id, Look: i}
}

// become leaves what was under way.
func (l *Live) become(phase livePhase) { *l = Live{phase: phase, id: l.id, peers: l.peers, out: l.out} }

// Idle reports whether nothing is being repaired.
func (l *Live) Idle() bool { return l.phase == liveIdle }

// Effects returns what there is to do since the last call.
func (l *Live) Effects() LiveEffects {
	out := l.out
	l.out = LiveEffects{}
	return out
}

// Tick lets time pass.
func (l *Live) Tick(now protocol.Instant) {
	if l.phase != liveAsks {
		return
	}
	if now >= l.core.Deadline() {
		l.core.Tick(now)
	}
	l.follow(now)
	if l.phase == liveAsks && now >= l.until {
		x := l.lost[len(l.found)]
		l.giveUp(fmt.Errorf("none of %d other members gives entries %d to %d as they were", len(l.peers), x.After+1, x.Last), true)
	}
}

// Deadline is when Tick is wanted at the latest.
func (l *Live) Deadline() protocol.Instant {
	if l.phase != liveAsks {
		return math.MaxInt64
	}
	return min(l.core.Deadline(), l.until)
}

// Done answers a Step. [S] An answer to another step than the one that is awaited is
// about another file, or about what that held before.
func (l *Live) Done(now protocol.Instant, done Done) {
	if done.ID != l.id || l.phase != liveLooks && l.phase != liveWrites {
		return
	}
	switch {
	case done.Err != nil:
		l.giveUp(done.Err, errors.Is(done.Err, protocol.ErrInvalid))
	case l.phase == liveWrites || done.Sound:
		if done.Sound {
			l.out.Step = &Step{Stop: true}
		}
		l.out.End = &LiveEnd{Sound: done.Sound, Helped: l.helped}
		l.become(liveIdle)
	default:
		l.phase, l.lost = liveAsks, done.Lost
		l.next(now)
	}
}

// next asks for the next run that is lost, or has what was found written.
func (l *Live) next(now protocol.Instant) {
	if len(l.found) == len(l.lost) {
		l.phase, l.id, l.core = liveWrites, l.id+1, nil
		l.out.Step = &Step{ID: l.id, Write: true, Found: l.found}
		return
	}
	x := l.lost[len(l.found)]
	// A log of which these entries are lost, and nothing else is known.
	begin := storage.Begin{Index: x.After, Sum: x.Sum, Configuration: protocol.ConfigurationAt{Index: 1}}
	rec := &storage.Opened{State: protocol.HardState{Commit: x.Last}, Damage: &storage.Damage{Begin: begin, Good: []storage.Range{
		{After: x.After, Sum: x.Sum, Last: x.After, LastSum: x.Sum}, {After: x.Last, Sum: x.LastSum, Last: x.Last, LastSum: x.LastSum},
	}}}
	l.until, l.limit = now.Add(livePatience), now.Add(livePatienceMax)
	cfg := l.cfg
	cfg.Seed ^= l.id
	l.core = New(now, cfg, rec, nothingElse{}, nil)
	l.core.SetPeers(now, l.peers)
	l.follow(now)
}

// nothingElse is what can be read of a log of which nothing is known.
type nothingElse struct{}

// Read implements Log.
func (nothingElse) Read(first, _ protocol.Index, _ int) ([]protocol.Entry, error) {
	return nil, protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: entry %d", first))
}

// Receive takes what another member has sent.
func (l *Live) Receive(now protocol.Instant, from protocol.MemberID, answer *protocol.Repair) {
	if l.phase != liveAsks {
		return
	}
	if len(answer.Entries) > 0 {
		l.until = min(now.Add(livePatience), l.limit)
	}
	l.core.Receive(now, from, answer)
	l.follow(now)
}

// SetPeers says who can be asked.
func (l *Live) SetPeers(now protocol.Instant, peers []protocol.Peer) {
	l.peers = peers
	if l.phase == liveAsks {
		l.core.SetPeers(now, peers)
		l.follow(now)
	}
}

// follow sends what the core asks, and takes its verdict.
func (l *Live) follow(now protocol.Instant) {
	l.out.Send = append(l.out.Send, l.core.Ready().Messages...)
	x, v := l.lost[len(l.found)], l.core.Verdict()
	switch {
	case v.Plan != nil && v.Plan.Begin == nil && v.Plan.Last == x.Last && v.Plan.Sum == x.LastSum:
		l.found = append(l.found, slices.Concat(v.Plan.Patches...))
		for _, id := range l.core.Givers() {
			if !slices.Contains(l.helped, id) {
				l.helped = append(l.helped, id)
			}
		}
		l.next(now)
	case v.Plan != nil:
		l.giveUp(errors.New("an active has committed other entries there than this member holds"), true)
	case v.Lost != nil:
		l.giveUp(v.Lost, true)
	}
}

// giveUp leaves the file as it is, for now.
func (l *Live) giveUp(why error, hopeless bool) {
	l.Stop()
	l.out.End = &LiveEnd{Err: why, Hopeless: hopeless}
}

// Stop gives up what is under way.
func (l *Live) Stop() {
	if l.phase == liveLooks || l.phase == liveAsks {
		l.out.Step = &Step{Stop: true}
	}
	l.become(liveIdle)
}

// String says how far it is, or is empty.
func (l *Live) String() string {
	switch l.phase {
	case liveAsks:
		x := l.lost[len(l.found)]
		return fmt.Sprintf("it is being repaired: entries %d to %d are asked of the others", x.After+1, x.Last)
	case liveLooks, liveWrites:
		return "it is being repaired"
	}
	return ""
}
