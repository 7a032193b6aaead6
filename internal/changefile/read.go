package changefile

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
)

// Errors of a reader. After either there is nothing more to read.
var (
	// ErrGone: what comes next is not kept any more.
	ErrGone = errors.New("these changes are not kept any more")
	// ErrDamaged: what comes next is not what was written.
	ErrDamaged = errors.New("the file of changes is damaged")
)

// Reader is a place in the changes of one resource. It holds one block. One goroutine uses it.
type Reader struct {
	file     *File
	resource string
	after    protocol.Index
	number   uint64 // of the block
	data     []byte // as far as it was there, and good
	offset   int    // what of it was read
}

// Read returns a reader of what was changed in a resource after an index, and false if some of that
// is not here.
func (f *File) Read(resource string, after protocol.Index) (*Reader, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if after < f.from || f.over {
		return nil, false
	}
	n := sort.Search(len(f.blocks), func(i int) bool { return f.blocks[i].last > after })
	return &Reader{file: f, resource: resource, after: after, number: f.first + uint64(n)}, true
}

// Next returns what comes next. An entry without changes says only that up to its index there is
// nothing more. io.EOF: nothing more was put so far.
func (r *Reader) Next() (Entry, error) {
	if r.Loads() {
		if err := r.load(); err != nil {
			return Entry{}, err
		}
	}
	at := r.after
	for r.offset < len(r.data) {
		e, of, size, err := parseEntry(r.data[r.offset:], r.resource)
		if err != nil {
			return Entry{}, r.damaged(err)
		}
		r.offset += size
		if of && e.Index > r.after {
			return e, nil
		}
		at = e.Index
	}
	// The entry that was last may have changed this resource, too, in the next block.
	return Entry{Index: max(at, 1) - 1}, nil
}

// Loads reports whether Next reads a block: what was read of the file has been told.
func (r *Reader) Loads() bool { return r.offset == len(r.data) }

// AtEnd reports whether everything that was put has been read.
func (r *Reader) AtEnd() bool {
	if r.offset < len(r.data) {
		return false
	}
	r.file.mu.Lock()
	defer r.file.mu.Unlock()
	f := r.file
	b, ok := f.block(r.number)
	if !ok || b.bytes > r.offset {
		return false
	}
	tail := f.first + uint64(len(f.blocks))
	return r.number == tail || r.number+1 == tail && len(f.tail.data) == 0
}

// block returns a block, or the tail as far as it is.
func (f *File) block(number uint64) (block, bool) {
	if number < f.first {
		return block{}, false
	}
	if n := number - f.first; n < uint64(len(f.blocks)) {
		return f.blocks[n], true
	}
	tail := f.tail
	tail.bytes = len(tail.data)
	return tail, true
}

// load gets more of the block, or the next one.
func (r *Reader) load() error {
	f := r.file
	f.mu.Lock()
	b, ok := f.block(r.number)
	if ok && b.bytes == r.offset && r.number < f.first+uint64(len(f.blocks)) {
		r.number, r.offset, r.data = r.number+1, 0, nil
		b, ok = f.block(r.number)
	}
	file := f.file
	f.mu.Unlock()
	switch {
	case !ok:
		return ErrGone
	case b.bytes == r.offset:
		return io.EOF
	case b.data != nil:
		r.data = b.data
		return nil
	case file == nil:
		return ErrGone
	}
	data := make([]byte, b.bytes)
	_, err := file.ReadAt(data, b.at%f.o.Bytes)
	// [S] Another block may have taken its place meanwhile, or the disk lies.
	if err == nil || err == io.EOF {
		if err = nil; xxh3.Hash(data) != b.sum {
			err = errFormat
		}
	}
	if err != nil {
		return r.damaged(err)
	}
	r.data = data
	return nil
}

// damaged forgets the block, and those before it, unless that was done.
func (r *Reader) damaged(cause error) error {
	f := r.file
	f.mu.Lock()
	if r.number < f.first {
		f.mu.Unlock()
		return ErrGone
	}
	for len(f.blocks) > 0 && f.first <= r.number {
		f.drop()
	}
	said := f.damaged
	f.damaged = true
	f.mu.Unlock()
	if !said {
		f.o.Logger.Warn("the file of changes is damaged: watches that need what was there end as compacted", "file", f.name, "err", cause)
	}
	return fmt.Errorf("%w: %w", ErrDamaged, cause)
}
