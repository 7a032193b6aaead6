package gossip

import (
	"errors"
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Mode is how frames spread.
type Mode uint8

const (
	// Flood is the founding papers' protocol: each new frame goes to a few
	// random members, who do the same. Robust, and about three copies per
	// member.
	Flood Mode = 1
	// Hybrid sends frames over a few sticky links. Duplicates prune links and
	// holes graft them, until a tree is left: about one copy per member, and
	// now and then one over a pruned link, which repairs the tree.
	Hybrid Mode = 2
)

// Config tunes a core. A zero field means its default.
type Config struct {
	ID  protocol.MemberID
	Run protocol.RunID
	// Seed decides every random choice, together with Run.
	Seed uint64
	Mode Mode // default Hybrid
	// Zone is where this member is. Checkpoints come from members of the same
	// zone, as long as there are any, and six links in seven stay in it.
	Zone string

	// Fanout is how many random members a new frame is offered to (default
	// 4), each with Probability (default 0.75), in mode Flood. With c = Fanout x Probability
	// x (1 - loss), push alone misses a share s = e^(-c(1-s)).
	Fanout      int
	Probability float64
	// HopLimit bounds how often a frame is passed on; default
	// 2 ceil(log_c N) + 6 for N passives, with c the copies that each member
	// makes (Flood) or its links less one (Hybrid).
	HopLimit int

	// Have is how often the digest is sent, to two members (default 50 ms).
	// Shorter finds losses sooner and makes reported ages smaller, at about
	// 100 B per digest.
	Have time.Duration
	// Flush is how long committed entries may wait for others that share
	// their frame (default 5 ms), unless the member was idle.
	Flush time.Duration
	// ActiveAsks bounds how often passives ask one active for its freshness,
	// per second (default 200): with more passives each asks less often.
	ActiveAsks int

	// BufferBytesMax bounds the frames that wait for what precedes them
	// (default 8 MiB). Beyond it the farthest ahead is dropped.
	BufferBytesMax int
	// ServeBytesMax bounds the bytes per second that pulls get from this
	// member (default 64 MiB). A single member gets at most a quarter. Beyond
	// it: BUSY.
	ServeBytesMax int

	// ChunkServeBytes bounds the bytes per second of checkpoints that this
	// member sends (default 32 MiB). An active sends a quarter of it. Beyond
	// it: BUSY. A quarter of what the network carries is a good value.
	ChunkServeBytes int
	// FetchChunksMax and FetchBytesMax bound the chunks of a checkpoint that
	// are on their way to this member, or wait to be stored (default 16, and 8
	// MiB as far as their sizes are known).
	FetchChunksMax int
	FetchBytesMax  int

	// Flock is how many passives there are, where SetPeers tells of some of
	// them only: with very many, a random few hundred are enough for a passive.
	// Actives have to know them all. Default: those that are told of.
	Flock int

	// Sign signs a statement (see protocol.LogStatement) with this member's key.
	// It is asked while the member is an active. Nil: it has no key.
	Sign func(statement []byte) protocol.Signature
	// Verify reports what is wrong with a signature of a statement. Nil: this
	// member takes frames as they come. Otherwise it takes nothing that no
	// active has signed. Both must be pure, and take about 0.1 ms: they are
	// called once for each new frame, and for each answer about freshness.
	Verify func(statement []byte, s protocol.Signature) error

	// NoRepair switches pulls off. For measuring what push alone reaches.
	NoRepair bool
}

func (c Config) withDefaults() Config {
	if c.Mode == 0 {
		c.Mode = Hybrid
	}
	if c.Fanout == 0 {
		c.Fanout = 4
	}
	if c.Probability == 0 {
		c.Probability = 0.75
	}
	if c.Have == 0 {
		c.Have = 50 * time.Millisecond
	}
	if c.Flush == 0 {
		c.Flush = 5 * time.Millisecond
	}
	if c.ActiveAsks == 0 {
		c.ActiveAsks = 200
	}
	if c.BufferBytesMax == 0 {
		c.BufferBytesMax = bufferBytesMaxDefault
	}
	if c.ServeBytesMax == 0 {
		c.ServeBytesMax = serveBytesMaxDefault
	}
	if c.ChunkServeBytes == 0 {
		c.ChunkServeBytes = chunkServeBytesMaxDefault
	}
	if c.FetchChunksMax == 0 {
		c.FetchChunksMax = fetchChunksMaxDefault
	}
	if c.FetchBytesMax == 0 {
		c.FetchBytesMax = fetchBytesMaxDefault
	}
	return c
}

// Defaults of the limits.
const (
	bufferBytesMaxDefault     = 8 << 20
	serveBytesMaxDefault      = 64 << 20
	chunkServeBytesMaxDefault = 32 << 20
	fetchChunksMaxDefault     = 16
	fetchBytesMaxDefault      = 8 << 20
)

// Validate reports all that is wrong with a configuration at once.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Mode <= Hybrid, "unknown gossip mode %d", c.Mode)
	check(c.Fanout >= 0 && c.Fanout <= 64, "gossip fanout must be 1 to 64, not %d", c.Fanout)
	check(c.Probability >= 0 && c.Probability <= 1, "gossip probability must be above 0 and at most 1, not %v", c.Probability)
	check(c.HopLimit >= 0 && c.HopLimit < hopsMax, "gossip hop limit must be below %d, not %d", hopsMax, c.HopLimit)
	check(c.Have >= 0 && c.Flush >= 0, "gossip intervals must not be negative")
	check(c.ActiveAsks >= 0 && c.BufferBytesMax >= 0 && c.ServeBytesMax >= 0, "gossip limits must not be negative")
	check(c.Flock >= 0, "the size of the flock must not be negative")
	check(c.ChunkServeBytes >= 0 && c.FetchChunksMax >= 0 && c.FetchBytesMax >= 0, "gossip limits of checkpoints must not be negative")
	return errors.Join(errs...)
}

// checks reports whether this member takes only what is signed.
func (c *Config) checks() bool { return c.Verify != nil }
