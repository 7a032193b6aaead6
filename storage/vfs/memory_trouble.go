package vfs

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Trouble is a call that fails once, as a disk lets one fail, or want of something.
type Trouble struct {
	Op Op
	// Name is matched with the last elements of the call's path, as many as it has
	// itself (path.Match); empty: any.
	Name string
	// N is which of the calls that match fails, from 1.
	N int
	// Err is the error, mostly a syscall.Errno; nil: ErrInjected.
	Err error
}

// FailCall makes a call fail, once. It outlives a restart. What a failed write or
// sync leaves is as with Fail; all others have done nothing.
func (m *Memory) FailCall(t Trouble) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.N = max(t.N, 1)
	if t.Err == nil {
		t.Err = ErrInjected
	}
	m.faults.troubles = append(m.faults.troubles, t)
}

// Troubles returns what FailCall has set and no call has met yet.
func (m *Memory) Troubles() []Trouble {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.faults.troubles)
}

// OnTrouble has a function hear of each call that fails by FailCall, before its
// caller does. It must not call the file system.
func (m *Memory) OnTrouble(tell func(error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.tell = tell
}

// CallsWork takes back all that FailCall has set.
func (m *Memory) CallsWork() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults.troubles = nil
}

// meet is called before each operation. It returns the error with which that fails.
func (m *Memory) meet(op Op, name string) error {
	for i := range m.faults.troubles {
		t := &m.faults.troubles[i]
		if t.Op != op || !t.matches(name) {
			continue
		}
		if t.N--; t.N == 0 {
			err := &fs.PathError{Op: op.String(), Path: name, Err: t.Err}
			m.faults.troubles = slices.Delete(m.faults.troubles, i, i+1)
			m.counters.Faults++
			if m.faults.tell != nil {
				m.faults.tell(err)
			}
			return err
		}
	}
	return nil
}

func (t *Trouble) matches(name string) bool {
	if t.Name == "" {
		return true
	}
	const separator = string(filepath.Separator)
	parts := strings.Split(filepath.Clean(name), separator)
	n := min(len(parts), 1+strings.Count(t.Name, "/"))
	ok, err := filepath.Match(filepath.FromSlash(t.Name), strings.Join(parts[len(parts)-n:], separator))
	return ok && err == nil
}

// look is called before each operation that changes nothing.
func (m *Memory) look(op Op, name string) error {
	if m.faults.stopped {
		return ErrStopped
	}
	return m.meet(op, name)
}

// Linker is a file system that can give a file a second name.
type Linker interface {
	// Link gives a file another name, which may be in another directory. Both
	// are equal: what is written under one is read under the other.
	Link(from, to string) error
}

// Link implements Linker.
func (m *Memory) Link(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, a, err := m.find("link", from)
	if err != nil {
		return err
	}
	e, b, err := m.find("link", to)
	if err != nil {
		return err
	}
	node := d.names[a]
	switch {
	case node == nil:
		return notExist("link", from)
	case e.names[b] != nil:
		return &fs.PathError{Op: "link", Path: to, Err: fs.ErrExist}
	}
	if err := m.step(OpLink, to); err != nil {
		return err
	}
	node.linked = true
	e.change(nameChange{b, node})
	return nil
}

// Uncached has what is read of a file come from the disk, as far as the system can
// be asked for that: what it holds in memory after a failed sync looks as if it had
// been written.
func Uncached(f File) {
	if u, ok := f.(interface{ uncache() }); ok {
		u.uncache()
	}
}

// uncache drops the pages that are marked clean: among them are those that a failed
// sync has left.
func (f *memoryFile) uncache() {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	n := f.node
	for p := range n.stale {
		page := n.page(p)
		clear(page[copy(page, n.before[p]):])
		delete(n.before, p)
	}
	n.stale = nil
}
