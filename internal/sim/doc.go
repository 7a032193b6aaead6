// Package sim is a whole cluster in one goroutine from one seed, with broken
// networks and disks, and checkers.
//
// The members are the real ones: internal/replica with its roles and its
// gossip, the real write-ahead log and the store of checkpoints, on a file system
// in memory and an engine that fails as Badger does, and the real state machine.
// Simulated are time, the network, membership, the moments at which disks answer and
// processes die, and the clients. All chance comes from the seed, so a seed is a trace
// that can be watched again: Run it with a trace.
//
// # How it is put together
//
// A run is layers, each of which sees those below it and none above (layers.go), and a
// member is parts that stand on a process (member.go, process.go): docs/architecture.md
// names them all. A process is the replica and the driver of production, with the schedule,
// the disk and the network as their hands. What a new stream is answered with,
// internal/handshake decides.
//
// # What it does to a cluster
//
// A seed draws a profile (quiet, lossy, partitions, crashes, power, churn, seats,
// rot, repair, chaos) and from it a stream of faults: links cut one way or both, clogged,
// slowed; datagrams lost, doubled and reordered; streams broken; processes that
// die at any boundary between two effects; machines that lose power, one or
// all, and with it the pages that were not synced, in any order and torn; syncs
// that fail or take seconds; members that are paused while their clocks go on;
// clocks that drift; wall clocks that are set, of one member or of all, and pauses that
// are hidden from boot time; members that join late; halves of the flock that are away for
// longer than the dead are remembered, and members that hear and are not heard.
//
// Who lives, members find out as memberlist does (internal/virtual/memberlist), over the same
// links, late and sometimes wrongly; whom they do not hear they look for as in production
// (gossip/reunion).
//
// Disks are wiped, and their members come back under new ids; bits flip and
// pages land where they should not in the logs of stopped members, which they
// repair with the help of the others before they have a role again; disks fill up;
// directories are put back from old copies, which the others must refuse.
// In some seeds single calls of the operating system fail, of any kind, on any file,
// for want of descriptors, memory or room, or because the disk did not answer; and
// places of files cannot be read, for a while or until the end. A member may end of
// such a call, or not start: the next start that meets none needs no help.
//
// An operator promotes, demotes and removes members, leaders too, several at
// once, hands the leadership over and sends members away, while the policy goes
// on beside it. Some clusters have leases, some clocks run at half speed to
// double speed.
//
// States diverge, at actives and passives, leaders too: a bit flips in memory,
// or an entry is applied wrongly. Such a member is exempt from the rule of equal
// digests until its state is right again, and nobody hears what it answers until
// it knows; then it answers nobody. Checkpoints of these clusters have many chunks.
//
// Promises hold for the loss of a minority, so no more than that is lost: see
// cluster.tolerates. A damaged log counts as lost until it is repaired, but all
// voters' logs may be damaged at once if each entry can still be read somewhere.
// Two faults are kept within what a member can know. A log rots once it says on
// disk that all of it is durable, because a record that nothing vouches for yet
// looks like the torn end. A directory is put back while all that may vote
// remember it, and there are no other faults until its member has been told,
// because one that nobody remembers may help to elect a leader that lacks
// acknowledged writes.
//
// # What it demands
//
// After every step the checkers look at what is new: see the Rule constants.
// Programs keep watches, and copies of the map, at whatever member (onlookers.go): all that they are told
// is held against what the log has changed (package told). Where they watch, package attempt decides, as
// it does for clients: they leave members that are old (aging.go), and members tell from files of changes what
// their memory has lost (behind.go).
// Clients read at all levels, at any member: linearizable, of a session, at most
// so old, and local.
// At the end the faults stop, and within a bounded time there must be a leader,
// the voters that the target asks for, equal digests at an equal index on all
// members, which all see each other, an answer for every client, and histories that are linearizable.
package sim
