package vfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

const (
	pageBytes   = 4 << 10
	sectorBytes = 512
)

// Errors of the file system in memory.
var (
	// ErrStopped: the machine has stopped (StopAfter), or the file was opened
	// before the last Crash or Kill.
	ErrStopped = errors.New("vfs: the machine has stopped")
	// ErrInjected is what a fault returns that was not given an error.
	ErrInjected = errors.New("vfs: injected fault")
)

// Memory is a file system in memory that behaves like the worst disk that is
// still within its contract, deterministically from a seed: what was not synced
// is lost or torn by a power cut, page by page and name by name, in any order.
// Its faults are in memory_fault.go.
//
// It is safe for concurrent use; it is deterministic if the operations that
// change it come in a deterministic order.
type Memory struct {
	mu         sync.Mutex
	random     *rand.Rand
	dirs       map[string]*directory
	locks      map[string]*memoryLock
	generation int // files opened in an older one are dead
	faults     faults
	counters   Counters
}

// directory knows the names as they are, as they are on disk, and what was done
// to them since.
type directory struct {
	names   map[string]*inode
	durable map[string]*inode
	pending [][]nameChange
}

// nameChange gives a name to a file, or, if that is nil, takes it away. Changes
// made by one operation survive a crash together or not at all.
type nameChange struct {
	name string
	file *inode
}

// NewMemory returns an empty file system that has only the root directories.
func NewMemory(seed uint64) *Memory {
	m := &Memory{
		random: rand.New(rand.NewPCG(seed, 0x5741524c)),
		dirs:   map[string]*directory{},
		locks:  map[string]*memoryLock{},
	}
	m.faults.capacity = math.MaxInt64
	m.faults.stopAfter = -1
	m.dirs[string(filepath.Separator)] = newDirectory()
	m.dirs["."] = newDirectory()
	return m
}

func newDirectory() *directory {
	return &directory{names: map[string]*inode{}, durable: map[string]*inode{}}
}

func notExist(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// find returns the directory of a name, and the name's last part.
func (m *Memory) find(op, name string) (*directory, string, error) {
	name = filepath.Clean(name)
	d := m.dirs[filepath.Dir(name)]
	if d == nil {
		return nil, "", notExist(op, name)
	}
	return d, filepath.Base(name), nil
}

func (d *directory) change(changes ...nameChange) {
	apply(d.names, changes)
	d.pending = append(d.pending, changes)
}

func apply(names map[string]*inode, changes []nameChange) {
	for _, c := range changes {
		if c.file == nil {
			delete(names, c.name)
		} else {
			names[c.name] = c.file
		}
	}
}

// Create implements FS.
func (m *Memory) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("create", name)
	if err != nil {
		return nil, err
	}
	if err := m.step(OpCreate, name); err != nil {
		return nil, err
	}
	node := &inode{}
	d.change(nameChange{base, node})
	return m.handle(name, node, true), nil
}

// Open implements FS.
func (m *Memory) Open(name string) (File, error) { return m.open(name, false) }

// OpenWrite implements FS.
func (m *Memory) OpenWrite(name string) (File, error) { return m.open(name, true) }

func (m *Memory) open(name string, write bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.stopped {
		return nil, ErrStopped
	}
	d, base, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	node := d.names[base]
	if node == nil {
		return nil, notExist("open", name)
	}
	if err := m.look(OpOpen, name); err != nil {
		return nil, err
	}
	return m.handle(name, node, write), nil
}

func (m *Memory) handle(name string, node *inode, write bool) File {
	return &memoryFile{m: m, name: name, node: node, write: write, generation: m.generation}
}

// Rename implements FS.
func (m *Memory) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, a, err := m.find("rename", from)
	if err != nil {
		return err
	}
	e, b, err := m.find("rename", to)
	if err != nil {
		return err
	}
	node := d.names[a]
	if node == nil {
		return notExist("rename", from)
	}
	if d != e {
		return &fs.PathError{Op: "rename", Path: to, Err: errors.New("another directory")}
	}
	if err := m.step(OpRename, to); err != nil {
		return err
	}
	d.change(nameChange{a, nil}, nameChange{b, node})
	return nil
}

// Remove implements FS.
func (m *Memory) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("remove", name)
	if err != nil {
		return err
	}
	if dir := m.dirs[filepath.Clean(name)]; dir != nil && len(dir.names) == 0 {
		// An empty directory: it is gone for good at once.
		if err := m.step(OpRemove, name); err != nil {
			return err
		}
		delete(m.dirs, filepath.Clean(name))
		return nil
	}
	if d.names[base] == nil {
		return notExist("remove", name)
	}
	if err := m.step(OpRemove, name); err != nil {
		return err
	}
	d.change(nameChange{base, nil})
	return nil
}

// ReadDir implements FS.
func (m *Memory) ReadDir(name string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.look(OpReadDir, name); err != nil {
		return nil, err
	}
	name = filepath.Clean(name)
	d := m.dirs[name]
	if d == nil {
		return nil, notExist("readdir", name)
	}
	var names []string
	for n := range d.names {
		names = append(names, n)
	}
	for n := range m.dirs {
		if n != name && filepath.Dir(n) == name {
			names = append(names, filepath.Base(n))
		}
	}
	slices.Sort(names)
	return names, nil
}

// MkdirAll implements FS.
func (m *Memory) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.stopped {
		return ErrStopped
	}
	if m.dirs[filepath.Clean(name)] == nil {
		if err := m.meet(OpMkdir, name); err != nil {
			return err
		}
	}
	for name = filepath.Clean(name); m.dirs[name] == nil; name = filepath.Dir(name) {
		m.dirs[name] = newDirectory()
	}
	return nil
}

// SyncDir implements FS.
func (m *Memory) SyncDir(name string) error { return syncDir(m, name) }

// OpenDir implements FS.
func (m *Memory) OpenDir(name string) (Dir, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.look(OpOpen, name); err != nil {
		return nil, err
	}
	if m.dirs[filepath.Clean(name)] == nil {
		return nil, notExist("open", name)
	}
	return &memoryDir{m: m, name: name, generation: m.generation}, nil
}

// memoryDir is an open directory.
type memoryDir struct {
	m          *Memory
	name       string
	generation int
}

// Sync implements Dir.
func (o *memoryDir) Sync() error {
	m := o.m
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.dirs[filepath.Clean(o.name)]
	if d == nil || o.generation != m.generation {
		return notExist("syncdir", o.name)
	}
	if err := m.step(OpSyncDir, o.name); err != nil {
		return err
	}
	for _, changes := range d.pending {
		apply(d.durable, changes)
	}
	d.pending = nil
	return nil
}

// Close implements Dir.
func (o *memoryDir) Close() error { return nil }

// Stat implements FS.
func (m *Memory) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.look(OpStat, name); err != nil {
		return Info{}, err
	}
	if m.dirs[filepath.Clean(name)] != nil {
		return Info{Dir: true}, nil
	}
	d, base, err := m.find("stat", name)
	if err != nil {
		return Info{}, err
	}
	if node := d.names[base]; node != nil {
		return Info{Size: int64(len(node.data))}, nil
	}
	return Info{}, notExist("stat", name)
}

// memoryLock is a held lock.
type memoryLock struct {
	m    *Memory
	name string
}

// Lock implements FS.
func (m *Memory) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.find("lock", name)
	if err != nil {
		return nil, err
	}
	if m.faults.stopped {
		return nil, ErrStopped
	}
	name = filepath.Clean(name)
	if m.locks[name] != nil {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: ErrLocked}
	}
	if d.names[base] == nil {
		d.change(nameChange{base, &inode{}})
	}
	l := &memoryLock{m, name}
	m.locks[name] = l
	return l, nil
}

// Close releases the lock, if it is still this holder's.
func (l *memoryLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.m.locks[l.name] == l {
		delete(l.m.locks, l.name)
	}
	return nil
}

// FreeSpace implements FS.
func (m *Memory) FreeSpace(name string) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.look(OpFreeSpace, name); err != nil {
		return 0, err
	}
	return uint64(max(0, m.faults.capacity-m.used())), nil
}

// used sums what the named files take; the order does not matter.
func (m *Memory) used() int64 {
	var n int64
	counted := map[*inode]bool{} // of those with several names
	for _, d := range m.dirs {
		for _, node := range d.names {
			if !counted[node] {
				n += int64(len(node.data))
			}
			if node.linked {
				counted[node] = true
			}
		}
	}
	return n
}
