package gossip

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// tells has a member say what it has found out of datagrams.
func (b *bench) tells(from protocol.MemberID, state protocol.CarrierState) {
	b.step(from, &protocol.StreamEcho{State: state})
}

// heard lets time pass, and returns what people were told meanwhile.
func (b *bench) heard(d time.Duration) (lost, back []string) {
	for _, e := range b.wait(d).Events {
		switch e.Kind {
		case protocol.EventDatagramsLost:
			lost = append(lost, e.Text)
		case protocol.EventDatagramsBack:
			back = append(back, e.Text)
		}
	}
	return lost, back
}

// A member that is not heard of here answers datagrams and no stream: whoever asks takes it for
// gone, and not for one behind a firewall.
func TestAStreamEchoOfAStrangerIsAnswered(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, 2, Config{})
	stranger := passiveID(9)
	for _, m := range []protocol.Message{&protocol.Echo{Number: 7}, &protocol.StreamEcho{Number: 7, State: protocol.DatagramsLost}} {
		if rd := b.step(stranger, m); len(rd.Messages) != 1 || rd.Messages[0].To != stranger {
			t.Errorf("%s: got %v, want an answer", m.Kind(), rd.Messages)
		}
	}
	if list, text := b.core.Streamed(); len(list) != 0 || text != "" {
		t.Errorf("a stranger's word was taken: %v, %q", list, text)
	}
	answers := 0
	for range 10 * answersBurst {
		answers += len(b.step(stranger, &protocol.StreamEcho{Number: 7}).Messages)
	}
	if answers > answersBurst {
		t.Errorf("%d answers at once, want %d at most", answers, answersBurst)
	}
}

// Who said that datagrams are lost falls silent: that proves nothing of UDP.
func TestAWordThatRunsOutIsNoProofThatUDPWorks(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, 2, Config{})
	b.tells(passiveID(1), protocol.DatagramsLost)
	if lost, _ := b.heard(5 * time.Second); len(lost) != 1 {
		t.Fatalf("told of losses: %q, want one line", lost)
	}
	if _, back := b.heard(5 * time.Minute); len(back) != 0 {
		t.Errorf("nobody has said so: %q", back)
	}
	if list, text := b.core.Streamed(); len(list) != 0 || text != "" {
		t.Errorf("the word has not run out: %v, %q", list, text)
	}
	b.tells(passiveID(1), protocol.DatagramsLost)
	if lost, _ := b.heard(5 * time.Second); len(lost) != 1 {
		t.Errorf("lost again: %q, want one line", lost)
	}
	b.tells(passiveID(1), protocol.DatagramsWork)
	if _, back := b.heard(tellEvery); len(back) != 1 {
		t.Errorf("told that datagrams work: %q, want one line", back)
	}
}

// UDP is closed to one member after the other, for half an hour.
func TestWarningsBecomeRarerWhileLossesGoOn(t *testing.T) {
	const members = 180
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, members, Config{})
	var warnings []string
	for i := range members {
		for k := range i + 1 {
			b.tells(passiveID(k+1), protocol.DatagramsLost) // which is forgotten otherwise
		}
		lost, back := b.heard(10 * time.Second)
		if len(back) > 0 {
			t.Fatalf("told that it is over: %q", back)
		}
		warnings = append(warnings, lost...)
	}
	if n := len(warnings); n < 4 || n > 10 {
		t.Errorf("%d warnings in half an hour, want them rarer and rarer", n)
	}
	if text := b.core.carriers.text; !strings.Contains(text, "more") {
		t.Errorf("the text names too many: %q", text)
	}
	for i := range members {
		b.tells(passiveID(i+1), protocol.DatagramsWork)
	}
	if _, back := b.heard(tellEvery + tellAfter); len(back) != 1 {
		t.Errorf("over: %q, want one line soon", back)
	}
}

// The line names eight: those of which people do not know.
func TestAWarningNamesTheNewFirst(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, 12, Config{})
	for i, m := range b.core.members.passives {
		m.peer.Name = string(rune('a' + i))
	}
	for i := range 11 {
		b.tells(passiveID(i+1), protocol.DatagramsLost)
	}
	b.heard(5 * time.Second)
	b.tells(passiveID(12), protocol.DatagramsLost)
	lost, _ := b.heard(12 * time.Second)
	if len(lost) != 1 || !strings.Contains(lost[0], "between this member and l at ") {
		t.Errorf("got %q, want l first", lost)
	}
}

// A firewall comes and goes: each time people are told of it soon, for they were told that it was
// over.
func TestLossesAfterAllWasWellAreToldSoon(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, 2, Config{})
	for round := range 8 {
		b.tells(passiveID(1), protocol.DatagramsLost)
		if lost, _ := b.heard(tellEvery + tellAfter); len(lost) != 1 {
			t.Fatalf("round %d: told of losses: %q, want one line", round, lost)
		}
		b.tells(passiveID(1), protocol.DatagramsWork)
		if _, back := b.heard(tellEvery + tellAfter); len(back) != 1 {
			t.Fatalf("round %d: over: %q, want one line", round, back)
		}
	}
}

// A member flaps faster than people are told of it: they know already.
func TestNobodyIsWarnedTwiceWithoutALineBetween(t *testing.T) {
	b := newBench(t, protocol.RoleActive, chain(10, 10, "h"), 10, 1, 2, Config{})
	b.tells(passiveID(1), protocol.DatagramsLost)
	if lost, _ := b.heard(2 * time.Second); len(lost) != 1 {
		t.Fatalf("told of losses: %q, want one line", lost)
	}
	b.tells(passiveID(1), protocol.DatagramsWork)
	b.heard(time.Second)
	b.tells(passiveID(1), protocol.DatagramsLost)
	if lost, back := b.heard(12 * time.Second); len(lost)+len(back) != 0 {
		t.Errorf("said %q and %q, want nothing: it is as was said", lost, back)
	}
	b.tells(passiveID(1), protocol.DatagramsWork)
	if _, back := b.heard(2 * tellEvery); len(back) != 1 {
		t.Errorf("over: %q, want one line", back)
	}
}
