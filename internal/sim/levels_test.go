package sim

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

func TestAnAnswerThatBreaksItsLevelIsFound(t *testing.T) {
	const d = int64(time.Second)
	stale, session := protocol.MaxStale, protocol.Session
	for _, c := range []struct {
		name  string
		query protocol.Query
		r     protocol.Result
		age   int64 // the true one
		rule  string
	}{
		{"young enough", protocol.Query{Consistency: stale, MaxAge: d}, protocol.Result{AgeKnown: true, Age: d}, d, ""},
		{"too old, and it says so", protocol.Query{Consistency: stale, MaxAge: d}, protocol.Result{AgeKnown: true, Age: d + 1}, d, RuleStale},
		{"younger than it is", protocol.Query{Consistency: stale, MaxAge: d}, protocol.Result{AgeKnown: true, Age: d}, d + 1, RuleAge},
		{"of unknown age", protocol.Query{Consistency: stale, MaxAge: d}, protocol.Result{}, 0, RuleStale},
		{"refused", protocol.Query{Consistency: stale, MaxAge: d, Seen: 9}, protocol.Result{Code: protocol.ErrTooStale.Code}, 2 * d, ""},
		{"young, and behind the session", protocol.Query{Consistency: stale, MaxAge: d, Seen: 9}, protocol.Result{AgeKnown: true, Index: 8}, 0, RuleSession},
		{"as far as the session", protocol.Query{Consistency: session, Seen: 9}, protocol.Result{Index: 9}, d, ""},
		{"behind the session", protocol.Query{Consistency: session, Seen: 9}, protocol.Result{Index: 8}, 0, RuleSession},
		{"behind the session, and refused", protocol.Query{Consistency: session, Seen: 9}, protocol.Result{Index: 8, Code: protocol.ErrTooStale.Code}, 0, ""},
		{"nothing there, and behind the session", protocol.Query{Consistency: session, Seen: 9}, protocol.Result{Index: 8, Code: protocol.ErrNotFound.Code}, 0, RuleSession},
	} {
		t.Log(c.name)
		wantRule(t, levelKept("m0", &c.query, &c.r, c.age), c.rule)
	}
}

func TestASessionThatReadsBackwardsIsFound(t *testing.T) {
	s := newTester()
	for range 3 {
		wantRule(t, s.apply(t, s.call(opAdd, 5), int64(s.index+1)*5, 1), "")
	}
	read := func(level protocol.Consistency, at protocol.Index) error {
		k := &call{op: &op{kind: opCount, object: mapKeys, consistency: level}, client: &s.client, seen: 3}
		return s.answered(k, result(t, int64(at)*5, at), &s.counts)
	}
	wantRule(t, read(protocol.Session, 3), "")
	wantRule(t, read(protocol.Session, 2), RuleSession)
	wantRule(t, read(protocol.MaxStale, 2), "") // it did not say what it had seen
}

// A member that hears nobody refuses what it cannot prove, and serves it again
// when it hears them again.
func TestAMemberThatIsCutOffRefusesStaleReads(t *testing.T) {
	s := calmCluster(t, 2, Options{})
	m := s.members[4]
	ask := func() protocol.Result {
		r, ok := m.serving.reads().NoForwarding(t.Context(), &protocol.Query{Resource: mapName, Type: "map", Operation: "get", Consistency: protocol.MaxStale, MaxAge: int64(2 * time.Second)})
		if !ok {
			return protocol.Failed(protocol.ErrTooStale)
		}
		return r
	}
	if r := ask(); r.Code == protocol.ErrTooStale.Code {
		t.Fatal("a member that hears everybody refuses")
	}
	for _, other := range s.members {
		s.cut(other, m, 10*time.Second)
	}
	before := s.counts[countTooStale]
	s.run(t, 8*time.Second)
	if r := ask(); r.Code != protocol.ErrTooStale.Code {
		t.Errorf("after 8 s alone it answers %+v", r)
	}
	if s.counts[countTooStale] == before {
		t.Error("no client was refused")
	}
	s.run(t, 5*time.Second)
	if r := ask(); r.Code == protocol.ErrTooStale.Code {
		t.Error("it hears everybody again, and refuses")
	}
}

// Reads at these levels tell the members nothing: what else happens in a seed is
// the same with them and without.
func TestReadsAtALevelDoNotChangeWhatHappens(t *testing.T) {
	played := func(reads bool) *simulation {
		s := newSimulation(7, Options{Duration: 10 * time.Second})
		s.mute = !reads
		s.play()
		wantRule(t, s.violation, "")
		return s
	}
	with, without := played(true), played(false)
	if with.counts[countSessionReads] == 0 || without.counts[countSessionReads] != 0 {
		t.Fatal("one must read, the other must not")
	}
	for _, k := range []tally{countMessages, countElections, countApplied, countAcknowledged, countLinearizable, countLocal, countRestarts} {
		if got, want := with.counts[k], without.counts[k]; got != want {
			t.Errorf("%s: %d with reads, %d without", k.name(), got, want)
		}
	}
}
