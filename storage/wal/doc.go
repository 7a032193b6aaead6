// Package wal is the segmented write-ahead log: the entries that a member
// holds, and its hard state, on a disk that it does not trust.
//
// # On disk
//
// A directory holds two copies of the identity, a lock, and the folder "log"
// with the segments. A segment is a file that was filled with zeros, or used
// before, and then got a header, a nonce and its name, in that order. Records
// follow on 8-byte boundaries; see record.go and segment.go for the bytes. All
// integers are little-endian.
//
// # What can be relied on
//
// Each record has a sequence number and says how far the log was known to be
// synced when it was written ("durable"). That decides what a bad record means:
// it is corrupt if any good header after it says that it had been synced, and
// torn otherwise. A torn record was never acknowledged: it is dropped, with all
// that follows. A corrupt one is kept and reported.
//
// Every record carries term, vote and commit index, and so does every segment's
// header, so that hard state neither needs a file of its own nor dies with an
// old segment.
//
// Opening trusts nothing that was not known to be synced: records beyond that
// are copied into a new segment, which is synced before the log is used.
package wal
