// Package recovery begins a new cluster from what is left of one that has lost
// its quorum for good: offline, explicit, and with nothing deleted.
//
// A cluster without a majority of its voters can decide nothing, not even who
// its voters are. Somebody who knows that the others are gone has to say so. The
// survivor whose log reaches furthest then becomes the only member of a new
// cluster; everybody else joins that one with an empty directory.
//
// [S] A cluster that is begun beside one that can go on is worse than none: QuorumOf
// looks at all directories at hand together, and where a majority of the voters is
// among them, sound and not put back, Recover begins nothing unless it is told to.
//
// What was acknowledged by a majority that is gone may be lost: it is there only
// if a survivor has it. Survey says how far each one reaches, so that the best
// is chosen, passive members included.
//
// [S] The new cluster has another id, so that members of the old one are refused
// whenever they come back. Its log begins far above the old one's end and its
// term above the old one's: indexes are fencing tokens, versions and offsets,
// and must never go back. Its log sum begins from the new id, so that no entry
// of the old log fits. All sessions are closed: what they guarded is free, and
// their clients learn of it.
package recovery
