package active

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// Rules of safety that are about one member, and limits. Those that take a
// cluster are screenplays: async_persist, taking_with_old_hard_state,
// passive_straight_to_voter, passive_last_index_not_durable, removed_leader_campaigns,
// read_index_answer_of_another_run, read_index_new_leader.

// violated runs f and returns the invariant that it violates.
func violated(f func()) (text string) {
	defer func() {
		if v, ok := recover().(invariant.Violation); ok {
			text = v.Text
		}
	}()
	f()
	return ""
}

func TestTruncationOfCommittedEntriesStopsTheMember(t *testing.T) {
	for name, a := range map[string]*protocol.Append{
		"entry at commit":    appendOf(5, 1, 1, 1, logOf(1, 5)),
		"entry below commit": appendOf(5, 1, 1, 1, logOf(1, 5, 5, 5)),
		"previous at commit": {Term: 5, PrevIndex: 3, PrevTerm: 4},
	} {
		h := newHub(t, 4, 3, 1, 2, 2, 2)
		h.says("b", a)
		wantStop(t, h.n, "here, and of term")
		equal(t, name+": entries", len(h.n.log), 4)
	}
}

func TestAcknowledgementWaitsForTheWriteThatContainsIt(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	equal(t, "messages before the first sync", len(h.says("b", appendOf(1, 1, 1, 1, logOf(1, 1)))), 0)
	equal(t, "messages while it is under way", len(h.says("b", appendOf(1, 2, 1, 1, logOf(1, 1, 1)))), 0)
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "first", one[*protocol.AppendAnswer](t, h.sent()).Index, 2)
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "second", one[*protocol.AppendAnswer](t, h.sent()).Index, 3)
}

func TestAppendsThatQueueShareOneWriteAndOneAcknowledgement(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	log := logOf(1, 1, 1, 1, 1)
	for i := protocol.Index(1); i < 5; i++ {
		h.says("b", appendOf(1, i, 1, 1, log[:i+1]))
	}
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "first", one[*protocol.AppendAnswer](t, h.sent()).Index, 2)
	equal(t, "first of the next write", h.n.write.First, 3)
	equal(t, "last of the next write", h.n.write.Last, 5)
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "second", one[*protocol.AppendAnswer](t, h.sent()).Index, 5)
}

func TestVoteWaitsForItsWriteAndDiesWithItsTerm(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	equal(t, "answers before the sync", len(h.says("b", &protocol.Vote{Term: 2, LastIndex: 1, LastTerm: 1})), 0)
	h.says("c", &protocol.Vote{Term: 3, LastIndex: 1, LastTerm: 1})
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "answers of the old term", len(h.sent()), 0)
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "answer", *one[*protocol.VoteAnswer](t, h.sent()), protocol.VoteAnswer{Term: 3, Granted: true})
	equal(t, "vote on disk", h.n.durable.state.Vote, idOf("c"))
}

func TestVoteRequestsLeaveWithTheOwnVote(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	h.campaign("a")
	equal(t, "requests before the sync", len(h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})), 0)
	h.says("b", &protocol.VoteAnswer{Term: 2, Granted: true})
	equal(t, "state before the own vote is durable", h.n.m.state, StateCandidate)
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "state", h.n.m.state, StateLeader)
}

func TestTermAndVoteAreOneWrite(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	h.says("b", &protocol.Vote{Term: 2, LastIndex: 1, LastTerm: 1})
	equal(t, "state", h.n.write.State, protocol.HardState{Term: 2, Vote: idOf("b"), Commit: 1})
}

func TestCommitIndexIsNoReasonForAWrite(t *testing.T) {
	h := newHub(t, 1, 1, 1, 1)
	h.says("b", &protocol.Heartbeat{Term: 1, Commit: 2, Round: 1})
	equal(t, "commit", h.n.m.hard.Commit, 2)
	if h.n.m.disk.lastID != 0 {
		t.Errorf("got %d writes, want none", h.n.m.disk.lastID)
	}
}

func TestHeartbeatAnswersDoNotWaitForTheDisk(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	h.says("b", appendOf(2, 1, 1, 1, logOf(1, 2)))
	equal(t, "round", one[*protocol.HeartbeatAnswer](t, h.says("b", &protocol.Heartbeat{Term: 2, Round: 7})).Round, 7)
}

func TestTakingTheActiveRoleSyncsEverythingBeforeTheFirstMessage(t *testing.T) {
	c := newCluster()
	c.solo, c.base.Configuration = true, configurationOf("a", "b")
	n := &node{id: idOf("a"), name: "a", async: true, log: logOf(1, 5)}
	n.state = protocol.HardState{Term: 3, Vote: idOf("b"), Commit: 2}
	c.nodes = append(c.nodes, n)
	c.becomeActive(n, true)
	c.settle(n)
	if n.write == nil || !n.write.SyncAll {
		t.Fatalf("first write: got %+v, want one with SyncAll", n.write)
	}
	// The term rises to that of the last entry, and the vote of term 3 is no
	// vote of term 5.
	equal(t, "state", n.write.State, protocol.HardState{Term: 5, Commit: 2})
	for _, msg := range []protocol.Message{
		&protocol.Vote{Term: 6, LastIndex: 9, LastTerm: 5}, &protocol.Heartbeat{Term: 6, Round: 1},
		&protocol.Append{Term: 6, PrevIndex: 2, PrevTerm: 5}, &protocol.Append{Term: 6, PrevIndex: 9, PrevTerm: 5},
	} {
		c.step(n, idOf("b"), msg)
	}
	c.tick(3 * time.Second)
	equal(t, "messages before the sync", len(c.wire), 0)
	c.persist(n)
	c.settle(n)
	c.persist(n)
	c.settle(n)
	if len(c.wire) == 0 {
		t.Error("got no message after the sync")
	}
}

func TestTakingTheActiveRoleKeepsAVoteOfTheSameTerm(t *testing.T) {
	h := newHub(t, 5, 1, 5)
	h.n.m = New(0, h.n.m.cfg, Start{State: protocol.HardState{Term: 5, Vote: idOf("b")}, LogTerms: h.n.m.logTerms.Clone(), Configurations: h.n.m.configs.Clone(), Taking: true}, h.n)
	equal(t, "vote", h.n.m.hard.Vote, idOf("b"))
}

func TestAnyEntryRaisesTheTerm(t *testing.T) {
	h := newHub(t, 2, 1, 1, 7)
	equal(t, "term", h.n.m.hard.Term, 7)
	equal(t, "term on disk", h.n.durable.state.Term, 7)
}

func TestLearnersNeverCampaignAndAnswerVotes(t *testing.T) {
	c := newCluster()
	c.solo, c.base.Configuration = true, configurationOf("b").With(protocol.ActiveMember{ID: idOf("a"), Suffrage: protocol.SuffrageLearner})
	n := c.add("a", image{state: protocol.HardState{Term: 1, Commit: 1}, log: logOf(1)})
	equal(t, "state", n.m.State(), StateLearner)
	c.tick(10 * time.Second)
	equal(t, "term", n.m.hard.Term, 1)
	equal(t, "messages", len(c.wire), 0)
	c.step(n, idOf("b"), &protocol.TimeoutNow{Term: 1})
	equal(t, "messages", len(c.wire), 0)
	c.step(n, idOf("b"), &protocol.Vote{Term: 2, LastIndex: 1, LastTerm: 1})
	equal(t, "granted", c.wire[0].Message.(*protocol.VoteAnswer).Granted, true)
}

// The second half of counterexample 10 for a demotion: {a,b} becomes {a as a
// learner, b}, and only a has the entry.
func TestDemotedLeaderCampaignsWhileTheDemotionIsUncommitted(t *testing.T) {
	c := newCluster("a", "b")
	c.campaign("a")
	c.stabilize()
	next := c.base.Configuration.With(protocol.ActiveMember{ID: idOf("a"), Suffrage: protocol.SuffrageLearner})
	if _, err := c.change("a", next); err != nil {
		t.Fatal(err)
	}
	c.wire = nil
	c.crash(c.node("a"))
	c.start(c.node("a"), false)
	c.pass(5 * time.Second)
	equal(t, "leader", c.leader(), c.node("b"))
	equal(t, "state of the demoted", c.member("a").State(), StateLearner)
}

func TestPassiveAnswerNeverMovesMatch(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Passive: true, Index: 2})
	p := h.n.m.lead.find(idOf("b"))
	equal(t, "match", p.match, 0)
	equal(t, "next", p.next, 3)
	equal(t, "commit", h.n.m.hard.Commit, 1)
}

func TestChangeIsRefusedBeforeTheOwnTermCommits(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	next := h.n.m.current.Configuration.With(protocol.ActiveMember{ID: idOf("d"), Name: "d", Suffrage: protocol.SuffrageLearner})
	if _, err := h.change("a", next); !errors.Is(err, protocol.ErrChangeInFlight) {
		t.Errorf("got %v, want %v", err, protocol.ErrChangeInFlight)
	}
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	if i, err := h.change("a", next); i != 3 || err != nil {
		t.Errorf("got %d, %v, want 3", i, err)
	}
}

func TestChangeTables(t *testing.T) {
	c := newCluster("a", "b", "c")
	c.campaign("a")
	c.stabilize()
	now := c.base.Configuration
	voter := func(c protocol.Configuration, name string) protocol.Configuration {
		return c.With(protocol.ActiveMember{ID: idOf(name), Name: name, Suffrage: protocol.SuffrageVoter})
	}
	unsorted := protocol.Configuration{Members: []protocol.ActiveMember{now.Members[1], now.Members[0]}}
	for _, test := range []struct {
		name string
		next protocol.Configuration
		want error
	}{
		{"a joint one", now.Toward(now.Without(idOf("c"))), protocol.ErrInvalid},
		{"a new voter for an old one", voter(now.Without(idOf("c")), "d"), protocol.ErrNotLearner},
		{"a new voter", voter(now, "d"), protocol.ErrNotLearner},
		{"nobody", protocol.Configuration{}, protocol.ErrInvalid},
		{"unsorted", unsorted, protocol.ErrInvalid},
	} {
		if _, err := c.change("a", test.next); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
	if _, err := c.change("b", now); !errors.Is(err, protocol.ErrNotLeader) {
		t.Errorf("at a follower: got %v, want %v", err, protocol.ErrNotLeader)
	}
	retarget := now
	retarget.Target = 5
	if _, err := c.change("a", retarget); err != nil {
		t.Errorf("a new target: got %v", err)
	}
	if _, err := c.member("a").ProposeConfiguration(c.now, 0, now); !errors.Is(err, protocol.ErrStaleVersion) {
		t.Errorf("old version: got %v, want %v", err, protocol.ErrStaleVersion)
	}
	if _, err := c.change("a", now); !errors.Is(err, protocol.ErrChangeInFlight) {
		t.Errorf("while one is in flight: got %v, want %v", err, protocol.ErrChangeInFlight)
	}
}

func TestOverload(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.m.cfg.UncommittedMax, h.n.m.cfg.UncommittedBytesMax = 5, 1000
	h.lead() // one uncommitted
	for range 4 {
		if _, err := h.propose("a", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.propose("a", "x"); err != protocol.ErrOverloaded {
		t.Errorf("by count: got %v, want %v", err, protocol.ErrOverloaded)
	}
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 6})
	if _, err := h.propose("a", strings.Repeat("x", 900)); err != nil {
		t.Errorf("after a commit: got %v", err)
	}
	if _, err := h.propose("a", strings.Repeat("x", 100)); err != protocol.ErrOverloaded {
		t.Errorf("by bytes: got %v, want %v", err, protocol.ErrOverloaded)
	}
	if _, err := h.propose("a", strings.Repeat("x", protocol.EntryBytesMax)); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("too large: got %v, want %v", err, protocol.ErrTooLarge)
	}
	if _, err := h.n.m.Propose(h.now, []Proposal{{Kind: protocol.EntryConfiguration}}); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("a configuration by the side door: got %v, want %v", err, protocol.ErrInvalid)
	}
}

func TestReadsAreBounded(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.m.cfg.ReadsMax = 2
	h.lead()
	for i := range uint64(3) {
		h.n.m.ReadIndex(h.now, protocol.ReadIndex{Origin: h.n.id, Run: h.n.m.cfg.Run, Request: i})
	}
	h.cluster.settle(h.n)
	equal(t, "answers", len(h.n.reads), 1)
	equal(t, "code", h.n.reads[0].Code, protocol.ErrOverloaded.Code)
}

func TestReadsEndWithTheLeadership(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.n.m.ReadIndex(h.now, protocol.ReadIndex{Origin: h.n.id, Run: h.n.m.cfg.Run, Request: 1})
	h.cluster.settle(h.n)
	a := one[*protocol.ReadIndexAnswer](t, append(h.says("c", &protocol.ReadIndex{Origin: idOf("c"), Run: 5, Request: 9}),
		h.says("b", &protocol.Heartbeat{Term: 3, Round: 1})...))
	equal(t, "code", a.Code, protocol.ErrNotLeader.Code)
	equal(t, "whom to ask", a.Leader, idOf("b"))
	equal(t, "own reads answered", len(h.n.reads), 1)
}

// Figure (c) of counterexample 31: a new leader's round proves nothing before
// an entry of its own term is committed; and a claim is stamped at its sending.
func TestFreshnessIsStampedAtSendAfterTheOwnTermCommitted(t *testing.T) {
	h := newHub(t, 1, 1, 1, 1, 1)
	h.lead()
	sent := h.now
	h.tick(50 * time.Millisecond)
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: 1})
	equal(t, "claims of an early round", len(h.n.fresh), 0)
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 4})
	h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: 1})
	equal(t, "claims of an early round, answered late", len(h.n.fresh), 0)
	h.tick(50 * time.Millisecond)
	h.tick(70 * time.Millisecond)
	h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: 2})
	equal(t, "claims", len(h.n.fresh), 1)
	equal(t, "claim", h.n.fresh[0], protocol.Fresh{Index: 4, Sum: sumOf(h.n.log[:4]), At: sent.Add(100 * time.Millisecond)})
}

func TestElapsedTimeIsReadNotCounted(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.tick(4 * time.Second) // one tick after a stop of four seconds
	equal(t, "state", h.n.m.state, StateFollower)
}

func TestClusterTimeGoesOnFromTheLastEntryAndNeverBack(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.m.lastTime = 1_000_000
	h.lead()
	base := h.n.log[1].Time
	equal(t, "time of the no-op", base, 1_000_000)
	h.tick(30 * time.Millisecond)
	h.now -= protocol.Instant(20 * time.Millisecond)
	h.propose("a", "x")
	equal(t, "time of the next", h.n.log[2].Time, base+protocol.ClusterTime(30*time.Millisecond))
	equal(t, "last time", h.n.m.LastTime(), h.n.log[2].Time)
}

func TestFollowerBelowTheLogsBeginningIsToldApart(t *testing.T) {
	h := newHub(t, 1, 3, 1, 1, 1, 1)
	h.lead()
	h.n.m.DropHead(3, protocol.LogSum{})
	h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 4, HintIndex: 1, HintTerm: 1})
	p := h.n.m.lead.find(idOf("b"))
	equal(t, "state", p.state, ProgressCatchUp)
	h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 3, HintIndex: 1, HintTerm: 1})
	equal(t, "state after another rejection", p.state, ProgressCatchUp)
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 3}) // it got there by other ways
	equal(t, "state", p.state, ProgressReplicate)
}

func TestAppendBelowTheLogsBeginningIsTakenFromTheCommitIndexOn(t *testing.T) {
	h := newHub(t, 1, 3, 1, 1, 1)
	h.n.m.DropHead(2, protocol.LogSum{})
	a := one[*protocol.AppendAnswer](t, h.says("b", appendOf(1, 0, 0, 3, logOf(1, 1, 1, 1))))
	equal(t, "acknowledged", a.Index, 4)
	a = one[*protocol.AppendAnswer](t, h.says("b", appendOf(1, 0, 0, 3, logOf(1))))
	equal(t, "late one", a.Index, 3)
}

func TestMalformedAppendsAreRefusedWhole(t *testing.T) {
	good := logOf(1, 1, 1)
	gap := append(logOf(1, 1)[1:], logOf(1, 1, 1, 1)[3])
	future := logOf(1, 9)[1:]
	garbage := logOf(1, 1)[1:]
	garbage[0].Kind, garbage[0].Data = protocol.EntryConfiguration, []byte("garbage")
	for name, entries := range map[string][]protocol.Entry{"gap": gap, "future term": future, "configuration": garbage, "overlap": good} {
		h := newHub(t, 1, 1, 1)
		equal(t, name+": answers", len(h.says("b", &protocol.Append{Term: 1, PrevIndex: 1, PrevTerm: 1, Entries: entries})), 0)
		equal(t, name+": entries", len(h.n.log), 1)
	}
}

func TestHeartbeatBeyondTheLogIsNotBelieved(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.says("b", &protocol.Heartbeat{Term: 1, Commit: 9, Round: 1})
	equal(t, "commit", h.n.m.hard.Commit, 1)
}

func TestAppendedEntriesDoNotOverwriteTheSendersArray(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	shared := logOf(1, 2, 2, 2)
	h.n.m.Step(h.now, idOf("b"), &protocol.Append{Term: 2, PrevIndex: 1, PrevTerm: 1, Entries: shared[1:4]})
	h.n.m.Step(h.now, idOf("c"), &protocol.Append{Term: 3, PrevIndex: 2, PrevTerm: 2, Entries: logOf(1, 2, 3)[2:]})
	h.cluster.settle(h.n)
	equal(t, "the sender's entry", shared[2].Term, 2)
	equal(t, "the receiver's", h.n.log[2].Term, 3)
}

// A member that became a passive does not answer heartbeats; if the append that
// is under way to it was lost, nothing but time shows it.
func TestLostAppendToAMemberThatBecamePassiveIsSentAgain(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	h.propose("a", "x")
	h.sent()
	var again []protocol.Message
	for range 6 {
		h.tick(100 * time.Millisecond)
		for _, e := range h.wire {
			if _, ok := e.Message.(*protocol.Append); ok && e.To == idOf("b") {
				again = append(again, e.Message)
			}
		}
		h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
	}
	equal(t, "entries", describeEntries(one[*protocol.Append](t, again).Entries), "3@2")
}

// An acknowledgement that waits for its write does not outlive its entries, also
// if what replaces them comes in the same term: from the flock, or by a checkpoint.
func TestAcknowledgementOfWhatIsReplacedInItsTermIsTakenBack(t *testing.T) {
	for name, replace := range map[string]func(*hub){
		"the flock":    func(h *hub) { h.n.m.CatchUp(h.now, Run{From: idOf("c"), Entries: logOf(1, 4), Commit: 2}) },
		"a checkpoint": func(h *hub) { h.n.m.Install(h.now, beginAt(2, 4, "a", "b", "c")) },
	} {
		for _, queued := range []bool{false, true} { // in the write in flight, in the next one
			h := newHub(t, 5, 1, 1)
			h.n.async = true
			if queued {
				h.says("c", &protocol.Vote{Term: 6, LastIndex: 9, LastTerm: 5})
				h.says("b", appendOf(6, 1, 1, 1, logOf(1, 6, 6)))
			} else {
				h.says("b", appendOf(5, 1, 1, 1, logOf(1, 5, 5)))
			}
			replace(h)
			equal(t, name+": held", len(h.n.m.disk.held), 0)
			for _, f := range h.n.m.disk.flight.held {
				if a, ok := f.msg.(*protocol.AppendAnswer); ok && a.Index > h.n.m.hard.Commit {
					t.Errorf("%s: an acknowledgement of %d still waits", name, a.Index)
				}
			}
		}
	}
}

// Whoever could give no vote because its disk hangs does not encourage elections.
func TestStalledDiskGivesNoPreVote(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	ask := &protocol.Vote{Term: 3, Pre: true, LastIndex: 9, LastTerm: 2}
	h.n.async = true
	h.says("b", appendOf(2, 1, 1, 1, logOf(1, 2)))
	h.tick(900 * time.Millisecond)
	h.sent()
	equal(t, "after 900 ms", one[*protocol.VoteAnswer](t, h.says("c", ask)).Granted, true)
	h.tick(100 * time.Millisecond)
	h.sent()
	equal(t, "after a second", one[*protocol.VoteAnswer](t, h.says("c", ask)).Granted, false)
	h.persist(h.n)
	equal(t, "when it has answered", one[*protocol.VoteAnswer](t, h.says("c", ask)).Granted, true)
}
