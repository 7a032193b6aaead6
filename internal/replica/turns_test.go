package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

func ordered(from, n int) (list []command) {
	for i := range n {
		list = append(list, command{from: origin{request: uint64(from + i)}, encoded: make([]byte, 100)})
	}
	return list
}

// wait adds commands of a session, and returns how many go at once.
func (t *turns) wait(now protocol.Instant, session protocol.SessionID, list ...command) (went int) {
	for _, c := range list {
		if _, goes, err := t.add(now, caller{session: session}, c); err == nil && goes {
			went++
		}
	}
	return went
}

// take takes what may go, and says whose it is.
func (t *turns) take(now protocol.Instant) (lines []*line, requests []uint64) {
	for l, c, ok := t.next(now); ok; l, c, ok = t.next(now) {
		lines, requests = append(lines, l), append(requests, c.from.request)
	}
	return lines, requests
}

// Who has much under way puts no more than a window into the log while somebody is about who has
// little; what comes of that one goes at once.
func TestHeavyCallersLeaveRoomForLightOnes(t *testing.T) {
	var q turns
	now := protocol.Instant(time.Second)
	if went := q.wait(now, 1, ordered(0, 3000)...); went != lightMax {
		t.Errorf("%d of a heavy caller go before it is known as one, want %d", went, lightMax)
	}
	if went := q.wait(now, 2, ordered(0, 1)...); went != 1 {
		t.Error("the command of a light caller waits")
	}
	lines, _ := q.take(now)
	if len(lines) != windowMax {
		t.Errorf("%d commands had a turn, want %d", len(lines), windowMax)
	}
	for _, l := range lines[:50] {
		q.leave(turn{l, 100})
	}
	if lines, _ = q.take(now); len(lines) != 50 {
		t.Errorf("50 were applied, and %d went, want as many", len(lines))
	}
	if lines, _ = q.take(now.Add(turnsLast)); q.count != 0 {
		t.Errorf("nobody light is about, and %d went, %d wait", len(lines), q.count)
	}
	if went := q.wait(now.Add(turnsLast), 1, ordered(0, 1)...); went != 0 {
		t.Error("a caller with 3000 under way counts as light")
	}
}

// However many light callers there are, the heavy ones have their turns.
func TestLightCallersLeaveTurnsToHeavyOnes(t *testing.T) {
	var q turns
	now := protocol.Instant(time.Second)
	for session := range protocol.SessionID(10 * windowMax) {
		q.wait(now, 100+session, ordered(0, 1)...)
	}
	q.wait(now, 1, ordered(0, windowMax)...)
	if lines, _ := q.take(now); len(lines) != windowMax-lightMax {
		t.Errorf("%d of a heavy caller's commands had a turn, want the %d that waited", len(lines), windowMax-lightMax)
	}
}

// A window of large commands is one of their bytes.
func TestAWindowOfLargeCommandsIsShort(t *testing.T) {
	var q turns
	now := protocol.Instant(time.Second)
	q.wait(now, 2, ordered(0, 1)...)
	large := ordered(0, 100)
	for i := range large {
		large[i].encoded = make([]byte, 100<<10)
	}
	q.wait(now, 1, large...)
	q.take(now)
	if q.inLog != 3 {
		t.Errorf("%d commands of 100 KiB had a turn, want 3", q.inLog)
	}
}

// Each heavy caller has the same share, in bytes and commands, however many it has waiting.
func TestHeavyCallersHaveEqualShares(t *testing.T) {
	var q turns
	now := protocol.Instant(time.Second)
	q.wait(now, 1, ordered(0, 10_000)...)
	q.wait(now, 2, ordered(0, 1000)...)
	large := ordered(0, 1000)
	for i := range large {
		large[i].encoded = make([]byte, 3*(turnCost+100)-turnCost)
	}
	q.wait(now, 3, large...)
	had := map[protocol.SessionID]int{}
	for range 7 * 200 {
		l, _ := q.pop()
		had[l.caller.session]++
	}
	if had[1] < 600-2*turnMax || had[1] > 600+2*turnMax || had[2] < 600-2*turnMax || had[2] > 600+2*turnMax || had[3] < 200-turnMax || had[3] > 200+turnMax {
		t.Errorf("of 1400 turns the callers had %v, want some 600, 600 and 200", had)
	}
}

// The commands of a session go in the order in which they came.
func TestNoCommandGoesBeforeAnOlderOneOfItsSession(t *testing.T) {
	var q turns
	now := protocol.Instant(time.Second)
	q.wait(now, 2, ordered(0, 1)...)
	went := q.wait(now, 1, ordered(0, lightMax+windowMax+5)...)
	lines, took := q.take(now)
	for range went {
		q.leave(turn{line: lines[0]})
	}
	for _, l := range lines {
		q.leave(turn{l, 100})
	}
	now = now.Add(turnsLast) // five wait, of a caller that is not heavy any more
	if q.wait(now, 1, ordered(lightMax+windowMax+5, 1)...) != 0 {
		t.Error("the newest goes at once")
	}
	_, rest := q.take(now)
	for i, request := range append(took, rest...) {
		if want := uint64(went + i); request != want {
			t.Fatalf("got %d, want %d", request, want)
		}
	}
}

// What waits is bounded, and lines are forgotten.
func TestLinesAreBounded(t *testing.T) {
	var q turns
	now := protocol.Instant(time.Second)
	went := q.wait(now, 1, ordered(0, lightMax+turnsMax)...)
	if _, goes, err := q.add(now, caller{session: 1}, ordered(0, 1)[0]); goes || protocol.ErrOverloaded.Code != codeOf(err) {
		t.Errorf("beyond the bound: goes %t, %v, want %v", goes, err, protocol.ErrOverloaded)
	}
	if q.wait(now, 2, ordered(0, 1)...) != 1 {
		t.Error("a light caller is refused")
	}
	l, other := q.lines[caller{session: 1}], q.lines[caller{session: 2}]
	for range went {
		q.leave(turn{line: l})
	}
	q.leave(turn{line: other})
	if left := len(q.all()); left != turnsMax {
		t.Errorf("%d waited, want %d", left, turnsMax)
	}
	q.next(now.Add(turnsLast))
	if len(q.lines) != 0 || q.inLog != 0 || q.inLogBytes != 0 || q.bytes != 0 {
		t.Errorf("%d lines, %d commands and %d bytes in the log, %d bytes wait; want nothing", len(q.lines), q.inLog, q.inLogBytes, q.bytes)
	}
}

func codeOf(err error) protocol.Code {
	code, _ := protocol.CodeOf(err)
	return code
}

// What waits for its turn is in the leader's hands, and has not happened when it loses the lead:
// its callers are told so, while the outcome of what is in the log is open.
func TestWhatWaitsForItsTurnAtALostLeaderHasNotHappened(t *testing.T) {
	c := newCrew(t, map[protocol.Index]protocol.Configuration{1: conf(3, []byte{1, 2, 3})})
	c.silent[id(2)], c.silent[id(3)] = true, true
	const heavy = 2 * windowMax
	for i := range heavy {
		c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: uint64(i), Command: someCommand(1)})
	}
	c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: heavy, Command: someCommand(2)})
	for i := range heavy {
		c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: heavy + 1 + uint64(i), Command: someCommand(1)})
	}
	waits := c.r.commands.turns.count
	if waits == 0 {
		t.Fatal("nothing waits")
	}
	answered := map[protocol.Code]int{}
	take := func() {
		for range 10 {
			e := c.r.Effects()
			for _, s := range e.Send {
				if a, ok := s.Message.(*protocol.ForwardAnswer); ok && s.To == id(9) {
					answered[a.Result.Code]++
				}
			}
			if e.Persist != nil {
				c.r.Persisted(c.now, e.Persist.ID, nil)
			}
		}
	}
	c.r.Receive(c.now, id(9), &protocol.Forward{Run: 5, Request: 2 * heavy}) // the last one: is it in hand?
	take()
	if answered[protocol.AtWork] != 1 || len(answered) != 1 {
		t.Errorf("asked after a command that waits: got %v, want %q", answered, protocol.AtWork)
	}
	c.r.Receive(c.now, id(2), &protocol.Heartbeat{Term: raft(c.r).Term() + 1})
	take()
	if got := answered[protocol.ErrNotLeader.Code]; got != waits {
		t.Errorf("%d are told that it does not lead, want the %d that waited", got, waits)
	}
	if got := answered[protocol.ErrUnknownOutcome.Code]; got != 2*heavy+1-waits {
		t.Errorf("%d are told that the outcome is open, want the %d in the log", got, 2*heavy+1-waits)
	}
}
