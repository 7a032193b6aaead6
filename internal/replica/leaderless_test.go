package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// away is member 4 of {1,2,3,4}, which was cut off with 101..105 of its own;
// meanwhile the others have put 101'..106' in their place, and 102' removes it.
func away(t *testing.T) (r *Replica, theirs storage.Opened) {
	t.Helper()
	first := conf(3, []byte{1, 2, 3, 4})
	r = open(t, 4, found(2, 105, 100, map[protocol.Index]protocol.Configuration{1: first}))
	serve(t, r)
	r.SetPeers(0, []protocol.Peer{{ID: id(1), Role: protocol.RoleActive}, {ID: id(2), Role: protocol.RoleActive}})
	theirs = found(2, 100, 100, map[protocol.Index]protocol.Configuration{1: first})
	sum := theirs.LastSum
	var later []protocol.Entry
	for i := protocol.Index(101); i <= 106; i++ {
		e := protocol.Entry{Index: i, Term: 3, Kind: protocol.EntryNoop}
		if i == 102 {
			e.Kind, e.Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(conf(3, []byte{1, 2, 3}))
		}
		later = append(later, e)
	}
	protocol.EncodeEntries(later)
	theirs.LastSum = protocol.SumEntries(sum, later)
	theirs.Tail = append(theirs.Tail, later...)
	return r, theirs
}

// wants ticks until the member pulls something, and returns what.
func wants(r *Replica, now protocol.Instant, until time.Duration) (protocol.Instant, []protocol.Range) {
	for end := now.Add(until); now < end; {
		now = now.Add(10 * time.Millisecond)
		r.Receive(now, id(1), &protocol.Have{First: 1, LastIndex: 106, Applied: 106, Commit: 106, Term: 3, Leader: id(1)})
		r.Tick(now)
		for _, s := range r.Effects().Send {
			if w, ok := s.Message.(*protocol.Want); ok {
				return now, w.Ranges
			}
		}
	}
	return now, nil
}

// Counterexample 4: nobody who leads knows the member any more. It asks the
// flock, from its commit index on: what it made itself does not count as held.
func TestMemberRemovedWhileAwayFindsOutFromTheFlock(t *testing.T) {
	r, theirs := away(t)
	now, ranges := wants(r, 0, 900*time.Millisecond)
	if ranges != nil {
		t.Fatalf("asks for %v before two election timeouts have passed", ranges)
	}
	now, ranges = wants(r, now, 2*time.Second)
	if len(ranges) != 1 || ranges[0] != (protocol.Range{First: 101, Last: 106}) {
		t.Fatalf("asks for %v, want 101..106", ranges)
	}
	for i := protocol.Index(100); i < 106; i += 3 { // in two frames
		last := min(i+3, 106)
		r.Receive(now, id(1), &protocol.Frame{
			Flags: protocol.FramePulled, Origin: id(1), Before: theirs.Tail[i-1].Sum, Commit: 106, Entries: theirs.Tail[i:last:last],
		})
	}
	serve(t, r)
	s := r.Status(now)
	if s.Role != protocol.RolePassive || s.Commit != 106 || s.Last != 106 || s.Term != 3 {
		t.Errorf("%s with commit %d, log to %d, term %d; want passive, 106, 106, 3", s.Role, s.Commit, s.Last, s.Term)
	}
	if sum, _ := r.SumAt(106); sum != theirs.LastSum {
		t.Errorf("log sum %v, want %v", sum, theirs.LastSum)
	}
}

// A run that does not join what is committed changes nothing.
func TestRunThatDoesNotJoinIsNotCaughtUp(t *testing.T) {
	r, theirs := away(t)
	now, _ := wants(r, 0, 3*time.Second)
	before := theirs.Tail[99].Sum
	before[0]++
	r.Receive(now, id(1), &protocol.Frame{Flags: protocol.FramePulled, Origin: id(1), Before: before, Commit: 106, Entries: theirs.Tail[100:]})
	if s := r.Status(now); s.Role != protocol.RoleActive || s.Commit != 100 || s.Last != 105 {
		t.Errorf("%s with commit %d and a log to %d, want active, 100, 105", s.Role, s.Commit, s.Last)
	}
}

// An active that hears its leader takes nothing from the flock.
func TestActiveWithALeaderTakesNothingFromTheFlock(t *testing.T) {
	r, _ := away(t)
	now := protocol.Instant(0)
	for range 30 {
		r.Receive(now, id(2), &protocol.Heartbeat{Term: 2, Commit: 100, Round: 1})
		var ranges []protocol.Range
		if now, ranges = wants(r, now, 100*time.Millisecond); ranges != nil {
			t.Fatalf("asks for %v", ranges)
		}
	}
}

// [S] Counterexample: a leader steps down, and two passives that it had told of itself go on to tell
// each other that it leads: for ever their status names it, and they forward to it. Nobody else tells
// them anything. Once they have heard how old their state is, and it gets older; once they have not.
func TestPassivesDoNotKeepALeaderAliveBetweenThem(t *testing.T) {
	for _, aged := range []bool{false, true} {
		now, members := protocol.Instant(0), map[protocol.MemberID]*Replica{}
		rec := found(2, 10, 10, threeVoters)
		for _, self := range []byte{8, 9} {
			r := open(t, self, rec)
			serve(t, r)
			r.SetPeers(now, []protocol.Peer{{ID: id(2), Role: protocol.RoleActive}, {ID: id(17 - self), Role: protocol.RolePassive}})
			members[id(self)] = r
		}
		said := protocol.Have{First: 1, LastIndex: 10, Applied: 10, Commit: 10, Term: 2, Leader: id(2)}
		if aged {
			said.FreshKnown, said.FreshIndex, said.FreshSum = true, 10, rec.LastSum.Head()
		}
		pass := func(d time.Duration, leads bool) {
			for end := now.Add(d); now < end; {
				now = now.Add(10 * time.Millisecond)
				for self, r := range members {
					r.Tick(now)
					for _, s := range r.Effects().Send {
						if to := members[s.To]; to != nil {
							to.Receive(now, self, s.Message)
						} else if asked, ok := s.Message.(*protocol.Have); ok && leads {
							answer := said
							answer.AnswerTo = asked.Nonce
							r.Receive(now, s.To, &answer)
						}
					}
				}
			}
		}
		for _, step := range []struct {
			lasts  time.Duration
			leads  bool
			leader protocol.MemberID
		}{{time.Second, true, id(2)}, {2 * time.Second, false, id(2)}, {10 * time.Second, false, protocol.MemberID{}}} {
			pass(step.lasts, step.leads)
			for self, r := range members {
				s := r.Status(now)
				if s.Leader != step.leader || s.Fresh.Known != aged {
					t.Errorf("aged: %t: at %v %s says that %s leads, want %s; its age is known: %t", aged, now, self.Short(), s.Leader.Short(), step.leader.Short(), s.Fresh.Known)
				}
			}
		}
	}
}
