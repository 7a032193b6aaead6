// Package runtime gives a replica time, goroutines, sockets and disks.
//
// # Goroutines of a member
//
// The loop owns the replica. It takes everything that has gathered in the
// mailbox at once, hands it to the replica, and serves the effects. Beside it
// run the log writer (one write and one sync at a time), the applier (the one
// writer of the state), the log reader (entries that are no longer in memory),
// who keeps the small files, a pulse that waits for no disk, a reader and a
// writer for each connection, and memberlist's own. None of them waits for the
// loop except by a bounded queue; the loop waits for nobody.
//
// # Graceful and sudden ends
//
// Shutdown stops taking requests, lets what is in flight finish, flushes the
// log and leaves the membership. Kill stops at once, like a crash. A disk that
// fails stops the member by itself: Done is closed and Err says why.
package runtime
