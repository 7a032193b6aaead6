// Package gossip is on every member: it carries entries, commit knowledge,
// freshness and checkpoints between members (links, HAVE/WANT, pulls, swarm)
// as a deterministic state machine; gossip/swim is memberlist and its
// transport.
//
// It speaks of the committed prefix only. An active whose committed last index rose
// makes frames and sends each to a few random passives; whoever sees a frame
// for the first time passes it on. That misses some members, so whoever learns
// that others hold more than it does pulls the gap. Both need no knowledge of
// who has what: frames are told apart by the indexes that they carry.
//
// # Two modes
//
// Mode Flood is just that, epidemic broadcast: random members, each time anew.
//
// Mode Hybrid, the default, is a Plumtree (epidemic broadcast trees, Leitão, Pereira
// and Rodrigues, SRDS 2007) with changes of ours. A member sends over a few links that
// stay. An eager link carries every frame; a lazy one, here called pruned, a copy now
// and then. At first every frame comes by all links; a duplicate prunes the link that
// it came by (PRUNE), a gap grafts one (GRAFT), and what is left is a tree:
//
//	    leader ------ follower       actives: Raft among themselves;
//	   /  |  \        /  |  \        each feeds three passives
//	  a   b   c      d   e   f
//	 / \      |      |       :       ---  eager link: every frame, once
//	g   h     i      j . . . :       . .  lazy (pruned) link, here from f to j: a
//	                                      frame in twenty, to repair the tree before
//	                                      a timer would
//
// Links have a direction: each passive chooses its parents, and an active the three
// passives that it feeds. Two rules keep the tree whole while it is pruned.
//
//   - Taint: a copy that came by a random or pulled hop is marked, and so is all that it
//     leads to. A link is pruned only when the first copy was not marked, or two
//     members would prune one another for what a chance brought (see arrived).
//   - Anchor: the one parent that is never pruned. Another link takes its place when it
//     wins, that is: was first, three times in a row (see anchorBeaten).
//
// A copy over a lazy link is said to cross (see push in eager.go).
//
// A parent that leaves three holes in a row is pruned, the anchor too. Where holes are
// common, more parents are wanted (see parentsWanted), and the children of lazy links hear
// of each frame (see tell in eager.go). What comes by stream may be late, is not lost, and
// is not pulled as soon (see lateness).
//
// What the tree misses, because a member died, a datagram was lost or a link was pruned
// too many, is found by anti-entropy: every 50 ms a member says to its anchor and to a
// random peer what it has (HAVE: its last index, holes, the log's begin, checkpoints), and who
// sees that another one has more pulls the gap (WANT). So completeness depends on no
// tree; the tree makes it cheap: about one copy of each frame for each member, where
// flood has three.
//
// A member that is below the begin of all logs fetches a checkpoint from several others at
// once, chunk by chunk (see fetch.go): a swarm.
//
// # What a slow member can cost
//
// That is bounded in two places. The core bounds how many children a member has, and what
// it gives to pulls and of checkpoints. The owner bounds what waits on each connection,
// and drops what does not fit: whatever is missing is pulled.
//
// # The parts
//
// Each part is a type with fields of its own, and has of the others what its fields name: a
// small interface, or the part itself. Core owns them, gives each message, tick and word of
// its owner to whom it concerns, and knows nothing else.
//
//	                messages, ticks, the owner's word
//	                              |
//	                            Core
//	                              |
//	  dissemination (Plumtree)    |   anti-entropy            checkpoints
//	+-------------------------+---+---------------------+---------------------+
//	| push    new frames of   | presence what HAVE says | seek      looks for |
//	|         an active       | digest   whom to send   |           one       |
//	| links   eager and lazy  |          it, who answers| fetching  the swarm:|
//	|         neighbors       | pulling  gaps, and WANT |           whom to   |
//	| tree    what duplicates | serving  what a WANT    |           ask       |
//	|         and holes teach |          gets           | giving    chunks for|
//	| intake  frames that     | fresh    how old this   |           others    |
//	|         wait; runs      |          state can be   | needs     who is    |
//	|                         |                         |           behind    |
//	+-------------------------+-------------------------+---------------------+
//	  carriers      whether datagrams come back, or streams have to carry all (the other way
//	                round is in small.go)
//	  heed, trust   whose word counts, with and without signatures
//	  doubt         whose log is right, if two do not fit
//	  members       who lives, and what each was given (budgets)
//	  standing      where this member's own log stands
//	  outbox        what goes out: Ready
//
// Where two parts need each other, one of them declares a small interface for what it needs.
//
// # Inputs and outputs
//
// A Core is without goroutines, clock, disk or network, and belongs to one
// goroutine. Its owner tells it of peers, progress, messages and time, and
// serves the Ready that follows. The same inputs give the same outputs: all
// choices come from one seeded source.
package gossip
