package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// shape cuts every directed link between the actives that open does not have,
// and keeps it so.
func (s *simulation) shape(open func(from, to int) bool) {
	n := s.options.Actives
	for from := range n {
		for to := range n {
			if from != to && !open(from, to) {
				s.network.Link(from, to).Cut = true
			}
		}
	}
}

// probed asks for a write every so often, at each member at once, and counts the
// questions that somebody answers within a second.
type probed struct{ asked, answered int }

func (s *simulation) availability(d, every time.Duration) *probed {
	p := &probed{}
	end := s.schedule.now.Add(d)
	var ask func()
	ask = func() {
		if s.schedule.now >= end {
			return
		}
		s.schedule.after(every, ask)
		p.asked++
		done, until := false, s.schedule.now.Add(time.Second)
		for _, m := range s.members {
			n := m.serving.request(func(r protocol.Result) {
				if r.Code == protocol.OK && !done && s.schedule.now <= until {
					done = true
					p.answered++
				}
			})
			open := &call{op: &op{kind: opOpen, timeout: time.Minute}, client: s.clients[0]}
			command := open.encode()
			m.replica.Submit(m.now(), replica.Submission{Request: n, Command: protocol.EncodeCommand(&command)})
			m.serve()
		}
	}
	s.schedule.after(0, ask)
	return p
}

// lead makes a member the leader.
func (s *simulation) lead(t *testing.T, m *member) {
	t.Helper()
	leads := func() bool { return s.leaderNow() == m }
	if leads() {
		return
	}
	l := s.leaderNow()
	l.replica.Transfer(l.now(), l.serving.request(func(protocol.Result) {}), m.id)
	l.serve()
	if !s.until(s.schedule.now.Add(5*time.Second), leads) {
		t.Fatalf("%s does not lead", m.name)
	}
	s.run(t, time.Second)
}

// TestAllLinkStatesOfThree tries every set of directed links among three whole
// members: 64 of them. Wherever some member has two-way links to a majority, the
// cluster must serve nearly all the time.
func TestAllLinkStatesOfThree(t *testing.T) {
	const members, least = 3, 0.95
	const duration = 40 * time.Second
	var served, should int
	worst, step := 1.0, 1
	if testing.Short() {
		step = 5
	}
	for mask := 0; mask < 1<<(members*(members-1)); mask += step {
		open := func(from, to int) bool {
			bit := from*(members-1) + to
			if to > from {
				bit--
			}
			return mask>>bit&1 == 1
		}
		center := false
		for a := range members {
			two := 1
			for b := range members {
				if a != b && open(a, b) && open(b, a) {
					two++
				}
			}
			center = center || 2*two > members
		}
		s := calmCluster(t, uint64(mask)+1, Options{Actives: members, Passives: -1})
		s.clients = s.clients[:1]
		s.lead(t, s.members[mask%members])
		s.shape(open)
		elections := s.counts[countElections]
		p := s.availability(duration, 200*time.Millisecond)
		s.run(t, duration+2*time.Second)
		share := float64(p.answered) / float64(p.asked)
		if center {
			should++
			worst = min(worst, share)
			if share >= least {
				served++
			} else {
				t.Errorf("links %06b: got %.1f %% of the writes served, want at least %.0f %%", mask, 100*share, 100*least)
			}
		}
		t.Logf("links %06b: center %-5v served %5.1f %%, %d elections", mask, center, 100*share, s.counts[countElections]-elections)
	}
	t.Logf("%d of %d states with a center are served at least %.0f %%, the worst %.1f %%", served, should, 100*least, 100*worst)
}

// TestAHalfConnectedMemberDoesNotMakeElectionsWithoutEnd is the broken switch of
// 2020: of five members, one reaches only some of the others, and those do not
// all reach one another. Terms must not grow without end.
func TestAHalfConnectedMemberDoesNotMakeElectionsWithoutEnd(t *testing.T) {
	pairs := func(cut ...[2]int) func(from, to int) bool {
		return func(from, to int) bool {
			for _, c := range cut {
				if c == [2]int{from, to} || c == [2]int{to, from} {
					return false
				}
			}
			return true
		}
	}
	for _, c := range []struct {
		name string
		open func(from, to int) bool
	}{
		{"one does not reach the leader", nil},
		{"two do not reach each other", pairs([2]int{0, 1})},
		{"a ring", pairs([2]int{0, 2}, [2]int{1, 3}, [2]int{2, 4}, [2]int{3, 0}, [2]int{4, 1})},
		{"a star", pairs([2]int{1, 2}, [2]int{1, 3}, [2]int{1, 4}, [2]int{2, 3}, [2]int{2, 4}, [2]int{3, 4})},
		{"one reaches one", pairs([2]int{4, 0}, [2]int{4, 1}, [2]int{4, 2})},
		{"one hears nobody, and is heard", func(_, to int) bool { return to != 4 }},
	} {
		s := calmCluster(t, 7, Options{Actives: 5, Passives: -1})
		s.clients = s.clients[:1]
		open, leader := c.open, s.leaderNow()
		if open == nil {
			open = pairs([2]int{leader.number, (leader.number + 1) % 5})
		}
		s.shape(open)
		term, elections := leader.leader, s.counts[countElections]
		p := s.availability(2*time.Minute, 200*time.Millisecond)
		s.run(t, 2*time.Minute)
		newest := term
		for _, m := range s.members {
			newest = max(newest, m.replica.HardState().Term)
		}
		held := s.counts[countElections] - elections
		share := float64(p.answered) / float64(p.asked)
		t.Logf("%s: %d elections and %d terms in two minutes, served %.1f %%", c.name, held, newest-term, 100*share)
		if held > 10 || newest-term > 10 {
			t.Errorf("%s: got %d elections and %d terms in two minutes, want at most 10", c.name, held, newest-term)
		}
		if share < 0.95 {
			t.Errorf("%s: got %.1f %% of the writes served, want at least 95 %%", c.name, 100*share)
		}
	}
}

// TestTwoChangesAcrossALeaderChange plays the three schedules with which Ongaro
// showed, in 2015, that single changes need a commit of the leader's own term
// first: two members added, one added and one removed, two removed. Each time a
// leader appends its change alone, another one is elected and makes its own, and
// the first comes back. No two majorities may decide without each other.
func TestTwoChangesAcrossALeaderChange(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second func(s *simulation, change *replica.Change, old, next *member)
	}{
		{"two are added", addSpare(4), addSpare(5)},
		{"one is added, one removed", addSpare(4), removeOther},
		{"two are removed", removeNext, removeOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := calmCluster(t, 11, Options{Actives: 4, Passives: 2})
			s.clients = s.clients[:1]
			old := s.leaderNow()
			s.spares(t, old)
			// Nobody hears of it but the spares.
			s.shape(func(from, to int) bool { return from != old.number && to != old.number })
			first := s.proposes(old, old, nil, c.first)
			s.run(t, 0)
			if got := first(); got != "" {
				t.Fatalf("the first change was answered %q at once", got)
			}
			var next *member
			s.until(s.schedule.now.Add(5*time.Second), func() bool {
				for _, m := range s.members {
					if m != old && m.replica.Status(m.now()).Leads {
						next = m
					}
				}
				return next != nil
			})
			if next == nil {
				t.Fatal("nobody else was elected")
			}
			// Before its first commit the new leader must refuse.
			early := s.proposes(next, old, next, c.second)
			s.run(t, 0)
			if got := early(); got != protocol.ErrChangeInFlight.Code {
				t.Errorf("got %q for a change before the first commit of the term, want %q", got, protocol.ErrChangeInFlight.Code)
			}
			s.run(t, time.Second)
			late := s.proposes(next, old, next, c.second)
			s.run(t, time.Second)
			if got := late(); got != "ok" {
				t.Errorf("got %q for the second change, want ok", got)
			}
			s.healLinks()
			s.run(t, 5*time.Second)
			got := first()
			if got == "ok" {
				t.Error("the first change was acknowledged, although its leader had lost the majority")
			}
			last, _ := old.latest()
			want, _ := s.leaderNow().latest()
			if !last.Configuration.Equal(want.Configuration) {
				t.Errorf("the first leader has %s, the leader %s", last.Configuration, want.Configuration)
			}
		})
	}
}

// spares makes the passives learners that have caught up, ready to be voters.
func (s *simulation) spares(t *testing.T, leader *member) {
	t.Helper()
	for _, m := range s.members[4:] {
		m.wish = protocol.RoleActive
	}
	s.run(t, 3*time.Second)
	made := s.proposes(leader, nil, nil, func(s *simulation, c *replica.Change, _, _ *member) {
		c.Promote = []protocol.MemberID{s.members[4].id, s.members[5].id}
	})
	s.run(t, 2*time.Second)
	if got := made(); got != "ok" {
		t.Fatalf("got %q for making two learners, want ok", got)
	}
}

// proposes makes a change that fill describes and returns what came of it.
func (s *simulation) proposes(m, old, next *member, fill func(*simulation, *replica.Change, *member, *member)) func() protocol.Code {
	conf, _ := m.latest()
	change := replica.Change{Version: conf.Index}
	fill(s, &change, old, next)
	var code protocol.Code
	n := m.serving.request(func(r protocol.Result) {
		code = r.Code
		if code == protocol.OK {
			code = "ok"
		}
	})
	m.replica.Change(m.now(), n, change)
	m.serve()
	return func() protocol.Code { return code }
}

func addSpare(number int) func(*simulation, *replica.Change, *member, *member) {
	return func(s *simulation, c *replica.Change, _, _ *member) {
		c.Promote = []protocol.MemberID{s.members[number].id}
	}
}

// removeNext removes some voter, not the leader; removeOther one that led
// neither before nor now.
func removeNext(s *simulation, c *replica.Change, old, _ *member) {
	c.Remove = []protocol.MemberID{s.members[(old.number+1)%4].id}
}

func removeOther(s *simulation, c *replica.Change, old, next *member) {
	for _, m := range s.members[:4] {
		if m != old && m != next {
			c.Remove = []protocol.MemberID{m.id}
			return
		}
	}
}
