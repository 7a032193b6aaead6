package wal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// A repaired log is written beside the damaged one, in segments whose numbers and
// sequence numbers go on from it, under names that end in repairedSuffix. When all
// of them are durable, an empty file whose name says the number of the first
// (repairedPrefix) appears: that is the switch. From then on everything below the
// number is dead, and whoever opens the directory next finishes what a crash
// left: it removes the dead segments, gives the new ones their names, and removes
// the switch. Without the switch the new segments do not count.
const (
	repairedSuffix = ".repaired"
	repairedPrefix = "repaired-"
)

func switchName(number uint64) string { return fmt.Sprintf("%s%08x", repairedPrefix, number) }

// parseSwitch returns the number of the first repaired segment.
func parseSwitch(name string) (number uint64, ok bool) {
	n, err := fmt.Sscanf(name, repairedPrefix+"%x", &number)
	return number, n == 1 && err == nil && number > 0 && switchName(number) == name
}

// Repair puts a log together again by a plan, whole or not at all: whenever it is
// interrupted, the next opening finds the damaged log or the repaired one. The log
// must be closed. Sequence numbers go on, and the hard state is the newest one:
// its commit index and its term rise to what the plan proves.
//
// Everything is verified while it is copied: that entries follow one another and
// their log sums lead to the plan's; that nothing committed is missing; that the
// repaired log says who is active at its commit index.
//
// Errors: protocol.ErrInvalid (the plan does not fit this log), those of Open, and
// the context's, which ends it before the switch: a large log takes long to copy.
func Repair(ctx context.Context, fsys vfs.FS, dir string, o Options, plan storage.RepairPlan) error {
	old, r, _, err := load(fsys, dir, o)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := removeUnfinished(fsys, old); err != nil {
		return old.refused(err)
	}
	m := repairing{old: old, begin: r.begin, configuration: r.configurationAtBegin(), plan: plan}
	m.headLost = len(r.holes) > 0 && r.holes[0].First <= r.begin.index
	if err := m.check(); err != nil {
		return err
	}
	err = m.build(ctx)
	if err == nil {
		err = m.turn()
	}
	if err != nil {
		// Only tidiness, and not if the switch may be there.
		if !m.turned {
			_ = removeUnfinished(fsys, old)
		}
		return err
	}
	old.closeFiles()
	return finishRepair(fsys, dir)
}

// CountStart counts the start of a member whose log is damaged, as Open does for
// a sound one: the others refuse two runs of one start. And it makes durable what
// was found, so that the member can say how far its log had come; a crash may have
// left more there than the log knows to be durable.
func (l *Log) CountStart() error {
	if err := l.usable(); err != nil {
		return err
	}
	for _, s := range l.segments {
		f, err := l.fsys.OpenWrite(l.path(s.name))
		if err == nil {
			err = errors.Join(f.Sync(), f.Close())
		}
		if err != nil {
			return l.fail(err)
		}
	}
	id := l.identity
	id.Starts++
	if err := writeIdentity(l.fsys, l.dir, id); err != nil {
		return l.refused(err)
	}
	l.identity = id
	l.synced()
	return nil
}

type repairing struct {
	old           *Log
	new           *Log
	begin         point
	configuration protocol.ConfigurationAt
	state         protocol.HardState
	plan          storage.RepairPlan
	// headLost says that the log may have begun lower than it seems.
	headLost bool
	turned   bool
}

func badPlan(format string, args ...any) error {
	return protocol.ErrInvalid.With("a log cannot be repaired like this: " + fmt.Sprintf(format, args...))
}

// check looks at what the plan says before anything is written.
func (m *repairing) check() error {
	m.state = m.old.state
	if b := m.plan.Begin; b != nil {
		if b.Index < m.begin.index && !m.headLost {
			return badPlan("it would begin after %d, it begins after %d", b.Index, m.begin.index)
		}
		m.begin, m.configuration = point{b.Index, b.Term, b.Sum}, b.Configuration
		m.state.Commit = max(m.state.Commit, b.Index)
	}
	if d := m.old.damaged; d != nil && d.EndUnknown {
		return badPlan("nothing says where it ended")
	}
	if m.begin.index > m.state.Commit {
		return badPlan("it would begin after %d, which is not known to be committed", m.begin.index)
	}
	if low := max(m.begin.index, min(m.old.state.Commit, m.old.last.index)); m.plan.Last < low {
		return badPlan("it would end at %d, below %d", m.plan.Last, low)
	}
	return nil
}

// build writes the repaired log, which does not count yet.
func (m *repairing) build(ctx context.Context) error {
	old := m.old
	l := newLog(old.fsys, old.dir, old.options)
	m.new = l
	l.suffix = repairedSuffix
	l.number = old.segments[len(old.segments)-1].number + 1
	l.next, l.state = old.next, m.state
	l.begin, l.last, l.end = m.begin, m.begin, m.begin.index
	if m.configuration.Index > 0 {
		l.configurations = protocol.NewConfigurations(m.configuration)
	}
	l.durable = l.next - 1
	defer l.closeFiles()
	if err := l.beginSegment(&carry{opening: true, room: segmentAlign}); err != nil {
		return err
	}
	for l.last.index < m.plan.Last {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := m.next()
		if err == nil {
			err = m.write(entries)
		}
		if err != nil {
			return err
		}
	}
	if l.last.sum != m.plan.Sum {
		return badPlan("it ends at %d with the log sum %s, wanted is %s", l.last.index, l.last.sum, m.plan.Sum)
	}
	if l.last.term > m.state.Term { // from a member of a later term
		m.state.Term, m.state.Vote = l.last.term, protocol.MemberID{}
		if err := l.Write(protocol.Write{State: m.state, First: 1}, nil); err != nil {
			return err
		}
	}
	if role := l.configurations.RoleOf(old.identity.Member, m.state.Commit, l.last.index == 0); role == protocol.RoleNone {
		return badPlan("it would not say who is active at %d", m.state.Commit)
	}
	if err := l.Sync(); err != nil {
		return err
	}
	return l.Settle()
}

// repairBytes is how much is copied at once.
const repairBytes = 1 << 20

// next returns the entries that come next: of a patch, or of the old log.
func (m *repairing) next() ([]protocol.Entry, error) {
	first, last := m.new.last.index+1, m.plan.Last
	for _, patch := range m.plan.Patches {
		if len(patch) == 0 || patch[len(patch)-1].Index < first {
			continue
		}
		if patch[0].Index > first {
			last = min(last, patch[0].Index-1)
			break
		}
		patch = patch[first-patch[0].Index:]
		patch = patch[:min(len(patch), int(last-first+1))]
		size := 0
		for i := range patch {
			if size += len(patch[i].Raw); size > repairBytes && i > 0 {
				patch = patch[:i]
				break
			}
		}
		// Its sums are made here, from what precedes it.
		out := make([]protocol.Entry, len(patch))
		copy(out, patch)
		protocol.SumEntries(m.new.last.sum, out)
		return out, nil
	}
	return m.old.Read(first, last, repairBytes)
}

// write appends entries to the new log, if they continue it.
func (m *repairing) write(entries []protocol.Entry) error {
	at := m.new.last
	for i := range entries {
		e := &entries[i]
		if e.Index != at.index+1 || e.Term < at.term || at.sum.Next(e.Raw) != e.Sum {
			return badPlan("entry %s, log sum %s, does not follow %d@%d, log sum %s", *e, e.Sum, at.index, at.term, at.sum)
		}
		at = point{e.Index, e.Term, e.Sum}
	}
	return m.new.Write(protocol.Write{State: m.state, First: entries[0].Index, Last: at.index}, entries)
}

// turn makes the switch.
func (m *repairing) turn() error {
	l := m.old
	if err := l.fsys.SyncDir(l.path("")); err != nil {
		return l.fail(err)
	}
	m.turned = true
	if err := vfs.WriteFile(l.fsys, l.path(switchName(m.new.number)), nil); err != nil {
		return l.refused(err)
	}
	if err := l.fsys.SyncDir(l.path("")); err != nil {
		return l.fail(err)
	}
	return nil
}

// removeUnfinished removes a repaired log that did not come to its switch.
func removeUnfinished(fsys vfs.FS, l *Log) error {
	names, err := fsys.ReadDir(l.path(""))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, repairedSuffix) || strings.HasPrefix(name, repairedPrefix) && strings.HasSuffix(name, vfs.TemporarySuffix) {
			if err := fsys.Remove(l.path(name)); err != nil {
				return err
			}
		}
	}
	return fsys.SyncDir(l.path(""))
}

// finishRepair does what is left to do after the switch, if it is there.
func finishRepair(fsys vfs.FS, dir string) error {
	folder := Folder(dir)
	f, err := listFolder(fsys, dir)
	if err != nil || f.switched == "" {
		return listError(err)
	}
	if number, _ := parseSwitch(f.switched); len(f.segments) == 0 || f.segments[0].number != number {
		return protocol.ErrCorrupt.With("damaged data: " + f.switched + " is there, and the repaired log that it speaks of is not")
	}
	for _, name := range f.dead {
		if err := fsys.Remove(filepath.Join(folder, name)); err != nil {
			return initError(err)
		}
	}
	for _, s := range f.segments {
		if whole, unfinished := strings.CutSuffix(s.file, repairedSuffix); unfinished {
			if err := fsys.Rename(filepath.Join(folder, s.file), filepath.Join(folder, whole)); err != nil {
				return initError(err)
			}
		}
	}
	// The switch goes only when nothing hangs on it any more.
	err = fsys.SyncDir(folder)
	if err == nil {
		err = fsys.Remove(filepath.Join(folder, f.switched))
	}
	if err == nil {
		err = fsys.SyncDir(folder)
	}
	return initError(err)
}

func listError(err error) error {
	if err == nil || protocolError(err) {
		return err
	}
	return protocol.ErrDirectory.Because(err)
}

// load takes the directory, finishes an interrupted repairing, and reads the log.
// It changes nothing else on the disk.
func load(fsys vfs.FS, dir string, o Options) (*Log, *replay, folder, error) {
	fail := func(err error) (*Log, *replay, folder, error) { return nil, nil, folder{}, err }
	if ok, err := vfs.Exists(fsys, dir); err != nil {
		return fail(protocol.ErrDirectory.Because(err))
	} else if !ok {
		return fail(protocol.ErrNotFound.With("there is no directory " + dir))
	}
	// Before the lock, whose file has no place in somebody else's directory.
	if _, err := ReadIdentity(fsys, dir); err != nil {
		return fail(err)
	}
	lock, err := LockDir(fsys, dir)
	if err != nil {
		return fail(err)
	}
	l := newLog(fsys, dir, o.withDefaults())
	l.lock = lock
	r, f, err := l.read()
	if err != nil {
		l.Close()
		return fail(err)
	}
	return l, r, f, nil
}
