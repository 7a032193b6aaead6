package changefile

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	// blockBytes is about what is written, and read, at once; a block is larger by one change.
	blockBytes = 64 << 10
	// waitingBytesMax bounds what waits for the disk, in memory.
	waitingBytesMax = 16 << 20
	// LookEvery is how often Look asks how much room others leave.
	LookEvery = time.Second
)

// Options say how much a file may take.
type Options struct {
	// Bytes bounds the file: the oldest changes go. Required.
	Bytes int64
	// BlockBytes is about what is written, and read, at once, and WaitingBytes bounds what waits for
	// the disk, in memory. Default 64 KiB and 16 MiB.
	BlockBytes, WaitingBytes int
	// Spare says how many bytes others leave of the disk, less than 0 if they lack some. Without
	// any the file gives back all that it has, and begins anew when there is room for all of
	// it. nil: there is room.
	Spare func() int64
	// Logger hears once that there is no file any more, or that it was damaged. nil: nobody.
	Logger *slog.Logger
}

// Entry is what one entry of the log changed in one resource, or a part of that.
type Entry struct {
	Index    protocol.Index
	Resource string
	Kind     string // the name of the type that the resource was of
	Changes  []protocol.Change
	More     bool // the changes go on in the next one
}

// File is the file. Its methods may be called by any goroutine, but for Step, Look and Close, which are of
// one, which has the disk to itself: internal/runtime gives them a goroutine, the simulator its schedule.
type File struct {
	fsys vfs.FS
	name string
	o    Options
	wake chan struct{} // there is something to write

	next uint64 // the number of the block that Step writes

	mu   sync.Mutex
	from protocol.Index // what was changed after it, and was put, is here
	last protocol.Index // of what was put
	// blocks are those that are full, oldest first; first is the number of the first one. After
	// them comes the tail.
	blocks  []block
	first   uint64
	tail    block
	end     int64    // where the next block goes: at that modulo Options.Bytes
	waiting int      // bytes of blocks that are not on the disk
	file    vfs.File // nil: none so far, or not any more
	rests   bool     // for want of room: nothing is kept
	over    bool     // nothing is kept any more
	damaged bool     // that some of it was has been said
}

// block is a number of entries, encoded.
type block struct {
	at    int64
	bytes int
	sum   uint64
	last  protocol.Index
	data  []byte // as long as it is not on the disk
}

// New returns the file of this name, which is made when there is something to write. What another
// run has left there is removed.
func New(fsys vfs.FS, name string, o Options) *File {
	o.BlockBytes, o.WaitingBytes = cmp.Or(o.BlockBytes, blockBytes), cmp.Or(o.WaitingBytes, waitingBytesMax)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &File{fsys: fsys, name: name, o: o, wake: make(chan struct{}, 1)}
	if err := f.remove(); err != nil {
		f.giveUp(err)
	}
	return f
}

func (f *File) remove() error {
	err := f.fsys.Remove(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Put takes what an entry has changed, of which it keeps nothing else. Indexes never decrease,
// and the parts of an entry are not put apart. It never waits for the disk.
func (f *File) Put(e *Entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = e.Index
	if f.over || f.rests {
		f.begin(e.Index) // [S] a reader that has read everything does not pass over it
		return
	}
	for rest := e.Changes; len(rest) > 0; {
		n := fitting(rest, f.o.BlockBytes)
		if f.tail.data == nil {
			f.tail.data = make([]byte, 0, f.o.BlockBytes+f.o.BlockBytes/8)
		}
		f.tail.data = appendEntry(f.tail.data, e, rest[:n], n < len(rest))
		f.tail.last = e.Index
		rest = rest[n:]
		if len(f.tail.data) >= f.o.BlockBytes && !f.seal() {
			f.begin(e.Index)
			return
		}
	}
}

// Reset forgets everything: the state has come to an index without telling what changed, or is
// another one.
func (f *File) Reset(i protocol.Index) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = i
	f.begin(i)
}

// seal makes the tail a block that is to be written, and reports whether it can be kept.
func (f *File) seal() bool {
	b := f.tail
	b.bytes, b.sum = len(b.data), xxh3.Hash(b.data)
	size := int64(b.bytes)
	if f.waiting+b.bytes > f.o.WaitingBytes || size > f.o.Bytes {
		return false
	}
	if left := f.o.Bytes - f.end%f.o.Bytes; left < size {
		f.end += left
	}
	b.at, f.end = f.end, f.end+size
	for len(f.blocks) > 0 && f.blocks[0].at < f.end-f.o.Bytes {
		f.drop()
	}
	f.blocks, f.tail, f.waiting = append(f.blocks, b), block{}, f.waiting+b.bytes
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return true
}

// drop forgets the oldest block.
func (f *File) drop() {
	b := &f.blocks[0]
	f.from = b.last
	if b.data != nil {
		f.waiting -= b.bytes
	}
	*b = block{}
	f.blocks, f.first = f.blocks[1:], f.first+1
}

// begin forgets everything: what is kept begins after an index.
//
// [S] The next block has a number that no reader has come to, also none that has read everything:
// between what it has read and that block there is a gap.
func (f *File) begin(i protocol.Index) {
	f.first += uint64(len(f.blocks)) + 1
	f.blocks, f.tail, f.waiting, f.from = nil, block{}, 0, i
}
