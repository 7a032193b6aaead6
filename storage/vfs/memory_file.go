package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
)

// inode is a file's content: as the kernel's page cache has it, and what the
// disk has where that differs.
type inode struct {
	data        []byte
	durableSize int64
	// before holds, for each page that may not be on disk, what the disk has.
	before map[int64][]byte
	// stale pages were being written when a sync failed: the kernel has marked
	// them clean, so that no later sync writes them.
	stale map[int64]bool
	// linked says that it has, or had, more than one name.
	linked bool
}

// keep remembers what the disk has of the pages of [from, to), which are about
// to change.
func (n *inode) keep(from, to int64) {
	if from >= to {
		return
	}
	if n.before == nil {
		n.before = map[int64][]byte{}
	}
	for p := from / pageBytes; p <= (to-1)/pageBytes; p++ {
		delete(n.stale, p)
		if _, ok := n.before[p]; !ok {
			n.before[p] = slices.Clone(n.page(p))
		}
	}
}

// page returns the page's part of the content; it may be short, or empty.
func (n *inode) page(p int64) []byte {
	size := int64(len(n.data))
	return n.data[min(p*pageBytes, size):min((p+1)*pageBytes, size)]
}

func (n *inode) resize(size int64) {
	have := int64(len(n.data))
	if size < have {
		n.keep(size, have)
		n.data = n.data[:size]
		return
	}
	n.keep(have, size)
	n.data = slices.Grow(n.data, int(size-have))[:size]
	clear(n.data[have:])
}

func (n *inode) write(p []byte, at int64) {
	end := at + int64(len(p))
	if end > int64(len(n.data)) {
		n.resize(end)
	}
	n.keep(at, end)
	copy(n.data[at:], p)
}

func (n *inode) sync() {
	for p := range n.before {
		if !n.stale[p] {
			delete(n.before, p)
		}
	}
	n.durableSize = int64(len(n.data))
}

// failSync marks everything clean without having written it.
func (n *inode) failSync() {
	if n.stale == nil {
		n.stale = map[int64]bool{}
	}
	for p := range n.before {
		n.stale[p] = true
	}
}

// crash is a power cut: each page that was not synced is there, is not there,
// or is there in part.
func (n *inode) crash(random *rand.Rand) {
	size := int64(len(n.data))
	if size != n.durableSize && random.IntN(2) == 0 {
		size = n.durableSize
	}
	pages := make([]int64, 0, len(n.before))
	for p := range n.before {
		pages = append(pages, p)
	}
	slices.Sort(pages)
	if end := max(size, n.durableSize); end > int64(len(n.data)) {
		grown := make([]byte, end)
		copy(grown, n.data)
		n.data = grown
	}
	for _, p := range pages {
		var was [pageBytes]byte
		copy(was[:], n.before[p])
		switch random.IntN(3) {
		case 0:
			copy(n.page(p), was[:])
		case 1: // it reached the disk
		case 2:
			now := n.page(p)
			for s := 0; s < len(now); s += sectorBytes {
				if random.IntN(2) == 0 {
					copy(now[s:min(s+sectorBytes, len(now))], was[s:])
				}
			}
		}
	}
	n.settle(size)
}

// settle makes what the page cache has the content of the disk.
func (n *inode) settle(size int64) {
	n.data = n.data[:size]
	n.durableSize, n.before, n.stale = size, nil, nil
}

// clone returns an independent copy.
func (n *inode) clone() *inode {
	out := &inode{data: slices.Clone(n.data), durableSize: n.durableSize, linked: n.linked}
	for p, b := range n.before {
		if out.before == nil {
			out.before = map[int64][]byte{}
		}
		out.before[p] = b
	}
	for p := range n.stale {
		if out.stale == nil {
			out.stale = map[int64]bool{}
		}
		out.stale[p] = true
	}
	return out
}

// memoryFile is an open file.
type memoryFile struct {
	m          *Memory
	name       string
	node       *inode
	write      bool
	closed     bool
	generation int
}

// usable is called with the lock held.
func (f *memoryFile) usable(op string, write bool) error {
	switch {
	case f.m.faults.stopped || f.generation != f.m.generation:
		return ErrStopped
	case f.closed:
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	case write && !f.write:
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrPermission}
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (f *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable("read", false); err != nil {
		return 0, err
	}
	if at < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
	}
	f.m.counters.Reads++
	if err := f.m.faults.unreadable(f.node, at, at+int64(len(p))); err != nil {
		f.m.counters.Faults++
		return 0, err
	}
	if err := f.m.meet(OpRead, f.name); err != nil {
		return 0, err
	}
	n := copy(p, f.node.data[min(at, int64(len(f.node.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *memoryFile) WriteAt(p []byte, at int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable("write", true); err != nil {
		return 0, err
	}
	if at < 0 {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: fs.ErrInvalid}
	}
	if err := f.room(at + int64(len(p))); err != nil {
		return 0, err
	}
	at += f.m.faults.misdirect
	f.m.faults.misdirect = 0
	if err := f.m.step(OpWrite, f.name); err != nil {
		// A part of the range may have been written.
		n := f.m.random.IntN(len(p) + 1)
		f.node.write(p[:n], at)
		return n, err
	}
	f.node.write(p, at)
	f.m.faults.rewritten(f.node, at, at+int64(len(p)))
	f.m.counters.BytesWritten += uint64(len(p))
	return len(p), nil
}

// room checks that a file of the size fits on the disk.
func (f *memoryFile) room(size int64) error {
	grown := size - int64(len(f.node.data))
	if grown <= 0 || f.m.faults.capacity-f.m.used() >= grown {
		return nil
	}
	return &fs.PathError{Op: "write", Path: f.name, Err: fmt.Errorf("%w (%d bytes wanted)", ErrNoSpace, grown)}
}

// Sync implements File.
func (f *memoryFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable("sync", true); err != nil {
		return err
	}
	if err := f.m.step(OpSync, f.name); err != nil {
		if !f.m.faults.stopped {
			f.node.failSync()
		}
		return err
	}
	f.node.sync()
	return nil
}

// Allocate implements File.
func (f *memoryFile) Allocate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable("allocate", true); err != nil {
		return err
	}
	if err := f.room(size); err != nil {
		return err
	}
	if err := f.m.step(OpAllocate, f.name); err != nil {
		return err
	}
	if size > int64(len(f.node.data)) {
		f.node.resize(size)
	}
	return nil
}

// Truncate implements File.
func (f *memoryFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.usable("truncate", true); err != nil {
		return err
	}
	if err := f.room(size); err != nil {
		return err
	}
	if err := f.m.step(OpTruncate, f.name); err != nil {
		return err
	}
	f.node.resize(size)
	return nil
}

// Size implements File.
func (f *memoryFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return int64(len(f.node.data)), f.usable("size", false)
}

// Close implements io.Closer. It syncs nothing.
func (f *memoryFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
