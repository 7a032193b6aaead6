package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// slowShelf is a leader whose timer is late, or not, and that hears from its voters what a write
// takes them.
type slowShelf struct {
	*shelf
	late  time.Duration
	idle  bool // nothing is written
	takes map[protocol.MemberID]time.Duration
}

func newSlowShelf(t *testing.T) *slowShelf {
	s := &slowShelf{shelf: newShelf(t, 100), takes: map[protocol.MemberID]time.Duration{}}
	s.room = []protocol.MemberID{id(2), id(3)}
	s.lead()
	return s
}

// seconds lets time pass, in which each window of the tempo shows what it is told.
func (s *slowShelf) seconds(n int) {
	for end := s.now.Add(time.Duration(n) * time.Second); s.now < end; {
		s.pass(50 * time.Millisecond)
		s.r.transferees.slow.tempo.writes, s.r.transferees.slow.tempo.rounds = mean{n: 1, sum: time.Millisecond}, mean{n: 1000, sum: 1000 * s.late}
		if s.idle {
			s.r.transferees.slow.tempo.writes, s.r.transferees.slow.tempo.rounds = mean{}, mean{}
		}
		for _, p := range raft(s.r).Status().Progress {
			s.r.Receive(s.now, p.ID, &protocol.HeartbeatAnswer{Term: raft(s.r).Term(), Room: true, Takes: s.takes[p.ID]})
		}
	}
}

// It takes a majority of the voters that is clearly faster, for some seconds in a row, and what
// they do not say is nothing to compare with.
func TestWhoHandsOverForSlowness(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name       string
		mine       time.Duration
		two, three time.Duration
		want       int
	}{
		{"both are clearly faster", 200 * ms, 5 * ms, 40 * ms, 1},
		{"one is", 200 * ms, 5 * ms, 60 * ms, 0},
		{"none is", 200 * ms, 190 * ms, 60 * ms, 0},
		{"one does not say", 200 * ms, 5 * ms, 0, 0},
		{"many times as fast, and nobody notices", 25 * ms, 1 * ms, 1 * ms, 0},
		{"all that a number can be", 200 * ms, 1<<63 - 1, 1<<63 - 1, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSlowShelf(t)
			s.late, s.takes[id(2)], s.takes[id(3)] = test.mine, test.two, test.three
			s.seconds(4)
			expect(t, "hand-overs after 4 s", s.said(protocol.EventSlow, ""), 0)
			s.seconds(5)
			expect(t, "hand-overs", s.said(protocol.EventSlow, "this leader is slow and hands over to "), test.want)
			expect(t, "in the status", s.r.Status(s.now).Slow != "", test.want > 0)
			s.seconds(15)
			if n := s.said(protocol.EventSlow, ""); n > 2*test.want {
				t.Errorf("%d hand-overs, want each voter once", n)
			}
		})
	}
}

// Windows without a write are no end of a cause: each voter is asked once, however often the
// writers pause. Windows with writes that are not slow are.
func TestAPauseOfTheWritersIsNoNewCause(t *testing.T) {
	s := newSlowShelf(t)
	s.takes[id(2)], s.takes[id(3)] = time.Millisecond, time.Millisecond
	for range 20 {
		s.late, s.idle = 200*time.Millisecond, false
		s.seconds(8)
		s.idle = true
		s.seconds(6)
	}
	expect(t, "hand-overs", s.said(protocol.EventSlow, ""), 2)
	s.late, s.idle = 0, false
	s.seconds(10)
	s.late = 200 * time.Millisecond
	s.seconds(9)
	expect(t, "hand-overs for another cause", s.said(protocol.EventSlow, ""), 3)
}

// Slow now and then is not slow: one window without a cause, and all begins anew.
func TestALeaderThatIsSlowNowAndThenLeadsOn(t *testing.T) {
	s := newSlowShelf(t)
	s.takes[id(2)], s.takes[id(3)] = time.Millisecond, time.Millisecond
	for range 10 {
		s.late = 500 * time.Millisecond
		s.seconds(3)
		s.late = 0
		s.seconds(2)
	}
	expect(t, "hand-overs", s.said(protocol.EventSlow, ""), 0)
}

// Whoever has handed over for slowness says for ten minutes what a write took there, however fast
// it is as a follower.
func TestWhatAWriteTookALeaderIsRemembered(t *testing.T) {
	s := newSlowShelf(t)
	s.late, s.takes[id(2)], s.takes[id(3)] = 200*time.Millisecond, time.Millisecond, time.Millisecond
	s.seconds(9)
	s.late = 0
	s.seconds(3)
	w := &s.r.transferees.slow
	if got := w.says(s.now); got < 200*time.Millisecond {
		t.Errorf("says %v", got)
	}
	if got := w.says(w.until); got > 10*time.Millisecond || w.text != "" {
		t.Errorf("ten minutes later it says %v and %q", got, w.text)
	}
}

// A process that is stopped for most of the time comes late to its rounds, whatever the rhythm:
// also where each round would fall into the time in which it runs.
func TestRoundsAreLateInEveryRhythm(t *testing.T) {
	for _, period := range []time.Duration{50, 100, 200, 300, 500} {
		period *= time.Millisecond
		cfg := Config{}
		cfg.setDefaults()
		p := tempo{cfg: &cfg, disk: &disk{}, apply: &applying{}}
		for now := protocol.Instant(1); now < protocol.Instant(20*time.Second); {
			now = max(now, p.next)
			if in := now.Sub(0) % period; in > period/5 { // it stands still
				now = now.Add(period - in)
			}
			p.round(now)
		}
		if low := period / 5; p.of.loop < low {
			t.Errorf("stopped for %v of %v: late by %v on average, want %v or more", period*4/5, period, p.of.loop, low)
		}
	}
}

// A mean is of what has come back, and of what has not and takes longer.
func TestMeansCountWhatIsUnderWay(t *testing.T) {
	for _, test := range []struct {
		list                 []time.Duration
		underWay, last, want time.Duration
	}{
		{nil, 0, 7, 0},
		{nil, 5, 7, 0},
		{nil, 9, 7, 9},
		{[]time.Duration{2, 4}, 0, 7, 3},
		{[]time.Duration{2, 4}, 3, 7, 3},
		{[]time.Duration{2, 4}, 9, 1, 5},
	} {
		var m mean
		for _, d := range test.list {
			m.add(d)
		}
		if got := m.end(test.underWay, test.last); got != test.want || m != (mean{}) {
			t.Errorf("%v and %v under way: got %v, want %v", test.list, test.underWay, got, test.want)
		}
	}
}
