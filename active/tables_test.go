package active

import (
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

func TestMajority(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 5: 3, 6: 4, 7: 4, 64: 33} {
		equal(t, "majority", majority(n), want)
	}
}

func TestAgreedIsWhatAMajorityHasReached(t *testing.T) {
	for _, test := range []struct {
		values []uint64
		want   uint64
	}{
		{nil, 0},
		{[]uint64{7}, 7},
		{[]uint64{7, 3}, 3},
		{[]uint64{1, 9, 5}, 5},
		{[]uint64{9, 9, 0}, 9},
		{[]uint64{0, 0, 9}, 0},
		{[]uint64{4, 3, 2, 1}, 2},
		{[]uint64{1, 2, 3, 4, 5}, 3},
		{[]uint64{1 << 63, 1<<63 - 1, 0}, 1<<63 - 1},
	} {
		equal(t, "agreed", agreed(test.values), test.want)
	}
}

func TestAgreedAgainstItsDefinition(t *testing.T) {
	for bits := range 4 * 4 * 4 * 4 * 4 {
		var values []uint64
		for b, n := bits, 0; n < 5; b, n = b/4, n+1 {
			values = append(values, uint64(b%4))
		}
		best := uint64(0)
		for v := range uint64(4) {
			reached := 0
			for _, have := range values {
				if have >= v {
					reached++
				}
			}
			if reached > len(values)/2 {
				best = v
			}
		}
		if got := agreed(values); got != best {
			t.Fatalf("values %v: got %d, want %d", values, got, best)
		}
	}
}

func TestTally(t *testing.T) {
	for _, test := range []struct {
		ballots string // + granted, - refused, . open
		want    electionResult
	}{
		{"", electionLost}, {"+", electionWon}, {".", electionOpen}, {"-", electionLost},
		{"+.", electionOpen}, {"++", electionWon}, {"+-", electionLost},
		{"+..", electionOpen}, {"+.+", electionWon}, {"-.+", electionOpen}, {"-.-", electionLost},
		{"++..", electionOpen}, {"+++.", electionWon}, {"--..", electionLost},
		{"++--.", electionOpen}, {"++-+-", electionWon}, {"---..", electionLost},
	} {
		var ballots []ballot
		for _, b := range test.ballots {
			ballots = append(ballots, map[rune]ballot{'+': ballotGranted, '-': ballotRefused, '.': ballotOpen}[b])
		}
		if got := tally(ballots); got != test.want {
			t.Errorf("%q: got %d, want %d", test.ballots, got, test.want)
		}
	}
}

func TestConfigReportsAllMistakesAtOnce(t *testing.T) {
	err := Config{
		Election: 100 * time.Millisecond, Heartbeat: 60 * time.Millisecond,
		AppendBytesMax: protocol.AppendBytesMax + 1, InflightMax: -1, InflightBytesMax: -1, UncommittedMax: -1, UncommittedBytesMax: -1, ReadsMax: -1,
	}.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"no id", "heartbeat", "appends of", "InflightMax", "InflightBytesMax", "UncommittedMax", "UncommittedBytesMax", "ReadsMax"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to mention %q", err, want)
		}
	}
}

func TestConfigTables(t *testing.T) {
	id := idOf("a")
	for _, test := range []struct {
		name string
		cfg  Config
		ok   bool
	}{
		{"only an id", Config{ID: id}, true},
		{"no id", Config{}, false},
		{"LAN", withID(LAN), true},
		{"Fast", withID(Fast), true},
		{"WAN", withID(WAN), true},
		{"heartbeat at half", Config{ID: id, Election: time.Second, Heartbeat: time.Second / 2}, true},
		{"heartbeat over half", Config{ID: id, Election: time.Second, Heartbeat: time.Second/2 + 1}, false},
		{"negative heartbeat", Config{ID: id, Heartbeat: -1}, false},
		{"election below the limit", Config{ID: id, Election: time.Microsecond}, false},
	} {
		if err := test.cfg.Validate(); (err == nil) != test.ok {
			t.Errorf("%s: got %v, want ok %t", test.name, err, test.ok)
		}
	}
	d := Config{}.WithDefaults()
	equal(t, "default election timeout", d.Election, LAN.Election)
	equal(t, "default heartbeat", d.Heartbeat, LAN.Heartbeat)
}

func withID(c Config) Config { c.ID = idOf("a"); return c }

func TestWindow(t *testing.T) {
	var w window
	for i := range protocol.Index(3) {
		w.add(10*(i+1), 100, 0)
	}
	w.release(9)
	equal(t, "under way after 9", len(w.list), 3)
	w.release(20)
	equal(t, "under way after 20", len(w.list), 1)
	equal(t, "the last one", w.list[0].last, 30)
	equal(t, "bytes of it", w.bytes, 100)
	w.clear()
	equal(t, "under way after clear", len(w.list), 0)
	equal(t, "bytes after clear", w.bytes, 0)
}

func TestElectionTimeoutsAreDrawnFromTToTwoT(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		h.n.m.armElection()
		d := h.n.m.electionAt.Sub(h.n.m.now)
		low, high = min(low, d), max(high, d)
	}
	if low < LAN.Election || low > LAN.Election*11/10 || high >= 2*LAN.Election || high < LAN.Election*19/10 {
		t.Errorf("got %v to %v, want the whole of [%v, %v)", low, high, LAN.Election, 2*LAN.Election)
	}
}
