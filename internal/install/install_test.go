package install_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/install"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

func described(i protocol.Index, chunks int) storage.Manifest {
	return storage.Manifest{Index: i, Chunks: make([]storage.ChunkSum, chunks)}
}

func newFlock() *gossip.Core { return gossip.New(0, gossip.Config{ID: protocol.MemberID{1}}, nil) }

// begun returns a fetch of a checkpoint of three chunks of which one is there.
func begun(t *testing.T) (*install.Checkpoint, *gossip.Core) {
	t.Helper()
	x, flock := &install.Checkpoint{}, newFlock()
	if step := x.Begin(0, flock, described(40, 3)); step.Begin == nil || step.Begin.Index != 40 {
		t.Fatalf("the first step is %+v", step)
	}
	if step, err := x.Begun(0, flock, 40, []int{0, 2}, nil); step != nil || err != nil || x.Phase != install.Fetches || x.Left() != 2 || x.Chunks() != 3 {
		t.Fatalf("got %+v, %v, %+v; two of three chunks are to come", step, err, x)
	}
	return x, flock
}

// [S] An answer to a checkpoint that was begun before says nothing about the one that
// has taken its place: with nothing missing of the old one, the new one would count as
// complete.
func TestAnswerOfAnotherCheckpointIsNotHeeded(t *testing.T) {
	x, flock := &install.Checkpoint{}, newFlock()
	x.Begin(0, flock, described(40, 3))
	x.Begin(0, flock, described(60, 2))
	for _, err := range []error{nil, errors.New("late")} {
		if step, err := x.Begun(0, flock, 40, nil, err); step != nil || err != nil || x.Phase != install.Begins {
			t.Errorf("got %+v, %v, phase %d; want nothing", step, err, x.Phase)
		}
	}
	if step, err := x.Begun(0, flock, 60, nil, nil); err != nil || step == nil || !step.Finish {
		t.Errorf("got %+v, %v; nothing is missing of the new one", step, err)
	}
}

func TestEachChunkIsAddedOnce(t *testing.T) {
	x, flock := begun(t)
	for _, c := range []gossip.ChunkArrived{{Index: 39, Number: 0}, {Index: 40, Number: -1}, {Index: 40, Number: 3}, {Index: 40, Number: 1}} {
		if step := x.Arrived(0, flock, &c); step != nil {
			t.Errorf("chunk %d of %d is handed to the store", c.Number, c.Index)
		}
	}
	from := protocol.MemberID{2}
	var added []int
	for _, n := range []int{2, 0} {
		step := x.Arrived(0, flock, &gossip.ChunkArrived{From: from, Index: 40, Number: n, Data: []byte("x")})
		if step == nil || step.Chunk == nil || step.Chunk.Number != n || step.Chunk.From != from {
			t.Fatalf("chunk %d: got %+v", n, step)
		}
		added = append(added, n)
		next, err := x.Added(0, flock, n, protocol.ErrCorrupt.With("not these bytes"))
		if next != nil || err != nil || x.Left() != 3-len(added) {
			t.Fatalf("a wrong chunk: got %+v, %v, %d are to come", next, err, x.Left())
		}
		next, err = x.Added(0, flock, n, nil)
		if err != nil || (next != nil && next.Finish) != (len(added) == 2) {
			t.Fatalf("chunk %d of %v: got %+v, %v", n, added, next, err)
		}
		if next, err := x.Added(0, flock, n, nil); next != nil || err != nil {
			t.Fatalf("chunk %d once more: got %+v, %v", n, next, err)
		}
	}
	if !slices.Equal(added, []int{2, 0}) || x.Phase != install.Finishes {
		t.Errorf("added %v, phase %d", added, x.Phase)
	}
	x.End(0, flock)
	if x.Phase != install.None || x.Chunks() != 0 {
		t.Errorf("after the end: %+v", x)
	}
}

// What the store cannot do ends the fetch, whatever it was at.
func TestStoreThatFailsEndsTheFetch(t *testing.T) {
	failed := protocol.ErrDiskFailed.With("a bad disk")
	x, flock := &install.Checkpoint{}, newFlock()
	x.Begin(0, flock, described(40, 3))
	if step, err := x.Begun(0, flock, 40, nil, failed); step != nil || !errors.Is(err, protocol.ErrDiskFailed) {
		t.Errorf("at its begin: got %+v, %v", step, err)
	}
	x, flock = begun(t)
	if step, err := x.Added(0, flock, 0, failed); step != nil || !errors.Is(err, protocol.ErrDiskFailed) {
		t.Errorf("at a chunk: got %+v, %v", step, err)
	}
}
