package replica

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A leader whose disk is nearly full gives the lead to a voter that has said that it has
// room, to no other, and not again and again.
func TestALeaderWithoutRoomHandsOver(t *testing.T) {
	s := newShelf(t, 100)
	s.lead()
	pass := func() {
		for range 50 {
			s.pass(100 * time.Millisecond)
		}
	}
	s.room = []protocol.MemberID{id(2), id(3)}
	pass()
	expect(t, "transferees of a leader with room", len(s.transferees), 0)
	s.room = nil
	pass() // what was said before is forgotten
	s.r.Hamper(s.now, Hampered{Full: true})
	pass()
	expect(t, "transferees while nobody has room", len(s.transferees), 0)
	s.room = []protocol.MemberID{id(3)}
	pass()
	if len(s.transferees) == 0 || s.transferees[0] != id(3) || s.transferees[len(s.transferees)-1] != id(3) {
		t.Fatalf("transferees %v, want 3", s.transferees)
	}
	expect(t, "hand-overs", s.said(protocol.EventTransfer, "by a leader that has no room on its disk"), 1)
	s.transferees = nil
	s.r.Hamper(s.now, Hampered{})
	pass()
	pass()
	expect(t, "transferees when there is room again", len(s.transferees), 0)
}

// A leader that is to hand over to anybody, as when it shuts down, prefers a voter with room
// that holds what is committed, and takes another one if there is none.
func TestAnyTransfereeIsOneWithRoomIfThereIsOne(t *testing.T) {
	for want, room := range map[protocol.MemberID][]protocol.MemberID{id(2): nil, id(3): {id(3)}} {
		s := newShelf(t, 100)
		s.room = room
		s.lead()
		s.pass(time.Second)
		s.r.HandOver(s.now, 1)
		s.pass(100 * time.Millisecond)
		if len(s.transferees) == 0 || s.transferees[0] != want {
			t.Errorf("room %v: transferees %v, want %v", room, s.transferees, want)
		}
	}
	s := newShelf(t, 100)
	s.room = []protocol.MemberID{id(3)}
	s.lead()
	s.pass(time.Second)
	s.r.Transfer(s.now, 1, id(3))
	s.r.Transfer(s.now, 2, protocol.MemberID{})
	expect(t, "those who wait for the one transferee", len(s.r.membershipChanges.transfers), 2)
}

// A leader without room passes over a voter that could answer nobody as a leader, however
// much room that has, as its policy does.
func TestALeaderWithoutRoomPassesOverWhoIsUnfit(t *testing.T) {
	s := newShelf(t, 100)
	s.room, s.unfit = []protocol.MemberID{id(2), id(3)}, []protocol.MemberID{id(2)}
	s.lead()
	s.r.Hamper(s.now, Hampered{Full: true})
	for range 50 {
		s.pass(100 * time.Millisecond)
	}
	if len(s.transferees) == 0 || s.transferees[0] != id(3) {
		t.Errorf("transferees %v, want 3", s.transferees)
	}
	conf, _ := s.r.Configurations().Latest()
	expect(t, "a transferee for the policy, too", slices.Contains(s.r.policy.policyInput(s.now, conf, raft(s.r).Status()).Transferees, id(2)), false)
}

// A leader that is stuck in a command gives the lead to a voter that has passed it.
func TestALeaderStuckInACommandHandsOver(t *testing.T) {
	s := newShelf(t, 100)
	s.lead()
	s.r.Hamper(s.now, Hampered{Stuck: 101, Why: "is stuck in a command"})
	has := func(applied protocol.Index) {
		for range 50 {
			s.r.Receive(s.now, id(2), &protocol.Have{LastIndex: 101, Commit: 101, Applied: applied})
			s.settle()
			s.pass(100 * time.Millisecond)
		}
	}
	has(100)
	expect(t, "transferees while nobody has passed it", len(s.transferees), 0)
	has(101)
	if len(s.transferees) == 0 || s.transferees[0] != id(2) {
		t.Fatalf("transferees %v, want 2", s.transferees)
	}
}

// What keeps a member from its work goes with each answer to a heartbeat: whoever is stuck
// in a command is no transferee of one that has no room, which would be its transferee in turn.
func TestAnswersToHeartbeatsSayWhatHampers(t *testing.T) {
	s := newShelf(t, 100)
	for _, by := range []Hampered{{}, {Full: true}, {Stuck: 101, Why: "is stuck in a command"}, {Full: true, Stuck: 101}, {}} {
		s.r.Hamper(s.now, by)
		s.r.Receive(s.now, id(2), &protocol.Heartbeat{Term: 9, Round: 1})
		found := false
		for range 10 {
			e := s.r.Effects()
			if e.Persist != nil {
				s.r.Persisted(s.now, e.Persist.ID, nil)
			}
			for _, x := range e.Send {
				if a, ok := x.Message.(*protocol.HeartbeatAnswer); ok {
					found = true
					expect(t, "room", a.Room, !by.Full)
					expect(t, "unfit", a.Unfit, by.Stuck != 0)
				}
			}
		}
		expect(t, "answered", found, true)
	}
}

// A voter whose log begins above all that it has of the state is no transferee: as a leader it
// would answer nobody until a checkpoint has come.
func TestAVoterWithoutAStateSaysThatItIsUnfit(t *testing.T) {
	whole := found(2, 100, 100, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 3}, 2)})
	for _, applied := range []protocol.Index{0, 40} {
		r := openOn(t, 2, Config{}, begun(whole, 40), OpenedState{Applied: applied})
		r.Receive(1, id(1), &protocol.Heartbeat{Term: 9, Round: 1})
		found := false
		for range 10 {
			e := r.Effects()
			if e.Persist != nil {
				r.Persisted(1, e.Persist.ID, nil)
			}
			for _, x := range e.Send {
				if a, ok := x.Message.(*protocol.HeartbeatAnswer); ok {
					found = true
					expect(t, "unfit", a.Unfit, applied == 0)
				}
			}
		}
		expect(t, "answered", found, true)
	}
}

// A leader with room on its own disk takes only what frees space while the voters that it
// hears have none, if the others are no majority: else a majority's disks get full to the
// last byte, where nothing can be stored any more.
func TestDisksOfAMajorityDoNotFillUp(t *testing.T) {
	write := protocol.EncodeCommand(&protocol.Command{Session: 1, Type: "map", Version: 1, Operation: "put"})
	frees := protocol.EncodeCommand(&protocol.Command{Session: 1, Type: "map", Version: 1, Operation: "delete"})
	for _, test := range []struct {
		name       string
		room, away []protocol.MemberID
		refused    bool
	}{
		{"all have room", []protocol.MemberID{id(2), id(3)}, nil, false},
		{"one of three has none", []protocol.MemberID{id(3)}, nil, false},
		{"two of three have none", nil, nil, true},
		{"one has none, one is away", nil, []protocol.MemberID{id(3)}, true},
		{"one has room, one is away", []protocol.MemberID{id(2)}, []protocol.MemberID{id(3)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newShelf(t, 100)
			s.r.cfg.Frees = func(c *protocol.Command) bool { return c.Operation == "delete" }
			s.room, s.away = test.room, test.away
			s.lead()
			submit := func(command []byte) (refused bool) {
				s.answers = nil
				s.r.Submit(s.now, Submission{Request: 1, Command: command, Checked: true})
				s.pass(100 * time.Millisecond)
				for _, a := range s.answers {
					refused = refused || errors.Is(a.Result.Err(), protocol.ErrNoSpace) || errors.Is(a.Result.Err(), protocol.ErrNoSpaceHere)
				}
				return refused
			}
			s.pass(5 * time.Second)
			expect(t, "a write is refused", submit(write), test.refused)
			expect(t, "a delete is refused", submit(frees), false)
			expect(t, "said", s.said(protocol.EventCramped, "writes are refused"), map[bool]int{true: 1}[test.refused])
			expect(t, "in the status", s.r.Status(s.now).Cramped != "", test.refused)
			s.room = []protocol.MemberID{id(2), id(3)}
			s.pass(time.Second)
			expect(t, "a write is refused when there is room", submit(write), false)
		})
	}
}
