package virtual

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// arrival is a parcel and when it came.
type arrival struct {
	at time.Duration
	Parcel[time.Duration, int]
}

// lab is a network whose parcels are gathered.
type lab struct {
	Network[time.Duration, int]
	rough Rough
	came  []arrival
	fates [3]int
}

func newLab(seed uint64) *lab {
	l := &lab{}
	l.Rand = rand.New(rand.NewPCG(seed, 1))
	l.rough = Rough{Rand: l.Rand, Resend: 100 * ms}
	l.rough.Way = func(int, int) time.Duration { return ms + time.Duration(l.Rand.Int64N(int64(ms))) }
	l.Weather = &l.rough
	l.Post = func(at time.Duration, p Parcel[time.Duration, int]) { l.came = append(l.came, arrival{at, p}) }
	l.Note = func(f Fate) { l.fates[f]++ }
	return l
}

// numbers returns what arrives, in the order of arrival.
func (l *lab) numbers() []int {
	came := slices.Clone(l.came)
	slices.SortStableFunc(came, func(a, b arrival) int { return int(a.at - b.at) })
	var out []int
	for _, a := range came {
		out = append(out, a.Message)
	}
	return out
}

// Datagrams are lost, doubled and reordered; streams lose nothing and keep their order,
// late as they are. The same seed gives the same fates.
func TestDatagramsAndStreamsFareApart(t *testing.T) {
	const count = 1000
	send := func(datagram bool) *lab {
		l := newLab(7)
		l.rough.Loss, l.rough.Double = 0.2, 0.1
		for i := range count {
			l.Send(time.Duration(i)*100*time.Microsecond, 0, 1, i, 10, datagram)
		}
		if l.Bytes[0] != 10*count {
			t.Errorf("datagram %v: got %d bytes counted, want %d", datagram, l.Bytes[0], 10*count)
		}
		return l
	}
	d, s := send(true), send(false)
	if lost, twice := d.fates[Lost], d.fates[Doubled]; lost < 150 || lost > 250 || twice < 50 || twice > 150 || len(d.came) != count-lost+twice {
		t.Errorf("got %d lost, %d doubled and %d arrivals of %d datagrams", lost, twice, len(d.came), count)
	}
	if slices.IsSorted(d.numbers()) {
		t.Error("no datagram was reordered")
	}
	if got := s.numbers(); len(got) != count || !slices.IsSorted(got) {
		t.Errorf("got %d of %d messages of a stream, in order: %v", len(got), count, slices.IsSorted(got))
	}
	if late := s.came[count-1].at; late < 100*ms || s.fates != [3]int{} {
		t.Errorf("got the last message at %v and the fates %v, want it late for what was lost", late, s.fates)
	}
	if again := send(true); !slices.Equal(again.came, d.came) {
		t.Error("the same seed gave other fates")
	}
}

// A cut is one way. Datagrams are gone; the stream's messages wait, and come in order when it
// heals, or with the old stream not at all.
func TestOneWayCut(t *testing.T) {
	kept, dropped := 0, 0
	for seed := range uint64(20) {
		l := newLab(seed)
		link := l.Link(0, 1)
		link.Cut = true
		l.Send(0, 0, 1, 1, 1, true)
		for i := range 5 {
			l.Send(0, 0, 1, 10+i, 1, false)
		}
		l.Send(0, 1, 0, 2, 1, true)
		l.Send(0, 1, 0, 3, 1, false)
		if len(l.came) != 2 || l.fates[Lost] != 1 {
			t.Fatalf("got %v, want what went the other way", l.came)
		}
		l.Heal(ms, 0, 1)
		switch {
		case link.Stream == 1 && len(l.came) == 2:
			dropped++
		case link.Stream == 0 && slices.Equal(l.numbers()[2:], []int{10, 11, 12, 13, 14}):
			kept++
		default:
			t.Errorf("seed %d: stream %d and %v", seed, link.Stream, l.numbers())
		}
		before := len(l.came)
		l.Heal(ms, 0, 1) // it is whole
		link.Cut = true
		if l.Heal(ms, 0, 1); len(l.came) != before {
			t.Error("what waited came twice")
		}
	}
	if kept == 0 || dropped == 0 {
		t.Errorf("%d streams were kept and %d given up, want some of both", kept, dropped)
	}
}

// A socket holds a bounded number of messages; one more breaks the stream, with all of them.
func TestFullSocketBreaksItsStream(t *testing.T) {
	l := newLab(1)
	l.Link(0, 1).Cut = true
	for i := range heldMax + 1 {
		l.Send(0, 0, 1, i, 1, false)
	}
	if l.fates[Broken] != 1 || len(l.Link(0, 1).held) != 0 {
		t.Errorf("got %d streams broken and %d messages held, want 1 and none", l.fates[Broken], len(l.Link(0, 1).held))
	}
}

// A clogged link delivers no earlier, a slow one later, a broken stream is told from the one
// that stands, and nothing gets to another side.
func TestLinkStates(t *testing.T) {
	l := newLab(3)
	l.Weather = Way(func(int, int) time.Duration { return ms })
	link := l.Link(0, 1)
	link.Clogged = 50 * ms
	l.Send(0, 0, 1, 1, 1, true)
	l.Send(0, 0, 1, 2, 1, false)
	link.Clogged, link.Slow = 0, 9*ms
	l.Send(60*ms, 0, 1, 3, 1, true)
	l.Reset(link)
	l.Send(60*ms, 0, 1, 4, 1, false)
	for i, want := range []time.Duration{50 * ms, 50 * ms, 70 * ms, 70 * ms} {
		if l.came[i].at != want {
			t.Errorf("message %d came at %v, want %v", i+1, l.came[i].at, want)
		}
	}
	if old, stands := l.came[1], l.came[3]; old.By != link || old.Stream == link.Stream || stands.Stream != link.Stream || l.came[0].By != nil {
		t.Errorf("got the streams %d and %d, want the second to stand, at %d", old.Stream, stands.Stream, link.Stream)
	}
	l.Side = []int{0, 1}
	l.Send(0, 0, 1, 5, 1, false)
	if len(l.came) != 4 {
		t.Error("a message got to another side")
	}
	l.Side = nil
	l.Link(0, 1).Cut = true
	l.Send(0, 0, 1, 6, 1, false)
	l.Forget(1, 2)
	if link.held != nil {
		t.Error("what waits for an end that is gone is held")
	}
}

// Loose streams keep no order, and no link.
func TestLooseStreams(t *testing.T) {
	l := newLab(5)
	l.Loose = true
	for i := range 100 {
		l.Send(0, 0, 1, i, 1, false)
	}
	if len(l.came) != 100 || slices.IsSorted(l.numbers()) || len(l.links) != 0 {
		t.Errorf("got %d messages, in order %v, and %d links", len(l.came), slices.IsSorted(l.numbers()), len(l.links))
	}
}

// A stream that waited no longer after each loss would be silent for a fifth of a second
// at most, whatever is lost: no leader would be taken for dead.
func TestAStreamWaitsTwiceAsLongAfterEachLoss(t *testing.T) {
	const draws, resend = 200_000, 200 * time.Millisecond
	r := &Rough{Rand: rand.New(rand.NewPCG(1, 2)), Loss: 0.2, Resend: resend}
	seen := map[time.Duration]int{}
	for range draws {
		late, _ := r.Stream(0, 1, 1)
		seen[late]++
	}
	share := 0.8
	for _, late := range []time.Duration{0, resend, 3 * resend, 7 * resend, 15 * resend} {
		if got := float64(seen[late]) / draws; got < share*0.8 || got > share*1.2 {
			t.Errorf("%v late: got %.4f of the messages, want %.4f", late, got, share)
		}
		share *= 0.2
	}
}
