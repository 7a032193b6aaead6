package snapshotter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/storage"
)

// each runs a test on every kind of store.
func each(t *testing.T, test func(t *testing.T, h *home)) {
	for _, k := range kinds {
		t.Run(string(k), func(t *testing.T) {
			h := newHome(t, k, 7)
			h.must(h.start())
			test(t, h)
		})
	}
}

func TestStartOfAnEmptyDirectory(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		if h.restored.Applied != 0 || len(h.restored.Kept) != 0 || h.machine.Applied() != 0 || !h.rec.LogTerms.Empty() {
			t.Errorf("got %+v at %d with a log to %d, want nothing", h.restored, h.machine.Applied(), h.rec.LogTerms.LastIndex())
		}
	})
}

// A member that restarts goes on from its checkpoint: the log below need not be
// there any more.
func TestRestartFromACheckpointWithTheLogBelowGone(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(1, 430, 3)
		h.grow(all)
		begin, err := h.log.DropHead(351)
		h.must(err)
		if begin.Index == 0 {
			t.Fatal("nothing of the log was dropped: the test tests nothing")
		}
		h.startAgain()
		h.wantKept(400, 350)
		if h.restored.Applied != 400 || h.machine.Applied() != 400 {
			t.Errorf("restored to %d, the machine is at %d, want 400", h.restored.Applied, h.machine.Applied())
		}
		if want := all[399].Time; h.restored.Time != want {
			t.Errorf("cluster time %d, want %d", h.restored.Time, want)
		}
		h.replay()
		h.wantState(all)
	})
}

// Counterexample 25: a key has the index of its own last change, not that of the
// checkpoint, or a condition on versions would hold on one member and not on
// another.
func TestVersionsDoNotComeFromTheCheckpoint(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(2, 20, 1)
		put := command(kvmap.Put, kvmap.Type, "m", 1000, kvmap.PutRequest{Key: []byte("old"), Value: []byte("v")})
		all = extend(all, put)
		at := all[len(all)-1].Index
		all = extend(all, slices.Repeat([][]byte{put}, 28)...) // a duplicate does nothing
		all = mark(all)
		h.grow(all)
		h.startAgain()
		if want := all[len(all)-1].Index; h.restored.Applied != want {
			t.Fatalf("restored to %d, want %d", h.restored.Applied, want)
		}
		v, err := h.machine.View("m", "map")
		h.must(err)
		defer v.Close()
		item, ok, err := v.Lookup([]byte("old"))
		if err != nil || !ok || item.Version != at {
			t.Errorf("the version is %d (%v, %v), want %d", item.Version, ok, err, at)
		}
	})
}

// extend adds commands to a history.
func extend(all []protocol.Entry, commands ...[]byte) []protocol.Entry {
	for _, data := range commands {
		all = add(all, protocol.EntryCommand, data)
	}
	return all
}

func mark(all []protocol.Entry) []protocol.Entry {
	return add(all, protocol.EntryCheckpoint, protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{}))
}

func add(all []protocol.Entry, k protocol.EntryKind, data []byte) []protocol.Entry {
	last := &all[len(all)-1]
	e := []protocol.Entry{{Index: last.Index + 1, Term: last.Term, Time: last.Time, Kind: k, Data: data}}
	protocol.EncodeEntries(e)
	protocol.SumEntries(last.Sum, e)
	return append(all, e...)
}

// A command that was executed before the checkpoint is not executed again after
// a restart from it.
func TestSessionsSurviveARestartFromACheckpoint(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(3, 30, 1)
		once := command(counter.Add, counter.Type, "once", 1000, 1)
		all = mark(extend(all, once))
		h.grow(all)
		h.startAgain()
		all = extend(all, once)
		results := h.machine.Apply(all[len(all)-1:], nil)
		if got, err := resources.ParseValue[int64](results[0].Data); err != nil || got != 1 {
			t.Errorf("the retry answers %d, %v, want what the first one answered, 1", got, err)
		}
		h.wantState(all)
	})
}

// A checkpoint whose state has another digest is lost, and says so: the older one
// and the log take its place.
func TestWrongDigestFallsBackToTheOlder(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(4, 149, 1)
		h.grow(all)
		all = mark(all)
		h.append(149, all[149:], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 150}, true)
		h.forge(all, 150)
		h.wantKept(150, 100)
		h.startAgain()
		h.wantKept(100)
		if h.restored.Applied != 100 || len(h.restored.Kept) != 1 {
			t.Errorf("restored to %d with %d kept, want 100 with 1", h.restored.Applied, len(h.restored.Kept))
		}
		if len(h.told) == 0 || h.told[0].Kind != protocol.EventRefused || h.told[0].Index != 150 {
			t.Errorf("told were %v, want a word on the one at 150", h.told)
		}
		h.replay()
		h.wantState(all)
	})
}

// With no good checkpoint and the whole log, the log makes the state.
func TestBothBadReplaysAWholeLog(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(5, 149, 1)
		h.append(0, all, protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 149}, true)
		h.forge(all, 50)
		h.forge(all, 100)
		h.startAgain()
		h.wantKept()
		if h.restored.Applied != 0 || h.machine.Applied() != 0 {
			t.Errorf("restored to %d, want nothing", h.restored.Applied)
		}
		h.replay()
		h.wantState(all)
	})
}

// Counterexample 24: with both checkpoints bad, or the good one far below, the
// log and its votes stay as they are and nothing is applied.
func TestFallingBackNeverTakesTheLogBelowItsBegin(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		all := history(6, 420, 4)
		h.grow(all[:100]) // X1 = 100
		// An install at X2 = 400 reset the log, and X2 is bad.
		vote := protocol.HardState{Term: 9, Vote: protocol.MemberID{7}, Commit: 400}
		d := describe(all, 400)
		h.must(h.log.Reset(storage.Begin{Index: 400, Term: d.Term, Sum: d.LogSum, Configuration: configuration}, vote))
		h.append(400, all[400:], protocol.HardState{Term: 9, Vote: protocol.MemberID{7}, Commit: 420}, true)
		h.forge(all, 400)
		for range 2 { // and it is idempotent
			h.startAgain()
			h.wantKept(100)
			if h.restored.Applied != 0 || h.machine.Applied() != 0 {
				t.Errorf("restored to %d, the machine is at %d, want nothing: the log begins above", h.restored.Applied, h.machine.Applied())
			}
			if h.rec.LogTerms.PrevIndex != 400 || h.rec.LogTerms.LastIndex() != 420 || h.rec.State.Term != 9 || h.rec.State.Vote != (protocol.MemberID{7}) {
				t.Errorf("the log is %d..%d in term %d, voted for %v; want 401..420 in term 9 with its vote",
					h.rec.LogTerms.FirstIndex(), h.rec.LogTerms.LastIndex(), h.rec.State.Term, h.rec.State.Vote)
			}
		}
	})
}

// A passive does not sync its log, and neither is a commit index; a checkpoint is
// synced. After a power cut it may be ahead of the log.
func TestCheckpointAheadOfAnUnsyncedLog(t *testing.T) {
	for seed := range uint64(20) {
		h := newHome(t, flat, seed)
		h.must(h.start())
		all := history(seed, 210, 2)
		h.grow(all[:120])
		h.append(120, all[120:], protocol.HardState{Term: 2, Vote: protocol.MemberID{1}, Commit: 210}, false)
		h.apply(all[120:]) // a checkpoint at 200, of entries that are not synced
		h.powerCut()
		h.must(h.start())
		last := h.rec.LogTerms.LastIndex()
		if h.restored.Applied != 200 || last < 200 || h.rec.State.Commit < 200 || h.rec.State.Commit > last {
			t.Fatalf("seed %d: restored to %d, the log ends at %d and is committed to %d; want 200", seed, h.restored.Applied, last, h.rec.State.Commit)
		}
		if h.rec.State.Term != 2 || h.rec.State.Vote != (protocol.MemberID{1}) {
			t.Errorf("seed %d: term %d and vote %v, want 2 and a1's", seed, h.rec.State.Term, h.rec.State.Vote)
		}
		h.wantRecovered()
		h.replay()
		h.wantState(all[:last])
	}
}

// wantRecovered compares what Start said of the log with what the next opening
// finds.
func (h *home) wantRecovered() {
	h.t.Helper()
	said := h.rec
	h.close()
	h.must(h.open())
	found := h.log.Opened()
	if said.LogTerms.PrevIndex != found.LogTerms.PrevIndex || said.LogTerms.PrevTerm != found.LogTerms.PrevTerm || said.LogTerms.PrevSum != found.LogTerms.PrevSum ||
		said.LogTerms.LastIndex() != found.LogTerms.LastIndex() || said.LastSum != found.LastSum || said.State.Term != found.State.Term || said.State.Vote != found.State.Vote {
		h.t.Errorf("start says %+v of the log, there is %+v", said, found)
	}
	a, _ := said.Configurations.Latest()
	b, _ := found.Configurations.Latest()
	if a.Index != b.Index || !a.Configuration.Equal(b.Configuration) {
		h.t.Errorf("start says configuration %v, there is %v", a, b)
	}
}

// Counterexample 23: an install that was cut short after its pointer, over a log
// that has something else there, uncommitted.
func TestUncommittedSuffixGivesWayToAnInstalledCheckpoint(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	mine, theirs := history(1, 150, 1), history(2, 200, 2)
	copy(theirs, mine[:40])
	protocol.SumEntries(theirs[39].Sum, theirs[40:])
	h.append(0, mine, protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 40}, true)
	h.installed(theirs, 100)
	h.startAgain()
	if h.restored.Applied != 100 || h.rec.LogTerms.PrevIndex != 100 || h.rec.LogTerms.LastIndex() != 100 || h.rec.State.Term != 2 {
		t.Errorf("restored to %d, the log is after %d to %d in term %d; want all at 100 in term 2",
			h.restored.Applied, h.rec.LogTerms.PrevIndex, h.rec.LogTerms.LastIndex(), h.rec.State.Term)
	}
	h.wantState(theirs[:100])
	h.startAgain()
	h.wantState(theirs[:100])
}

// A committed entry that a checkpoint contradicts is never dropped: that is for
// people to see.
func TestCheckpointThatContradictsCommittedEntries(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	mine, theirs := history(1, 150, 1), history(2, 200, 1)
	h.append(0, mine, protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 140}, true)
	h.installed(theirs, 100)
	h.close()
	h.wantError(h.start(), protocol.ErrCorrupt)
	if rec := h.log.Opened(); rec.LogTerms.LastIndex() != 150 {
		t.Errorf("the log ends at %d now, want 150", rec.LogTerms.LastIndex())
	}
}

// installed keeps a checkpoint as an installation does that ends right after its
// pointer.
func (h *home) installed(entries []protocol.Entry, i protocol.Index) {
	h.t.Helper()
	from := newHome(h.t, memory, 1)
	h.must(from.start())
	from.apply(entries[:i])
	d := from.store.Kept()[0]
	var in snapshotter.Installation
	h.fill(&in, from, d)
	_, err := in.Finish(ctx, newMachine(h.t), nil)
	h.must(err)
}

// An installation is cut off at every step of its disk, and the start after it,
// too. What is found then is the old state with the old log, or the new state
// with a log that goes with it; never a gap, and never without the vote.
func TestInstallCrashesAtEveryStep(t *testing.T) {
	mine, theirs := history(1, 130, 1), history(1, 400, 1)
	from := newHome(t, memory, 1)
	from.must(from.start())
	from.apply(theirs)
	d := from.store.Kept()[0]
	state := protocol.HardState{Term: 3, Vote: protocol.MemberID{1}, Commit: 130}
	both := map[bool]int{}
	for n := 0; ; n++ {
		h := newHome(t, flat, uint64(n))
		h.must(h.start())
		h.append(0, mine, state, true)
		h.apply(mine)
		h.disk.StopAfter(n)
		finished := h.install(from, d) == nil
		h.powerCut()
		for m := 0; ; m++ { // the next start dies, too, now and then
			h.disk.StopAfter(m * m)
			err := h.start()
			h.disk.StopAfter(-1)
			if err == nil {
				break
			}
			h.powerCutIfOpen()
		}
		want := mine
		if h.restored.Applied == d.Index {
			want = theirs[:d.Index]
		} else if finished {
			t.Fatalf("step %d: restored to %d although all was done", n, h.restored.Applied)
		}
		if h.rec.State.Term != 3 || h.rec.State.Vote != state.Vote {
			t.Fatalf("step %d: term %d, vote %v", n, h.rec.State.Term, h.rec.State.Vote)
		}
		if h.rec.LogTerms.PrevIndex > h.restored.Applied {
			t.Fatalf("step %d: the log begins after %d, the state is at %d", n, h.rec.LogTerms.PrevIndex, h.restored.Applied)
		}
		both[h.restored.Applied == d.Index]++
		h.replay()
		h.wantState(want)
		h.close()
		if finished {
			break
		}
	}
	if both[true] < 2 || both[false] < 2 {
		t.Errorf("of the crashes %v came out before and after: the test tests too little", both)
	}
}

// powerCutIfOpen ends a start that has failed.
func (h *home) powerCutIfOpen() {
	h.disk.Crash()
	if h.log != nil {
		h.log.Close()
	}
	if h.store != nil {
		h.store.Close()
	}
}

// install fetches and installs a checkpoint, up to the reset of the log.
func (h *home) install(from *home, d storage.Manifest) error {
	var in snapshotter.Installation
	missing, err := in.Begin(ctx, h.store, d)
	if err != nil {
		return err
	}
	for _, n := range missing {
		if err := in.Chunk(chunkOf(h.t, from, d.Index, n)); err != nil {
			return err
		}
	}
	if _, err := in.Finish(ctx, newMachine(h.t), nil); err != nil {
		return err
	}
	return h.log.Reset(storage.Begin{Index: d.Index, Term: d.Term, Sum: d.LogSum, Configuration: d.Configuration},
		protocol.HardState{Term: 3, Vote: protocol.MemberID{1}, Commit: d.Index})
}

// A log that forgot the configuration in force takes it from the checkpoint.
func TestCheckpointTellsTheConfiguration(t *testing.T) {
	h := newHome(t, flat, 1)
	h.must(h.start())
	all := history(1, 120, 1)
	d := describe(all, 100)
	h.must(h.log.Reset(storage.Begin{Index: 100, Term: 1, Sum: d.LogSum, Configuration: configuration}, protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 100}))
	h.append(100, all[100:], protocol.HardState{Term: 1, Vote: protocol.MemberID{1}, Commit: 120}, true)
	h.installed(all, 100)
	h.startAgain()
	at, known := h.rec.Configurations.At(h.restored.Applied)
	if !known || !at.Configuration.Equal(configuration.Configuration) {
		t.Errorf("the configuration at %d is %v (%v)", h.restored.Applied, at, known)
	}
	if h.rec.LogTerms.LastIndex() != 120 {
		t.Errorf("the log ends at %d, want 120: its suffix stays", h.rec.LogTerms.LastIndex())
	}
	h.replay()
	h.wantState(all)
}

// Counterexample 26: power that blips three times while the checkpoint is read
// sets it aside. It is not lost: while another member may have one it rests, and
// with nobody else it is tried again.
func TestCheckpointThatWasSetAsideIsTheLastResort(t *testing.T) {
	h := newHome(t, flat, 3)
	h.must(h.start())
	all := history(8, 240, 1)
	h.grow(all)
	_, err := h.log.DropHead(190)
	h.must(err)
	begin := h.log.Opened().LogTerms.PrevIndex
	for range 3 {
		h.close()
		h.must(h.open())
		err := h.store.Iterate(ctx, 200, func(storage.Item) error {
			h.disk.StopAfter(0) // the process ends here
			return errors.New("dead")
		})
		if err == nil {
			t.Fatal("it lived")
		}
		h.disk.StopAfter(-1)
	}
	h.startAgain()
	if len(h.store.Aside()) != 1 || h.restored.Applied != 0 || h.machine.Applied() != 0 || h.rec.LogTerms.PrevIndex < begin {
		t.Fatalf("%d set aside, restored to %d, the log begins after %d", len(h.store.Aside()), h.restored.Applied, h.rec.LogTerms.PrevIndex)
	}
	asked := 0
	h.starts.Elsewhere = func(context.Context) bool { asked++; return false }
	h.startAgain()
	if asked != 1 || h.restored.Applied != 200 {
		t.Errorf("the others were asked %d times, restored to %d; want once, and 200", asked, h.restored.Applied)
	}
	h.replay()
	h.wantState(all)
	h.startAgain()
	if asked != 1 {
		t.Error("the others were asked although there is a checkpoint")
	}
}

// A damaged log is not touched.
func TestDamagedLogIsNotStarted(t *testing.T) {
	h := newHome(t, flat, 3)
	h.must(h.start())
	log := damaged{h.log}
	_, _, err := snapshotter.Start(ctx, log, h.store, h.machine, snapshotter.Options{})
	h.wantError(err, protocol.ErrCorrupt)
}

type damaged struct{ storage.Log }

func (d damaged) Opened() storage.Opened {
	return storage.Opened{Damage: &storage.Damage{Text: "a test says so"}}
}

// A start can be ended while it reads.
func TestStartEndsWithItsContext(t *testing.T) {
	each(t, func(t *testing.T, h *home) {
		h.grow(history(9, 110, 1))
		h.close()
		h.must(h.open())
		over, cancel := context.WithCancel(ctx)
		cancel()
		_, _, err := snapshotter.Start(over, h.log, h.store, newMachine(t), snapshotter.Options{})
		h.wantError(err, context.Canceled)
		h.wantKept(100, 50)
	})
}

// Progress is told up to the end.
func TestStartTellsItsProgress(t *testing.T) {
	h := newHome(t, flat, 3)
	h.must(h.start())
	all := history(1, 2, 1)
	for n := range 5000 {
		all = extend(all, command(kvmap.Put, kvmap.Type, "m", uint64(n+1), kvmap.PutRequest{Key: fmt.Append(nil, n), Value: []byte("v")}))
	}
	all = mark(all)
	h.grow(all)
	var told []snapshotter.Progress
	h.starts.Progress = func(p snapshotter.Progress) { told = append(told, p) }
	h.startAgain()
	if len(told) < 2 {
		t.Fatalf("told %d times", len(told))
	}
	for i, p := range told {
		if p.Index != all[len(all)-1].Index || p.Done > p.Total || i > 0 && p.Done <= told[i-1].Done {
			t.Errorf("told %v", told)
		}
	}
	if last := told[len(told)-1]; last.Done != last.Total {
		t.Errorf("the last word is %+v", last)
	}
}
