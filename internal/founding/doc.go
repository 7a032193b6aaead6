// Package founding decides whether a member that has no cluster yet begins one,
// or joins one, as a deterministic state machine: questions and answers in, a
// verdict out. It sees to it that members that were started together make one
// cluster, however they crash, restart, and lose messages.
//
// # The rule
//
// [S] A cluster begins only when every member that is named has promised not to
// begin one itself. Silence is no answer. A promise is written down before it is
// given, holds for one list of members, and is lifted by a person only
// (Config.Promise is then left out). It keeps nobody from joining.
//
// Who was told to begin asks in two rounds, so that nobody is bound by one who
// waits for ever: first whether there is a cluster, and, once all have answered
// that they have none, for their promise. What is asked for it gives it, unless
//
//   - it was told to begin as well and has the lower address: then it will ask
//     itself, and is waited for. Of two that may begin one has promised the
//     other, and [S] who has promised begins no more;
//   - it was told to begin with another list: then the two could each be content
//     with what the other does not name. Both lists are shown, and nobody is asked
//     for a promise;
//   - it has promised those of another list already.
//
// Lists that differ end a start when both are known, that is when all that are named
// have answered: until then a list may have the member itself on it once more, by a
// name that means another address on its own machine.
//
// Lists are compared as sets, as what was given or as what that means: a name can
// mean another address on its own machine, and an address have more than one
// name. Which is the lower of two addresses is decided by the same comparison.
//
// With Config.Expect members find each other: who asks is asked as well, and
// there must be exactly so many that were told to begin.
package founding
