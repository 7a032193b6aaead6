package replica

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

const (
	// slowFactor is how many times as long a write takes at a leader that is slow, and slowFloor
	// which part of an election timeout longer: below that nobody notices.
	slowFactor, slowFloor = 4, 16
	// slowWindows is how many windows in a row it has to be so: about as many seconds with the
	// default times.
	slowWindows = 5
	// slowMemory is for how many election timeouts a member that has handed over for that goes
	// on to say what a write took there when it led. To lead may be what makes it slow: then it
	// gets the lead back from nobody who is as slow by it.
	slowMemory = 1200
)

// slowness has a leader that is slow and not dead hand over to a voter that is clearly faster.
// A slow follower costs nobody anything, and where all are slow, or so many that no majority is
// fast without this leader, nothing is gained: then it leads on.
type slowness struct {
	ground
	tempo tempo
	room  interface {
		hindered() (why string, applied protocol.Index)
	}

	// Of the term that it leads: how many windows it has looked at, how many in a row showed that
	// it is slow, or with a write that it is not, and who was asked for that; next is when another
	// one may be.
	term  protocol.Term
	seen  uint64
	row   int
	well  int
	tried []protocol.MemberID
	next  protocol.Instant
	// text is for the status; empty: it is not slow. Beyond the term it says why it has handed over.
	text string
	// took is what a write took when it has handed over, which counts until then; 0: it has not.
	took  time.Duration
	until protocol.Instant
}

// says returns what a write takes here, for the leader that compares; 0: that is not known yet.
func (w *slowness) says(now protocol.Instant) time.Duration {
	w.forget(now)
	if w.tempo.of.disk == 0 {
		return 0
	}
	return max(w.tempo.of.sum(), w.took, 1)
}

// forget gives up what is over: that it has handed over, and, of who leads no more, that it is slow.
func (w *slowness) forget(now protocol.Instant) {
	if now >= w.until {
		w.took = 0
	}
	if w.took == 0 && !w.log.leads() {
		w.text = ""
	}
}

// look compares once in each window, and hands over when enough of them agree. Each voter is asked
// once for a cause.
func (w *slowness) look(now protocol.Instant) {
	lead := w.log.lead()
	if t := lead.Term(); t != w.term {
		w.term, w.seen, w.row, w.well, w.tried, w.next, w.text = t, w.tempo.windows, 0, 0, nil, 0, ""
	}
	if w.seen == w.tempo.windows {
		return
	}
	w.seen = w.tempo.windows
	s := lead.Status()
	if !s.Transferee.IsZero() {
		return // nothing is written meanwhile
	}
	if !w.isSlow(&s) {
		w.row, w.text = 0, ""
		if w.tempo.inWindow.disk > 0 {
			w.well++
		}
		if w.well >= slowWindows { // what comes now is another cause
			w.tried = nil
		}
		return
	}
	w.well = 0
	if w.row++; w.row < slowWindows {
		return
	}
	t := w.tempo.inWindow
	w.text = fmt.Sprintf("a write takes it %s (%s on its disk, %s until its loop comes to it, %s in its state), and %s",
		rounded(t.sum()), rounded(t.disk), rounded(t.loop), rounded(t.state), w.others(&s))
	if why, _ := w.room.hindered(); why != "" || now < w.next || !w.handOver(now, &s) {
		w.text = "this leader is slow: " + w.text
	}
}

// handOver hands over to the best of those that are clearly faster, and would take writes.
func (w *slowness) handOver(now protocol.Instant, s *active.Status) bool {
	to := transferee(s, func(p *active.Progress) bool {
		return p.Room && p.Match >= s.Commit && w.isFaster(p) && !slices.Contains(w.tried, p.ID)
	})
	if to.IsZero() {
		return false
	}
	w.tried, w.next = append(w.tried, to), now.Add(handOverPause*w.cfg.Active.Election)
	if err := w.log.lead().Transfer(now, to); err != nil {
		return false // it has gone meanwhile
	}
	w.took, w.until = w.tempo.inWindow.sum(), now.Add(slowMemory*w.cfg.Active.Election)
	w.out.Events = append(w.out.Events, protocol.Event{
		Kind: protocol.EventSlow, Term: s.Term, Index: w.log.commit, Member: to, Text: "this leader is slow and hands over to " + w.flock.labelOf(to) + ": " + w.text,
	})
	w.text = "this member was slow and has handed over to " + w.flock.labelOf(to) + ": " + w.text
	return true
}

// isFaster reports whether a write takes a voter clearly less than this leader took in the last
// window. What it says may be anything.
func (w *slowness) isFaster(p *active.Progress) bool {
	mine := w.tempo.inWindow.sum()
	return p.Suffrage == protocol.SuffrageVoter && p.Answers && p.Takes > 0 &&
		p.Takes <= mine/slowFactor && mine-p.Takes >= w.cfg.Active.Election/slowFloor
}

// isSlow reports whether a majority of the voters is clearly faster. While the configuration is
// changing it is not known whose majority that will be.
func (w *slowness) isSlow(s *active.Status) bool {
	conf := w.log.latest()
	return !conf.Joint() && protocol.Majority(conf.Voters(), func(id protocol.MemberID) bool {
		i := slices.IndexFunc(s.Progress, func(p active.Progress) bool { return p.ID == id })
		return i >= 0 && w.isFaster(&s.Progress[i])
	})
}

// others says what a write takes the voters that are faster.
func (w *slowness) others(s *active.Status) string {
	var list []string
	for i := range s.Progress {
		if p := &s.Progress[i]; w.isFaster(p) {
			list = append(list, w.flock.labelOf(p.ID)+" "+rounded(p.Takes))
		}
	}
	return strings.Join(list, ", ")
}

// rounded is a time for people.
func rounded(d time.Duration) string {
	return d.Round(max(time.Microsecond, d.Truncate(time.Millisecond)/100)).String()
}
