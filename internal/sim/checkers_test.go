package sim

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/storage"
)

// wantRule fails the test unless err is a violation of the rule; an empty rule
// wants none.
func wantRule(t *testing.T, err error, rule string) {
	t.Helper()
	var v *Violation
	got := ""
	if errors.As(err, &v) {
		got = v.Rule
	} else if err != nil {
		got = err.Error()
	}
	if got != rule {
		t.Errorf("got violation %q (%v), want %q", got, err, rule)
	}
}

func testLedger() *ledger { return newLedger(func(i int) string { return "m" + strconv.Itoa(i) }) }

// entry returns an entry whose sum is n.
func entry(i protocol.Index, t protocol.Term, n uint64) protocol.Entry {
	return protocol.Entry{Index: i, Term: t, Sum: protocol.LogSum{n}}
}

// commitAll commits entries of term 1 with sums 1, 2, ... at the given times.
func commitAll(t *testing.T, l *ledger, times ...Time) {
	t.Helper()
	for k, at := range times {
		i := protocol.Index(k + 1)
		wantRule(t, l.commits(at, 0, 1, i, 1, protocol.LogSum{uint64(i)}), "")
	}
}

func TestTwoLeadersOfATermAreFound(t *testing.T) {
	l := testLedger()
	_, err := l.leads(0, 3)
	wantRule(t, err, "")
	_, err = l.leads(0, 3)
	wantRule(t, err, "")
	_, err = l.leads(1, 3)
	wantRule(t, err, RuleElectionSafety)
}

func TestLogsThatDoNotMatchAreFound(t *testing.T) {
	l := testLedger()
	a, b, other := entry(5, 2, 7), entry(5, 3, 8), entry(5, 2, 9)
	wantRule(t, l.holds(0, &a), "")
	wantRule(t, l.holds(1, &a), "")
	wantRule(t, l.holds(1, &b), "")
	wantRule(t, l.holds(2, &other), RuleLogMatching)
}

func TestTwoCommittedEntriesAtAnIndexAreFound(t *testing.T) {
	l := testLedger()
	commitAll(t, l, 1, 2)
	wantRule(t, l.commits(3, 1, 1, 2, 1, protocol.LogSum{9}), RuleStateMachine)
	wantRule(t, l.commits(3, 1, 1, 2, 2, protocol.LogSum{2}), RuleStateMachine)
	wantRule(t, l.commits(3, 1, 1, 4, 1, protocol.LogSum{4}), RuleOrder)
}

func TestALeaderWithoutACommittedEntryIsFound(t *testing.T) {
	l := testLedger()
	commitAll(t, l, 1, 2)
	whole := func(i protocol.Index) protocol.LogSum { return protocol.LogSum{uint64(i)} }
	short := func(protocol.Index) protocol.LogSum { return protocol.LogSum{} }
	wantRule(t, l.complete(1, 2, whole), "")
	wantRule(t, l.complete(1, 2, short), RuleLeaderCompleteness)
	wantRule(t, l.complete(1, 1, short), "") // committed in its own term
}

// An entry of term 1 that the leader of term 3 commits need not be in the log of
// the leader of term 2, which may win its election only then; in that of every
// later leader it must be.
func TestALateLeaderIsNotBlamedForWhatALaterTermCommitted(t *testing.T) {
	l := testLedger()
	wantRule(t, l.commits(1, 0, 3, 1, 1, protocol.LogSum{1}), "")
	wantRule(t, l.commits(1, 0, 3, 2, 3, protocol.LogSum{2}), "")
	short := func(protocol.Index) protocol.LogSum { return protocol.LogSum{} }
	wantRule(t, l.complete(1, 2, short), "")
	wantRule(t, l.complete(1, 3, short), "")
	wantRule(t, l.complete(1, 4, short), RuleLeaderCompleteness)
}

func TestACommitWithoutADurableMajorityIsFound(t *testing.T) {
	l := testLedger()
	commitAll(t, l, 1)
	ids := []protocol.MemberID{{1}, {2}, {3}}
	var c protocol.Configuration
	for _, id := range ids {
		c = c.With(protocol.ActiveMember{ID: id, Suffrage: protocol.SuffrageVoter})
	}
	c = c.With(protocol.ActiveMember{ID: protocol.MemberID{4}, Suffrage: protocol.SuffrageLearner})
	all := []protocol.ConfigurationAt{{Index: 1, Configuration: c}}
	on := func(list ...byte) func(protocol.MemberID, protocol.Index) protocol.LogSum {
		return func(id protocol.MemberID, i protocol.Index) protocol.LogSum {
			for _, n := range list {
				if id[0] == n {
					return protocol.LogSum{uint64(i)}
				}
			}
			return protocol.LogSum{}
		}
	}
	wantRule(t, l.majority(0, 1, all, on(1, 3)), "")
	wantRule(t, l.majority(0, 1, all, on(1)), RuleMajority)
	wantRule(t, l.majority(0, 1, all, on(1, 4)), RuleMajority)
}

func TestACommitOfAnOldTermByCountingIsFound(t *testing.T) {
	l := testLedger()
	commitAll(t, l, 1)
	wantRule(t, l.counted(0, 1, 1), "")
	wantRule(t, l.counted(0, 2, 1), RuleOwnTerm)
}

func TestAPromiseThatIsNotDurableIsFound(t *testing.T) {
	self, other := protocol.MemberID{1}, protocol.MemberID{2}
	for _, c := range []struct {
		name string
		vote protocol.MemberID
		sync bool
		msg  protocol.Message
		rule string
	}{
		{"a vote", other, true, &protocol.VoteAnswer{Term: 2, Granted: true}, ""},
		{"a vote before the sync", other, false, &protocol.VoteAnswer{Term: 2, Granted: true}, RulePromise},
		{"a vote for another", self, true, &protocol.VoteAnswer{Term: 2, Granted: true}, RulePromise},
		{"a vote that was not written", protocol.MemberID{}, true, &protocol.VoteAnswer{Term: 2, Granted: true}, RulePromise},
		{"a pre-vote", other, false, &protocol.VoteAnswer{Term: 3, Pre: true, Granted: true}, ""},
		{"a refusal", other, false, &protocol.VoteAnswer{Term: 2}, ""},
		{"a campaign", self, true, &protocol.Vote{Term: 2}, ""},
		{"a campaign before the sync", self, false, &protocol.Vote{Term: 2}, RulePromise},
		{"a campaign after a vote for another", other, true, &protocol.Vote{Term: 2}, RulePromise},
		{"a pre-campaign", other, false, &protocol.Vote{Term: 3, Pre: true}, ""},
		{"an acknowledgement", other, true, &protocol.AppendAnswer{Term: 2, Index: 2}, ""},
		{"an acknowledgement before the sync", other, false, &protocol.AppendAnswer{Term: 2, Index: 2}, RulePromise},
		{"an acknowledgement of more than that", other, true, &protocol.AppendAnswer{Term: 2, Index: 3}, RulePromise},
		{"a rejection", other, false, &protocol.AppendAnswer{Term: 2, Index: 9, Reject: true}, ""},
		{"the last index of a passive", other, false, &protocol.AppendAnswer{Term: 2, Index: 2, Passive: true}, ""},
	} {
		m := shadows{name: "m0"}
		state := protocol.HardState{Term: 2, Vote: c.vote}
		wantRule(t, write(&m, testLedger(), protocol.RoleActive, protocol.Write{State: state, First: 1, Last: 2}, 1), "")
		if c.sync {
			m.synced(0)
		}
		t.Log(c.name)
		wantRule(t, m.promises(c.msg, other, self), c.rule)
	}
}

func TestAnAgeBelowTheTrueOneIsFound(t *testing.T) {
	l := testLedger()
	commitAll(t, l, 10, 20, 30)
	wantRule(t, l.age(100, 0, 3, 0), "")
	wantRule(t, l.age(100, 0, 1, 80), "")
	wantRule(t, l.age(100, 0, 1, 79), RuleAge)
}

// write persists entries with the sums first, first+1, ... of a term.
func write(m *shadows, l *ledger, role protocol.Role, w protocol.Write, term protocol.Term) error {
	var entries []protocol.Entry
	for i := w.First; i <= w.Last && i > 0; i++ {
		entries = append(entries, entry(i, term, uint64(i)+100*uint64(term-1)))
	}
	return m.persist(l, 0, role, 1, &w, entries)
}

func TestHardStateThatGoesBackIsFound(t *testing.T) {
	l, a, b := testLedger(), protocol.MemberID{1}, protocol.MemberID{2}
	for _, c := range []struct {
		name  string
		after protocol.HardState
		rule  string
	}{
		{"the same", protocol.HardState{Term: 3, Vote: a}, ""},
		{"a new term", protocol.HardState{Term: 4, Vote: b}, ""},
		{"an old term", protocol.HardState{Term: 2, Vote: a}, RuleHardState},
		{"another vote", protocol.HardState{Term: 3, Vote: b}, RuleHardState},
		{"a vote forgotten", protocol.HardState{Term: 3}, RuleHardState},
	} {
		m := shadows{name: "m0"}
		wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: protocol.HardState{Term: 3, Vote: a}}, 1), "")
		t.Log(c.name)
		wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: c.after}, 1), c.rule)
	}
}

func TestAnEntryOfAPassiveThatIsNotCommittedIsFound(t *testing.T) {
	l, m := testLedger(), shadows{name: "m0"}
	commitAll(t, l, 1, 2)
	state := protocol.HardState{Term: 1, Commit: 2}
	wantRule(t, write(&m, l, protocol.RolePassive, protocol.Write{State: state, First: 1, Last: 2}, 1), "")
	wantRule(t, write(&m, l, protocol.RolePassive, protocol.Write{State: state, First: 3, Last: 3}, 1), RulePassive)
}

func TestAGapIsFound(t *testing.T) {
	l, m := testLedger(), shadows{name: "m0"}
	state := protocol.HardState{Term: 1}
	wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: state, First: 1, Last: 2}, 1), "")
	wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: state, First: 4, Last: 4}, 1), RuleOrder)
	ahead := protocol.HardState{Term: 1, Commit: 9}
	wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: ahead}, 1), RuleOrder)
}

func TestTruncationOfWhatIsCommittedIsFound(t *testing.T) {
	for _, c := range []struct {
		name   string
		commit protocol.Index // written
		known  int            // committed, to anybody
		after  protocol.Index
		sheds  protocol.Index // it became passive there, and is active again
		rule   string
	}{
		{"a suffix that is not committed", 1, 1, 2, 0, ""},
		{"below its own commit index", 3, 3, 2, 0, RuleNotTruncated},
		{"what another member knows to be committed", 1, 4, 2, 0, RuleNotTruncated},
		{"what it dropped when it became passive", 1, 4, 2, 2, ""},
		{"more than it dropped when it became passive", 1, 4, 2, 3, RuleNotTruncated},
	} {
		l, m := testLedger(), shadows{name: "m0"}
		commitAll(t, l, make([]Time, c.known)...)
		state := protocol.HardState{Term: 1, Commit: c.commit}
		wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: state, First: 1, Last: 5}, 1), "")
		t.Log(c.name)
		state.Term = 2
		if c.sheds > 0 {
			m.sheds = &c.sheds
		}
		wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: state, Truncate: true, After: c.after}, 2), c.rule)
		if c.rule == "" && m.sheds != nil {
			t.Error("a truncation is excused twice")
		}
	}
}

func TestALeaderThatTruncatesItsOwnEntriesIsFound(t *testing.T) {
	l, m := testLedger(), shadows{name: "m0"}
	_, err := l.leads(0, 2)
	wantRule(t, err, "")
	state := protocol.HardState{Term: 2}
	wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: state, First: 1, Last: 3}, 2), "")
	wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: state, Truncate: true, After: 2}, 2), RuleAppendOnly)
}

func TestWhatWasSyncedAndIsLostIsFound(t *testing.T) {
	a := protocol.MemberID{1}
	one, two := protocol.HardState{Term: 1}, protocol.HardState{Term: 2, Vote: a}
	sum := func(n uint64) protocol.LogSum { return protocol.LogSum{n} }
	for _, c := range []struct {
		name        string
		power, half bool
		state       protocol.HardState
		last        protocol.Index
		rule        string
	}{
		{"everything", false, false, two, 4, ""},
		{"everything, without power", true, false, two, 4, ""},
		{"an unsynced write lost with the power", true, false, one, 3, ""},
		{"all unsynced writes lost with the power", true, false, one, 2, ""},
		{"an unsynced write lost without a power cut", false, false, one, 3, RuleDurable},
		{"half a write lost without a power cut", false, true, one, 3, ""},
		{"more than that", false, true, one, 2, RuleDurable},
		{"what was synced", true, false, one, 1, RuleDurable},
		{"a term that was synced", true, false, protocol.HardState{}, 2, RuleHardState},
		{"entries without their state", true, false, one, 4, RuleDurable},
	} {
		l, m := testLedger(), shadows{name: "m0"}
		wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: one, First: 1, Last: 2}, 1), "")
		m.synced(0)
		wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: one, First: 3, Last: 3}, 1), "")
		wantRule(t, write(&m, l, protocol.RoleActive, protocol.Write{State: two, First: 4, Last: 4}, 1), "")
		t.Log(c.name)
		half := 0
		if c.half {
			half = 1
		}
		wantRule(t, m.onOpened(l, c.power, half, c.state, c.last, sum(uint64(c.last))), c.rule)
	}
}

func TestTheFirstOpeningIsTakenOver(t *testing.T) {
	var m shadows
	l := testLedger()
	rec := storage.Opened{State: protocol.HardState{Term: 1, Commit: 1}, Tail: []protocol.Entry{entry(1, 1, 1)}}
	wantRule(t, m.installState(l, 0, &rec), "")
	if got, want := l.frontier(), protocol.Index(1); got != want {
		t.Errorf("got %d committed, want %d", got, want)
	}
	if got, want := m.durable.last(), protocol.Index(1); got != want {
		t.Errorf("got a log to %d, want %d", got, want)
	}
}

// tester is a state with one client and calls in session 1.
type tester struct {
	*state
	index  protocol.Index
	client client
	counts Counts
}

func newTester() *tester {
	s := &tester{state: newState()}
	s.client.begin(1)
	return s
}

// call makes a call of the counter, with the next sequence.
func (s *tester) call(kind opKind, n int64) *call {
	k := &call{op: &op{kind: kind, object: mapKeys, number: n}, client: &s.client, session: 1, seq: s.client.window.Take(), invoked: uint64(s.index)}
	s.issue(k)
	return k
}

// apply applies a call, with what the machine is said to answer.
func (s *tester) apply(t *testing.T, k *call, answer int64, digest uint64) error {
	t.Helper()
	s.index++
	c := protocol.Command{Session: k.session, Sequence: k.seq, Type: counter.Type.Name(), Operation: "add"}
	e := protocol.Entry{Index: s.index, Term: 1, Kind: protocol.EntryCommand, Data: protocol.EncodeCommand(&c)}
	r := result(t, answer, s.index)
	return s.applied("m0", &e, &r, s.index, machine.Digest{digest})
}

func result(t *testing.T, n int64, i protocol.Index) protocol.Result {
	t.Helper()
	data, err := resources.AppendValue(nil, n)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.Result{Data: data, Index: i}
}

func TestDigestsThatDifferAreFound(t *testing.T) {
	s := newTester()
	k := s.call(opAdd, 5)
	wantRule(t, s.apply(t, k, 5, 1), "")
	s.index = 0
	wantRule(t, s.apply(t, k, 5, 1), "")
	s.index = 0
	wantRule(t, s.apply(t, k, 5, 2), RuleDigest)
	s.index = 0
	wantRule(t, s.apply(t, k, 6, 1), RuleDigest) // the same state, another answer
	e := protocol.Entry{Index: 3, Kind: protocol.EntryNoop}
	wantRule(t, s.applied("m0", &e, &protocol.Result{}, 3, machine.Digest{}), RuleOrder)
	wantRule(t, s.applied("m0", &e, &protocol.Result{}, 2, machine.Digest{}), RuleOrder)
}

func TestACommandThatIsExecutedTwiceIsFound(t *testing.T) {
	s := newTester()
	k := s.call(opAdd, 5)
	wantRule(t, s.apply(t, k, 5, 1), "")
	wantRule(t, s.apply(t, k, 5, 1), "") // its retry is answered, not executed
	wantRule(t, s.apply(t, k, 10, 2), RuleOnce)

	// The answer of the retry is right, but the state shows that it ran.
	s = newTester()
	wantRule(t, s.apply(t, s.call(opAdd, 5), 5, 1), "")
	wantRule(t, s.apply(t, s.call(opAdd, 1), 11, 2), RuleState)
}

func TestACommandThatNobodyMadeIsFound(t *testing.T) {
	s := newTester()
	wantRule(t, s.apply(t, &call{session: 1, seq: 99}, 5, 1), RuleState)
}

func TestAnAcknowledgedWriteThatIsNotCommittedIsFound(t *testing.T) {
	s := newTester()
	k := s.call(opAdd, 5)
	wantRule(t, s.answered(k, result(t, 5, 1), &s.counts), RuleAcknowledged)
	wantRule(t, s.apply(t, k, 5, 1), "")
	wantRule(t, s.answered(k, result(t, 6, 1), &s.counts), RuleState)
	wantRule(t, s.answered(k, result(t, 5, 1), &s.counts), "")

	open := &call{op: &op{kind: opOpen}, client: &s.client}
	wantRule(t, s.answered(open, result(t, 7, 7), &s.counts), RuleAcknowledged)
}

func TestReadsOfAnotherStateAreFound(t *testing.T) {
	s := newTester()
	for range 3 {
		k := s.call(opAdd, 5)
		wantRule(t, s.apply(t, k, int64(s.index+1)*5, 1), "")
		wantRule(t, s.answered(k, result(t, int64(s.index)*5, s.index), &s.counts), "")
	}
	read := func(level protocol.Consistency) *call {
		return &call{op: &op{kind: opCount, object: mapKeys, consistency: level}, client: &s.client, floor: 3}
	}
	wantRule(t, s.answered(read(protocol.Local), result(t, 10, 2), &s.counts), "")
	wantRule(t, s.answered(read(protocol.Local), result(t, 15, 2), &s.counts), RuleLocalRead)
	wantRule(t, s.answered(read(protocol.Local), result(t, 15, 9), &s.counts), RuleLocalRead)
	wantRule(t, s.answered(read(protocol.Linearizable), result(t, 15, 3), &s.counts), "")
	wantRule(t, s.answered(read(protocol.Linearizable), result(t, 10, 2), &s.counts), RuleRead)
}

func TestAHistoryThatIsNotLinearizableIsFound(t *testing.T) {
	add := func(n, got int64, from, to uint64) *call {
		return &call{op: &op{kind: opAdd, object: mapKeys, number: n, executed: 1, got: output{number: got}}, invoked: from, returned: to}
	}
	read := func(got int64, from, to uint64) *call {
		return &call{op: &op{kind: opCount, object: mapKeys, got: output{number: got}}, invoked: from, returned: to}
	}
	s := newState()
	s.history = []*call{add(5, 5, 1, 10), read(0, 2, 3), read(5, 4, 5), add(1, 6, 11, 12)}
	wantRule(t, s.linearizable(), "")
	s.history = []*call{add(5, 5, 1, 10), read(5, 2, 3), read(0, 4, 5)} // the past comes back
	wantRule(t, s.linearizable(), RuleLinearizable)
	s.history = []*call{add(5, 5, 1, 2), read(0, 3, 4)} // older than an acknowledged write
	wantRule(t, s.linearizable(), RuleLinearizable)

	open := add(5, 5, 1, 2)
	open.unanswered = true // so it may take effect after the read
	s.history = []*call{open, read(0, 3, 4)}
	wantRule(t, s.linearizable(), "")
}

func TestAClusterThatDoesNotRecoverIsFound(t *testing.T) {
	s := newSimulation(1, Options{Duration: 5 * time.Second, Profile: "calm"})
	s.schedule.at(Time(5*time.Second+time.Millisecond), func() { s.members[4].stop() }) // and nobody starts it again
	s.play()
	wantRule(t, s.violation, RuleLiveness)
}

func TestAPanicIsFound(t *testing.T) {
	s := newSimulation(1, Options{Duration: time.Second})
	s.schedule.after(time.Millisecond, func() { panic("a bug") })
	if stack := s.play(); stack == "" {
		t.Error("got no stack, want one")
	}
	wantRule(t, s.violation, RulePanic)
}

func TestAStepThatNeverEndsIsFound(t *testing.T) {
	s := newSimulation(1, Options{Duration: time.Second})
	release := make(chan struct{})
	defer close(release)
	s.schedule.after(time.Millisecond, func() { <-release })
	r := s.watched(50 * time.Millisecond)
	wantRule(t, r.Violation, RuleEnds)
	if r.Stack == "" {
		t.Error("got no stacks, want those of all goroutines")
	}
}

func TestEventsWithoutEndAreFound(t *testing.T) {
	s := newSimulation(1, Options{Duration: time.Second})
	var again func()
	again = func() { s.schedule.after(0, again) }
	s.schedule.after(time.Millisecond, again)
	wantRule(t, s.watched(hangMax).Violation, RuleEnds)
}

func TestRunsThatDifferAreFound(t *testing.T) {
	wantRule(t, same(&Report{TraceHash: 1, Steps: 2}, &Report{TraceHash: 1, Steps: 2}), "")
	wantRule(t, same(&Report{TraceHash: 1, Steps: 2}, &Report{TraceHash: 3, Steps: 2}), RuleDeterminism)
}

func TestAnAnswerThatNobodyWaitsForIsFound(t *testing.T) {
	s := newSimulation(1, Options{Duration: time.Second, Profile: "calm"})
	s.schedule.after(time.Millisecond, func() { s.members[0].hands.watch(&replica.Effects{Answers: []replica.Answer{{Request: 99}}}) })
	s.play()
	wantRule(t, s.violation, RuleFault)
}

// Nothing in a simulation makes another history: whoever sees one is wrong.
func TestASightOfAnotherHistoryIsFound(t *testing.T) {
	s := newSimulation(1, Options{Duration: 2 * time.Second, Profile: "calm"})
	s.schedule.after(time.Second, func() {
		s.members[0].hands.observe([]protocol.Event{{Kind: protocol.EventAhead}})
	})
	s.play()
	wantRule(t, s.violation, RuleHistory)
}

func TestTooFewRareEventsAreFound(t *testing.T) {
	var c Counts
	for k := range tallies {
		c[k] = k.minimum()
	}
	if got := c.Missing(1000); len(got) != 0 {
		t.Errorf("got missing %v, want none", got)
	}
	c[countElections]--
	c[countTruncations]--
	if got := c.Missing(1000); len(got) != 2 {
		t.Errorf("got missing %v, want elections and truncations", got)
	}
}
