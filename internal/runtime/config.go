package runtime

import (
	"context"
	"net/netip"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/keys"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// Config is how a member is started: what users say, and what only this package and
// its callers know. A zero field means the default that its comment names.
type Config struct {
	config.Config

	// Security is what the member listens and dials with; required.
	Security *security.Security
	// HTTPAddress is where the caller serves HTTP already, for status displays; empty:
	// nowhere. Config.HTTP is what was asked for.
	HTTPAddress string
	// Waits hears for whom the start waits, whenever that changes; empty: it goes
	// on. Default: nobody.
	Waits func(why string)
	// SegmentBytes is the size of a log segment; default 64 MiB.
	SegmentBytes int64
	// RetainEntries is how many applied entries stay in the log beside the
	// checkpoints at most, as RetainBytes; default 10,000, negative: none.
	RetainEntries int
	// Opening is called when the member runs, before it is ready and Open returns: it
	// may be asked for its Status and whether it is Ready.
	Opening func(*Member)
	// Registry holds the resource types; nil: the built-in ones and Types.
	Registry *resources.Registry
	// LogLost counts the lines of the log that were lost; nil: nobody counts.
	LogLost func() uint64
	// Version is the program's, for status displays.
	Version string

	// spaceReserve is the free space that checkpoints leave; 0: see reserve. Tests have a disk that is full for them alone.
	spaceReserve uint64
	// logDisk is what the log and what is remembered of others lie on; nil: the operating system's file
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

func (c *Config) logLost() uint64 {
	if c.LogLost == nil {
		return 0
	}
	return c.LogLost()
}

// eligible reports whether the member may be given a seat: it wishes so, and
// its directory outlives it. A cluster in memory has no directories at all.
func (c *Config) eligible() bool { return c.Role == protocol.RoleActive || c.Eligible }

// types are what the member can apply.
func (c *Config) types() []protocol.TypeVersion {
	list := []protocol.TypeVersion{{Name: protocol.CatalogueType, Version: protocol.CatalogueVersion}}
	for _, t := range c.Registry.Types() {
		list = append(list, protocol.TypeVersion{Name: t.Name(), Version: t.Version()})
	}
	return list
}

func (c *Config) walOptions() wal.Options {
	return wal.Options{SegmentBytes: c.SegmentBytes, SpaceLow: c.DiskLow, SpaceHigh: c.DiskHigh, Background: true}
}

// orphanAfter is how long the member may be without news of a leader.
func (c *Config) orphanAfter() time.Duration { return orphanElections * c.activeConfig().Election }

func (c *Config) activeConfig() active.Config {
	a := active.LAN
	a.Election, a.Heartbeat = c.Election, c.Heartbeat
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
	if config.Loopback(advertise) && c.Neighbours <= neighboursFew {
		return swim.Local()
	}
	return swim.LAN()
}
