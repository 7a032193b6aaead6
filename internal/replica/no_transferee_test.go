package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Who asks for another leader hears at once why there can be none, and who could not lead
// for which reason.
func TestTransferSaysAtOnceWhoCannotLead(t *testing.T) {
	only := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	only.r.Transfer(only.now, 1, protocol.MemberID{})
	only.settle()
	expect(t, "the only voter", only.answers[1].Code, protocol.ErrInvalid.Code)
	expect(t, "why", only.answers[1].Text, id(1).Short()+" is the only voter: there is nobody to lead in its place")

	c := newCrew(t, named())
	says := func(by byte, a protocol.HeartbeatAnswer) {
		c.silent[id(by)] = true
		a.Term, a.Round = raft(c.r).Term(), 1
		c.r.Receive(c.now, id(by), &a)
	}
	for i, test := range []struct {
		name string
		make func()
		to   protocol.MemberID
		code *protocol.Error
		text string
	}{
		{"no voter", func() {}, id(8), protocol.ErrInvalid, "eight is no voter: `starling promote` makes it one"},
		{"unfit", func() { says(2, protocol.HeartbeatAnswer{Unfit: true, Room: true}) }, id(2), protocol.ErrNoTransferee, "two says that it could answer nobody as a leader"},
		{"no room", func() { says(2, protocol.HeartbeatAnswer{}) }, id(2), protocol.ErrNoTransferee, "two has no room on its disk, and would hand over at once"},
		{"nobody", func() { says(3, protocol.HeartbeatAnswer{Unfit: true}) }, protocol.MemberID{}, protocol.ErrNoTransferee,
			"no other voter can lead: two has no room on its disk, and would hand over at once; three says that it could answer nobody as a leader"},
		{"away", func() {
			c.silent[id(2)], c.silent[id(3)] = true, false
			for range 7 {
				c.pass(100 * time.Millisecond)
			}
		}, id(2), protocol.ErrNoTransferee, "two does not answer"},
	} {
		test.make()
		request := uint64(10 + i)
		c.r.Transfer(c.now, request, test.to)
		c.settle()
		expect(t, test.name+": code", c.answers[request].Code, test.code.Code)
		expect(t, test.name+": text", c.answers[request].Text, test.text)
	}
	expect(t, "transferees", len(c.transferees), 0)

	// A leader without room gives the lead to whomever people want, and one that stops to
	// anybody.
	says(2, protocol.HeartbeatAnswer{})
	c.silent[id(2)] = false
	c.r.Hamper(c.now, Hampered{Full: true})
	c.r.Transfer(c.now, 30, id(2))
	c.settle()
	expect(t, "asked for by one without room", len(c.transferees), 1)
}
