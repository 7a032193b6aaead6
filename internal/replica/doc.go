// Package replica is one member without goroutines: it joins a role, gossip,
// the log in memory and the requests of clients; it takes events and
// completions, and hands out effects in the order that safety asks for. It
// never waits.
//
// # The order
//
// Effects are served in the order of their fields: what is to be persisted is
// started first, then messages are sent, then committed entries are applied.
// No message depends on a write that has not completed, because the roles hold
// such messages back until Persisted. At most one write is in flight; the next
// one gathers meanwhile. Applying may lag behind without bound: entries that
// are no longer in memory are read from the disk again.
//
// # One role at a time
//
// The role follows the log (protocol.Configurations.RoleOf) and is judged at
// the end of every step, never entry by entry. A switch hands the same log
// from one role to the other; nothing is copied.
//
// # Parts
//
// A Replica is the joint of its parts, and owns the order above. Each part is a
// type of its own on a common ground, and names what it needs of others as
// ports: docs/architecture.md has a drawing, and connect joins them. What a
// member may do in trouble is its standing, and asked there alone.
//
// # Who owns what
//
// A Replica belongs to one goroutine. Slices of entries in its effects are
// shared with that goroutine and must only be read.
package replica
