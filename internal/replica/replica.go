package replica

import (
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Config is what a replica is told about itself. The zero value of a field
// means the default that its comment names.
type Config struct {
	ID   protocol.MemberID
	Run  protocol.RunID
	Seed uint64
	// Name is a label for people. Address is where the others reach this member, as
	// protocol.Peer.Reach has it, Zone where it is, as they learn both from the
	// membership. Unwilling says that it does not wish to be active: while it leads,
	// it hands over as soon as another can have its seat.
	Name, Address, Zone string
	Unwilling           bool
	// Reserve says that this member wishes to hold nothing until it is asked to
	// follow. What a log holds decides: it counts only while that is empty.
	Reserve bool
	// Active and Gossip configure the cores. ID, Run, Seed and NamedOnly are
	// filled in.
	Active active.Config
	Gossip gossip.Config
	// Policy lets this member, while it leads, make eligible members active
	// until the configuration's target is met, and in the place of voters that
	// have failed. PolicyStable and PolicyFailed take the place of the policy's
	// defaults where the configuration says nothing.
	Policy                     bool
	PolicyStable, PolicyFailed time.Duration
	// CheckpointBytes is how large the log since the last checkpoint grows, at
	// least, before this member, while it leads, asks all for the next one;
	// default 64 MiB. It grows to half the state if that is more.
	// CheckpointEvery is how long ago the last one may be if anything was
	// written since; default 10 min, negative: however long.
	CheckpointBytes int
	CheckpointEvery time.Duration
	// RetainEntries and RetainBytes are how many applied entries, and of how many
	// bytes, stay in the log at most when its head is given up, for members that are
	// a little behind; defaults 10,000 and 64 MiB, negative: none.
	RetainEntries, RetainBytes int
	// BehindBytes bounds the log that stays for members that are far behind,
	// besides what stays for this member itself; default 1 GiB. PinBytes bounds
	// the checkpoints that stay because others fetch them, unless it is one;
	// default 1 GiB. Negative: nothing, or one.
	BehindBytes, PinBytes int
	// TailBytes is how much of the end of the log stays in memory, so that those
	// who keep up never make this member read its disk; default 8 MiB. What is not
	// committed, written and applied stays whatever it takes.
	TailBytes int
	// Types are the resource types that this member can apply, in any order;
	// none: nobody cares. Used reports whether a command of a type has been
	// applied before; nil: none has. It must be quick.
	Types []protocol.TypeVersion
	Used  func(protocol.TypeVersion) bool
	// Level is the highest format level that this member knows; 0: what this code does.
	Level protocol.FormatLevel
	// Accepts refuses commands that must not be proposed: of a type that the
	// members do not have. It must be pure. Nil accepts all.
	Accepts func(*protocol.Command) error
	// Frees reports whether a command frees space, or takes next to none: it is taken
	// even if the disks of a majority are nearly full. Nil: all are.
	Frees func(*protocol.Command) bool
}

// Replica is one member: see the package's comment.
type Replica struct {
	cfg Config

	log      log
	standing standing
	barred   bool // others have refused the directory: see Bar
	gossip   *gossip.Core

	disk              disk
	apply             applying
	fetches           fetches
	unreadable        unreadable
	feeding           feeding
	flock             flock
	hearing           hearing
	ids               numbers
	types             types
	formats           formats
	commands          commands
	sessions          sessions
	reads             reads
	membershipChanges membershipChanges
	policy            policyState

	checkpoints checkpoints
	audit       audit
	install     installation
	behind      behind
	transferees transferees
	aheads      aheads

	unknown  unknown
	progress gossip.Progress
	// wallAhead: see SetWallAhead.
	wallAhead time.Duration

	out outbox
}

// New returns the replica of a log that was found at start.
//
// restored is what its checkpoints gave: the log must hold the entry of the
// state's index, or begin after it, or else the state is empty (see Join).
func New(now protocol.Instant, cfg Config, rec storage.Opened, restored OpenedState) (*Replica, error) {
	if rec.Damage != nil {
		return nil, protocol.ErrCorrupt.With(rec.Damage.Error())
	}
	cfg.Active.ID, cfg.Active.Run, cfg.Active.Seed = cfg.ID, cfg.Run, cfg.Seed
	cfg.Gossip.ID, cfg.Gossip.Run, cfg.Gossip.Seed = cfg.ID, cfg.Run, cfg.Seed^0x676f73736970
	cfg.Active.NamedOnly = true
	cfg.setDefaults()
	r := &Replica{cfg: cfg}
	r.log.id, r.out.log, r.standing.log, r.standing.epoch = cfg.ID, &r.log, &r.log, 1
	r.log.tail = newTail(&rec.LogTerms, rec.Tail)
	r.log.commit = max(rec.State.Commit, rec.LogTerms.PrevIndex, restored.Applied)
	rec.State.Commit = r.log.commit
	r.log.applied = restored.Applied
	r.log.handed = r.log.applied
	r.checkpoints.start(now, restored)
	r.audit.start(restored)
	rec.LastTime = max(rec.LastTime, restored.Time)
	r.disk.written = rec.LogTerms.LastIndex()
	r.ids.run = cfg.Run
	logTerms, confs := rec.LogTerms.Clone(), rec.Configurations.Clone()
	switch confs.RoleOf(cfg.ID, r.log.commit, logTerms.Empty()) {
	case protocol.RoleActive:
		r.log.role = activeRole{active.New(now, cfg.Active, active.Start{
			State: rec.State, LogTerms: logTerms, Configurations: confs, LastTime: rec.LastTime,
		}, appendLog{&r.log})}
	case protocol.RolePassive:
		if err := r.startPassive(now, rec.State, logTerms, confs, rec.LastTime); err != nil {
			return nil, err
		}
	default:
		return nil, protocol.ErrCorrupt.With("the log does not say who was active at its commit index; move the data directory away and start the member anew: it fetches everything from the others")
	}
	r.log.role.wait(cfg.Reserve && r.log.logTerms().Empty() && r.log.applied == 0)
	r.gossip = gossip.New(now, cfg.Gossip, committedLog{&r.log})
	connect(r)
	for k := range restored.Kept {
		if d := &restored.Kept[k]; d.Index == restored.Applied && d.Installed {
			r.audit.awaits(d)
		}
	}
	r.audit.resume(now, &restored)
	r.checkpoints.offer(now)
	r.pump(now)
	return r, nil
}

// connect gives each part its ports.
func connect(r *Replica) {
	r.flock.self, r.flock.name, r.flock.log = r.cfg.ID, r.cfg.Name, &r.log
	g := ground{cfg: &r.cfg, log: &r.log, out: &r.out, standing: &r.standing, flock: &r.flock}
	r.hearing.ground, r.hearing.gossip, r.sessions.ground = g, r.gossip, g
	r.types.ground, r.types.who = g, &r.hearing
	r.formats = formats{ground: g, who: &r.hearing, checkpoints: &r.checkpoints}
	r.transferees.ground, r.transferees.places, r.transferees.audit, r.transferees.gossip = g, &r.unreadable, &r.audit, r.gossip
	r.transferees.slow = slowness{ground: g, tempo: tempo{cfg: &r.cfg, disk: &r.disk, apply: &r.apply}, room: &r.transferees}
	r.fetches.out = &r.out
	r.apply = applying{ground: g, reads: &r.fetches, places: &r.unreadable, formats: &r.formats, asked: &r.commands}
	u := &r.unreadable
	u.ground, u.reads, u.kept = g, &r.fetches, &r.checkpoints
	u.repairing.ground, u.repairing.places, u.repairing.disk = g, u, &r.disk
	r.feeding = feeding{ground: g, reads: &r.fetches, places: u, room: &r.transferees, checkpoints: &r.checkpoints, gossip: r.gossip}
	c := &r.checkpoints
	c.ground, c.disk, c.room, c.audit, c.gossip = g, &r.disk, &r.transferees, &r.audit, r.gossip
	r.audit.differences.ground, r.audit.differences.audit = g, &r.audit
	r.audit.ground, r.audit.install, r.audit.joint = g, &r.install, r
	r.install = installation{
		ground: g, who: &r.hearing, checkpoints: c, audit: &r.audit, places: u, apply: &r.apply, disk: &r.disk, behind: &r.behind, gossip: r.gossip,
	}
	r.behind.ground, r.behind.install, r.behind.gossip = g, &r.install, r.gossip
	r.aheads.ground, r.aheads.gossip = g, r.gossip
	r.policy.ground, r.policy.gossip = g, r.gossip
	r.reads = reads{ground: g, ids: &r.ids, who: &r.hearing, places: &r.unreadable, gossip: r.gossip}
	r.commands = commands{ground: g, ids: &r.ids, who: &r.hearing, types: &r.types, room: &r.transferees, differences: &r.audit.differences, epoch: r.standing.epoch}
	r.membershipChanges = membershipChanges{ground: g, who: &r.hearing, room: &r.transferees, autopilot: &r.policy}
}

func (c *Config) setDefaults() {
	c.Level = c.Level.OrKnown()
	if c.Active.Election == 0 {
		c.Active.Election, c.Active.Heartbeat = active.LAN.Election, active.LAN.Heartbeat
	}
	if c.CheckpointBytes == 0 {
		c.CheckpointBytes = checkpointBytes
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = checkpointEvery
	}
	for _, x := range []struct {
		most  *int
		usual int
	}{
		{&c.RetainEntries, retainEntries}, {&c.RetainBytes, retainBytes}, {&c.BehindBytes, behindBytes},
		{&c.PinBytes, pinBytes}, {&c.TailBytes, tailBytes},
	} {
		if *x.most == 0 {
			*x.most = x.usual
		}
		*x.most = max(*x.most, 0)
	}
}

// Tick says that time has passed.
func (r *Replica) Tick(now protocol.Instant) {
	if r.log.knows() {
		r.transferees.slow.tempo.round(now)
	} else {
		r.transferees.slow.tempo.forget()
	}
	r.transferees.slow.forget(now)
	r.log.role.Tick(now)
	r.gossip.Tick(now)
	r.commands.askAfter(now)
	r.membershipChanges.transferred(now)
	r.reads.expire(now)
	r.audit.tick(now)
	r.audit.differences.tick(now)
	r.lead(now)
	r.behind.look(now, r.checkpoints.distance)
	r.unreadable.tick(now)
	if r.checkpoints.held {
		r.checkpoints.dropHead(now)
	}
	r.pump(now)
}

// SetWallAhead says how far this member's wall clock has run ahead of the clock that
// now is read from, at the most so far. It is said before the event with which the
// owner has found out; protocol.WallAhead says what goes by it.
func (r *Replica) SetWallAhead(d time.Duration) {
	r.wallAhead = max(r.wallAhead, d)
	r.gossip.SetWallAhead(d)
	r.log.role.SetWallAhead(d)
}

// Hamper says what keeps this member from its work. With a disk that is nearly full
// nothing stays on it for the sake of others.
func (r *Replica) Hamper(now protocol.Instant, h Hampered) {
	r.transferees.now = h
	r.checkpoints.mark()
	if h.Full {
		r.checkpoints.dropHead(now)
	}
	r.pump(now)
}

// Deadline returns when Tick is wanted at the latest.
func (r *Replica) Deadline() protocol.Instant {
	d := min(r.gossip.Deadline(), r.log.role.Deadline(), r.behind.next, r.unreadable.deadline())
	d = r.reads.deadline(r.membershipChanges.deadline(r.commands.abroad.deadline(d)))
	if r.log.knows() {
		d = min(d, r.transferees.slow.tempo.next)
	}
	if r.log.leads() {
		d = min(d, r.policy.next)
	}
	return r.audit.differences.deadline(r.audit.deadline(d))
}

// SetPeers says which other members are alive, in any order.
func (r *Replica) SetPeers(now protocol.Instant, peers []protocol.Peer) {
	r.policy.seen(now, peers)
	r.flock.peers = peers
	r.unreadable.repairing.SetPeers(now, peers)
	r.gossip.SetPeers(now, r.flock.talking())
	r.pump(now)
}

// Receive takes a message from another member.
func (r *Replica) Receive(now protocol.Instant, from protocol.MemberID, m protocol.Message) {
	if r.unknown.receive(from, m, &r.out) || r.log.role.waits() && !r.onActivate(now, from, m) {
		return
	}
	if !protocol.IndexesWithin(m) {
		r.hearing.unheeded++
		return
	}
	switch m := m.(type) {
	case *protocol.Activate: // it follows now
	case *protocol.Types:
		r.types.onTypes(now, from, m)
	case *protocol.Formats:
		r.formats.onFormats(from, m)
	case *protocol.DigestQuestion:
		r.audit.onDigestQuestion(now, from, m)
	case *protocol.DigestAnswer:
		r.audit.onDigestAnswer(now, from, m)
	case *protocol.PartsQuestion:
		r.audit.differences.onQuestion(now, from, m)
	case *protocol.PartsAnswer:
		r.audit.differences.onAnswer(now, from, m)
	case *protocol.Repair:
		r.unreadable.repairing.Receive(now, from, m)
	case *protocol.Forward:
		r.commands.onForward(now, from, m)
	case *protocol.ForwardAnswer:
		r.commands.onForwardAnswer(now, from, m)
	case *protocol.ReadIndexAnswer:
		if r.log.knows() { // its core has asked
			r.log.role.step(now, from, m, true)
		} else if r.reads.asks(from) {
			r.reads.answered(now, from, protocol.Read(*m))
		}
	default:
		if !r.cfg.signed() && !r.log.knows() {
			switch said := m.(type) {
			case *protocol.Have:
				r.hearing.haveSaid(now, from, said)
			case *protocol.Append:
				r.hearing.heardOf(now, said.Term, from)
			case *protocol.InstallCheckpoint:
				r.hearing.heardOf(now, said.Term, from)
			}
		}
		if q, ok := m.(*protocol.ReadIndex); ok && q.Origin == from && r.audit.doubts() && r.log.leads() {
			r.audit.warn(now, from)
		}
		if m.Kind().OfFlock() {
			r.gossip.Step(now, from, m)
		} else {
			r.log.role.step(now, from, m, r.standing.may(mayChange))
		}
	}
	r.pump(now)
}

// signed reports whether this member believes what actives have signed, and
// nothing else, while it is a passive.
func (c *Config) signed() bool { return c.Gossip.Verify != nil }

// errStandsBy is what a reserve says that was asked for a leader.
var errStandsBy = protocol.ErrNoLeader.With("this member is a reserve: it follows nobody until it is needed")
