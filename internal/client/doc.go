// Package client is the client half: sessions, sequence numbers, retries, and
// the choice of the member to talk to.
//
// A Client turns single requests, which may be lost, refused or answered
// twice, into commands that take effect at most once, and exactly once if they
// are answered. It works over a Transport: a Remote, which holds connections
// to the members of a cluster elsewhere, or a member in the same process.
//
// # Why nothing happens twice
//
//  1. A command gets a sequence number of the client's session, and keeps it
//     through all attempts.
//  2. Whoever applies it remembers, in the replicated state, that the session's
//     number was executed, and the answer. A second copy gets that answer.
//  3. The client says with each command which answers it still waits for (the
//     floor), so that the others can be forgotten. A copy that turns up later,
//     below the floor, is refused.
//  4. A client that gives up on a command says so by raising the floor. Until
//     that arrives the command may still happen: ErrUnknownOutcome.
//  5. If the session is gone, nobody remembers. So a command never moves to
//     another session once it may have been received in the first.
//
// A one-shot has no session: it is for who writes once and goes. It has a random number
// instead, which the state knows for half a minute, and says what its client had seen
// before the number was drawn. Whoever applies it refuses what has seen so little that
// its number may be forgotten. See OneShot, and docs/adr/0045-one-entry-for-one-write.md.
//
// # How long it takes
//
// As long as the caller's context. Whether a member is at work is asked on its
// connection, not guessed from the time that an answer takes; who leads is asked
// of another member while a command waits. See docs/timeouts.md.
package client
