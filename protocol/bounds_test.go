package protocol

import "testing"

func TestTermThatAMessageTakesTo(t *testing.T) {
	for _, c := range []struct {
		m    Message
		want Term
	}{
		{&Vote{Term: 7}, 7},
		{&Vote{Term: 7, Pre: true}, 6},
		{&Vote{Pre: true}, 0},
		{&VoteAnswer{Term: 7}, 7},
		{&VoteAnswer{Term: 7, Pre: true}, 7}, // refused: it is the sender's
		{&VoteAnswer{Term: 7, Pre: true, Granted: true}, 6},
		{&Append{Term: 7}, 7},
		{&AppendAnswer{Term: 7}, 7},
		{&Heartbeat{Term: 7}, 7},
		{&HeartbeatAnswer{Term: 7}, 7},
		{&InstallCheckpoint{Term: 7}, 7},
		{&TimeoutNow{Term: 7}, 7},
		{&Have{Term: 7}, 0}, // a hint
	} {
		if got := TermOf(c.m); got != c.want {
			t.Errorf("%s %+v: got %d, want %d", c.m.Kind(), c.m, got, c.want)
		}
	}
}

// Every index in a message is held to the bound.
func TestIndexesWithin(t *testing.T) {
	for _, m := range []func(Index) Message{
		func(i Index) Message { return &Vote{LastIndex: i} },
		func(i Index) Message { return &Append{PrevIndex: i} },
		func(i Index) Message { return &Append{Commit: i} },
		func(i Index) Message { return &Append{Last: i} },
		func(i Index) Message { return &AppendAnswer{Index: i} },
		func(i Index) Message { return &AppendAnswer{HintIndex: i} },
		func(i Index) Message { return &Heartbeat{Commit: i} },
		func(i Index) Message { return &ReadIndex{Held: i} },
		func(i Index) Message { return &ReadIndexAnswer{Index: i} },
		func(i Index) Message { return &Frame{Commit: i} },
		func(i Index) Message { return &Frame{Entries: []Entry{{Index: i}}} },
		func(i Index) Message { return &Have{Applied: i} },
		func(i Index) Message { return &Have{LastIndex: i} },
		func(i Index) Message { return &Have{First: i} },
		func(i Index) Message { return &Have{Commit: i} },
		func(i Index) Message { return &Have{FreshIndex: i} },
		func(i Index) Message { return &Have{Diverged: i} },
		func(i Index) Message { return &Have{Behind: Behind{Needs: i}} },
		func(i Index) Message { return &Have{Behind: Behind{Installing: i}} },
		func(i Index) Message { return &Have{Holes: []Range{{1, i}}} },
		func(i Index) Message { return &Have{Checkpoints: []Index{i}} },
		func(i Index) Message { return &Want{Ranges: []Range{{i, i}}} },
		func(i Index) Message { return &Prune{Index: i} },
		func(i Index) Message { return &Graft{From: i} },
		func(i Index) Message { return &SumQuestion{Index: i} },
		func(i Index) Message { return &SumAnswer{Index: i} },
		func(i Index) Message { return &RepairWant{Last: i} },
		func(i Index) Message { return &Repair{Commit: i} },
		func(i Index) Message { return &ManifestWant{Above: i} },
		func(i Index) Message { return &ChunkWant{Index: i} },
		func(i Index) Message { return &Chunk{Index: i} },
		func(i Index) Message { return &DigestQuestion{Index: i} },
		func(i Index) Message { return &DigestAnswer{Index: i} },
		func(i Index) Message { return &PartsQuestion{Index: i} },
		func(i Index) Message { return &PartsAnswer{Index: i} },
	} {
		for _, i := range []Index{0, IndexMax} {
			if x := m(i); !IndexesWithin(x) {
				t.Errorf("%s %+v is refused", x.Kind(), x)
			}
		}
		for _, i := range []Index{IndexMax + 1, 1<<64 - 1} {
			if x := m(i); IndexesWithin(x) {
				t.Errorf("%s %+v is taken", x.Kind(), x)
			}
		}
	}
}

func TestTermsFit(t *testing.T) {
	of := func(terms ...Term) (list []Entry) {
		for _, x := range terms {
			list = append(list, Entry{Term: x})
		}
		return list
	}
	for _, c := range []struct {
		name    string
		after   Term
		entries []Entry
		want    bool
	}{
		{"none", 5, nil, true},
		{"equal and rising", 5, of(5, 6, 9), true},
		{"falls below the log's", 5, of(4), false},
		{"falls", 5, of(6, 5), false},
		{"the widest step", 5, of(5 + VoterLeapMax), true},
		{"wider", 5, of(6 + VoterLeapMax), false},
		{"many steps", 5, of(5+VoterLeapMax, 5+2*VoterLeapMax, 5+3*VoterLeapMax), true},
		{"wider in between", 5, of(5, 6+VoterLeapMax), false},
		{"the highest", 5, of(1<<64 - 1), false},
	} {
		if got := TermsFit(c.after, c.entries); got != c.want {
			t.Errorf("%s: got %t, want %t", c.name, got, c.want)
		}
	}
}
