package active

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// One test for each sentence of the rules in the paper's figure 2, named after
// the rule.

// hub is one member under test, with everything it says collected.
type hub struct {
	t *testing.T
	*cluster
	n *node
}

// newHub makes a member "a" of {a,b,c} with a log of the given terms.
func newHub(t *testing.T, term protocol.Term, commit protocol.Index, terms ...int) *hub {
	t.Helper()
	c := newCluster()
	c.solo = true
	c.base.Configuration = configurationOf("a", "b", "c")
	disk := image{state: protocol.HardState{Term: term, Commit: commit}, log: logOf(terms...)}
	n := c.add("a", disk)
	return &hub{t: t, cluster: c, n: n}
}

// says gives the member a message and returns what it sends at once.
func (h *hub) says(from string, msg protocol.Message) []protocol.Message {
	h.wire = nil
	h.n.m.Step(h.now, idOf(from), msg)
	h.cluster.settle(h.n)
	return h.sent()
}

func (h *hub) sent() []protocol.Message {
	var out []protocol.Message
	for _, e := range h.wire {
		out = append(out, e.Message)
	}
	h.wire = nil
	return out
}

// lead makes the member leader.
func (h *hub) lead() {
	h.t.Helper()
	h.campaign("a")
	h.says("b", &protocol.VoteAnswer{Term: h.n.m.hard.Term + 1, Pre: true, Granted: true})
	h.says("b", &protocol.VoteAnswer{Term: h.n.m.hard.Term, Granted: true})
	if got, want := h.n.m.state, StateLeader; got != want {
		h.t.Fatalf("state: got %v, want %v", got, want)
	}
}

func one[T protocol.Message](t *testing.T, msgs []protocol.Message) T {
	t.Helper()
	var found []T
	for _, m := range msgs {
		if m, ok := m.(T); ok {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Fatalf("got %d messages of the kind wanted among %d, want 1", len(found), len(msgs))
	}
	return found[0]
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func appendOf(term protocol.Term, prev protocol.Index, prevTerm protocol.Term, commit protocol.Index, log []protocol.Entry) *protocol.Append {
	return &protocol.Append{Term: term, PrevIndex: prev, PrevTerm: prevTerm, Commit: commit, Entries: slices.Clone(log[prev:])}
}

// All servers.

func TestAllServersCommittedEntriesAreHandedOutInOrder(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.says("b", appendOf(1, 1, 1, 3, logOf(1, 1, 1)))
	equal(t, "commit", h.n.m.Ready().Commit, 3)
}

func TestAllServersHigherTermInAnyMessageMakesAFollower(t *testing.T) {
	for _, msg := range []protocol.Message{
		&protocol.Vote{Term: 9, LastTerm: 9, LastIndex: 9, Transfer: true}, &protocol.VoteAnswer{Term: 9},
		&protocol.Append{Term: 9, PrevIndex: 1, PrevTerm: 1}, &protocol.AppendAnswer{Term: 9},
		&protocol.Heartbeat{Term: 9, Round: 1}, &protocol.HeartbeatAnswer{Term: 9},
	} {
		for _, state := range []State{StateFollower, StateCandidate, StateLeader} {
			t.Run(fmt.Sprint(msg.Kind(), "/", state), func(t *testing.T) {
				h := newHub(t, 1, 1, 1)
				switch state {
				case StateCandidate:
					h.campaign("a")
					h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
				case StateLeader:
					h.lead()
				}
				equal(t, "state before", h.n.m.state, state)
				h.says("b", msg)
				equal(t, "state", h.n.m.state, StateFollower)
				equal(t, "term", h.n.m.hard.Term, 9)
			})
		}
	}
}

// AppendEntries, receiver.

func TestAppendEntriesRepliesFalseIfTermIsOlder(t *testing.T) {
	h := newHub(t, 3, 1, 1)
	a := one[*protocol.AppendAnswer](t, h.says("b", appendOf(2, 1, 1, 1, logOf(1, 2))))
	equal(t, "reject", a.Reject, true)
	equal(t, "term", a.Term, 3)
	equal(t, "entries", len(h.n.log), 1)
}

func TestAppendEntriesRepliesFalseIfPrevDoesNotMatch(t *testing.T) {
	for _, test := range []struct {
		name      string
		log       []int
		prev      protocol.Index
		prevTerm  protocol.Term
		hintIndex protocol.Index
		hintTerm  protocol.Term
	}{
		{"missing", []int{1, 1}, 5, 3, 2, 1},
		{"of a higher term", []int{1, 2, 4, 4}, 4, 3, 2, 2},
		{"of a lower term", []int{1, 2, 2, 2}, 4, 3, 4, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHub(t, 5, 1, test.log...)
			a := one[*protocol.AppendAnswer](t, h.says("b", &protocol.Append{Term: 5, PrevIndex: test.prev, PrevTerm: test.prevTerm}))
			equal(t, "reject", a.Reject, true)
			equal(t, "index", a.Index, test.prev)
			equal(t, "hint index", a.HintIndex, test.hintIndex)
			equal(t, "hint term", a.HintTerm, test.hintTerm)
			equal(t, "entries", len(h.n.log), len(test.log))
		})
	}
}

func TestAppendEntriesDeletesAConflictAndAllThatFollow(t *testing.T) {
	h := newHub(t, 3, 1, 1, 2, 2, 2)
	h.says("b", appendOf(3, 1, 1, 1, logOf(1, 2, 3)))
	if got, want := termsOf(h.n.log), []int{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("log: got %v, want %v", got, want)
	}
	if got, want := termsOf(h.n.durable.log), []int{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("log on disk: got %v, want %v", got, want)
	}
}

func TestAppendEntriesKeepsWhatDoesNotConflict(t *testing.T) {
	h := newHub(t, 2, 1, 1, 2, 2, 2)
	a := one[*protocol.AppendAnswer](t, h.says("b", appendOf(2, 1, 1, 1, logOf(1, 2))))
	equal(t, "acknowledged", a.Index, 2)
	equal(t, "entries", len(h.n.log), 4)
}

func TestAppendEntriesAppendsNewEntries(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	a := one[*protocol.AppendAnswer](t, h.says("b", appendOf(2, 1, 1, 1, logOf(1, 1, 2))))
	equal(t, "acknowledged", a.Index, 3)
	equal(t, "entries", len(h.n.log), 3)
}

func TestAppendEntriesCommitIsAtMostTheLastNewEntry(t *testing.T) {
	h := newHub(t, 2, 1, 1, 1, 1, 1)
	h.says("b", appendOf(2, 1, 1, 9, logOf(1, 1)))
	equal(t, "commit", h.n.m.hard.Commit, 2) // 3 and 4 may conflict
}

// RequestVote, receiver.

func TestRequestVoteRepliesFalseIfTermIsOlder(t *testing.T) {
	h := newHub(t, 3, 1, 1)
	a := one[*protocol.VoteAnswer](t, h.says("b", &protocol.Vote{Term: 2, LastIndex: 9, LastTerm: 2}))
	equal(t, "granted", a.Granted, false)
	equal(t, "term", a.Term, 3)
}

func TestRequestVoteGrantsOnePerTerm(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	vote := &protocol.Vote{Term: 2, LastIndex: 1, LastTerm: 1}
	equal(t, "first", one[*protocol.VoteAnswer](t, h.says("b", vote)).Granted, true)
	equal(t, "another's", one[*protocol.VoteAnswer](t, h.says("c", vote)).Granted, false)
	equal(t, "first again", one[*protocol.VoteAnswer](t, h.says("b", vote)).Granted, true)
	h.crash(h.n)
	h.start(h.n, false)
	equal(t, "another's after a restart", one[*protocol.VoteAnswer](t, h.says("c", vote)).Granted, false)
	equal(t, "in the next term", one[*protocol.VoteAnswer](t, h.says("c", &protocol.Vote{Term: 3, LastIndex: 1, LastTerm: 1})).Granted, true)
}

func TestRequestVoteGrantsOnlyToALogThatIsUpToDate(t *testing.T) {
	for _, test := range []struct {
		index protocol.Index
		term  protocol.Term
		want  bool
	}{{3, 2, true}, {4, 2, true}, {1, 3, true}, {2, 2, false}, {9, 1, false}} {
		for _, pre := range []bool{false, true} {
			h := newHub(t, 3, 1, 1, 2, 2)
			a := one[*protocol.VoteAnswer](t, h.says("b", &protocol.Vote{Term: 4, Pre: pre, LastIndex: test.index, LastTerm: test.term}))
			equal(t, fmt.Sprintf("granted to %d@%d, pre %t", test.index, test.term, pre), a.Granted, test.want)
		}
	}
}

// Followers.

func TestFollowersRespondToLeadersAndCandidatesOnly(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	equal(t, "messages in a tick before the timeout", len(h.wire), 0)
	h.tick(400 * time.Millisecond)
	equal(t, "messages", len(h.sent()), 0)
	if _, err := h.n.m.Propose(h.now, nil); err != protocol.ErrNotLeader {
		t.Errorf("propose at a follower: got %v, want %v", err, protocol.ErrNotLeader)
	}
}

func TestFollowersCampaignOnlyWhenNeitherLeaderNorCandidateIsHeard(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	for range 10 {
		h.tick(400 * time.Millisecond)
		h.says("b", &protocol.Heartbeat{Term: 1, Round: 1})
		equal(t, "state while the leader is heard", h.n.m.state, StateFollower)
	}
	at := h.n.m.electionAt
	h.tick(499 * time.Millisecond)
	h.tick(time.Millisecond)
	h.says("c", &protocol.Vote{Term: 2, LastIndex: 1, LastTerm: 1})
	if got := h.n.m.electionAt; got <= at {
		t.Errorf("election timeout after a vote: got %d, want later than %d", got, at)
	}
	equal(t, "state after a vote", h.n.m.state, StateFollower)
	h.tick(time.Second)
	equal(t, "state after the timeout", h.n.m.state, StatePreCandidate)
}

func TestFollowersDoNotWaitLongerForACandidateTheyRefused(t *testing.T) {
	h := newHub(t, 1, 1, 1, 1)
	at := h.n.m.electionAt
	h.says("c", &protocol.Vote{Term: 2, LastIndex: 1, LastTerm: 1})
	equal(t, "election timeout", h.n.m.electionAt, at)
}

// Candidates.

func TestCandidatesRaiseTheTermVoteForThemselvesAndAsk(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.campaign("a")
	equal(t, "term while asking first", h.n.m.hard.Term, 1)
	armed := h.n.m.electionAt
	h.tick(time.Millisecond)
	msgs := h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
	equal(t, "term", h.n.m.hard.Term, 2)
	equal(t, "vote", h.n.m.hard.Vote, idOf("a"))
	equal(t, "vote on disk", h.n.durable.state.Vote, idOf("a"))
	equal(t, "requests", len(msgs), 2)
	if h.n.m.electionAt == armed {
		t.Error("the election timeout was not drawn anew")
	}
	for _, msg := range msgs {
		equal(t, "request", *msg.(*protocol.Vote), protocol.Vote{Term: 2, LastIndex: 1, LastTerm: 1})
	}
}

func TestCandidatesLeadWithVotesOfAMajority(t *testing.T) {
	for _, test := range []struct {
		grants, refuses []string
		want            State
	}{
		{nil, nil, StateCandidate},
		{[]string{"b"}, nil, StateLeader},
		{nil, []string{"b"}, StateCandidate},
		{nil, []string{"b", "c"}, StateFollower},
		{[]string{"c"}, []string{"b"}, StateLeader},
		{[]string{"x"}, nil, StateCandidate}, // no voter
	} {
		h := newHub(t, 1, 1, 1)
		h.campaign("a")
		h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
		for _, id := range test.refuses {
			h.says(id, &protocol.VoteAnswer{Term: 2})
			h.says(id, &protocol.VoteAnswer{Term: 2, Granted: true}) // the first answer counts
		}
		for _, id := range test.grants {
			h.says(id, &protocol.VoteAnswer{Term: 1, Granted: true}) // of another term
			h.says(id, &protocol.VoteAnswer{Term: 2, Granted: true})
		}
		equal(t, fmt.Sprintf("granted by %v, refused by %v", test.grants, test.refuses), h.n.m.state, test.want)
	}
}

func TestCandidatesFollowANewLeader(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.campaign("a")
	h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
	h.says("c", &protocol.Append{Term: 2, PrevIndex: 1, PrevTerm: 1})
	equal(t, "state", h.n.m.state, StateFollower)
	equal(t, "leader", h.n.m.leader, idOf("c"))
}

func TestCandidatesStartAnewWhenTheElectionTimesOut(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.campaign("a")
	h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
	h.tick(time.Second)
	equal(t, "state", h.n.m.state, StatePreCandidate)
	h.says("b", &protocol.VoteAnswer{Term: 3, Pre: true, Granted: true})
	equal(t, "term", h.n.m.hard.Term, 3)
}

// Leaders.

func TestLeadersSendHeartbeatsAtOnceAndWhileIdle(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.campaign("a")
	h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
	count := func(msgs []protocol.Message) (n int) {
		for _, m := range msgs {
			if _, ok := m.(*protocol.Heartbeat); ok {
				n++
			}
		}
		return n
	}
	equal(t, "heartbeats on election", count(h.says("b", &protocol.VoteAnswer{Term: 2, Granted: true})), 2)
	h.tick(99 * time.Millisecond)
	equal(t, "heartbeats before the interval", count(h.sent()), 0)
	h.tick(time.Millisecond)
	equal(t, "heartbeats after it", count(h.sent()), 2)
}

func TestLeadersAppendCommandsAndAnswerAfterCommit(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	i, err := h.propose("a", "x")
	if err != nil || i != 3 {
		t.Fatalf("propose: got %d, %v, want 3", i, err)
	}
	equal(t, "commit before an answer", h.n.m.hard.Commit, 2)
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 3})
	equal(t, "commit", h.n.m.hard.Commit, 3)
}

func TestLeadersSendEntriesFromNextIndexOn(t *testing.T) {
	h := newHub(t, 1, 1, 1, 1, 1)
	h.lead()
	a := one[*protocol.Append](t, h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 3, HintIndex: 1, HintTerm: 1}))
	equal(t, "previous index", a.PrevIndex, 1)
	equal(t, "entries", describeEntries(a.Entries), "2@1,3@1,4@2")
}

func TestLeadersRaiseNextAndMatchOnSuccess(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
	p := h.n.m.lead.find(idOf("b"))
	equal(t, "match", p.match, 2)
	equal(t, "next", p.next, 3)
	h.says("b", &protocol.AppendAnswer{Term: 2, Index: 1})
	equal(t, "match after a late answer", p.match, 2)
}

func TestLeadersDecrementNextAndRetryOnInconsistency(t *testing.T) {
	h := newHub(t, 4, 1, 1, 1, 4, 4)
	h.lead()
	a := one[*protocol.Append](t, h.says("b", &protocol.AppendAnswer{Term: 5, Reject: true, Index: 4, HintIndex: 4, HintTerm: 2}))
	equal(t, "previous index of the retry", a.PrevIndex, 2) // skips term 4 in one step
	equal(t, "late rejection", len(h.says("b", &protocol.AppendAnswer{Term: 5, Reject: true, Index: 4, HintIndex: 1, HintTerm: 1})), 0)
}

func TestLeadersCommitOnlyEntriesOfTheirOwnTermByCounting(t *testing.T) {
	h := newHub(t, 2, 1, 1, 2, 2)
	h.lead() // its no-op is 4
	h.says("b", &protocol.AppendAnswer{Term: 3, Index: 3})
	equal(t, "commit with an old entry on a majority", h.n.m.hard.Commit, 1)
	h.says("b", &protocol.AppendAnswer{Term: 3, Index: 4})
	equal(t, "commit with an own entry on a majority", h.n.m.hard.Commit, 4)
}

func TestLeadersNeverOverwriteOrDeleteTheirEntries(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.lead()
	h.says("b", &protocol.Append{Term: 2, PrevIndex: 1, PrevTerm: 1})
	wantStop(t, h.n, "leads term 2, and so does this member")
	equal(t, "entries", len(h.n.log), 2)
}
