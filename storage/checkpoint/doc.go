// Package checkpoint is the store of checkpoints (other systems say snapshots): the
// whole state at an index, the last two of them. Each is kept in a database of its own,
// by an engine (storage/engine): Badger, a flat file for members without a disk, or what
// stands for Badger on a simulated one.
//
// # On disk
//
// A directory holds two pointer files, one for each kept checkpoint, and one
// folder for each store. A store holds one checkpoint. A pointer names it and has
// the manifest of the checkpoint, with the sums of its chunks. It is written after
// the store has been closed, opened anew and read, to a temporary file, renamed over
// the pointer of the older one. A folder that no pointer names is what a crash or a
// fault left, and is removed.
//
//	pointer-1, pointer-2     the two that are kept
//	store-00000007/          the files of the engine
//	store-00000007/sums      the sums of the files that are needed of it
//	view-12345/              links to the files of a store that is open
//	opening-00000007         how often it killed the process in Open, this boot;
//	reading-00000007         and while it was read
//	bad-00000007-30          the pointer of a bad one, until the next is complete
//	aside-00000007-20        the pointer of one whose store cannot be opened
//	install, install-spool   what is being installed, and the chunks so far
//
// An incremental checkpoint takes the place of the older of the two, and its store
// begins with that one's tables, which are linked, never changed: the two that are
// kept have no file in common.
//
// # What is trusted
//
// Nothing that an engine returns. Content is cut into chunks of 128 to 256 KiB
// whose boundaries depend on the items only, so that all members that hold a
// checkpoint hold the same chunks and sums. No item leaves this package before
// its chunk has been compared with the sum in the manifest, and what the
// owner's digest finds besides it reports with Bad.
//
// Because a boundary depends on what stands near it and not on all that precedes
// it, it is known what the chunks of an incremental checkpoint must be when those
// that it changed have been recomputed. All of them are compared with what is read
// from the store that was opened again. What an engine reports in the background, and
// any file that is not as it was when the store was complete, ends its use.
//
// Errors of the operating system say nothing about the data: what cannot be opened
// is tried again and then refused, a checkpoint that cannot be written is given up.
// An engine that never returns holds nobody who waits for it.
//
// The owner holds the lock of the member's directory; this package takes none.
//
// # Cost
//
// A checkpoint reads the whole state once, an incremental one of a million small
// keys in less than a second. What an engine needs of open files is in its package.
package checkpoint
