package sim

import (
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

const (
	// directory is where each member keeps its log, on its own file system.
	directory = "data"
	// segmentBytes is the smallest size of a segment, so that logs have
	// borders to cross.
	segmentBytes = 16 << 10
)

// clusterID is that of every simulated cluster.
var clusterID = protocol.ClusterID{1}

// disk is a member's file system and how to open the log on it.
type disk struct {
	fs      *vfs.Memory
	changes *vfs.Memory // beside it: see behind
	options wal.Options
	random  *rand.Rand
	excused uint64 // how many failed calls were no trouble of the run that there is
	// quarantine says that the member has noted one, which outlives its process.
	quarantine bool
}

// init makes the member's directory. The founder's log begins with the first
// configuration.
func (d *disk) init(s *stage, m *member, founding *protocol.Configuration) error {
	d.random = s.random.disk
	d.fs, d.changes = vfs.NewMemory(d.random.Uint64()), vfs.NewMemory(s.random.behind.Uint64())
	d.watches(s, m)
	d.options = wal.Options{SegmentBytes: s.plan.segment, Random: noise{stream(d.random.Uint64(), 1)}}
	var first []protocol.Entry
	if founding != nil {
		first = []protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(*founding)}}
		protocol.EncodeEntries(first)
		protocol.SumEntries(protocol.LogSum{}, first)
	}
	return wal.Init(d.fs, directory, wal.Identity{Cluster: clusterID, Member: m.id, Name: m.name}, first, d.options)
}

// torn counts the torn records that an opening will drop.
func (d *disk) torn() (n int) {
	d.unseen(func() {
		if report, err := wal.Inspect(d.fs, directory, nil); err == nil {
			n = report.Torn
		}
	})
	return n
}

// stopIn stops the machine after a number of operations on the disk.
func (d *disk) stopIn(steps int) { d.fs.StopAfter(steps) }

// goesOn takes a stop back that has not struck: there were fewer operations.
func (d *disk) goesOn() {
	if !d.fs.Stopped() {
		d.fs.StopAfter(-1)
	}
}

// stopped reports whether that has happened.
func (d *disk) stopped() bool { return d.fs.Stopped() }

// failSync makes the next sync fail.
func (d *disk) failSync() { d.fs.Fail(vfs.OpSync, 1, errors.New("the simulated disk cannot write")) }

// crash ends all that is open. Without power, what was not synced is lost page
// by page.
func (d *disk) crash(power bool) {
	if power {
		d.fs.Crash()
		d.changes.Crash()
		return
	}
	d.fs.Kill()
	d.changes.Kill()
}

// noise is a random source as bytes.
type noise struct{ r *rand.Rand }

var _ io.Reader = noise{}

func (n noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(n.r.Uint64())
	}
	return len(p), nil
}

// The times that a disk takes, by the weather of the seed.

func (h *host) syncTime() time.Duration {
	r, p := h.s.random.disk, &h.s.plan
	if h.drags > 0 {
		return between(r, h.drags/2, h.drags*3/2)
	}
	if p.sluggish > 0 && h.number <= h.s.options.Actives/2 {
		h.s.counts.add(countSluggishSyncs, 1)
		return between(r, p.sluggish/2, p.sluggish*3/2)
	}
	d := p.sync/4 + around(r, p.sync)
	if chance(r, p.slow) {
		d *= 100
		h.s.counts.add(countSlowSyncs, 1)
	}
	return min(d, 3*time.Second)
}

func (h *host) writeTime() time.Duration { return around(h.s.random.disk, h.s.plan.write) }

func (h *host) readTime() time.Duration {
	return 10*time.Microsecond + around(h.s.random.disk, h.s.plan.write)
}

// wakeTime is how long a completion takes to reach the replica.
func (h *host) wakeTime() time.Duration { return around(h.s.random.disk, 20*time.Microsecond) }
