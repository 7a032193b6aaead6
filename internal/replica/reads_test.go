package replica

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// A passive that led before it lost its seat may still have heard last of itself
// (simulated seed 106): a read that it asked itself for was never answered.
func TestPassiveDoesNotAskItselfForAReadIndex(t *testing.T) {
	rec := found(2, 20, 20, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r := openOn(t, 9, Config{}, rec, OpenedState{})
	serve(t, r)
	r.hearing.hint.leader = id(9)
	r.Read(1, 7)
	e := r.Effects()
	for _, s := range e.Send {
		if s.To == id(9) {
			t.Errorf("sends a %s to itself", s.Message.Kind())
		}
	}
	if len(e.Reads) != 1 || !errors.Is(e.Reads[0].Err, protocol.ErrNoLeader) {
		t.Errorf("got %+v, want %v at once", e.Reads, protocol.ErrNoLeader)
	}
}

// reader is a member that follows a history, and asks its leader for read indexes.
type reader struct {
	t     *testing.T
	r     *Replica
	now   protocol.Instant
	whole storage.Opened // the history, as far as anybody has it
	reads []ReadAnswer
	wrote int // times that something was persisted
	asked []*protocol.ReadIndex
	Effects
}

// newReader returns a passive or a follower that has applied what there is up to an
// index, and has heard of its leader.
func newReader(t *testing.T, role protocol.Role, at protocol.Index) *reader {
	t.Helper()
	self := map[protocol.Role]byte{protocol.RolePassive: 9, protocol.RoleActive: 2}[role]
	x := &reader{t: t, whole: found(2, 300, 300, threeVoters), r: open(t, self, found(2, at, at, threeVoters)), now: 1}
	x.append(at, at)
	if got := x.r.Status(x.now); got.Role != role || got.Applied != at || got.Leader != id(1) {
		t.Fatalf("got %+v, want one that follows", got)
	}
	return x
}

// append gives the member the entries after..last of its leader's, all committed.
func (x *reader) append(after, last protocol.Index) {
	x.receive(&protocol.Append{Term: 2, PrevIndex: after, PrevTerm: 2, Commit: last, Last: last, Entries: x.whole.Tail[after:last]})
}

func (x *reader) receive(m protocol.Message) {
	x.now++
	x.r.Receive(x.now, id(1), m)
	x.turn()
}

// turn serves the effects.
func (x *reader) turn() {
	x.t.Helper()
	for range 100 {
		x.Effects = x.r.Effects()
		x.reads = append(x.reads, x.Reads...)
		for _, s := range x.Send {
			if m, ok := s.Message.(*protocol.ReadIndex); ok {
				x.asked = append(x.asked, m)
			}
		}
		if x.Persist == nil && len(x.Apply) == 0 {
			return
		}
		if x.Persist != nil {
			x.wrote++
			x.r.Persisted(x.now, x.Persist.ID, nil)
		}
		for _, a := range x.Apply {
			x.r.Applied(x.now, Applied{Last: a.Entries[len(a.Entries)-1].Index, Results: make([]protocol.Result, len(a.Entries))})
		}
	}
	x.t.Fatal("the replica does not settle")
}

// ask has a read ask the leader, answers what the leader answers.
func (x *reader) ask(request uint64) *protocol.ReadIndex {
	x.t.Helper()
	n := len(x.asked)
	x.now++
	x.r.Read(x.now, request)
	x.turn()
	if len(x.asked) != n+1 {
		x.t.Fatalf("asked %d times for read %d, want once", len(x.asked)-n, request)
	}
	return x.asked[n]
}

func (x *reader) answer(q *protocol.ReadIndex, index protocol.Index, sum protocol.LogSum) {
	x.receive(&protocol.ReadIndexAnswer{Run: q.Run, Request: q.Request, Index: index, Sum: sum, Leader: id(1), Term: 2})
}

func (x *reader) sum(i protocol.Index) protocol.LogSum { return x.whole.Tail[i-1].Sum }

// served says at which index a read was served, 0 if it was not answered.
func (x *reader) served(request uint64) (protocol.Index, error) {
	for _, a := range x.reads {
		if a.Request == request {
			return a.Index, a.Err
		}
	}
	return 0, nil
}

// strays checks that the member serves nobody any more, and says why.
func (x *reader) strays(request uint64, text string) {
	x.t.Helper()
	if i, err := x.served(request); i != 0 || !errors.Is(err, protocol.ErrNotServing) || !strings.Contains(err.Error(), text) {
		x.t.Errorf("read %d is served at %d, %v; want %v with %q", request, i, err, protocol.ErrNotServing, text)
	}
	if x.r.standing.diverged == nil {
		x.t.Fatal("the member does not know that it has diverged")
	}
	x.r.Read(x.now, request+1)
	x.turn()
	if _, err := x.served(request + 1); !errors.Is(err, protocol.ErrNotServing) {
		x.t.Errorf("the next read: got %v, want %v", err, protocol.ErrNotServing)
	}
	if _, known := x.r.Age(x.now, x.r.log.applied); known {
		x.t.Error("it gives an age")
	}
}

func inRoles(t *testing.T, at protocol.Index, test func(x *reader)) {
	for _, role := range []protocol.Role{protocol.RolePassive, protocol.RoleActive} {
		t.Run(role.String(), func(t *testing.T) { test(newReader(t, role, at)) })
	}
}

// [S] Counterexample 54: all actives are put back to an old copy, a passive is not.
// Their read index is below what the passive has, and it serves last week's history
// as linearizable. 231 held before the read was asked is proof.
func TestReadIndexBelowWhatWasHeldIsOfAnotherHistory(t *testing.T) {
	inRoles(t, 231, func(x *reader) {
		q := x.ask(7)
		if q.Held != 231 {
			x.t.Errorf("the question says that %d is held, want 231", q.Held)
		}
		x.answer(q, 228, x.sum(228))
		x.strays(7, "ended at 228, and this member had come to 231")
	})
}

// Counterexample 54, its second half: 231 that came while the read was under way is
// no proof, the leader's round may have begun before it was committed.
func TestEntriesThatCameMeanwhileProveNothing(t *testing.T) {
	inRoles(t, 228, func(x *reader) {
		q := x.ask(7)
		x.append(228, 231)
		x.answer(q, 228, x.sum(228))
		if i, err := x.served(7); i != 231 || err != nil {
			x.t.Errorf("served at %d, %v, want 231", i, err)
		}
		if x.r.standing.diverged != nil {
			x.t.Error("an honest member takes itself for diverged")
		}
	})
}

// [S] An index that has been applied says nothing of which history it is.
func TestReadIndexWithAnotherSumIsOfAnotherHistory(t *testing.T) {
	other := protocol.LogSum{1, 2}
	inRoles(t, 231, func(x *reader) {
		x.answer(x.ask(7), 231, other)
		x.strays(7, "differs from that of the actives at 231")
	})
	inRoles(t, 231, func(x *reader) {
		x.answer(x.ask(7), 233, other)
		if i, err := x.served(7); i != 0 || err != nil {
			x.t.Fatalf("served at %d, %v before the index was there", i, err)
		}
		x.append(231, 235)
		x.strays(7, "at 233")
	})
}

// Where the sum at the read index is not known any more, as after an install, the
// leader is asked again: nothing is proven, and nothing served.
func TestReadIndexThatCannotBeComparedIsAskedForAgain(t *testing.T) {
	inRoles(t, 231, func(x *reader) {
		q := x.ask(7)
		x.append(231, 240)
		x.r.log.tail = &tail{first: 241, before: x.sum(240), joined: true}
		x.answer(q, 235, x.sum(235))
		if i, err := x.served(7); i != 0 || err != nil || x.r.standing.diverged != nil {
			x.t.Fatalf("served at %d, %v, diverged %v; want none of it", i, err, x.r.standing.diverged)
		}
		again := x.asked[len(x.asked)-1]
		if again.Request == q.Request || again.Held != 240 {
			x.t.Fatalf("asked %+v, want another question that says 240", again)
		}
		x.answer(again, 240, x.sum(240))
		if i, err := x.served(7); i != 240 || err != nil {
			x.t.Errorf("served at %d, %v, want 240", i, err)
		}
	})
}

// A member that no configuration names, and which a passive takes for the leader
// because it says so, spoils the reads that it is asked for, and proves nothing.
func TestWhoIsNoVoterProvesNothing(t *testing.T) {
	x := newReader(t, protocol.RolePassive, 231)
	x.r.hearing.hint = leaderHint{term: 9, leader: id(8), at: x.now}
	q := x.ask(7)
	x.now++
	x.r.Receive(x.now, id(8), &protocol.ReadIndexAnswer{Run: q.Run, Request: q.Request, Index: 1, Leader: id(1)})
	x.turn()
	if _, err := x.served(7); !errors.Is(err, protocol.ErrNotServing) {
		t.Errorf("got %v, want %v", err, protocol.ErrNotServing)
	}
	if x.r.standing.diverged != nil {
		t.Error("it stops on the word of somebody who is no voter")
	}
}

// [S] What a member of another history holds may be the only copy of what was
// acknowledged: nothing takes its place, and nothing of it is given up.
func TestDivergedMemberKeepsItsLogAndState(t *testing.T) {
	x := newReader(t, protocol.RolePassive, 231)
	x.answer(x.ask(7), 228, x.sum(228))
	if x.Diverged == nil && x.r.standing.diverged == nil {
		t.Fatal("it does not know that it has diverged")
	}
	x.wrote = 0
	quiet := func(what string) {
		t.Helper()
		if x.wrote > 0 || len(x.Apply) > 0 || len(x.Install) > 0 {
			t.Errorf("%s: persists %d times, applies %v, installs %+v", what, x.wrote, x.Apply, x.Install)
		}
		if s := x.r.Status(x.now); s.First != 1 || s.Last != 231 || s.Applied != 231 {
			t.Errorf("%s: holds %d to %d and has applied %d, want 1, 231 and 231", what, s.First, s.Last, s.Applied)
		}
	}
	d, older := described(x.whole, 290, 4), described(x.whole, 200, 4)
	x.receive(&protocol.InstallCheckpoint{Term: 3, Manifest: storage.EncodeManifest(d)})
	quiet("the leader's checkpoint")
	x.r.install.offered(x.now, &protocol.ManifestOffer{From: id(1), Manifest: storage.EncodeManifest(d)}, false)
	x.turn()
	quiet("an offer that was on its way")
	x.r.cfg.RetainEntries = 0
	x.r.Kept(x.now, []storage.Manifest{described(x.whole, 220, 4), older})
	x.turn()
	quiet("two checkpoints of its own")
	x.append(231, 240)
	quiet("entries that fit")
	for range 50 {
		x.now = x.now.Add(100 * time.Millisecond)
		x.r.Tick(x.now)
		x.turn()
		quiet("time passes")
	}
}

// What the actives do not settle a read index does, also where nobody reads.
func TestDoubtIsSettledByAReadIndex(t *testing.T) {
	x := newReader(t, protocol.RolePassive, 231)
	x.r.reads.prove(x.now)
	x.r.reads.prove(x.now)
	x.turn()
	if len(x.asked) != 1 || x.asked[0].Held != 231 {
		t.Fatalf("asked %+v, want once", x.asked)
	}
	x.answer(x.asked[0], 228, x.sum(228))
	if x.r.standing.diverged == nil || x.r.standing.diverged.Index != 229 || !x.r.standing.diverged.Short || x.r.standing.diverged.Holds != 231 || x.r.standing.diverged.By != id(1) {
		t.Errorf("got %+v, want a divergence from 229 on", x.r.standing.diverged)
	}
}

// [S] An installation under way, when a member finds out that its log is of another
// history, takes the place of nothing either, however far it is.
func TestInstallUnderWayEndsWithAnotherHistory(t *testing.T) {
	for _, far := range []install.Phase{install.Begins, install.Fetches, install.Finishes, install.Kept} {
		r, d, whole := installing(t, threeVoters)
		offer(r, d)
		r.Effects()
		if far >= install.Fetches {
			r.InstallBegun(2, d.Index, []int{0, 1}, nil)
		}
		if far >= install.Finishes {
			r.ChunkAdded(3, 0, nil)
			r.ChunkAdded(3, 1, nil)
		}
		finished := func() {
			r.InstallFinished(5, []storage.Manifest{d}, 0, nil)
		}
		if far == install.Kept {
			r.disk.failed = errors.New("busy") // the reset has to wait
			finished()
			r.disk.failed = nil
		}
		r.gossip.Contradicted(gossip.Divergence{Index: 20, By: id(1)})
		r.Tick(4)
		switch far {
		case install.Begins:
			r.InstallBegun(5, d.Index, []int{0, 1}, nil)
		case install.Finishes:
			finished()
		}
		r.Tick(6)
		if r.standing.diverged == nil {
			t.Fatalf("stage %d: it does not know", far)
		}
		discards := slices.ContainsFunc(r.Effects().Install, func(x InstallStep) bool { return x.Discard })
		if discards != (far == install.Finishes) || far != install.Kept && r.install.Phase != install.None {
			t.Errorf("stage %d: what was built is discarded: %v, and it is at stage %d", far, discards, r.install.Phase)
		}
		if len(r.disk.queue) > 0 || r.disk.flying != nil || len(r.apply.flights) > 0 {
			t.Errorf("stage %d: persists or takes over what comes of others", far)
		}
		if sum, known := r.SumAt(20); r.Status(6).Last != 20 || !known || sum != whole.Tail[19].Sum {
			t.Errorf("stage %d: the log ends at %d, want what there was, up to 20", far, r.Status(6).Last)
		}
	}
}
