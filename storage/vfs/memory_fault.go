package vfs

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Op is an operation, as faults name it.
type Op uint8

// The operations. OpAny stands for every one of those that change something, which
// are the first ones.
const (
	OpAny Op = iota
	OpCreate
	OpWrite
	OpSync
	OpAllocate
	OpTruncate
	OpRename
	OpLink
	OpRemove
	OpSyncDir
	OpMkdir // not counted among the steps: the name is durable at once
	OpOpen
	OpRead
	OpReadDir
	OpStat
	OpFreeSpace
)

var opNames = [...]string{
	"any", "create", "write", "sync", "allocate", "truncate", "rename", "link", "remove", "sync of the directory",
	"mkdir", "open", "read", "readdir", "stat", "statfs",
}

// String names the call.
func (o Op) String() string { return opNames[o] }

// Counters say what was done since the file system was made.
type Counters struct {
	// Steps counts all operations that change something, the others by kind.
	Steps, Creates, Writes, Syncs, Allocates, Renames, Removes, SyncDirs uint64
	Reads, BytesWritten, Sleeps                                          uint64
	// Crashes and Kills, and how many faults were met.
	Crashes, Kills, Faults uint64
}

type faults struct {
	capacity  int64
	next      []fault
	stopAfter int // operations until the machine stops; -1: never
	stopped   bool
	misdirect int64
	bad       []badRange
	wake      int // sleeps until bad is taken back; 0: it is not
	troubles  []Trouble
	tell      func(error)
}

// badRange is a part of a file that the disk cannot read: [from, to).
type badRange struct {
	node     *inode
	from, to int64
	err      error
}

func (f *faults) unreadable(node *inode, from, to int64) error {
	for _, b := range f.bad {
		if b.node == node && from < b.to && b.from < to {
			return b.err
		}
	}
	return nil
}

// rewritten takes back what a write covers.
func (f *faults) rewritten(node *inode, from, to int64) {
	var left []badRange
	for _, b := range f.bad {
		if b.node != node || to <= b.from || b.to <= from {
			left = append(left, b)
			continue
		}
		if b.from < from {
			left = append(left, badRange{node, b.from, from, b.err})
		}
		if to < b.to {
			left = append(left, badRange{node, to, b.to, b.err})
		}
	}
	f.bad = left
}

type fault struct {
	op  Op
	n   int
	err error
}

// step is called before each operation that changes something.
func (m *Memory) step(op Op, name string) error {
	if m.faults.stopped {
		return ErrStopped
	}
	m.count(op)
	if m.faults.stopAfter == 0 {
		m.faults.stopped = true
		return ErrStopped
	}
	if m.faults.stopAfter > 0 {
		m.faults.stopAfter--
	}
	for i := range m.faults.next {
		f := &m.faults.next[i]
		if f.op != op && f.op != OpAny {
			continue
		}
		if f.n--; f.n == 0 {
			err := f.err
			m.faults.next = slices.Delete(m.faults.next, i, i+1)
			m.counters.Faults++
			return err
		}
	}
	return m.meet(op, name)
}

func (m *Memory) count(op Op) {
	c := &m.counters
	c.Steps++
	switch op {
	case OpCreate:
		c.Creates++
	case OpWrite:
		c.Writes++
	case OpSync:
		c.Syncs++
	case OpAllocate, OpTruncate:
		c.Allocates++
	case OpRename:
		c.Renames++
	case OpRemove:
		c.Removes++
	case OpSyncDir:
		c.SyncDirs++
	}
}

// Counters returns what was done so far.
func (m *Memory) Counters() Counters {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counters
}

// SetCapacity sets the size of the disk in bytes. It may be less than what is
// used: then nothing can be allocated.
func (m *Memory) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.capacity = bytes
}

// Fail makes the n-th operation of the kind from now on fail, once, with err,
// or ErrInjected if that is nil. A write that fails may have been done in part;
// a failed sync leaves pages that look clean, are not on disk, and will not be
// written by a later sync.
func (m *Memory) Fail(op Op, n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		err = ErrInjected
	}
	m.faults.next = append(m.faults.next, fault{op, n, err})
}

// FailReads makes every read of a file that touches the n bytes from at on fail with
// err, or ErrInjected if that is nil, until ReadsWork, or until they are written: a
// disk puts other sectors in the place of bad ones then. It outlives a restart.
func (m *Memory) FailReads(name string, at, n int64, err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, notFound := m.find("fail reads", name)
	if notFound != nil {
		return notFound
	}
	node := d.names[base]
	if node == nil {
		return notExist("fail reads", name)
	}
	if err == nil {
		err = ErrInjected
	}
	m.faults.bad = append(m.faults.bad, badRange{node, at, at + n, err})
	return nil
}

// Sleep implements Sleeper: no time passes. See ReadsWorkAfter.
func (m *Memory) Sleep(time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters.Sleeps++
	if m.faults.wake == 0 {
		return
	}
	if m.faults.wake--; m.faults.wake == 0 {
		m.faults.bad = nil
	}
}

// ReadsWorkAfter takes back all that FailReads has done after n pauses of whoever
// waits for it.
func (m *Memory) ReadsWorkAfter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.wake = n
}

// ReadsWork takes back all that FailReads has done.
func (m *Memory) ReadsWork() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.bad = nil
}

// StopAfter stops the machine after n more operations that change something:
// the next one is cut short, and everything fails with ErrStopped until Crash or
// Kill. A negative n takes it back.
func (m *Memory) StopAfter(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.stopAfter = n
}

// Stopped reports whether StopAfter has struck.
func (m *Memory) Stopped() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults.stopped
}

// MisdirectNext makes the next write land by bytes further on, and report
// success.
func (m *Memory) MisdirectNext(by int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.misdirect = by
}

// Kill is the death of the process: open files and locks are gone, and what was
// written is still in the page cache, durable or not.
func (m *Memory) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters.Kills++
	m.restart()
}

// Crash is a power cut: every page and every name that was not synced survives
// or does not, independently; some pages survive in part.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counters.Crashes++
	m.restart()
	seen := map[*inode]bool{}
	for _, name := range slices.Sorted(maps.Keys(m.dirs)) {
		d := m.dirs[name]
		for _, changes := range d.pending {
			if m.random.IntN(2) == 0 {
				apply(d.durable, changes)
			}
		}
		d.pending = nil
		d.names = maps.Clone(d.durable)
		for _, base := range slices.Sorted(maps.Keys(d.names)) {
			if node := d.names[base]; !seen[node] {
				seen[node] = true
				node.crash(m.random)
			}
		}
	}
}

func (m *Memory) restart() {
	m.generation++
	clear(m.locks)
	m.faults.stopAfter, m.faults.stopped, m.faults.misdirect = -1, false, 0
	m.faults.next = nil
}

// FlipBit flips one bit of a file, in the page cache and on the disk.
func (m *Memory) FlipBit(name string, bit int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("flip", name)
	if err != nil {
		return err
	}
	node := d.names[base]
	if node == nil || bit < 0 || bit/8 >= int64(len(node.data)) {
		return notExist("flip", name)
	}
	at, mask := bit/8, byte(1)<<(bit%8)
	node.data[at] ^= mask
	if before := node.before[at/pageBytes]; at%pageBytes < int64(len(before)) {
		before[at%pageBytes] ^= mask
	}
	return nil
}

// Snapshot is a copy of a directory and what is below it.
type Snapshot struct {
	root string
	dirs map[string]*directory
}

// Snapshot copies a directory as it is, with what is not durable yet.
func (m *Memory) Snapshot(root string) *Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	root = filepath.Clean(root)
	return &Snapshot{root: root, dirs: cloneDirs(m.dirs, root)}
}

// Rollback puts a directory back to what it was, as an administrator does with
// an old copy: everything in it is durable, and files opened before are dead.
func (m *Memory) Rollback(s *Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restart()
	for name := range m.dirs {
		if below(name, s.root) {
			delete(m.dirs, name)
		}
	}
	for name, d := range cloneDirs(s.dirs, s.root) {
		d.durable, d.pending = maps.Clone(d.names), nil
		for _, node := range d.names {
			node.settle(int64(len(node.data)))
		}
		m.dirs[name] = d
	}
}

func below(name, root string) bool {
	return name == root || strings.HasPrefix(name, strings.TrimSuffix(root, string(filepath.Separator))+string(filepath.Separator))
}

// cloneDirs copies the directories below root; files keep their identity within
// the copy.
func cloneDirs(dirs map[string]*directory, root string) map[string]*directory {
	out := map[string]*directory{}
	copies := map[*inode]*inode{}
	copyOf := func(n *inode) *inode {
		if n == nil {
			return nil
		}
		if copies[n] == nil {
			copies[n] = n.clone()
		}
		return copies[n]
	}
	for name, d := range dirs {
		if !below(name, root) {
			continue
		}
		c := newDirectory()
		for base, node := range d.names {
			c.names[base] = copyOf(node)
		}
		for base, node := range d.durable {
			c.durable[base] = copyOf(node)
		}
		for _, changes := range d.pending {
			changes = slices.Clone(changes)
			for i := range changes {
				changes[i].file = copyOf(changes[i].file)
			}
			c.pending = append(c.pending, changes)
		}
		out[name] = c
	}
	return out
}
