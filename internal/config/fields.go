package config

import (
	"reflect"
	"time"

	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/protocol"
)

// Defaults of Config.
const (
	BindDefault              = "127.0.0.1:7600"
	ActivesDefault           = 3
	TimingDefault            = "lan"
	GossipFanoutDefault      = 4
	GossipProbabilityDefault = 0.75
	CheckpointBytesDefault   = 64 << 20
	RetainBytesDefault       = 64 << 20
	ChangesBytesDefault      = 256 << 20
	CheckpointEveryDefault   = 10 * time.Minute
	DiskLowDefault           = 256 << 20
	DiskHighDefault          = 384 << 20
)

// Bounds of Config. Beyond them a member would be of no use, or its arithmetic would
// overflow.
const (
	heartbeatMin       = 5 * time.Millisecond
	electionMax        = time.Minute
	checkpointEveryMin = 100 * time.Millisecond
	checkpointBytesMin = 4 << 10
	logBytesMax        = 1 << 40
	changesBytesMin    = 4 << 20
	diskMarkMax        = 1 << 62
	startTimeoutMin    = 100 * time.Millisecond
	waitMax            = 365 * 24 * time.Hour
	// Less would spread frames to nobody.
	probabilityMin = 0.01
)

// Field is what there is to know of a field of Config: flags, variables, keys of files,
// defaults and bounds all come from its row. The flag of DiskLow is --disk-low, its key
// in a file disk-low, and its variable STARLING_AGENT_DISK_LOW.
type Field struct {
	Name naming.Field
	// Usage is the sentence of --help; what it takes stands in backquotes.
	Usage string
	// Default is what a zero means, nil if that is its own meaning. Unsaid says what holds
	// without the flag, where that is no value of it, or depends on the command.
	Default any
	Unsaid  string
	// Least and Most are the bounds of a number, of the field's type. Negative says
	// what any number below 0 means, and Zero what 0, where it may be said.
	Least, Most    any
	Negative, Zero string
}

// Fields are the rows, in the order of --help.
var Fields = []Field{
	{Name: "Name", Unsaid: "the host's name", Usage: "`NAME` of the member, for people; unique in the cluster"},
	{Name: "Role", Default: protocol.RoleActive, Usage: "wish: `active`, passive, or reserve (hold nothing until passives are too few or a seat is free); the replicated configuration decides"},
	{Name: "Eligible", Usage: "a passive member, or a reserve, that may be chosen as an active one, after those with --role active"},
	{Name: "Dir", Usage: "`DIR` of the member's log; required"},
	{Name: "Bind", Default: BindDefault, Usage: "`HOST:PORT` for members and clients, TCP and UDP; port 0 picks one"},
	{Name: "Advertise", Unsaid: "what is bound", Usage: "`HOST:PORT` at which others reach this member"},
	{Name: "HTTP", Usage: "`HOST:PORT` of /healthz, /readyz and /v1/status; none for no HTTP"},
	{Name: "Bootstrap", Usage: "begin a new cluster with this member; nothing happens on a directory that has one"},
	{Name: "Join", Usage: "members to ask at the first start, `HOST:PORT[,HOST:PORT...]`; with --bootstrap, a cluster begins when all of them have answered that they have none"},
	{Name: "Expect", Unsaid: "--bootstrap decides", Least: 1, Most: protocol.FoundingMax,
		Usage: "begin a new cluster when `N` members that were told the same have found one another through --join; for templates, where all have the same flags"},
	{Name: "Replace", Usage: "take over the seat of the member with the same name, whose directory is lost, while that one is not heard"},
	{Name: "ForgetPromise", Usage: "lift this member's promise not to begin a cluster; only if whoever was promised will never begin one"},
	{Name: "Actives", Default: ActivesDefault, Least: 1, Most: protocol.ActivesMax, Usage: "`N` voters that the cluster grows to, said by the bootstrapping member"},
	{Name: "StateBytes", Unsaid: "no limit", Least: uint64(protocol.StateBytesMin), Most: uint64(protocol.StateBytesMax),
		Usage: "limit of what all resources of the cluster may hold, `BYTES` of keys and values with 128 for each key, said by the bootstrapping member; beyond it writes are refused (state_full), but for those that free"},
	{Name: "Zone", Usage: "`ZONE` of the member, for placement"},
	{Name: "Insecure", Usage: "allow addresses beyond this machine although nothing is encrypted or authenticated yet"},
	{Name: "GossipMode", Default: "hybrid", Usage: "how entries reach passives: `hybrid` or flood"},
	{Name: "GossipFanout", Default: GossipFanoutDefault, Least: 1, Most: 64, Usage: "`N` random members that a new frame goes to, in mode flood"},
	{Name: "GossipProbability", Default: GossipProbabilityDefault, Least: probabilityMin, Most: 1.0, Usage: "with which `P` it goes to each of them"},
	{Name: "SigningKey", Usage: "`FILE` of the private key with which this member signs what passives follow, while it is active (see starling keys)"},
	{Name: "TrustedKeys", Usage: "`FILE` of the public keys of all members that may be active; a passive then takes nothing that none of them has signed"},
	{Name: "StartTimeout", Least: startTimeoutMin, Most: waitMax, Zero: "as long as it takes", Unsaid: "one minute at the first start of a member that joins, otherwise never",
		Usage: "give up when the member has not found its cluster, or gets no further with catching up, for this `DURATION`; 0 for never"},
	{Name: "Timing", Default: TimingDefault, Unsaid: TimingDefault, Usage: "`fast`, lan or wan: a dead leader is noticed after 150 to 300 ms, 0.5 to 1 s, or 3 to 6 s; shorter takes slow networks, disks and machines for dead ones; the same for all members"},
	{Name: "Election", Least: 3 * heartbeatMin, Most: electionMax, Zero: "that of the timing", Unsaid: "that of --timing",
		Usage: "`DURATION` for which a follower hears no leader before it stands, at least and up to twice, from 15ms to 1m"},
	{Name: "Heartbeat", Least: heartbeatMin, Most: electionMax / 3, Zero: "that of the timing", Unsaid: "that of --timing",
		Usage: "`DURATION` between two signs of life of a leader, from 5ms to a third of --election"},
	{Name: "CheckpointBytes", Default: CheckpointBytesDefault, Least: checkpointBytesMin, Most: logBytesMax,
		Usage: "`BYTES` of log after which all members take a checkpoint and give up the log below (or half the state's size, if that is more)"},
	{Name: "CheckpointEvery", Default: CheckpointEveryDefault, Least: checkpointEveryMin, Most: waitMax, Negative: "never", Usage: "`DURATION` after which they do if anything was written; negative for never"},
	{Name: "RetainBytes", Default: RetainBytesDefault, Least: 1, Most: logBytesMax, Negative: "none", Usage: "`BYTES` of log that stay below the older checkpoint at most, for members a little behind; negative for none"},
	{Name: "ChangesBytes", Default: ChangesBytesDefault, Least: changesBytesMin, Most: logBytesMax, Negative: "none",
		Usage: "`BYTES` of the disk for changes that watches are behind when they leave memory (65,536, 32 MiB); nothing of what --disk-high wants free; negative for none"},
	{Name: "DiskLow", Unsaid: "268435456", Least: uint64(1), Most: uint64(diskMarkMax),
		Usage: "`BYTES` of free space below which this member, while it leads, takes no writes but those that free space, and hands over to a voter with room"},
	{Name: "DiskHigh", Unsaid: "half as much again as --disk-low", Least: uint64(1), Most: uint64(diskMarkMax), Usage: "`BYTES` of free space from which on it takes writes again"},
}

// In returns a pointer to the field in a configuration, or in another struct that has
// one of this name.
func (f Field) In(configuration any) any {
	return reflect.ValueOf(configuration).Elem().FieldByName(string(f.Name)).Addr().Interface()
}
