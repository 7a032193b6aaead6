package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// [S] What is known of a state says nothing of an older one: it would be told
// younger than it is.
func TestAgeOfAStateIsNotToldForAnOlderOne(t *testing.T) {
	const ms = time.Millisecond
	f := Fresh{Known: true, Index: 10, Age: 20 * ms, At: protocol.Instant(5 * time.Second)}
	for _, tt := range []struct {
		fresh Fresh
		index protocol.Index
		later time.Duration
		want  time.Duration
		known bool
	}{
		{f, 10, 0, 20 * ms, true},
		{f, 11, 0, 20 * ms, true},
		{f, 9, 0, 0, false},
		{Fresh{Index: 10}, 10, 0, 0, false},
		{f, 10, time.Second, 20*ms + time.Second + ms, true}, // clocks may be wrong by a thousandth
		{f, 10, -time.Second, 20 * ms, true},                 // another core's reading of the clock
	} {
		got, known := tt.fresh.Of(tt.index, tt.fresh.At.Add(tt.later))
		if got != tt.want || known != tt.known {
			t.Errorf("%+v of %d, %v later: got %v, %v, want %v, %v", tt.fresh, tt.index, tt.later, got, known, tt.want, tt.known)
		}
	}
}

func TestJudge(t *testing.T) {
	const d = time.Second
	query := func(l protocol.Consistency) *protocol.Query {
		return &protocol.Query{Consistency: l, Seen: 7, MaxAge: int64(d)}
	}
	for _, tt := range []struct {
		level protocol.Consistency
		index protocol.Index
		age   time.Duration
		known bool
		want  ReadRefusal
	}{
		{protocol.Local, 1, 0, false, MayAnswer},
		{protocol.Linearizable, 99, 0, true, RefusedForLeader},
		{protocol.Session, 6, 0, true, RefusedForIndex},
		{protocol.Session, 7, 9 * d, true, MayAnswer},
		{protocol.Session, 7, 0, false, MayAnswer},
		{protocol.MaxStale, 6, 0, true, RefusedForIndex},
		{protocol.MaxStale, 7, d, true, MayAnswer},
		{protocol.MaxStale, 7, d + 1, true, RefusedForAge},
		{protocol.MaxStale, 7, 0, false, RefusedForAge},
	} {
		if got := RefusalOf(query(tt.level), tt.index, tt.age, tt.known); got != tt.want {
			t.Errorf("%v at %d, age %v (known: %v): got %d, want %d", tt.level, tt.index, tt.age, tt.known, got, tt.want)
		}
	}
}
