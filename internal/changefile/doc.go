// Package changefile keeps what a member has changed since it was started, as far as it has left
// its memory: a bounded file, from which watches that are behind are told.
//
// It is a cache. What it holds is true of one run and one state, so it is never synced, is removed
// at the start and at the end, and begins anew whenever the state does. Nobody waits for its disk
// but those who read it: what the disk does not take in time is not kept, and the file begins anew
// behind it. A disk that fails costs the file, and nothing else.
//
// The file is a ring of blocks. Where they are and what their sums are is in memory alone, since
// no other run reads them.
package changefile
