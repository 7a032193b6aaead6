// Package state is the map that all replicated state is: ordered, versioned, cut into
// spaces, with one writer and many readers.
//
// The writer is the machine that applies entries (package machine). It works on the
// current entry, and nobody sees anything of that until the entry ends. Readers open a
// [View], or a [Snapshot] for a checkpoint, at the published index, and read what was
// there at that index for as long as they hold it. [State.Digest] is a sum over all keys
// which members compare. Of types of resources it knows the names, of sessions and watches nothing.
package state
