// Package machine is the replicated state machine of one member. It applies entries to a
// state (package state): commands of the types that a registry knows (package
// resources), and those on sessions (package sessionop). One goroutine applies, any number
// of others query, watch and wait.
//
// # Checkpoints
//
// A type has no part in them: all it has is in the state. [Machine.Snapshot]
// is the whole state at one index, or what changed since the snapshot before,
// read while entries go on being applied. [Loader] makes a state of the items
// again, beside the one in force, and refuses what no state can be;
// [Machine.Install] puts it in force. From then on the machine answers, and its
// digest is, as if it had applied every entry itself. Sessions, catalogue,
// deadlines and cluster time are in the state and come with it; the texts of
// errors that a session remembers do not, only their codes.
//
// To recover a cluster offline, [Config] can have entries refused, and
// [Machine.EndSessions] makes the first state of the new cluster.
package machine
