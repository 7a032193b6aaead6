package active

import (
	"errors"
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Config is what a member is told by its owner. A zero field means its
// default, except for ID and Run, which have none.
type Config struct {
	// ID is this member.
	ID protocol.MemberID
	// Run is the random number of this start; an answer to a read index of
	// another run is dropped.
	Run protocol.RunID
	// Seed makes the election timeouts of this run: a hash of the member's
	// id and of how often it was started, so that no two members and no two
	// runs draw the same ones.
	Seed uint64

	// Election is the shortest election timeout, T. Shorter finds a dead
	// leader sooner and takes a slow one for dead more often. A leader that
	// has not heard a quorum for T steps down. Default 500 ms.
	Election time.Duration
	// ElectionSpread is the width of the range that timeouts are drawn from,
	// [T, T+ElectionSpread). The narrower it is, the more often several
	// members campaign at once and split the vote; one nanosecond is no
	// randomness at all. Default T.
	ElectionSpread time.Duration
	// Heartbeat is how often a leader asserts itself. At most half of
	// Election. Default 100 ms.
	Heartbeat time.Duration

	// AppendBytesMax limits the entries of one append, in encoded bytes; a
	// larger entry travels alone. Default 256 KiB, at most
	// protocol.AppendBytesMax.
	AppendBytesMax int
	// InflightMax limits the appends that are under way to one follower; the
	// next one waits for an answer. Default 64.
	InflightMax int
	// InflightBytesMax limits what they carry together, in encoded bytes: no
	// append is sent that could exceed it, unless nothing is under way. It
	// bounds the memory that a slow follower costs. A link with a round trip of
	// R carries InflightBytesMax in each R: 4 MiB over 200 ms are 20 MiB/s.
	// Default 4 MiB.
	InflightBytesMax int
	// UncommittedMax and UncommittedBytesMax limit what was proposed and is
	// not committed yet, in entries and in encoded bytes. Beyond them Propose
	// fails with ErrOverloaded. Default 16,384 entries and 64 MiB.
	UncommittedMax      int
	UncommittedBytesMax int
	// NamedOnly makes the member listen to those that its log names, and to
	// nobody else until it has heard no leader among them for ten election
	// timeouts: see heed.go. Its owner then asks the flock when it is IsLeaderless, and
	// takes what it gets from Named only, until it is Lost. Default: it takes
	// every sender for what it says it is, as the paper does.
	NamedOnly bool
	// Secret makes the tokens by which this run knows datagrams: random bytes of the run,
	// which nobody else has. Default: none, and heartbeats go by stream alone.
	Secret Secret
	// ReadsMax limits the read-index requests that wait at a leader. Beyond
	// it they are answered with ErrOverloaded. Default 65,536.
	ReadsMax int
}

// Defaults of the limits.
const (
	appendBytesMaxDefault      = 256 << 10
	inflightMaxDefault         = 64
	inflightBytesMaxDefault    = 4 << 20
	uncommittedMaxDefault      = 16_384
	uncommittedBytesMaxDefault = 64 << 20
	readsMaxDefault            = 65_536
)

// The presets. Each says the two times; everything else is the default.
var (
	// LAN is the default: a leader's death is noticed within a second.
	LAN = Config{Election: 500 * time.Millisecond, Heartbeat: 100 * time.Millisecond}
	// Fast has the paper's times (section 9.3). It wants a quiet network and
	// disks that sync within a few milliseconds.
	Fast = Config{Election: 150 * time.Millisecond, Heartbeat: 50 * time.Millisecond}
	// WAN is for voters that are up to 200 ms apart.
	WAN = Config{Election: 3 * time.Second, Heartbeat: 500 * time.Millisecond}
)

// WithDefaults returns the configuration with each zero field set to its
// default.
func (c Config) WithDefaults() Config {
	setDefault(&c.Election, LAN.Election)
	setDefault(&c.ElectionSpread, c.Election)
	setDefault(&c.Heartbeat, c.Election/5)
	setDefault(&c.AppendBytesMax, appendBytesMaxDefault)
	setDefault(&c.InflightMax, inflightMaxDefault)
	setDefault(&c.InflightBytesMax, inflightBytesMaxDefault)
	setDefault(&c.UncommittedMax, uncommittedMaxDefault)
	setDefault(&c.UncommittedBytesMax, uncommittedBytesMaxDefault)
	setDefault(&c.ReadsMax, readsMaxDefault)
	return c
}

func setDefault[T int | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate reports all mistakes at once, after the defaults were filled in.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var mistakes []error
	wrong := func(format string, args ...any) { mistakes = append(mistakes, fmt.Errorf(format, args...)) }
	if c.ID.IsZero() {
		wrong("active: the member has no id")
	}
	if c.Election < time.Millisecond {
		wrong("active: the election timeout is %v, at least 1ms is needed", c.Election)
	}
	if c.ElectionSpread < 0 {
		wrong("active: election timeouts spread over %v, it must be positive", c.ElectionSpread)
	}
	if c.Heartbeat <= 0 {
		wrong("active: the heartbeat interval is %v, it must be positive", c.Heartbeat)
	}
	if c.Heartbeat > c.Election/2 {
		wrong("active: the heartbeat interval %v is over half of the election timeout %v: one lost heartbeat would cost an election", c.Heartbeat, c.Election)
	}
	if c.AppendBytesMax < 1 || c.AppendBytesMax > protocol.AppendBytesMax {
		wrong("active: appends of %d bytes, they must have 1 to %d", c.AppendBytesMax, protocol.AppendBytesMax)
	}
	for _, f := range []struct {
		name  string
		value int
	}{
		{"InflightMax", c.InflightMax}, {"InflightBytesMax", c.InflightBytesMax}, {"UncommittedMax", c.UncommittedMax},
		{"UncommittedBytesMax", c.UncommittedBytesMax}, {"ReadsMax", c.ReadsMax},
	} {
		if f.value < 1 {
			wrong("active: %s is %d, it must be positive", f.name, f.value)
		}
	}
	return errors.Join(mistakes...)
}
