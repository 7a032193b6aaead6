package member

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/wal"
)

// recorder are hands that write down what they are told. The process dies when it has
// done so many things; 0: it never does.
type recorder struct {
	did    []string
	deadAt int
	lanes  [Lanes][]func() Done
	writes []*replica.Persist
}

func (r *recorder) do(what string)                    { r.did = append(r.did, what) }
func (r *recorder) Alive() bool                       { return r.deadAt == 0 || len(r.did) < r.deadAt }
func (r *recorder) Persist(*replica.Persist)          { r.do("persist") }
func (r *recorder) Send([]replica.Send)               { r.do("send") }
func (r *recorder) Apply([]replica.Apply)             { r.do("apply") }
func (r *recorder) Repair(*repair.Step)               { r.do("repair") }
func (r *recorder) Tell([]protocol.Event)             { r.do("tell") }
func (r *recorder) SuspendServing(*gossip.Divergence) { r.do("doubt") }
func (r *recorder) Expel(protocol.RunOf)              { r.do("expel") }
func (r *recorder) Stop(error)                        { r.do("stop") }
func (r *recorder) DiskFailed(error)                  { r.do("disk failed") }
func (r *recorder) Work(l Lane, step func() Done) {
	r.do([]string{"read the log", "work on the store", "read the store", "note"}[l])
	r.lanes[l] = append(r.lanes[l], step)
}

// waiting are two who wait, for request 1 and for read 2.
func (r *recorder) waiting() *Answers {
	a := NewAnswers()
	a.Command(func(protocol.Result) { r.do("answer") })
	a.Read(func(protocol.Index, error) { r.do("answer a read") })
	return a
}

// everything is effects of every kind.
func everything() *replica.Effects {
	return &replica.Effects{
		Persist: &replica.Persist{}, Send: make([]replica.Send, 1), Apply: make([]replica.Apply, 1), ReadLog: make([]replica.ReadLog, 1),
		Repair: &repair.Step{}, Install: []replica.InstallStep{{Discard: true}}, Pin: &replica.Pin{}, ReadChunk: make([]replica.ChunkRead, 1),
		Gate: 1, Await: []replica.Awaited{{Request: 1, Session: 1, Sequence: 1}},
		Answers: []replica.Answer{{Request: 1}}, Reads: []replica.ReadAnswer{{Request: 2}}, Events: make([]protocol.Event, 1),
		Diverged: &gossip.Divergence{}, PutBack: make([]protocol.RunOf, 1), Quarantine: &storage.Quarantine{At: 1},
	}
}

// What is to be persisted begins before anything is sent, and what is sent before
// anything is applied; whoever doubts its state does so before it answers a read. A
// process that dies of an effect does not begin the next kind.
func TestEffectsBeginInTheOrderOfSafety(t *testing.T) {
	want := []string{
		"expel", "doubt", "note", "persist", "send", "apply", "read the log", "repair", "work on the store", "read the store", "read the store",
		"answer", "answer a read", "tell",
	}
	serve := func(deadAt int, fx *replica.Effects) []string {
		h := &recorder{deadAt: deadAt}
		note := func(storage.Quarantine) error { return nil }
		New(Config{Context: context.Background(), Hands: h, Answers: h.waiting(), Quarantine: note}).serve(fx)
		return h.did
	}
	if got := serve(0, everything()); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, dead := range []int{3, 4, 5, 6} {
		if got := serve(dead, everything()); !slices.Equal(got, want[:dead]) {
			t.Errorf("dead after %d: got %q", dead, got)
		}
	}
	// [S] Two histories: the member neither stores nor sends what it has not yet.
	fx := everything()
	fx.Stop = errors.New("two histories")
	if got, want := serve(0, fx), []string{"expel", "doubt", "tell", "stop"}; !slices.Equal(got, want) {
		t.Errorf("a member that must stop: got %q, want %q", got, want)
	}
}

// damaged is a store whose checkpoints cannot be read.
type damaged struct {
	storage.CheckpointStore
	bad []protocol.Index
}

func (*damaged) ReadChunk(context.Context, protocol.Index, int) ([]byte, error) {
	return nil, protocol.ErrCorrupt
}
func (s *damaged) Bad(i protocol.Index) error { s.bad = append(s.bad, i); return nil }
func (*damaged) Kept() []storage.Manifest     { return nil }

// A checkpoint that is found damaged while others read it is given up, by who may
// change the store.
func TestADamagedCheckpointIsGivenUp(t *testing.T) {
	store, h := &damaged{}, &recorder{}
	d := New(Config{Context: context.Background(), Hands: h, Store: store})
	d.serve(&replica.Effects{ReadChunk: []replica.ChunkRead{{Index: 7}}})
	if done := h.lanes[Chunks][0](); done.Tell == nil || !errors.Is(done.Note.Err, protocol.ErrCorrupt) || len(store.bad) > 0 {
		t.Errorf("got %+v, and %d is given up", done, store.bad)
	}
	if done := h.lanes[Store][0](); done.Tell == nil || !slices.Equal(store.bad, []protocol.Index{7}) {
		t.Errorf("got %+v, and %d is given up", done, store.bad)
	}
}

// What waits when a member ends leaves the store as it is.
func TestNothingIsGivenUpAfterTheEnd(t *testing.T) {
	ended, end := context.WithCancel(context.Background())
	store, h := &damaged{}, &recorder{}
	d := New(Config{Context: ended, Hands: h, Store: store})
	d.serve(&replica.Effects{ReadChunk: []replica.ChunkRead{{Index: 7}}})
	h.lanes[Chunks][0]()
	end()
	if done := h.lanes[Store][0](); done.Tell != nil || done.Failed != nil || len(store.bad) > 0 {
		t.Errorf("got %+v, and %d is given up", done, store.bad)
	}
}

// The end of a member is told to nobody, and a disk that fails ends it; whatever else a
// store cannot do is told to the replica, and is no reason to end.
func TestWhatBecomesOfAnErrorOfTheStore(t *testing.T) {
	memory, err := checkpoint.NewMemory(checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	for _, test := range []struct {
		ctx          context.Context
		err          error
		told, failed bool
	}{
		{context.Background(), nil, true, false},
		{context.Background(), protocol.ErrNoSpace, true, false},
		{context.Background(), protocol.ErrClosed, false, false},
		{context.Background(), protocol.ErrDiskFailed, false, true},
		{ended, protocol.ErrDiskFailed, false, false},
	} {
		c := New(Config{Context: test.ctx, Store: memory}).checkpoints.done
		done := c(Note{Doing: Taking}, test.err, func(*replica.Replica, protocol.Instant) {})
		if told, failed := done.Tell != nil, done.Failed != nil; told != test.told || failed != test.failed {
			t.Errorf("%v: got %+v", test.err, done)
		}
	}
}

// loneVoter is the replica of a cluster of one, which campaigns at its first tick.
func loneVoter(t *testing.T) *replica.Replica {
	t.Helper()
	id := protocol.MemberID{1}
	conf := protocol.Configuration{Target: 1, Members: []protocol.ActiveMember{{ID: id, Name: "a1", Address: "a1:7000", Suffrage: protocol.SuffrageVoter}}}
	first := []protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(conf)}}
	protocol.EncodeEntries(first)
	protocol.SumEntries(protocol.LogSum{}, first)
	log := wal.NewMemory()
	if err := log.Write(protocol.Write{State: protocol.HardState{Term: 1, Commit: 1}, First: 1, Last: 1}, first); err != nil {
		t.Fatal(err)
	}
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	r, err := replica.New(0, replica.Config{
		ID: id, Run: 1, Seed: 1, Active: active.Config{Election: time.Second, Heartbeat: 100 * time.Millisecond}, CheckpointEvery: -1,
	}, log.Reopen().Opened(), replica.OpenedState{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A member whose disk has failed says what it still has to say, stores nothing more, and
// ends: its replica knows before anybody could be told that something was stored.
func TestADiskThatFailsEndsAMember(t *testing.T) {
	r, h := loneVoter(t), &recorder{}
	d := New(Config{Context: context.Background(), Replica: r, Hands: h, Answers: NewAnswers(), Watch: func(fx *replica.Effects) {
		if p := fx.Persist; p != nil {
			h.writes = append(h.writes, p)
		}
	}})
	now := protocol.Instant(0)
	for range 10 {
		now = now.Add(2 * time.Second)
		r.Tick(now)
		d.Serve()
	}
	if len(h.writes) != 1 {
		t.Fatalf("%d writes under way, want one", len(h.writes))
	}
	w := NewLogWriter(&script{errs: map[string][]error{"sync": {errors.New("i/o error")}}})
	w.Begin(h.writes[0])
	w.Step()
	did := w.Step()
	if d.Complete(now, did.Done) || !slices.Contains(h.did, "disk failed") {
		t.Errorf("the member goes on: %q", h.did)
	}
	for range 10 {
		now = now.Add(2 * time.Second)
		r.Tick(now)
		d.Serve()
	}
	if len(h.writes) != 1 {
		t.Error("it writes on after its disk has failed")
	}
}
