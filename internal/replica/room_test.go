package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// A command for which a leader has no room may find some at another member as long as one
// may have it, and at none, at once, when all have said that they have none.
func TestWithoutRoomACommandWaitsForAVoterThatHasSome(t *testing.T) {
	s := newShelf(t, 100)
	refused := func() protocol.Code {
		code, text := protocol.CodeOf(s.r.transferees.without(protocol.ErrNoSpaceHere.With("why")))
		expect(t, "text", text, "why")
		return code
	}
	s.room, s.unfit = []protocol.MemberID{id(2), id(3), id(8)}, nil
	s.until("leads", s.r.log.leads)
	expect(t, "before anybody has said whether it has room", refused(), protocol.ErrNoSpaceHere.Code)
	for _, c := range []struct {
		what        string
		room, unfit []protocol.MemberID
		want        protocol.Code
	}{
		{"two voters have room", []protocol.MemberID{id(2), id(3)}, nil, protocol.ErrNoSpaceHere.Code},
		{"a voter has", []protocol.MemberID{id(3)}, nil, protocol.ErrNoSpaceHere.Code},
		{"a passive has", []protocol.MemberID{id(8)}, nil, protocol.ErrNoSpace.Code},
		{"nobody has", nil, nil, protocol.ErrNoSpace.Code},
		{"a voter that could answer nobody has", []protocol.MemberID{id(2)}, []protocol.MemberID{id(2)}, protocol.ErrNoSpace.Code},
	} {
		s.room, s.unfit = c.room, c.unfit
		s.pass(time.Second)
		expect(t, c.what, refused(), c.want)
	}
	s.room, s.unfit = nil, nil
	s.pass(time.Second)
	s.r.Hamper(s.now, Hampered{Full: true}) // else it leads better than they
	s.r.Transfer(s.now, 1, id(2))
	expect(t, "the lead is being handed over", refused(), protocol.ErrNoSpaceHere.Code)
	other := s.r.transferees.without(protocol.ErrInvalid)
	expect(t, "another refusal", other, error(protocol.ErrInvalid))
}

// What a leader has no room for is answered so, when it is submitted.
func TestSubmittedWithoutRoom(t *testing.T) {
	s := newShelf(t, 100)
	s.lead()
	s.pass(time.Second)
	s.r.cfg.Accepts = func(*protocol.Command) error { return protocol.ErrNoSpaceHere }
	for want, room := range map[protocol.Code][]protocol.MemberID{protocol.ErrNoSpace.Code: nil, protocol.ErrNoSpaceHere.Code: {id(2)}} {
		s.room = room
		s.pass(time.Second)
		s.r.Submit(s.now, Submission{Request: 7, Command: protocol.EncodeCommand(&protocol.Command{Type: "map", Version: 1, Operation: "put", Resource: "m"})})
		answers := s.r.Effects().Answers
		if len(answers) != 1 || answers[0].Result.Code != want {
			t.Errorf("room %v: answers %+v, want %s", room, answers, want)
		}
		s.settle()
	}
}

// A voter that is silent, and so says nothing of its disk, is waited for no longer than an
// election timeout if no majority would have room with it.
func TestASilentVoterMayHaveRoomForAnElectionTimeout(t *testing.T) {
	s := newShelf(t, 100)
	s.away = []protocol.MemberID{id(3)}
	s.until("leads", s.r.log.leads)
	s.r.Hamper(s.now, Hampered{Full: true})
	timeout := s.r.cfg.Active.Election
	s.pass(timeout / 2)
	expect(t, "before an election timeout", s.r.transferees.mayHaveRoom(), true)
	s.pass(timeout)
	expect(t, "after it", s.r.transferees.mayHaveRoom(), false)
}

// Of three voters one has a full disk, and one is restarted: an import ended at once. It
// waits for the one that is restarted, unless that has said that its disk is full, too.
func TestAFullAndASilentVoterAreWaitedFor(t *testing.T) {
	for _, told := range []bool{false, true} {
		s := newShelf(t, 100)
		s.r.cfg.Frees = func(*protocol.Command) bool { return false }
		refused := func() protocol.Code {
			s.r.Submit(s.now, Submission{Request: 7, Command: protocol.EncodeCommand(&protocol.Command{Type: "map", Version: 1, Operation: "put", Resource: "m"})})
			answers := s.r.Effects().Answers
			s.settle()
			if len(answers) != 1 {
				return ""
			}
			return answers[0].Result.Code
		}
		if !told {
			s.away = []protocol.MemberID{id(3)}
		}
		s.until("leads", s.r.log.leads)
		s.pass(2 * s.r.cfg.Active.Election)
		s.away = []protocol.MemberID{id(3)}
		s.pass(2 * s.r.cfg.Active.Election)
		want := protocol.ErrNoSpaceHere.Code
		if told {
			want = protocol.ErrNoSpace.Code
		}
		if got := refused(); got != want {
			t.Errorf("it has said that its disk is full: %t: got %q, want %q", told, got, want)
		}
	}
}

// Of three voters one has a full disk, and one has been silent. As soon as it answers a
// majority has room: what comes before the leader looks again was refused for want of room,
// for good, though nobody but one voter lacked any.
func TestWritesAreTakenAtOnceWhenASilentVoterAnswers(t *testing.T) {
	s := newShelf(t, 100)
	s.r.cfg.Frees = func(*protocol.Command) bool { return false }
	s.room = []protocol.MemberID{id(3)}
	s.lead()
	s.away = []protocol.MemberID{id(3)}
	s.until("is cramped", func() bool { return s.r.transferees.lacks() != "" })
	s.away = nil
	s.r.Receive(s.now, id(3), &protocol.HeartbeatAnswer{Term: s.r.log.lead().Term(), Room: true})
	expect(t, "it has looked again", s.r.transferees.lacks() == "", false)
	s.answers = nil
	last := s.disk[len(s.disk)-1].Index
	s.r.Submit(s.now, Submission{Request: 7, Command: protocol.EncodeCommand(&protocol.Command{Type: "map", Version: 1, Operation: "put", Resource: "m"})})
	s.settle()
	if got := s.disk[len(s.disk)-1].Index; got != last+1 || len(s.answers) != 0 {
		t.Errorf("the log ends at %d, want %d; answers %+v, want none that refuses", got, last+1, s.answers)
	}
}
