package spread

import (
	"math"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// How an entry first came to a member.
const (
	notYet uint8 = iota
	byPush
	byPull
)

// tally counts what a run sends and when entries arrive, from start on. Of what
// arrives it counts what reaches members that are well.
type tally struct {
	n       *net
	on      bool
	start   int // entries that were there before do not count
	well    int
	nearly  int // how many members are 99 % of the well ones
	first   [][]uint8
	arrived []int32
	t99     []time.Duration // by entry; -1: not yet
	t100    []time.Duration
	lags    []uint32 // microseconds
	ages    []time.Duration
	tooLow  int // ages below the true one

	pushed, pulled   int64 // copies of entries that arrived, by members
	sent             [3]int64
	leaderPulls      int64
	crossed          int64
	repaired         int64 // arrivals whose first copy was pulled
	control, payload int64 // bytes that the leader sent
	controlFrom      protocol.Instant
	activeBytes      int64
	allBytes         int64
}

// Who sent a copy.
const (
	sentByLeader = iota
	sentByActive // another one
	sentByPassive
)

func (t *tally) of(n *net) {
	t.n = n
	for _, ill := range n.ill[Actives:] {
		if !ill {
			t.well++
		}
	}
	t.nearly = int(math.Ceil(0.99 * float64(t.well)))
}

// begin starts counting.
func (t *tally) begin() {
	t.on, t.start, t.controlFrom = true, len(t.n.history), t.n.now
	n := int(float64(t.well) * t.n.set.Rate * t.n.set.For.Seconds())
	t.lags = make([]uint32, 0, n+t.well)
}

func (t *tally) written() {
	if t.on {
		t.first = append(t.first, make([]uint8, len(t.n.ids)))
		t.arrived = append(t.arrived, 0)
		t.t99, t.t100 = append(t.t99, -1), append(t.t100, -1)
	}
}

// counted returns how many of the entries from first to last count.
func (t *tally) counted(first, last protocol.Index) int64 {
	return max(int64(last)-max(int64(first)-1, int64(t.start)), 0)
}

// payloadSent counts copies of entries that a member sent.
func (t *tally) payloadSent(from, to int, first, last protocol.Index, pulled bool, bytes int) {
	if !t.on {
		return
	}
	k := t.counted(first, last)
	switch {
	case from == 0:
		t.sent[sentByLeader] += k
		t.payload += int64(bytes)
		if pulled {
			t.leaderPulls += k
		}
	case from < Actives:
		t.sent[sentByActive] += k
	default:
		t.sent[sentByPassive] += k
	}
	if t.n.zone(from) != t.n.zone(to) {
		t.crossed += k
	}
	t.bytes(from, bytes)
}

// controlSent counts everything else.
func (t *tally) controlSent(from, bytes int) {
	if !t.on {
		return
	}
	if from == 0 {
		t.control += int64(bytes)
	}
	t.bytes(from, bytes)
}

func (t *tally) bytes(from, bytes int) {
	t.allBytes += int64(bytes)
	if from < Actives {
		t.activeBytes += int64(bytes)
	}
}

// received counts copies that came to a member.
func (t *tally) received(at int, first, last protocol.Index, pulled bool) {
	if !t.on || t.n.ill[at] || at < Actives {
		return
	}
	k, how := t.counted(first, last), byPush
	if pulled {
		t.pulled += k
		how = byPull
	} else {
		t.pushed += k
	}
	for i := max(int(first)-1, t.start); i < int(last); i++ {
		if f := &t.first[i-t.start][at]; *f == notYet {
			*f = how
		}
	}
}

// holds notes that a member holds the entries from number from (0 is the first)
// up to number to, exclusive.
func (t *tally) holds(at, from, to int) {
	if !t.on || t.n.ill[at] || at < Actives {
		return
	}
	for i := max(from, t.start); i < to; i++ {
		lag := t.n.now.Sub(t.n.acked[i])
		t.lags = append(t.lags, uint32(min(lag.Microseconds(), math.MaxUint32)))
		k := i - t.start
		t.arrived[k]++
		if t.first[k][at] == byPull {
			t.repaired++
		}
		if int(t.arrived[k]) == t.nearly {
			t.t99[k] = lag
		}
		if int(t.arrived[k]) == t.well {
			t.t100[k] = lag
		}
	}
}

// readAge compares the age that a member reports with the true one: the time
// since the first write that is missing there was acknowledged.
func (t *tally) readAge(age time.Duration, held int) {
	t.ages = append(t.ages, age)
	if held < len(t.n.history) && age < t.n.now.Sub(t.n.acked[held]) {
		t.tooLow++
	}
}

// complete reports whether every member that is well has everything.
func (t *tally) complete() bool { return len(t.lags) == t.well*len(t.arrived) }
