// Package install gets a checkpoint from other members into a member's store, as steps
// without goroutines: for a member that installs one while it runs, and for one whose
// log is repaired before it starts.
//
// Whom to ask for which chunks, how many at a time, and who is left alone because it was
// silent or gave wrong bytes, gossip knows. The store says which chunks it lacks, and
// verifies each against the manifest; it resumes what an earlier run has of a
// checkpoint. This package keeps the two in step: the owner carries the Steps out, in
// order, and says how each went.
package install

import (
	"errors"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Flock asks the others for chunks: a gossip core.
type Flock interface {
	Fetch(protocol.Instant, gossip.Fetching)
	StopFetch(protocol.Instant)
	// ChunkAdded says what became of a chunk that has arrived.
	ChunkAdded(now protocol.Instant, number int, good bool)
}

// Step is one step of the installation of a checkpoint. Exactly one field is set.
type Step struct {
	// Begin begins it, or resumes what an earlier run has of it; what is under
	// way for another one is given up. It is answered by Begun.
	Begin *storage.Manifest
	// Chunk adds one chunk. It is answered by Added.
	Chunk *Chunk
	// Finish builds the state of the complete installation beside the one in
	// force, compares its digest, and makes the checkpoint the newest kept one,
	// durably. The state is kept until it is taken over, or Discard.
	Finish bool
	// Discard forgets the state that Finish has built.
	Discard bool
	// Abort gives the installation up, with its chunks.
	Abort bool
	// GiveUp says that the kept checkpoint of that index is bad
	// (storage.CheckpointStore.Bad).
	GiveUp protocol.Index
	// ConfirmedAt has the kept checkpoint of that index marked as Confirmed, or not
	// (storage.CheckpointStore.SetConfirmed).
	ConfirmedAt protocol.Index
	Confirmed   bool
}

// Chunk is one chunk of the content that is being installed.
type Chunk struct {
	From   protocol.MemberID
	Number int
	Data   []byte
}

// Phase is how far a fetch is.
type Phase uint8

const (
	None     Phase = iota
	Begins         // the store prepares
	Fetches        // chunks are to come
	Finishes       // the store builds the state and moves its pointer
	Kept           // it is there, durably: the owner makes its log follow, and calls End
)

// Checkpoint is the checkpoint that is fetched, if one is. It belongs to whoever has the
// flock that it is fetched from. The zero value fetches nothing.
//
// Its methods return the next step, if there is one. After an error the fetch cannot go
// on, and the owner calls End: what has come stays with the store.
type Checkpoint struct {
	Phase Phase
	D     storage.Manifest
	have  []bool // chunks, by number
	left  int
}

// Chunks returns how many chunks it has.
func (x *Checkpoint) Chunks() int { return len(x.have) }

// Left returns how many chunks are still to come.
func (x *Checkpoint) Left() int { return x.left }

// Begin fetches a checkpoint, in place of what is under way.
func (x *Checkpoint) Begin(now protocol.Instant, flock Flock, d storage.Manifest) *Step {
	flock.StopFetch(now)
	*x = Checkpoint{Phase: Begins, D: d, have: make([]bool, len(d.Chunks))}
	return &Step{Begin: &d}
}

// Begun answers Step.Begin, of the checkpoint at an index, with the numbers of the
// chunks that are wanted. [S] Another one may have been begun meanwhile: what is missing
// of the one says nothing about the other.
func (x *Checkpoint) Begun(now protocol.Instant, flock Flock, i protocol.Index, missing []int, err error) (*Step, error) {
	if x.Phase != Begins || i != x.D.Index {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for n := range x.have {
		x.have[n] = true
	}
	for _, n := range missing {
		x.have[n] = false
	}
	x.Phase, x.left = Fetches, len(missing)
	if x.left > 0 {
		flock.Fetch(now, gossip.Fetching{Index: x.D.Index, Sum: x.D.LogSum, Missing: missing})
	}
	return x.finish(), nil
}

// Arrived hands a chunk to the store.
func (x *Checkpoint) Arrived(now protocol.Instant, flock Flock, c *gossip.ChunkArrived) *Step {
	if x.Phase != Fetches || c.Index != x.D.Index || c.Number < 0 || c.Number >= len(x.have) {
		return nil
	}
	if x.have[c.Number] {
		flock.ChunkAdded(now, c.Number, true)
		return nil
	}
	return &Step{Chunk: &Chunk{From: c.From, Number: c.Number, Data: c.Data}}
}

// Added answers Step.Chunk. An error of protocol.ErrCorrupt says that these were not the
// described bytes: others are asked.
func (x *Checkpoint) Added(now protocol.Instant, flock Flock, number int, err error) (*Step, error) {
	if x.Phase != Fetches || number < 0 || number >= len(x.have) {
		return nil, nil
	}
	if err != nil && !errors.Is(err, protocol.ErrCorrupt) {
		return nil, err
	}
	flock.ChunkAdded(now, number, err == nil)
	if err != nil || x.have[number] {
		return nil, nil
	}
	x.have[number] = true
	x.left--
	return x.finish(), nil
}

// finish asks for the end of a complete installation.
func (x *Checkpoint) finish() *Step {
	if x.left > 0 {
		return nil
	}
	x.Phase = Finishes
	return &Step{Finish: true}
}

// End forgets the fetch, well or not.
func (x *Checkpoint) End(now protocol.Instant, flock Flock) {
	flock.StopFetch(now)
	*x = Checkpoint{}
}
