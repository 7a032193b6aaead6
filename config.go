package starling

import (
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/protocol"
)

// Role is what a member wishes to do with the log. Its role follows the
// replicated configuration; the wish decides only who is asked.
type Role = protocol.Role

const (
	// Active members lead by consensus: a write is acknowledged when a
	// majority of them has it on disk.
	Active = protocol.RoleActive
	// Passive members follow by gossip. They hold everything and serve local
	// reads and watches, at no cost to the leader.
	Passive = protocol.RolePassive
	// Reserve members stand by: they take part in the membership and hold
	// nothing, until the autopilot asks them to follow, because passives are
	// too few or a seat has nobody to take it. From then on they are passive
	// members, over restarts too. So the wish counts only on a directory that
	// has no log yet.
	Reserve = protocol.RoleReserve
)

// Defaults of Config.
const (
	BindDefault              = config.BindDefault
	ActivesDefault           = config.ActivesDefault
	TimingDefault            = config.TimingDefault
	GossipFanoutDefault      = config.GossipFanoutDefault
	GossipProbabilityDefault = config.GossipProbabilityDefault
	CheckpointBytesDefault   = config.CheckpointBytesDefault
	RetainBytesDefault       = config.RetainBytesDefault
	ChangesBytesDefault      = config.ChangesBytesDefault
	CheckpointEveryDefault   = config.CheckpointEveryDefault
	DiskLowDefault           = config.DiskLowDefault
	DiskHighDefault          = config.DiskHighDefault
)

// Config says how a member is opened. The zero value of a field means its default, so
// that Config{Bootstrap: true} begins a cluster of one; Validate reports all mistakes at
// once. `go doc github.com/starlinghq/starling/internal/config.Config` has each field
// with its unit, bounds and default, and so has `starling agent --help`:
//
//	who and where      Name, Zone, Dir, Bind, Advertise, HTTP, Insecure, Neighbours
//	which cluster      Role, Eligible, Bootstrap, Join, Expect, ForgetPromise, Replace, Actives, StartTimeout
//	how fast           Timing, Heartbeat, Election
//	how entries spread GossipMode, GossipFanout, GossipProbability
//	whom to believe    SigningKey, TrustedKeys
//	what the disk has  CheckpointBytes, CheckpointEvery, RetainBytes, ChangesBytes, DiskLow, DiskHigh
//	the program's own  Types, Logger
type Config = config.Config
