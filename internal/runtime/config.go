package runtime

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/keys"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/storage/vfs"
)

// Config is how a member is started. A zero field means the default that its
// comment names.
type Config struct {
	// Name is a label for people, unique among live members; required.
	Name string
	// Dir is the data directory. Empty: memory only; the member is a new one
	// at each start.
	Dir string
	// Bind is where the member listens, TCP and UDP, for members and clients;
	// port 0 picks one. Default 127.0.0.1:7600. Advertise is where others
	// reach it; default: what Bind became.
	Bind, Advertise string
	// Role is what the member wishes to be: RoleActive, RolePassive (the
	// default) or RoleReserve. The log decides. Eligible lets a passive, or a
	// reserve, become active when the policy needs one; it is implied by
	// RoleActive.
	Role     protocol.Role
	Eligible bool
	// Bootstrap begins a new cluster with this member, unless the directory
	// has one already or a cluster answers at Join.
	Bootstrap bool
	// Join lists addresses of members of the cluster to join, or to begin
	// together with: see internal/founding.
	Join []string
	// Expect begins a new cluster as soon as so many members that were told the
	// same have found one another through Join; 0: Bootstrap decides.
	Expect int
	// ForgetPromise lifts what an earlier start of this member has promised: not
	// to begin a cluster.
	ForgetPromise bool
	// Replace lets the member have the name of another one with a seat, which does
	// not run any more: its seat is to be taken over.
	Replace bool
	// Waits hears for whom the start waits, whenever that changes; empty: it goes
	// on. Default: nobody.
	Waits func(why string)
	// Actives is the number of voters that a bootstrapped cluster aims at;
	// default 3.
	Actives int
	Zone    string
	// Insecure allows addresses beyond loopback without encryption.
	Insecure bool
	// GossipMode is "hybrid", the default, or "flood". GossipFanout (default 4)
	// and GossipProbability (default 0.75) are parameters of the latter.
	GossipMode        string
	GossipFanout      int
	GossipProbability float64
	// SigningKey signs what this member tells passives while it is an active;
	// default: nothing is signed. With TrustedKeys it believes, as long as it is
	// a passive, only what one of these keys has signed; its own is among them.
	// A member that may be active needs the former to have the latter.
	SigningKey  ed25519.PrivateKey
	TrustedKeys []ed25519.PublicKey
	// Election and Heartbeat are Raft's; default: the LAN preset, 500 ms and
	// 100 ms.
	Election, Heartbeat time.Duration
	// SegmentBytes is the size of a log segment; default 64 MiB.
	SegmentBytes int64
	// DiskLow and DiskHigh are the marks of free space, in bytes: below the first
	// no writes are taken by this member, if it leads, until there is as much as
	// the second again. Defaults: four and six segments.
	DiskLow, DiskHigh uint64
	// CheckpointBytes and CheckpointEvery say when this member, while it leads,
	// asks all members for a checkpoint: when the log since the last one is that
	// large, or half as large as the state if that is more, default 64 MiB; and
	// when the last one is that old and something was written since, default
	// 10 min, negative: never for its age.
	CheckpointBytes int
	CheckpointEvery time.Duration
	// RetainEntries and RetainBytes are how many applied entries, and of how many
	// bytes, stay in the log beside the checkpoints at most, for members that are a
	// little behind; defaults 10,000 and 64 MiB, negative: none.
	RetainEntries, RetainBytes int
	// StartTimeout bounds the start until the cluster was found, and from then on each
	// time in which the member gets no further with catching up; default: the context
	// of Open alone does.
	StartTimeout time.Duration
	// Opening is called when the member runs, before it is ready and Open returns: it
	// may be asked for its Status and whether it is Ready.
	Opening func(*Member)
	// Neighbours is about how many other members share this machine. Where there
	// are many, they take turns at its cores, and an answer that is late says
	// less of who gives it: membership takes its time, as on a network. Matters
	// on loopback only, where it is in a hurry otherwise. Default: a few.
	Neighbours int
	// Registry holds the resource types; required.
	Registry *resources.Registry
	// Logger gets the member's log; default: none.
	Logger *slog.Logger
	// LogLost counts the lines of the log that were lost; nil: nobody counts.
	LogLost func() uint64
	// Version is the program's, for status displays.
	Version string

	// spaceReserve is the free space that checkpoints leave; 0: see reserve. Tests have a disk that is full for them alone.
	spaceReserve uint64
	// logDisk is what the log and the books lie on; nil: the operating system's file
	// system. Tests have one that fails.
	logDisk vfs.FS
	// behindBytes and pinBytes are replica.Config's, chunkBytes the store's least
	// size of a chunk, chunkServe gossip's budget: tests have members that are far
	// behind with little.
	behindBytes, pinBytes, chunkBytes, chunkServe int
	// resolve looks a name up; nil: as the system does.
	resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// looks is called whenever the loop has published: tests look at a member that
	// is not open yet.
	looks func(*Member)
	// endTimeout is how long the end waits for the disk; 0: the constant of that name.
	endTimeout time.Duration
	// twist is what this member sends instead of what it should. Tests have a
	// member that lies.
	twist func(*Member, []replica.Send) []replica.Send
}

// Validate reports all mistakes at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Name == "" {
		bad("a member needs a name")
	}
	if len(c.Name) > protocol.NameBytesMax {
		bad("the name has %d bytes, the limit is %d", len(c.Name), protocol.NameBytesMax)
	}
	if c.Registry == nil {
		bad("a member needs a registry of resource types")
	}
	if c.Actives < 0 || c.Actives > protocol.ActivesMax {
		bad("actives must be between 1 and %d, not %d", protocol.ActivesMax, c.Actives)
	}
	if c.Expect < 0 || c.Expect > protocol.FoundingMax {
		bad("a cluster begins with 1 to %d members that find each other, not %d", protocol.FoundingMax, c.Expect)
	}
	if c.GossipMode != "" && c.GossipMode != "hybrid" && c.GossipMode != "flood" {
		bad("the gossip mode is \"hybrid\" or \"flood\", not %q", c.GossipMode)
	}
	if c.GossipFanout < 0 || c.GossipFanout > 64 {
		bad("the gossip fanout must be between 1 and 64, not %d", c.GossipFanout)
	}
	if !(c.GossipProbability >= 0 && c.GossipProbability <= 1) { // nor NaN
		bad("the gossip probability must be between 0 and 1, not %g", c.GossipProbability)
	}
	if c.CheckpointBytes < 0 {
		bad("a checkpoint is taken after a number of bytes above 0, not %d", c.CheckpointBytes)
	}
	if err := keys.Check(c.SigningKey, c.TrustedKeys, c.Role == protocol.RoleActive || c.Eligible); err != nil {
		errs = append(errs, err)
	}
	for _, a := range append([]string{c.bind(), c.Advertise}, c.Join...) {
		if a == "" {
			continue
		}
		if err := checkAddress(a); err != nil {
			errs = append(errs, err)
		}
	}
	for _, a := range []string{c.bind(), c.Advertise} {
		if a != "" && !c.Insecure && !Loopback(a) {
			bad("%s is beyond loopback, and traffic is not encrypted yet: say --insecure (Insecure: true) if the network is yours alone, or use 127.0.0.1", a)
		}
	}
	if len(errs) > 0 {
		return protocol.ErrInvalid.Because(errors.Join(errs...))
	}
	return nil
}

func (c *Config) bind() string {
	if c.Bind == "" {
		return "127.0.0.1:7600"
	}
	return c.Bind
}

func (c *Config) logger() *slog.Logger {
	if c.Logger == nil {
		return slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return c.Logger
}

func (c *Config) logLost() uint64 {
	if c.LogLost == nil {
		return 0
	}
	return c.LogLost()
}

// Timing returns the two times of a preset: fast, lan or wan.
func Timing(name string) (preset active.Config, known bool) {
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

func (c *Config) activeConfig() active.Config {
	a := active.LAN
	if c.Election > 0 {
		a.Election = c.Election
	}
	if c.Heartbeat > 0 {
		a.Heartbeat = c.Heartbeat
	}
	return a
}

func (c *Config) gossipConfig(cluster protocol.ClusterID) gossip.Config {
	g := gossip.Config{
		Zone: c.Zone, Mode: gossip.Hybrid, Fanout: c.GossipFanout, Probability: c.GossipProbability,
		ChunkServeBytes: c.chunkServe,
		Sign:            keys.Signer(cluster, c.SigningKey), Verify: keys.Verifier(cluster, c.TrustedKeys),
	}
	if c.GossipMode == "flood" {
		g.Mode = gossip.Flood
	}
	return g
}

// neighboursFew are so few that a late answer is most likely a dead member.
const neighboursFew = 15

// membershipPace is how fast failures are looked for at the address advertised.
func (c *Config) membershipPace(advertise string) swim.Timing {
	if Loopback(advertise) && c.Neighbours <= neighboursFew {
		return swim.Local()
	}
	return swim.LAN()
}

// Loopback reports whether an address can be reached from this machine only.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func checkAddress(a string) error {
	_, port, err := net.SplitHostPort(a)
	if err != nil {
		return fmt.Errorf("%q is not an address: want host:port", a)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is not an address: the port must be a number up to 65535", a)
	}
	return nil
}
