package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/virtual/memberlist"
	"github.com/starlinghq/starling/protocol"
)

// Profiles are the kinds of trouble that a seed can bring.
var profileNames = []string{"calm", "lossy", "partitions", "crashes", "power", "churn", "seats", "rot", "repair", "chaos"}

// Profiles that no seed draws.
const (
	// profileStates lets states diverge all the time. In each profile some seeds have
	// it, see plan.grow.
	profileStates = "states"
	// profileCalls lets calls of the operating system fail all the time, in the same way:
	// see plan.ail.
	profileCalls = "calls"
	// profileSlow makes the disks of a majority slow for good: see plan.tire.
	profileSlow = "slow"
	// profileSectors makes places of logs unreadable all the time, which members that keep
	// little in memory meet and repair while they run.
	profileSectors = "sectors"
	// profileRoom fills the disks of majorities while leaders go, so that votes pass what
	// waits for room.
	profileRoom = "room"
	// profileBlocks blocks one of the two transports all the time: see plan.wall.
	profileBlocks = "blocks"
)

// The shares of seeds that have more in store, whatever their profile.
const (
	divergedSeeds  = 0.18 // states diverge
	ailingSeeds    = 0.2  // calls fail
	sluggishSeeds  = 0.08 // disks are slow for good
	forgetfulSeeds = 0.4  // members keep little of their logs in memory
	wallSeeds      = 0.3  // wall clocks are set
	limitedSeeds   = 0.15 // the state has a limit that it comes to
	draggedSeeds   = 0.25 // leaders get slow
	blockedSeeds   = 0.3  // one of the two transports is blocked
	localSeeds     = 0.5  // members find out fast who lives
	seedGoneSeeds  = 0.5  // the address at which to look first means nobody after a while
	// forgettingSeeds is the share in which memberlist forgets the dead within seconds, not
	// half a minute: a run is too short for many such splits.
	forgettingSeeds = 0.6
)

// Profiles returns the names of all profiles.
func Profiles() []string {
	return append(slices.Clone(profileNames), profileStates, profileCalls, profileSlow, profileSectors, profileRoom, profileBlocks)
}

// plan is what a seed has in store.
type plan struct {
	profile string
	crew
	tuning
	weather
	pace
	pacing
	business
	keeping
	troubles
}

// crew are the members: how many are to be active, which share of the passives wishes to
// be, and who joins late.
type crew struct {
	late     []time.Duration // by member number; 0: at the start
	target   int
	eligible float64
}

// tuning is how the members are set.
type tuning struct {
	election, heartbeat, have time.Duration
	// appendBytes and inflight make appends and windows small; 0: the default.
	appendBytes, inflight int
	// lease is that of the configuration; wild says that clocks run at half
	// speed to double speed. Never both.
	lease time.Duration
	wild  bool
}

// weather is that of the network.
type weather struct {
	loss, double, breaks float64
	delay, jitter        time.Duration
}

// pace is how long disks and state machines take.
type pace struct {
	write, sync, apply time.Duration // means and a maximum
	slow               float64       // of syncs that take a hundred times as long
	// sluggish is what a sync takes, on average, at a majority of the actives, until
	// the faults stop; 0: what it takes at the others.
	sluggish time.Duration
}

// business is what the clients do.
type business struct {
	clients, depth int
	think          time.Duration
	session        time.Duration
}

// keeping is what members keep of their logs.
type keeping struct {
	// segment is the size of the logs' segments.
	segment int64
	// checkpoint is how many bytes of log there are between two checkpoints,
	// retain how many applied entries stay when the head is given up.
	checkpoint, retain int
	// retainBytes is how many bytes of them at most; 0: the default.
	retainBytes int
	// behind is how many bytes of log stay for members that are far behind; 0: the
	// default, which is more than there ever are, negative: none.
	behind int
	// tail is how many bytes of the end of a log stay in memory; 0: the default,
	// which is all of every log.
	tail int
	// limit is that of the state when the cluster begins; 0: none.
	limit int64
	// chunk is the least size of a checkpoint's chunks; 0: the default, which
	// makes one of everything.
	chunk int
}

// troubles are how often what goes wrong.
type troubles struct {
	// every is the mean time between two faults; weights say which.
	every   time.Duration
	weights [faults]int
	// openings is the share of starts that are cut short.
	openings float64
	// moves is the mean time between two membership changes by hand; 0: none.
	moves time.Duration
	// away says that members whose log rots stay down for a while.
	away bool
	// diverge is the mean time between two states that diverge; 0: none do.
	diverge time.Duration
	// ails is the mean time between two calls that fail, or places of logs that
	// become unreadable; 0: none do. sectors is the share of the latter,
	// places how many there are at once.
	ails    time.Duration
	sectors float64
	places  int
	// walls is the mean time between two wall clocks that are set forward; then half
	// of the pauses are hidden from boot time, too. 0: no clock is set.
	walls time.Duration
	// drags is the mean time between two leaders that get slow for a while; 0: none do.
	drags time.Duration
	// blocks is the mean time between two times that one of the transports is blocked for
	// a while; 0: none is. closes is when some links are closed to datagrams for good;
	// below 0: never.
	blocks, closes time.Duration
}

// draw decides what a seed has in store.
func draw(r *rand.Rand, o *Options) plan {
	p := plan{
		profile: profileNames[r.IntN(len(profileNames))],
		crew:    crew{target: o.Actives, late: make([]time.Duration, o.Actives+o.Passives+o.Reserves)},
		tuning:  tuning{election: 500 * time.Millisecond, heartbeat: 100 * time.Millisecond, have: 250 * time.Millisecond},
		weather: weather{delay: between(r, 50*time.Microsecond, time.Millisecond), jitter: between(r, 20*time.Microsecond, time.Millisecond)},
		pace:    pace{write: 20 * time.Microsecond, sync: between(r, 200*time.Microsecond, 5*time.Millisecond), apply: time.Millisecond},
		business: business{
			clients: 5, depth: 1 + r.IntN(3), think: between(r, 300*time.Millisecond, 900*time.Millisecond),
			session: between(r, 4*time.Second, 15*time.Second),
		},
		troubles: troubles{every: between(r, time.Second, 4*time.Second)},
	}
	p.knobs(r)
	if o.Profile != "" {
		p.profile = o.Profile
	}
	switch p.profile {
	case "calm":
		p.every *= 6
		p.weights = [faults]int{faultCrash: 2, faultBoundary: 2, faultPause: 1, faultCut: 1, faultUnheard: 1}
	case "lossy":
		p.bad(r)
		p.weights = [faults]int{faultCrash: 1, faultBoundary: 1, faultPause: 1, faultSlow: 4, faultClog: 2}
	case "partitions":
		p.weights = [faults]int{faultCut: 5, faultOneWay: 5, faultIsolate: 5, faultClog: 3, faultSplit: 4, faultHeal: 3, faultBoundary: 2, faultApart: 1, faultUnheard: 2}
	case "crashes":
		p.openings = 0.05
		p.every /= 2
		p.weights = [faults]int{faultCrash: 4, faultBoundary: 12, faultPause: 4, faultDisk: 2, faultFailedSync: 2}
	case "power":
		p.slow, p.openings = 0.1, 0.1
		p.weights = [faults]int{faultPowerCut: 5, faultPowerBoundary: 10, faultBlackout: 3, faultDisk: 4, faultFailedSync: 3}
	case "seats":
		p.moves, p.eligible = between(r, time.Second, 4*time.Second), 0.5
		p.weights = [faults]int{faultCrash: 3, faultBoundary: 4, faultPause: 3, faultIsolate: 2, faultCut: 2, faultWipe: 4, faultCopy: 2}
	case "rot":
		p.moves = 10 * time.Second
		p.slow = 0.02
		p.every /= 2
		p.weights = [faults]int{faultCrash: 2, faultBoundary: 2, faultPause: 1, faultRot: 12, faultFull: 6, faultRollback: 6, faultCopy: 6, faultRotSeveral: 3, faultDisk: 1, faultWipe: 1}
	case "repair":
		p.rotten(r)
	case profileStates, profileCalls, profileSlow, profileSectors, profileRoom, profileBlocks:
		p.weights = [faults]int{faultCrash: 2, faultBoundary: 2, faultPause: 2, faultIsolate: 2, faultCut: 1}
	case "churn":
		for i := 1; i < len(p.late); i++ {
			p.late[i] = between(r, 0, 20*time.Second)
		}
		p.weights = [faults]int{faultCrash: 4, faultBoundary: 4, faultPause: 3, faultIsolate: 2, faultUnheard: 3, faultApart: 1, faultCopy: 2}
	default:
		p.bad(r)
		p.slow, p.openings = 0.03, 0.05
		p.every /= 2
		p.moves, p.eligible = between(r, 2*time.Second, 8*time.Second), 0.3
		for i := range p.weights {
			p.weights[i] = 1 + r.IntN(4)
		}
		for i := 1; i < len(p.late); i++ {
			if chance(r, 0.3) {
				p.late[i] = between(r, 0, 15*time.Second)
			}
		}
	}
	return p
}

// knobs draws what any profile may have.
func (p *plan) knobs(r *rand.Rand) {
	if chance(r, 0.4) {
		p.appendBytes, p.inflight = 200+r.IntN(600), 1+r.IntN(3)
	}
	p.moves, p.segment = 20*time.Second, segmentBytes<<r.IntN(2)
	p.checkpoint, p.retain = 2<<10<<r.IntN(6), 1+r.IntN(40)
	switch draw := r.Float64(); {
	case draw < 0.3:
		p.lease = p.election
	case draw < 0.5:
		p.wild = true
	}
}

// grow draws whether states diverge, and, in some seeds, logs rot as well. It
// has a stream of its own: the seeds that it spares have the histories that they
// had before there was such a thing.
func (p *plan) grow(r *rand.Rand) {
	if !chance(r, divergedSeeds) && p.profile != profileStates {
		return
	}
	if chance(r, 0.35) && p.profile != profileStates {
		p.rotten(r) // whatever else goes on
	}
	p.diverge = between(r, 2*time.Second, 8*time.Second)
	p.chunk = 64 << r.IntN(4)
	p.checkpoint = min(p.checkpoint, 1<<10<<r.IntN(3)) // found soon, most of them: else what is wrong is overwritten
}

// ail draws whether calls fail. It has a stream of its own, too.
func (p *plan) ail(r *rand.Rand) {
	if !chance(r, ailingSeeds) && p.profile != profileCalls {
		return
	}
	p.ails, p.sectors = between(r, 300*time.Millisecond, 3*time.Second), 0.15
	p.places = 1
	if p.chunk == 0 {
		p.chunk = 64 << r.IntN(8)
	}
	p.checkpoint = min(p.checkpoint, 4<<10) // most calls are those that take one
}

// forget draws whether members keep little of their logs in memory, so that they read
// their disks. It has a stream of its own, too.
func (p *plan) forget(r *rand.Rand) {
	if chance(r, forgetfulSeeds) || p.profile == profileCalls {
		p.tail = 256 << r.IntN(6)
	}
	if p.profile == profileSectors {
		p.ails, p.sectors, p.places = between(r, 200*time.Millisecond, time.Second), 1, 6
		p.every /= 2
		p.weights = [faults]int{faultPause: 2, faultIsolate: 4, faultCut: 2, faultCrash: 1, faultBoundary: 1}
		p.tail, p.retain, p.retainBytes, p.checkpoint = 256<<r.IntN(3), 2000, 0, 64<<10 // what is old is there, and is read
	}
}

// tire draws whether the disks of a majority are slow for good: a sync takes two to
// ten election timeouts. It has a stream of its own, too.
func (p *plan) tire(r *rand.Rand) {
	switch p.profile {
	case "calm":
		return
	case profileRoom:
		p.cramp(r)
	}
	if chance(r, sluggishSeeds) || p.profile == profileSlow {
		p.sluggish = between(r, 2*p.election, 10*p.election)
		p.appendBytes, p.inflight = 0, 0 // or an entry for each sync would be all
	}
}

// cramp fills the disks of all actives at once, again and again, while leaders go. It is
// not said that they are full, as with a quota: a write finds out.
func (p *plan) cramp(r *rand.Rand) {
	p.every, p.segment = between(r, 800*time.Millisecond, 1600*time.Millisecond), segmentBytes
	p.think /= 4
	p.weights = [faults]int{faultBoundary: 2, faultPowerBoundary: 2, faultPause: 6, faultIsolate: 6, faultCut: 2, faultFull: 4, faultDisk: 1}
}

// set draws whether wall clocks are set. It has a stream of its own, too.
func (p *plan) set(r *rand.Rand) {
	if chance(r, wallSeeds) {
		p.walls = between(r, 2*time.Second, 10*time.Second)
	}
}

// narrow draws whether the state has a limit that writes come to.
func (p *plan) narrow(r *rand.Rand) {
	if chance(r, limitedSeeds) {
		p.limit = drawLimit(r)
	}
}

// drawLimit draws a limit of about what the objects of all clients hold.
func drawLimit(r *rand.Rand) int64 { return protocol.StateBytesMin + r.Int64N(3<<10) }

// rotten damages logs all the time. They lose their heads fast, so that repairing
// takes checkpoints too.
func (p *plan) rotten(r *rand.Rand) {
	p.moves, p.every = 15*time.Second, between(r, 700*time.Millisecond, 1500*time.Millisecond)
	p.segment, p.checkpoint, p.retain, p.away = segmentBytes, 2<<10, 1+r.IntN(4), true
	p.think /= 2
	p.weights = [faults]int{faultCrash: 3, faultBoundary: 1, faultPowerCut: 1, faultRot: 12, faultRotSeveral: 8, faultFull: 2, faultRollback: 3, faultCopy: 2}
}

// bad makes the weather bad.
func (w *weather) bad(r *rand.Rand) {
	w.loss = 0.2 * r.Float64() * r.Float64()
	w.double = 0.1 * r.Float64()
	w.breaks = 0.01 * r.Float64()
	w.jitter = between(r, time.Millisecond, 20*time.Millisecond)
}

// fair ends all trouble.
func (p *plan) fair() {
	p.loss, p.double, p.breaks, p.slow = 0, 0, 0, 0
	p.sluggish = 0
	p.jitter = min(p.jitter, 2*time.Millisecond)
}

// networkPace is that of members at different machines, as in gossip/swim; localPace nearly
// that of those at one.
func networkPace() pacing {
	return pacing{Timing: memberlist.Timing{
		ProbeInterval: time.Second, ProbeTimeout: 500 * time.Millisecond, SuspicionMult: 4,
		GossipInterval: 200 * time.Millisecond, PushPullInterval: 30 * time.Second, StreamTimeout: 10 * time.Second,
		DeadTime: 30 * time.Second,
	}, try: 500 * time.Millisecond}
}

func localPace() pacing {
	return pacing{Timing: memberlist.Timing{
		ProbeInterval: 300 * time.Millisecond, ProbeTimeout: 150 * time.Millisecond, SuspicionMult: 3,
		GossipInterval: 100 * time.Millisecond, PushPullInterval: 15 * time.Second, StreamTimeout: time.Second,
		DeadTime: 30 * time.Second,
	}, try: 300 * time.Millisecond}
}

// see draws how fast members find out who lives, and how soon the dead are forgotten. It has
// a stream of its own, too.
func (p *plan) see(r *rand.Rand) {
	p.pacing = networkPace()
	if chance(r, localSeeds) {
		p.pacing = localPace()
	}
	if chance(r, seedGoneSeeds) {
		p.seedUntil = 25 * time.Second // those who join late have met others by then
	}
	if chance(r, forgettingSeeds) {
		p.DeadTime = between(r, 500*time.Millisecond, 5*time.Second)
	}
}
