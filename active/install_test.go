package active

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Rules of catch-up by a checkpoint that are about one member. What takes a
// cluster are the screenplays catch_up_*, install_*, installing_*, checkpoint_*,
// compacted_index and learner_promoted_while_installing. Counterexample 23 is the
// owner's order; what the core adds to it is that it keeps a log or begins it
// anew, and nothing in between.

// beginAt is a checkpoint at an index.
func beginAt(index protocol.Index, term protocol.Term, voters ...string) protocol.Begin {
	return protocol.Begin{
		Index: index, Term: term, Sum: protocol.LogSum{uint64(index), 7}, Time: protocol.ClusterTime(1000 * index),
		Configuration: protocol.ConfigurationAt{Index: index - 1, Configuration: configurationOf(voters...)},
	}
}

// installs plays the owner that has reset the disk, and tells the member.
func (h *hub) installs(b protocol.Begin) []protocol.Message {
	h.wire = nil
	if term, held := h.n.m.logTerms.TermAt(b.Index); b.Index > h.n.m.hard.Commit && (!held || term != b.Term || b.Anew) {
		state := make([]int, b.Index)
		for i := range state {
			state[i] = int(b.Term)
		}
		h.n.log, h.n.begin = logOf(state...), b.Index
		h.n.durable = image{state: h.n.durable.state, log: h.n.log, begin: b.Index}
	}
	h.n.m.Install(h.now, b)
	h.cluster.settle(h.n)
	return h.sent()
}

// anew is b where the owner has found another log sum in the log.
func anew(b protocol.Begin) protocol.Begin { b.Anew = true; return b }

func TestInstallKeepsTheLogOrBeginsItAnew(t *testing.T) {
	for _, test := range []struct {
		name          string
		commit        protocol.Index
		log           []int
		dropped       protocol.Index
		begin         protocol.Begin
		first, last   protocol.Index // afterwards
		committed     protocol.Index
		configuration protocol.Index
	}{
		{"ends below", 2, []int{1, 1, 1}, 0, beginAt(6, 2, "a", "b"), 7, 6, 6, 5},
		{"leaves no gap of one", 2, []int{1, 1, 1}, 0, beginAt(4, 1, "a", "b"), 5, 4, 4, 3},
		{"has it, with more above", 2, []int{1, 1, 1, 2}, 0, beginAt(3, 1, "a", "b"), 1, 4, 3, 0},
		{"ends with it", 2, []int{1, 1, 1}, 0, beginAt(3, 1, "a", "b"), 1, 3, 3, 0},
		{"another entry there", 2, []int{1, 1, 1, 1}, 0, beginAt(3, 2, "a", "b"), 4, 3, 3, 2},
		{"another entry of its term there", 2, []int{1, 1, 1, 1}, 0, anew(beginAt(3, 1, "a", "b")), 4, 3, 3, 2},
		{"at the commit index", 2, []int{1, 1, 1, 1}, 0, beginAt(2, 1, "a", "b"), 1, 4, 2, 0},
		{"below the commit index", 3, []int{1, 1, 1, 1}, 0, beginAt(2, 1, "a", "b"), 1, 4, 3, 0},
		{"at its beginning", 3, []int{1, 1, 1, 1}, 2, beginAt(2, 1, "a", "b"), 3, 4, 3, 0},
		{"below its beginning", 4, []int{1, 1, 1, 1}, 3, beginAt(2, 1, "a", "b"), 4, 4, 4, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHub(t, 2, test.commit, test.log...)
			if test.dropped > 0 {
				h.cluster.compact(h.n, test.dropped)
			}
			h.n.m.SetInstalling(h.now, true)
			before := h.n.m.LastTime()
			h.installs(test.begin)
			s := h.n.m.LogTerms()
			equal(t, "first", s.FirstIndex(), test.first)
			equal(t, "last", s.LastIndex(), test.last)
			equal(t, "commit", h.n.m.hard.Commit, test.committed)
			equal(t, "configuration", h.n.m.current.Index, test.configuration)
			equal(t, "installing", h.n.m.Status().Installing, false)
			if test.first == test.begin.Index+1 && test.dropped == 0 {
				before = test.begin.Time
				equal(t, "sum before the log", s.PrevSum, test.begin.Sum)
			}
			equal(t, "last time", h.n.m.LastTime(), before)
			// Whatever it is, the log goes on where it ends, and nowhere else.
			h.says("b", &protocol.Append{Term: 3, PrevIndex: test.last + 1, PrevTerm: 2, Entries: logOf(make([]int, test.last+2)...)[test.last+1:]})
			equal(t, "last after an append that leaves a gap", s.LastIndex(), test.last)
			next := logOf(make([]int, test.last+1)...)[test.last:]
			next[0].Term = 3
			protocol.EncodeEntries(next)
			h.says("b", &protocol.Append{Term: 3, PrevIndex: test.last, PrevTerm: s.LastTerm(), Entries: next})
			equal(t, "last after one that joins", s.LastIndex(), test.last+1)
			equal(t, "on disk", protocol.Index(len(h.n.durable.log)), test.last+1)
		})
	}
}

// [S] Any entry that is taken raises the term to at least its own, also as a part
// of a checkpoint; the vote belonged to the lower one.
func TestInstallRaisesTheTerm(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.says("b", &protocol.Vote{Term: 2, LastIndex: 9, LastTerm: 1})
	h.installs(beginAt(5, 7, "a", "b"))
	equal(t, "on disk", h.n.durable.state.Term, 7)
	equal(t, "vote", h.n.durable.state.Vote, protocol.MemberID{})
	equal(t, "an append of term 6", one[*protocol.AppendAnswer](t, h.says("b", appendOf(6, 0, 0, 1, logOf(1, 6)))).Term, 7)
	equal(t, "last", h.n.m.logTerms.LastIndex(), 5)
}

func TestOfferRaisesTheTermAndIsAnsweredWithWhatIsCommittedAndDurable(t *testing.T) {
	h := newHub(t, 1, 2, 1, 1, 1)
	h.n.async = true
	equal(t, "answers before the term is durable", len(h.says("b", &protocol.InstallCheckpoint{Term: 4, Manifest: []byte("9")})), 0)
	h.persist(h.n)
	h.cluster.settle(h.n)
	equal(t, "answer", *one[*protocol.AppendAnswer](t, h.sent()), protocol.AppendAnswer{Term: 4, Index: 2, Run: 197})
	equal(t, "offered", h.n.offered.index, 9)
	equal(t, "leader", h.n.m.leader, idOf("b"))
	h.n.offered = nil
	a := one[*protocol.AppendAnswer](t, h.says("c", &protocol.InstallCheckpoint{Term: 3, Manifest: []byte("9")}))
	equal(t, "answer to a deposed leader", *a, protocol.AppendAnswer{Term: 4, Reject: true})
	equal(t, "its offer is handed out", h.n.offered != nil, false)
}

// What is committed and not durable yet is not acknowledged either.
func TestOfferDoesNotAcknowledgeWhatIsNotDurable(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	h.says("b", appendOf(1, 1, 1, 3, logOf(1, 1, 1)))
	equal(t, "commit", h.n.m.hard.Commit, 3)
	a := one[*protocol.AppendAnswer](t, h.says("b", &protocol.InstallCheckpoint{Term: 1, Manifest: []byte("9")}))
	equal(t, "acknowledged", a.Index, 1)
}

func TestOffersReachWhoeverListens(t *testing.T) {
	for _, state := range []State{StateFollower, StatePreCandidate, StateCandidate, StateLeader} {
		h := newHub(t, 1, 1, 1)
		switch state {
		case StatePreCandidate:
			h.campaign("a")
		case StateCandidate:
			h.campaign("a")
			h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
		case StateLeader:
			h.lead()
		}
		equal(t, "state before", h.n.m.state, state)
		h.says("c", &protocol.InstallCheckpoint{Term: 5, Manifest: []byte("9")})
		equal(t, state.String()+": afterwards", h.n.m.state, StateFollower)
		equal(t, state.String()+": offered", h.n.offered != nil, true)
	}
}

// An election that is under way ends: it was asked for by a log that may go.
func TestWhoInstallsStandsForNoElection(t *testing.T) {
	for _, state := range []State{StatePreCandidate, StateCandidate, StateLeader} {
		h := newHub(t, 1, 1, 1)
		h.campaign("a")
		if state != StatePreCandidate {
			h.says("b", &protocol.VoteAnswer{Term: 2, Pre: true, Granted: true})
		}
		if state == StateLeader {
			h.says("b", &protocol.VoteAnswer{Term: 2, Granted: true})
		}
		equal(t, "state before", h.n.m.state, state)
		h.n.m.SetInstalling(h.now, true)
		h.says("b", &protocol.VoteAnswer{Term: h.n.m.hard.Term + 1, Pre: true, Granted: true})
		h.says("b", &protocol.VoteAnswer{Term: h.n.m.hard.Term, Granted: true})
		equal(t, state.String()+": afterwards", h.n.m.state, StateFollower)
		h.tick(10 * time.Second)
		equal(t, state.String()+": campaigns", len(h.sent()), 0)
		h.n.m.SetInstalling(h.now, false)
		h.tick(10 * time.Second)
		equal(t, state.String()+": given up", h.n.m.state, StatePreCandidate)
	}
}

func TestOnlyVoterThatInstallsWaits(t *testing.T) {
	c := newCluster()
	c.base.Configuration = configurationOf("a")
	n := c.add("a", image{})
	n.m.SetInstalling(c.now, true)
	c.tick(5 * time.Second)
	equal(t, "state", n.m.state, StateFollower)
	n.m.SetInstalling(c.now, false)
	c.tick(5 * time.Second)
	equal(t, "given up", n.m.state, StateLeader)
}

// The write in flight was of the log that is gone: it proves nothing of the one
// that begins after the checkpoint.
func TestWriteInFlightProvesNothingOfALogThatBeganAnew(t *testing.T) {
	h := newHub(t, 1, 1, 1)
	h.n.async = true
	h.says("b", appendOf(1, 1, 1, 1, logOf(1, 1, 1, 1, 1, 1, 1, 1)))
	h.n.write.Last, h.n.write.First = 0, 1 // the owner has the entries on no disk any more
	h.n.m.Install(h.now, beginAt(3, 2, "a", "b", "c"))
	h.n.m.Ready()
	h.n.m.Persisted(h.now, h.n.write.ID)
	equal(t, "durable", h.n.m.disk.stable, 3)
	equal(t, "last", h.n.m.logTerms.LastIndex(), 3)
}

// The configuration of a member is that of its checkpoint plus the entries above
// it: a log that did not know its first one learns it.
func TestInstallTellsTheConfigurationThatTheLogDidNotKnow(t *testing.T) {
	h := newHub(t, 1, 4, 1, 1, 1, 1)
	above := protocol.ConfigurationAt{Index: 4, Configuration: configurationOf("a", "b")}
	h.n.m.configs = protocol.NewConfigurations(above)
	h.n.m.Install(h.now, beginAt(3, 1, "a", "b", "c", "d"))
	all := h.n.m.configs.All()
	if len(all) != 2 || all[0].Index != 2 || all[1].Index != 4 {
		t.Errorf("got %v, want those of 2 and 4", all)
	}
	equal(t, "in force", h.n.m.current.Index, 4)
}

func TestInstallOfAnotherHistoryStopsTheMember(t *testing.T) {
	h := newHub(t, 3, 3, 1, 1, 1)
	h.n.m.Install(h.now, beginAt(3, 2, "a"))
	h.cluster.settle(h.n)
	wantStop(t, h.n, "committed entry 3, of term 1 here, is another one, of term 2, in a checkpoint")
	equal(t, "entries", len(h.n.log), 3)
}

// A leader drops the head of its log: whoever needs what is gone is asked once
// whether it has it, whatever state it is in, and then offered a checkpoint.
func TestDropHeadAtALeader(t *testing.T) {
	for name, prepare := range map[string]func(*hub){
		"probed": func(h *hub) {
			h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 4, HintIndex: 2, HintTerm: 1})
		},
		"replicates": func(h *hub) { h.says("b", &protocol.AppendAnswer{Term: 2, Index: 1}) },
		"passive":    func(h *hub) { h.says("b", &protocol.AppendAnswer{Term: 2, Passive: true, Index: 1}) },
	} {
		h := newHub(t, 1, 4, 1, 1, 1, 1)
		h.lead()
		prepare(h)
		h.says("c", &protocol.AppendAnswer{Term: 2, Index: 5})
		h.wire = nil
		h.cluster.compact(h.n, 5)
		h.propose("a", "x")
		if name == "passive" {
			h.says("b", &protocol.AppendAnswer{Term: 2, Passive: true, Index: 1})
		} else {
			h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 5, HintIndex: 2, HintTerm: 1})
			h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 5, HintIndex: 2, HintTerm: 1})
		}
		p := h.n.m.lead.find(idOf("b"))
		equal(t, name+": state", p.state, ProgressCatchUp)
		// From now on nothing but offers and heartbeats, at their pace.
		offers := 0
		for range 20 {
			h.tick(50 * time.Millisecond)
			h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
			for _, msg := range append(h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round}),
				h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 3, HintIndex: 1, HintTerm: 1})...) {
				switch msg.(type) {
				case *protocol.InstallCheckpoint:
					offers++
				case *protocol.Append:
					t.Errorf("%s: got an append to a member in catch-up", name)
				}
			}
		}
		if name != "passive" && offers > 3 {
			t.Errorf("%s: got %d offers in a second, want two", name, offers)
		}
		h.says("b", &protocol.AppendAnswer{Term: 2, Index: 4})
		equal(t, name+": short of the beginning", p.state, ProgressCatchUp)
		h.says("b", &protocol.AppendAnswer{Term: 2, Index: 5})
		equal(t, name+": at the beginning", p.state, ProgressReplicate)
		equal(t, name+": next", p.next, 7)
	}
}

// A leader that cannot read a part of its log, and has a checkpoint of it, offers
// that to whoever needs the part, and to nobody else; it feeds on when it can read.
// It sent reads of that part into the void for ever.
func TestLeaderOffersACheckpointInPlaceOfEntriesThatItCannotRead(t *testing.T) {
	for _, back := range []bool{false, true} {
		h := newHub(t, 1, 4, 1, 1, 1, 1)
		h.lead()
		h.says("c", &protocol.AppendAnswer{Term: 2, Index: 5})
		h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 4, HintIndex: 2, HintTerm: 1})
		h.n.m.SetUnreadable(h.cluster.now, 3)
		h.cluster.settle(h.n)
		h.says("b", &protocol.AppendAnswer{Term: 2, Reject: true, Index: 3, HintIndex: 2, HintTerm: 1})
		b, c := h.n.m.lead.find(idOf("b")), h.n.m.lead.find(idOf("c"))
		equal(t, "b, which lacks what cannot be read", b.state, ProgressCatchUp)
		equal(t, "c, which has it", c.state, ProgressReplicate)
		h.wire = nil
		for range 20 {
			h.tick(50 * time.Millisecond)
			h.says("c", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round})
			for _, msg := range h.says("b", &protocol.HeartbeatAnswer{Term: 2, Round: h.n.m.lead.round}) {
				if a, ok := msg.(*protocol.Append); ok {
					t.Errorf("got %v for a member that is offered a checkpoint", a)
				}
			}
		}
		if back {
			h.n.m.SetUnreadable(h.cluster.now, 0)
			h.cluster.settle(h.n)
			equal(t, "b, when all can be read again", b.state, ProgressProbe)
			equal(t, "what it is sent then", b.next, 3)
			continue
		}
		h.says("b", &protocol.AppendAnswer{Term: 2, Index: 2})
		equal(t, "b, short of the checkpoint", b.state, ProgressCatchUp)
		h.says("b", &protocol.AppendAnswer{Term: 2, Index: 3})
		equal(t, "b, with the checkpoint", b.state, ProgressReplicate)
		equal(t, "what it is sent next", b.next, 6)
	}
}

func TestDropHeadForgetsReplacedConfigurations(t *testing.T) {
	h := newHub(t, 1, 6, 1, 1, 1, 1, 1, 1)
	at := func(i protocol.Index, voters ...string) protocol.ConfigurationAt {
		return protocol.ConfigurationAt{Index: i, Configuration: configurationOf(voters...)}
	}
	h.n.m.configs = protocol.NewConfigurations(at(0, "a"), at(2, "a", "b"), at(5, "a", "b", "c"))
	for _, test := range []struct {
		drop protocol.Index
		want []protocol.Index
	}{{1, []protocol.Index{0, 2, 5}}, {2, []protocol.Index{2, 5}}, {4, []protocol.Index{2, 5}}, {6, []protocol.Index{5}}} {
		h.n.m.DropHead(test.drop, protocol.LogSum{})
		var got []protocol.Index
		for _, c := range h.n.m.configs.All() {
			got = append(got, c.Index)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("head dropped to %d: got configurations of %v, want %v", test.drop, got, test.want)
		}
	}
	equal(t, "in force", len(h.n.m.quorum.voters), 3)
}

func TestDropHeadOfWhatIsNotCommittedStopsTheMember(t *testing.T) {
	h := newHub(t, 1, 2, 1, 1, 1)
	if got := violated(func() { h.n.m.DropHead(3, protocol.LogSum{}) }); !strings.Contains(got, "commit index") {
		t.Errorf("got %q, want a violation", got)
	}
}
