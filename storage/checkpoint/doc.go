// Package checkpoint is the store of checkpoints: the whole state at an index,
// the last two of them, on Badger, or on a flat file for a simulated disk and
// for members without one.
//
// # On disk
//
// A directory holds two pointer files, one for each kept checkpoint, and one
// folder for each store. A store holds checkpoints of one log: a full one, and
// the incremental ones on top of it, told apart by Badger's timestamp, which is
// the index of the checkpoint. A pointer names a store and has the description
// of the checkpoint, with the sums of its chunks. It is written after the data
// is durable and read back, to a temporary file, renamed over the pointer of the
// older one. A folder that no pointer names is what a crash left, and is removed.
//
//	pointer-1, pointer-2     the two that are kept
//	store-00000007/          a Badger directory, or one with a flat file
//	opening-00000007         how often it killed the process in Open, this boot;
//	reading-00000007         and while it was read
//	tainted-00000007         a checkpoint in it was bad: nothing goes on top
//	bad-00000007-30          the pointer of that one, until the next is complete
//	aside-00000007-20        the pointer of one whose store cannot be opened
//	install, install-spool   what is being installed, and the chunks so far
//
// # What is trusted
//
// Nothing that Badger returns. Content is cut into chunks of 128 to 256 KiB
// whose boundaries depend on the items only, so that all members that hold a
// checkpoint hold the same chunks and sums. No item leaves this package before
// its chunk has been compared with the sum in the description, and what the
// owner's digest finds besides it reports with Bad.
//
// Because a boundary depends on what stands near it and not on all that precedes
// it, an incremental checkpoint recomputes only chunks that it changed.
//
// The owner holds the lock of the member's directory; this package takes none
// besides Badger's own.
//
// # Cost
//
// An incremental checkpoint of no changes costs a few milliseconds: the pointer
// with the sums of all chunks, and two syncs of the directory. Badger keeps each
// of its tables open: by its sizing of tables about 150 files for 1 GB and 800
// for 10 or 20 GB, for each store; there are two after a full checkpoint or an
// install, and one more for each that is pinned. Go raises the soft limit of
// open files to the hard one; that should be 4096 at least.
package checkpoint
