package member

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// What a state that has applied 1 answers at once, at each level, and what is said of
// the rest: a member that has just started does not answer a session with what it had
// long ago, an age grows with the clock, and is never that of another state.
func TestWhatIsAtHand(t *testing.T) {
	registry, err := resources.NewRegistry(kvmap.Type)
	if err != nil {
		t.Fatal(err)
	}
	m := machine.New(machine.Config{Registry: registry})
	defer m.Close()
	m.Apply([]protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryNoop}}, nil)
	const second = int64(time.Second)
	fresh := func(i, caughtUp protocol.Index, age time.Duration) Sight {
		return Sight{Fresh: replica.Fresh{Known: true, Index: i, Age: age, At: 1000, CaughtUp: caughtUp}}
	}
	doubt := protocol.ErrNotServing.With("another history")
	for _, test := range []struct {
		name  string
		sight Sight
		query protocol.Query
		later time.Duration // than the sight was
		code  protocol.Code
		ok    bool
		wants protocol.Index
	}{
		{"local, whatever is known", Sight{}, protocol.Query{Consistency: protocol.Local}, 0, "", true, 0},
		{"local, in doubt", Sight{Suspended: doubt}, protocol.Query{Consistency: protocol.Local}, 0, doubt.Code, true, 0},
		{"linearizable", fresh(1, 1, 0), protocol.Query{Consistency: protocol.Linearizable}, 0, "", false, 0},
		{"a session, caught up", fresh(1, 1, 0), protocol.Query{Consistency: protocol.Session, Seen: 1}, 0, "", true, 1},
		{"a session that has seen more", fresh(1, 1, 0), protocol.Query{Consistency: protocol.Session, Seen: 2}, 0, "", false, 2},
		{"a session, just started", fresh(1, 0, 0), protocol.Query{Consistency: protocol.Session}, 0, "", false, 0},
		{"a session, still catching up", fresh(1, 3, 0), protocol.Query{Consistency: protocol.Session, Seen: 1}, 0, "", false, 3},
		{"young enough", fresh(1, 1, time.Second), protocol.Query{Consistency: protocol.MaxStale, MaxAge: 2 * second}, 500 * time.Millisecond, "", true, 0},
		{"too old by now", fresh(1, 1, time.Second), protocol.Query{Consistency: protocol.MaxStale, MaxAge: 2 * second}, time.Second, "", false, 0},
		{"of unknown age", Sight{}, protocol.Query{Consistency: protocol.MaxStale, MaxAge: 2 * second}, 0, "", false, 0},
		{"the age is that of a newer state", fresh(2, 1, 0), protocol.Query{Consistency: protocol.MaxStale, MaxAge: 2 * second}, 0, "", false, 0},
	} {
		r := Reads{Machine: m, Sight: func() Sight { return test.sight }, Longest: func() protocol.Instant { return protocol.Instant(1000).Add(test.later) }}
		q := test.query
		q.Resource, q.Type, q.Operation = "m", kvmap.Type.Name(), kvmap.Size.Describe().Name
		got, ok := r.NoForwarding(context.Background(), &q)
		if ok != test.ok || got.Code != test.code || ok && got.Code == "" && got.Index != 1 {
			t.Errorf("%s: got %+v, %t; want code %q, %t", test.name, got, ok, test.code, test.ok)
		}
		if f := test.sight.Fresh; ok && got.AgeKnown && got.Age < int64(f.Age+test.later) {
			t.Errorf("%s: it is said to be %d ns old, which it was %v ago", test.name, got.Age, test.later)
		}
		want, err := r.Wants(&q)
		if unknown := q.Consistency == protocol.Session && test.sight.Fresh.CaughtUp == 0; want != test.wants || errors.Is(err, protocol.ErrNotServing) != unknown {
			t.Errorf("%s: wants %d, %v; want %d", test.name, want, err, test.wants)
		}
	}
}
