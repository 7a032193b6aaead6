package sim

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	driver "github.com/starlinghq/starling/internal/member"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// What happens to disks beside crashes: they rot, fill up, and are put back from
// old copies by people.

// rot is a way in which a stopped member's disk is damaged.
type rot uint8

const (
	rotNone  rot = iota
	rotBit       // one bit is flipped
	rotWrite     // a page of another place stands where it should not
	rotUnreadable
)

// pageBytes is the size of a misdirected write.
const pageBytes = 4096

// strikeRot damages a disk when its log next says that everything in it is
// durable: what no header vouches for yet looks like the torn end of a log, and
// nothing can tell the difference.
func (s *nemesis) strikeRot(m *member) {
	kind := rotBit
	if chance(s.random.faults, 0.5) {
		kind = rotWrite
	}
	if m.up() && m.rolledBack == nil {
		m.rot = kind
	}
}

// rots is called when the member's log is at rest.
func (m *member) rots() {
	kind := m.rot
	m.rot = rotNone
	if kind == rotNone || m.s.quiet || m.s.faultFreeFor > 0 || m.s.copying != nil || !m.s.tolerates(m) {
		return
	}
	if kind == rotUnreadable {
		m.unreads()
		return
	}
	m.dies(false, "and its disk rots")
	m.hurt, m.damaged, m.found = true, true, false
	if m.s.plan.away && chance(m.s.random.faults, 0.6) {
		m.stayAway(between(m.s.random.faults, 3*time.Second, 14*time.Second))
	}
	counted, strikes := countBitsFlipped, m.disk.flip
	if kind == rotWrite {
		counted, strikes = countMisdirected, m.disk.misdirect
	}
	m.s.counts.add(counted, 1)
	m.disk.unseen(func() { m.s.fail(strikes()) })
}

// stayAway keeps a member down, so that the others' logs go on without it.
func (x *ailing) stayAway(d time.Duration) {
	x.losing = true
	x.s.schedule.after(d, func() {
		x.losing = false
		x.restart()
	})
}

// files returns the files of the directory that have content.
func (d *disk) files() (names []string, sizes []int64, err error) {
	var walk func(dir string) error
	walk = func(dir string) error {
		list, err := d.fs.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, base := range list {
			name := filepath.Join(dir, base)
			info, err := d.fs.Stat(name)
			switch {
			case err != nil:
				return err
			case info.Dir:
				if err := walk(name); err != nil {
					return err
				}
			case info.Size > 0:
				names, sizes = append(names, name), append(sizes, info.Size)
			}
		}
		return nil
	}
	return names, sizes, walk(directory)
}

// segments returns the files of the log, mostly, and else all files.
func (d *disk) segments() (names []string, sizes []int64, err error) {
	names, sizes, err = d.files()
	if err != nil || chance(d.random, 0.2) {
		return names, sizes, err
	}
	var logs []string
	var bytes []int64
	for i, name := range names {
		if strings.HasSuffix(name, ".wal") {
			logs, bytes = append(logs, name), append(bytes, sizes[i])
		}
	}
	return logs, bytes, nil
}

// flip flips one bit of one file.
func (d *disk) flip() error {
	names, sizes, err := d.segments()
	if err != nil {
		return err
	}
	k := d.random.IntN(len(names))
	file, err := d.fs.Open(names[k])
	if err != nil {
		return err
	}
	// Most of a segment is not written yet: a few tries to hit something.
	at, b := int64(0), make([]byte, 1)
	for range 64 {
		at = d.random.Int64N(sizes[k])
		if _, err := file.ReadAt(b, at); err != nil {
			return err
		}
		if b[0] != 0 {
			break
		}
	}
	return errors.Join(d.fs.FlipBit(names[k], 8*at+d.random.Int64N(8)), file.Close())
}

// misdirect lets a page of one place land in another one.
func (d *disk) misdirect() error {
	names, sizes, err := d.segments()
	if err != nil {
		return err
	}
	from, to := d.random.IntN(len(names)), d.random.IntN(len(names))
	page := make([]byte, pageBytes)
	source, err := d.fs.Open(names[from])
	if err != nil {
		return err
	}
	n, _ := source.ReadAt(page, d.random.Int64N(sizes[from])/pageBytes*pageBytes) // the end of a file is short
	target, err := d.fs.OpenWrite(names[to])
	if err != nil {
		return err
	}
	at, err := d.place(d.random, names[to], sizes[to])
	if err != nil {
		return err
	}
	if _, err := target.WriteAt(page[:min(int64(n), sizes[to]-at)], at); err != nil {
		return err
	}
	return errors.Join(target.Sync(), source.Close(), target.Close())
}

// place draws where a page of a file is damaged.
//
// The last page of a log in use stays: it says that what is before it was durable.
// Without it the log looks shorter, and only other members know better: that is a
// directory that has gone back, which has a fault of its own. Nonzero bytes say
// nothing about where it is: a segment in use has those of an earlier use behind its
// records.
func (d *disk) place(r *rand.Rand, name string, size int64) (at int64, err error) {
	used, err := d.lastPage(name)
	if err == nil && used == 0 {
		used, err = d.usedPages(name, size)
	}
	if err != nil {
		return 0, err
	}
	if used < 2 && size > pageBytes {
		return pageBytes, nil
	}
	return r.Int64N(max(1, used-1)) * pageBytes, nil
}

// lastPage returns the number, from 1, of the page in which a segment's last
// good record begins; 0 if it has none.
func (d *disk) lastPage(name string) (page int64, err error) {
	_, err = wal.Inspect(d.fs, directory, func(r wal.Record) {
		if r.Status == wal.StatusGood && filepath.Base(r.Segment) == filepath.Base(name) {
			page = r.Offset/pageBytes + 1
		}
	})
	return page, err
}

// usedPages returns how many pages of a file come before the zeros at its end.
func (d *disk) usedPages(name string, size int64) (int64, error) {
	content, err := vfs.ReadFile(d.fs, name, size)
	if err != nil {
		return 0, err
	}
	for n := size; n > 0; n-- {
		if content[n-1] != 0 {
			return (n + pageBytes - 1) / pageBytes, nil
		}
	}
	return 0, nil
}

// opensDamaged judges what opening a damaged directory gave. It reports whether
// the member starts: nothing that matters was hit.
func (m *member) opensDamaged(rec *storage.Opened, repaired uint64, err error) (starts bool) {
	switch {
	case err != nil && (errors.Is(err, protocol.ErrCorrupt) || errors.Is(err, protocol.ErrDirectory) || errors.Is(err, protocol.ErrNotFound)):
		m.tell(colorFault, "x does not start: %v", err)
	case err != nil:
		m.s.fail(violated(RuleDurable, "%s fails to open a damaged log: %v", m.name, err))
		return false
	case repair.Needed(m.id, rec):
		m.tell(colorFault, "x finds its log damaged: %v", rec.Damage)
		m.findsDamage()
		if m.beginRepair(rec) {
			m.s.lose(m)
		}
		return false
	default:
		if m.s.counts[countRepaired] == repaired {
			m.s.counts.add(countDamageHarmless, 1)
		}
		m.hurt, m.damaged = false, false
		return true
	}
	m.findsDamage()
	m.s.lose(m)
	return false
}

// findsDamage counts damage once, however often its member is started on it.
func (x *ailing) findsDamage() {
	if !x.found {
		x.found = true
		x.s.counts.add(countDamageFound, 1)
	}
}

// lose sees to a member whose disk cannot be used any more: after a while it
// gets an empty one.
func (s *supervisor) lose(m *member) {
	if m.losing {
		return
	}
	m.losing = true
	s.schedule.after(between(s.random.faults, 100*time.Millisecond, 3*time.Second), func() {
		m.losing = false
		s.fail(s.wipe(m))
		s.restart(m)
	})
}

// strikeFull fills a disk for a while.
func (s *nemesis) strikeFull(m *member) {
	d := between(s.random.faults, 2*time.Second, 25*time.Second)
	if m.full {
		return
	}
	s.counts.add(countFull, 1)
	m.tell(colorTrouble, "%% disk full for %v", d.Round(time.Millisecond))
	m.full = true
	fs := m.disk.fs
	fs.SetCapacity(1)
	m.disk.changes.SetCapacity(1)
	if s.plan.profile == profileRoom { // nobody knows before a write finds out
		s.schedule.after(d, func() { m.emptied(fs) })
		for _, other := range s.machines()[:s.options.Actives] {
			s.strikeFull(other)
		}
		return
	}
	m.later(0, func() { m.replica.Hamper(m.now(), replica.Hampered{Full: true}); m.serve() })
	s.schedule.after(d, func() { m.emptied(fs) })
}

// emptied makes room again, unless the disk is another one by now.
func (p *process) emptied(fs *vfs.Memory) {
	fs.SetCapacity(1 << 50)
	p.disk.changes.SetCapacity(1 << 50)
	if p.full && fs == p.disk.fs {
		p.full = false
		p.tell(colorPlain, "has room again")
		p.later(0, func() { p.replica.Hamper(p.now(), replica.Hampered{}); p.serve() })
	}
}

// copied is an old copy of a member's directory, and what the checkers knew of
// it when it was taken.
type copied struct {
	snapshot *vfs.Snapshot
	log      shadows
	id       protocol.MemberID
	starts   uint64
	sequence protocol.Sequence
	knew     []protocol.ConfigurationAt
}

// strikeRollback takes a copy of a member's directory, and puts it back later.
func (s *directories) strikeRollback(m *member) {
	if !m.up() || !m.quiet() {
		return
	}
	old := s.takeCopy(m)
	s.schedule.after(between(s.random.faults, time.Second, 8*time.Second), func() {
		s.again(time.Second, 20, func() bool {
			wait := m.id == old.id && (s.copying != nil || !s.remembered(m, old, 1))
			if !wait && m.id == old.id {
				s.rollBack(m, old)
			}
			return wait
		})
	})
}

// remembered reports whether every other member that may vote would know the copy
// for an old one, started so many times. What nobody remembers could help to elect a leader that lacks
// acknowledged writes: no promise is made for it. And the loss of the disk must
// be one that the cluster survives.
func (s *directories) remembered(m *member, old *copied, runs int) bool {
	conf, known := s.configuration.Find(m.id)
	if s.faultFreeFor > 0 || m.losing || m.damaged || !known || conf.Suffrage != protocol.SuffrageVoter || !s.tolerates(m) {
		return false
	}
	if !old.reaches(s, m) {
		return false
	}
	for _, other := range s.machines() {
		if other == m || other.wish != protocol.RoleActive {
			continue // it never votes
		}
		if !other.up() || other.paused || other.rolledBack != nil {
			return false
		}
		// What it has in memory alone, as on a full disk, it knows no more when it has restarted.
		var kept driver.Watermarks
		_ = kept.Recall(other.disk.fs, directory)
		seen := kept.Seen(m.id)
		// Opening the copy counts a start and writes a few records, each time.
		if old.starts+uint64(runs) > seen.Starts && old.sequence+16*protocol.Sequence(runs) >= seen.Sequence {
			return false
		}
	}
	return true
}

// reaches reports whether the copy's member is a voter there, which campaigns,
// and somebody whom the copy knows as active is still there. Else it speaks to
// nobody over a stream, does no harm, and nobody can tell it.
func (c *copied) reaches(s *directories, m *member) bool {
	for _, at := range c.knew {
		if !at.Configuration.IsVoter(m.id) {
			return false
		}
	}
	if len(c.knew) == 0 {
		return false
	}
	latest := c.knew[len(c.knew)-1].Configuration
	return slices.ContainsFunc(latest.Voters(), func(id protocol.MemberID) bool {
		other := s.byID(id)
		return other != nil && other != m
	})
}

// rollBack puts the copy back. Until the member has been told, nobody else may
// forget what it has seen: so there are no other faults.
func (s *directories) rollBack(m *member, old *copied) {
	s.counts.add(countRolledBack, 1)
	if m.up() {
		s.crash(m, false, "and gets an old directory")
	} else {
		m.tell(colorFault, "x gets an old directory")
	}
	m.disk.fs.Rollback(old.snapshot)
	m.emptied(m.disk.fs) // without room it would keep silent, and not be found
	m.rolledBack = m.log.durable.clone()
	m.log = old.log
	m.power, m.log.half, m.hurt, m.shut = false, 0, true, false
	s.faultFreeFor++
	s.stopFaults()
	s.schedule.after(2*time.Second, func() { s.restart(m) })
}

// rolledBackMax is how long a member may run on a restored directory until it is
// told.
const rolledBackMax = 20 * time.Second

// mustBeTold begins the time in which somebody has to tell a member that has
// started on a restored directory. While it is down nobody can.
func (x *greeter) mustBeTold() {
	if x.rolledBack == nil {
		return
	}
	x.later(rolledBackMax, func() {
		switch {
		case x.rolledBack == nil || x.barred:
		case x.unheard != "": // by one that has moved since: the old log does not know where it is
			x.refused("somebody who reads its log")
		default:
			x.s.fail(violated(RuleRolledBack, "%s has run on a restored directory for %v, and nobody has told it", x.name, rolledBackMax))
		}
	})
}

// foundRolledBack is what a member does that is told that its directory has gone
// back: it stops.
func (s *directories) foundRolledBack(m *member, by string) {
	s.counts.add(countRolledBackFound, 1)
	m.tell(colorFault, "x is told by %s that its directory is an old copy", by)
	m.ends()
	m.log.durable = *m.rolledBack
	m.rolledBack = nil
	s.faultFreeFor--
	s.lose(m)
}
