// Package wire is framed connections and their handshake: how members and
// clients talk to each other over streams.
//
// # The stream
//
// One TCP port serves everything. A stream of ours begins with eight bytes,
// Magic, and a Hello frame, in both directions; memberlist's streams begin with
// its label; anything else is told what this port speaks and closed (Sniff).
// After that come frames:
//
//	u32 big-endian payload length | u8 version | u8 kind | payload
//
// A Hello, whose frame has version 0, says which versions of the protocol its sender
// speaks; all versions read it. What follows has the highest version that both sides
// know. Where there is none, both say who has to be upgraded.
//
// # Who talks
//
// A Peer is a member's outgoing link to another member. It carries messages in
// one direction and drops what does not fit: Raft and gossip tolerate loss. What
// comes back are pings, and what the other side says of its directory: by the pings
// a Server finds out whether the run at the other end is at work, before it lets
// another run of the same member in (Identity). Where nothing comes back, the Peer
// sends pings of its own, and ends a stream on which they are not answered. A
// ClientConn carries requests and their answers, many at a time. A Server
// accepts both kinds and hands what arrives to a Handler.
//
// # Limits
//
// Frame lengths are checked before anything is allocated, and a long frame
// earns its memory as its bytes arrive. Handshakes, frames that have begun,
// idle streams and writes have deadlines. Queues are bounded in bytes and
// frames; small urgent messages have their own lane, so that a heartbeat waits
// for at most one write of data.
package wire
