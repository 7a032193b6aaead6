// Package config says how a member is opened: one value, from the program or the command
// line down to what listens, votes and writes.
package config

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/builtin"
)

// Config says how a member is opened. The zero value of a field means the
// default that its comment names.
type Config struct {
	// Name is the member's label for people, at most 255 bytes without
	// spaces or commas, unique in the cluster. Default: the host's name.
	Name string
	// Dir is where the member keeps its log. Default "": in memory only, so
	// that a member that stops has forgotten everything, its vote included;
	// good for tests, not for data.
	Dir string

	// Bind is the host:port for members and clients, TCP and UDP. Port 0
	// picks one. Default: 127.0.0.1:7600.
	Bind string
	// Advertise is the host:port at which others reach this member. Default:
	// what is bound, so it must be given when Bind names no single address.
	Advertise string
	// HTTP is the host:port of /healthz, /readyz and /v1/status. Port 0 picks
	// one. Default "": none.
	HTTP string
	// Insecure allows addresses beyond this machine although nothing on the
	// network is encrypted or authenticated yet.
	Insecure bool

	// Role is the wish. Default: protocol.RoleActive.
	Role protocol.Role
	// Eligible lets a passive member, or a reserve once it follows, be chosen as
	// an active one, when no member that wishes to be active can be.
	Eligible bool
	// Bootstrap begins a new cluster with this member, at once if Join names
	// nobody else. With Join, the cluster begins when all that are named have
	// answered that they have none, and have promised not to begin one; of several
	// that were told Bootstrap, with the same Join, the one at the lowest address
	// begins it, and the others join. While somebody is silent Open waits, and says
	// for whom. On a directory that has an identity it does nothing.
	Bootstrap bool
	// Join are addresses of members, to be asked at the first start; the own one
	// may be among them. A member with a directory remembers the others, and only
	// warns if another cluster answers there.
	Join []string
	// Expect is for members that are all started with the same configuration: it is
	// Bootstrap, and the cluster begins as soon as exactly so many members that were
	// told the same have found one another through Join, which may be a name with
	// many addresses. Default 0: Bootstrap decides.
	Expect int
	// ForgetPromise lifts the promise not to begin a cluster that this member has
	// given at an earlier start, and that lies in its directory. It is for when
	// whoever was promised will never begin one: otherwise two clusters begin.
	ForgetPromise bool
	// Replace takes over the seat of a member with the same name whose directory is
	// lost, while that one is not heard: this member becomes a learner, and then, in
	// one change, a voter in its place. Without it a name with a seat is ErrNameTaken,
	// and so it is with it while the other one runs.
	Replace bool
	// Actives is the number of voters that the cluster grows to; what the
	// bootstrapping member says is kept in the log. Default: 3. Even numbers
	// are allowed and tolerate no more failures than the odd number below.
	Actives int
	// StateBytes is the limit of what all resources of the cluster may hold, said by the
	// bootstrapping member and kept in the log, as Actives is; SetAutopilot changes it. Keys and values
	// count their bytes, and each key 128 more. A write that would hold more is refused with
	// ErrStateFull; what frees passes. From 1 KiB; default 0: no limit.
	StateBytes uint64
	// Zone is where the member is, for placement. Default "": nowhere.
	Zone string

	// GossipMode is how entries reach passives. "hybrid", the default, grows a
	// tree of links: about one copy per member. "flood" sends to random
	// members: about three copies, and nothing to grow first. All members of a
	// cluster should have the same.
	GossipMode string
	// GossipFanout is how many random members a new frame goes to in the mode
	// "flood", each with GossipProbability. More costs bandwidth; less costs
	// time, never data. From 1 to 64, and 0.01 to 1. Defaults: 4 and 0.75.
	GossipFanout      int
	GossipProbability float64

	// SigningKey is the key with which this member, while it is active, signs
	// what passives follow: entries, their freshness, log sums, descriptions of
	// checkpoints. Default nil: it signs nothing. See starling.ReadSigningKey.
	SigningKey ed25519.PrivateKey
	// TrustedKeys are the public keys of all members that may be active. A
	// passive with keys takes nothing that none of them has signed, so that no
	// other passive can make it believe what was never committed; it costs
	// about 0.1 ms per frame. A member that may be active needs a SigningKey,
	// too, which is among them. Default nil: frames are taken as they come.
	// Switch it on in two steps: first the SigningKeys, then the TrustedKeys.
	TrustedKeys []ed25519.PublicKey

	// Timing names a pair of times, the same for all members of a cluster: how
	// often a leader is heard, and how long a follower waits, at least and up to
	// twice, before it stands. Shorter notices a dead leader sooner and takes slow
	// networks, disks and machines for dead ones.
	//
	//	fast  50 ms, 150 ms: a quiet network, and disks that sync in a few ms
	//	lan   100 ms, 500 ms: the default
	//	wan   500 ms, 3 s: voters up to 200 ms apart
	Timing string
	// Heartbeat and Election, if not 0, take the place of Timing's; an Election
	// is three Heartbeats at least, and from 15 ms to a minute, a Heartbeat 5 ms at
	// least.
	Heartbeat, Election time.Duration

	// CheckpointBytes and CheckpointEvery say when this member, while it
	// leads, asks all members for a checkpoint, after which the log below is
	// given up: when the log since the last one has that many bytes, or half
	// as many as the state if that is more; and when the last one is that old
	// and something was written since. Less makes restarts faster and logs
	// shorter, and writes more. Defaults: 64 MiB and 10 min; a negative
	// CheckpointEvery is never. From 4 KiB to 1 TiB, and 100 ms to a year.
	CheckpointBytes int
	CheckpointEvery time.Duration
	// RetainBytes is how many bytes of the log stay beside that which lies above
	// the older of the two kept checkpoints, for members that are a little behind;
	// and never more than 10,000 entries. Whoever needs what is gone fetches a
	// checkpoint. Default: 64 MiB, about what lies between two checkpoints anyway;
	// negative: none. At most 1 TiB.
	RetainBytes int

	// ChangesBytes is how much of Dir's disk this member may take for changes that watches
	// have not come to when they leave its memory, which has 65,536 and 32 MiB: see
	// docs/reads.md. It takes nothing of what DiskHigh wants free. Default: 256 MiB;
	// negative: nothing. From 4 MiB to 1 TiB.
	ChangesBytes int

	// DiskLow and DiskHigh are marks of free space on the disk of Dir, in bytes. With
	// less than the first this member, while it leads, takes no writes but those
	// that free space, and hands over to a voter that has room; with as much as
	// the second it takes writes again. Defaults: 256 MiB, and half as much again. At
	// most 4 EiB.
	DiskLow, DiskHigh uint64

	// StartTimeout is how long Open looks for the cluster, and after that for how long
	// the member may catch up without getting any further. Default: as long as Open's
	// context lasts. From 100 ms to a year.
	StartTimeout time.Duration
	// Neighbours is about how many other members share this machine. With more
	// than 15 on loopback, failures are looked for as slowly as on a network: a
	// late answer then says more of the machine than of the member. Default: a
	// few; a cluster in one process knows.
	Neighbours int

	// Types are the resource types that this member knows beside map, queue
	// and counter, whose names no other type may have. All members should know
	// the same.
	Types []*resources.Type
	// Logger gets what is worth telling. Default: nothing is logged. Its handler
	// runs in a goroutine of its own and may take its time, ask the member, or fail:
	// above 1,024 lines that wait the next are lost, counted (Status.LogLost), and
	// spoken of when there is room. Shutdown waits a second at most for those that
	// wait; a process that crashes loses them.
	Logger *slog.Logger
}

// Filled returns the configuration with every default filled in. The marks of free
// space follow from the size of the log's files, and are the log's to fill in.
func (c Config) Filled() Config {
	if c.Name == "" {
		c.Name, _ = os.Hostname() // an error leaves it empty: Validate says so
	}
	for _, f := range Fields {
		if v := reflect.ValueOf(f.In(&c)).Elem(); f.Default != nil && v.IsZero() {
			v.Set(reflect.ValueOf(f.Default))
		}
	}
	if preset, ok := timing(c.Timing); ok {
		c.Heartbeat, c.Election = cmp.Or(c.Heartbeat, preset.Heartbeat), cmp.Or(c.Election, preset.Election)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// timing returns the two times of a preset.
func timing(name string) (preset active.Config, known bool) {
	switch name {
	case "fast":
		return active.Fast, true
	case "lan":
		return active.LAN, true
	case "wan":
		return active.WAN, true
	}
	return active.Config{}, false
}

// Registry returns the built-in types and the given ones. Those may not have
// the names of the built-in ones, in any version: handles ask for these types by
// name, and queries go to the highest version.
func Registry(types []*resources.Type) (*resources.Registry, error) {
	builtIn := builtin.Types()
	var faults []error
	for _, t := range types {
		for _, own := range builtIn {
			switch {
			case t == own:
				faults = append(faults, protocol.ErrInvalid.With(fmt.Sprintf("type %q is built in: leave it out of Types", t.Name())))
			case t.Name() == own.Name():
				faults = append(faults, protocol.ErrInvalid.With(fmt.Sprintf(
					"type %q version %d has the name of a built-in type: give it another name", t.Name(), t.Version())))
			}
		}
	}
	registry, err := resources.NewRegistry(append(builtIn, types...)...)
	if len(faults) > 0 {
		return nil, errors.Join(append(faults, err)...)
	}
	return registry, err
}
