package sim

import (
	"sync/atomic"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// The layers of a simulation, from below. Each holds what it adds, sees the layers below
// it, and knows of none above: what a part is given, the network or an operator, is the
// layer that it needs. Each is a value in the next one, so that a run is one piece of
// memory. Everything in it belongs to one goroutine.

// stage is what a run stands on: time, chance, what is told and counted, and the verdict.
type stage struct {
	seed     uint64
	options  Options
	random   streams
	plan     plan
	schedule schedule
	trace    trace
	counts   Counts
	registry *resources.Registry

	violation    error
	over         bool          // no promise covers what may come: see mostAreRight; or it was stopped
	quiet        bool          // faults have stopped
	faultFreeFor int           // directories that were put back and that nobody has found: no other faults meanwhile
	beat         atomic.Uint64 // the step under way, for whoever watches
}

// cluster is who is there, and who will never be again. It says what of it may be lost.
type cluster struct {
	stage
	members []*member
	graves  map[protocol.MemberID]grave
}

// checkers know the one history that there is to be, and who has to do with it.
type checkers struct {
	cluster
	ledger     *ledger
	state      *state
	heard      map[answering]Time // when a leader was answered last
	unforeseen map[proposal]bool  // configurations of which too few voters were left; see stuck.go

	lastLeader    *member
	configuration protocol.Configuration // the newest that was applied
	forked        bool                   // for a test: most directories were put back
}

// supervisor starts processes, and lets them end, with their network and what they see of
// each other.
type supervisor struct {
	checkers
	network    *network
	membership *membership
}

// directories are copied, lost, and put back by people. Members, and the people that look
// after them, are given this layer; the parts of members see the checkers, and more by ports only.
type directories struct {
	supervisor
	copying *copying // the copy that there is
	copied  int      // how many there were
}

// load is what clients do to a cluster.
type load struct {
	directories
	clients   []*client
	onlookers []*onlooker
	values    int  // written so far; makes each value unique
	mute      bool // nobody reads at a level: for a test
}

// nemesis is all the trouble that a cluster has.
type nemesis struct{ load }

// simulation is one run.
type simulation struct {
	nemesis
	asked    Options // options before their defaults
	operator *operator
}
