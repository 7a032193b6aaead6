// Package attempt is what a client decides about one request: whom it asks, what an
// answer means, whether and when it asks again, and which sequence numbers its
// commands have. It has no goroutines, no connections and no clock: internal/client
// gives it all three, and the simulator a schedule, so that both run the same code.
//
//   - Command and Question are the attempts at one request, from the first to the
//     answer: a command takes effect at most once, a question may be asked any number
//     of times.
//   - OneShot is those at a command that belongs to no session, with its number.
//   - Pause is the time between two attempts.
//   - Round is one attempt of a client of a cluster elsewhere: it goes from member to
//     member until one can help.
//   - Endpoints is what such a client knows of the members: addresses, who leads, who
//     is tried last for a while.
//   - Search says when somebody has waited so long that the others are asked who leads.
//   - Watch is what becomes of one watch at members that come and go: what of that which
//     they tell is news, how old all of it is, and where it goes on. Opening is one
//     attempt to have a member take it.
//   - Sources says which member watches go to first, and when they leave one, a Source,
//     because its state is old.
//   - Window gives the commands of a session their sequence numbers and its floor.
package attempt
