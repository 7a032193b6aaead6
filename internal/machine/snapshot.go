package machine

import "github.com/starlinghq/starling/internal/state"

// Snapshot is the whole state as it was at one index: what a checkpoint writes.
type Snapshot = state.Snapshot

// CheckpointItem is one key of a state, or that it is gone.
type CheckpointItem = state.Item

// Digest is a 128-bit sum over all keys of a state: members that applied the same index
// have the same one.
type Digest = state.Digest

// DigestFrom reads what Digest.Bytes returned.
func DigestFrom(b [16]byte) Digest { return state.DigestFrom(b) }

// Snapshot takes a snapshot of the state at the applied index, which must not
// be 0, and, with Config.Track, makes it the base of the next one. The applying
// goroutine calls it, between calls of Apply. It takes constant time.
func (m *Machine) Snapshot() *Snapshot { return m.state.Snapshot() }
