// Package protocol is the words: ids, entries, configurations, messages,
// Ready, error codes, limits, and the msgpack codec in which they cross the
// network and reach the disk.
//
// It holds types, their invariants and their encoding, and no behaviour. Every
// other package of Starling imports it; it imports none of them.
//
// # Encoded once
//
// The leader encodes an entry once (EncodeEntries). Those bytes, Entry.Raw, go
// to its log, to the followers and, later, to the passives; everybody else
// decodes by aliasing and forwards what it received. The log sum is taken over
// the same bytes, so it is equal on all members.
//
// # Hostile until decoded
//
// All decoders are written by hand. They check each length against what is
// left before they allocate, limit depth, and return a typed error, never a
// panic, whatever the input. A decoded value aliases the input unless its
// comment says otherwise.
package protocol
