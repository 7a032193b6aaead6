// Package member drives a replica's effects: it is what stands between a replica,
// which only says what is to be done, and whoever gives it a disk, a network and time.
//
// The runtime gives it goroutines, the simulator a schedule of virtual time. Both run
// what is here: in which order effects begin (Driver), what the writer of the log does
// with a change and when it notes how far the log lasts (LogWriter), what is done on
// the store of checkpoints, and what becomes of an error (Checkpoints).
//
// # Steps and lanes
//
// Nothing here starts a goroutine or waits. Work is cut into steps: a function that
// does one thing and returns a Done, which says what is to be told to the replica, and
// whether the member can go on. Steps that touch the same thing are in one Lane, one
// after the other; two lanes run at the same time. Between two steps a member may stop
// for good at any time, as a crash would have it: the simulator does that.
package member
