package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	// preallocatedPause is when a segment that could not be prepared is tried again.
	preallocatedPause = 5 * time.Second
	// leftMax is how many files that cannot be removed are left lying before no more
	// are made.
	leftMax = 4
)

// preallocated are segments made ahead of use: filled with zeros, or used before.
// They are taken by the writer and made by whoever calls Prepare.
type preallocated struct {
	l       *Log
	making  sync.Mutex  // one Prepare at a time
	tight   atomic.Bool // there is little space: none is made ahead of use
	mu      sync.Mutex  // guards names, left and counter
	names   []string
	left    []string // what could not be removed
	counter uint64
	wanted  chan struct{}
	done    chan struct{}
}

func (p *preallocated) init(l *Log) { p.l = l }

// start begins to prepare in the background.
func (p *preallocated) start() {
	p.wanted, p.done = make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(p.done)
		var again <-chan time.Time
		for {
			select {
			case _, open := <-p.wanted:
				if !open {
					return
				}
			case <-again:
			}
			again = nil
			// What is lacking is met again, and reported, when the segment is needed;
			// everything else has made the log fail.
			if err := p.l.Prepare(); errors.Is(err, protocol.ErrNoSpace) {
				again = time.After(preallocatedPause)
			}
		}
	}()
	p.filled(0) // with what the start has carried over
}

// want has the next segment made, in the background.
func (p *preallocated) want() {
	if p.wanted == nil {
		return
	}
	select {
	case p.wanted <- struct{}{}:
	default:
	}
}

// filled has the next segment made when the one in use, which was filled up to an offset, is a quarter
// full: not before, for a member that writes little needs none, and many that start at once would
// write 64 MiB of zeros each.
func (p *preallocated) filled(from int64) {
	if wanted := p.l.current.size / 4; from < wanted && p.l.at >= wanted {
		p.want()
	}
}

func (p *preallocated) stop() {
	if p.wanted != nil {
		close(p.wanted)
		<-p.done
		p.wanted = nil
	}
}

// add offers an unused file and reports whether it is kept.
func (p *preallocated) add(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names) >= p.l.options.PreallocatedMax || p.tight.Load() {
		return false
	}
	p.names = append(p.names, name)
	return true
}

// giveBack removes the unused segments if they are worth as many bytes, and reports
// whether it did. From then on none is kept until there is plenty of space.
func (p *preallocated) giveBack(bytes uint64) bool {
	p.mu.Lock()
	names := p.names
	enough := uint64(len(names))*uint64(p.l.options.SegmentBytes) >= bytes && len(names) > 0
	if enough {
		p.names = nil
		p.tight.Store(true)
	}
	p.mu.Unlock()
	if !enough {
		return false
	}
	for _, name := range names {
		_ = p.drop(name)
	}
	return true
}

func (p *preallocated) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.names)
}

// fresh returns a name that no spare has.
func (p *preallocated) fresh() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counter++
	return fmt.Sprintf("%s%08x", preallocatedName, p.counter)
}

// counts has no file be made under the name that one has which an earlier run has
// left, and reports whether the name is a preallocated segment's.
func (p *preallocated) counts(name string) bool {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(name, vfs.TemporarySuffix), preallocatedName)
	number, err := strconv.ParseUint(digits, 16, 64)
	if !ok || err != nil {
		return false
	}
	p.counter = max(p.counter, number)
	return true
}

// take returns the name of a file of at least need bytes.
func (p *preallocated) take(need int64, opening bool) (string, error) {
	size := p.l.options.SegmentBytes
	if need <= size {
		p.mu.Lock()
		if n := len(p.names); n > 0 {
			name := p.names[n-1]
			p.names = p.names[:n-1]
			p.mu.Unlock()
			return name, nil
		}
		p.mu.Unlock()
	}
	least := leastFile(need)
	size = max(size, least)
	zeroed := size
	if opening {
		zeroed = min(size, zeroedAtOpen)
	}
	if err := p.clear(); err != nil {
		return "", err
	}
	name, err := p.make(size, zeroed)
	if opening && errors.Is(err, vfs.ErrNoSpace) && least < size {
		// A member that starts on a disk that is nearly full votes, and frees space.
		return p.make(least, least)
	}
	return name, err
}

// leastFile is the size of the smallest file for so many bytes: a record larger than a
// segment leaves room for a few small ones.
func leastFile(need int64) int64 { return (need + 2*segmentAlign - 1) &^ (segmentAlign - 1) }

// make makes a file for a segment that is needed at once.
func (p *preallocated) make(size, zeroed int64) (string, error) {
	name := p.fresh() + vfs.TemporarySuffix
	if err := p.l.makeFile(name, size, zeroed); err != nil {
		_ = p.drop(name)
		return "", err
	}
	return name, nil
}

// drop removes a file that is not, or no longer, a part of the log. If that fails it is
// removed later: by clear, or at the next opening.
func (p *preallocated) drop(name string) error {
	err := p.l.fsys.Remove(p.l.path(name))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = append(p.left, name)
	return err
}

// clear removes what could not be removed. With too much of that nothing more is made,
// and it returns why.
func (p *preallocated) clear() (err error) {
	p.mu.Lock()
	left := p.left
	p.left = nil
	p.mu.Unlock()
	for _, name := range left {
		if e := p.drop(name); e != nil {
			err = e
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.left) < leftMax {
		return nil
	}
	return err
}

// Prepare makes the next segment ahead of its use, if there is none. It may
// take as long as writing a segment takes, may be called by any goroutine, and
// returns protocol.ErrNoSpace if there is no room for it, or something else is lacking
// that may come: then nothing has changed. Its steps are those of fillSegment up to the
// name, which is a preallocated segment's and need not be durable.
func (l *Log) Prepare() error {
	p := &l.preallocated
	p.making.Lock()
	defer p.making.Unlock()
	if err := l.writable(); err != nil || p.count() > 0 || p.tight.Load() {
		return err
	}
	if err := p.clear(); err != nil {
		return l.later(err)
	}
	name := p.fresh()
	temporary := name + vfs.TemporarySuffix
	err := l.makeFile(temporary, l.options.SegmentBytes, l.options.SegmentBytes)
	if err == nil {
		if err = l.fsys.Rename(l.path(temporary), l.path(name)); err != nil && !vfs.Undone(err) {
			_ = p.drop(name) // it may have it
		}
	}
	if err != nil {
		_ = p.drop(temporary)
		return l.later(err)
	}
	if !p.add(name) {
		_ = p.drop(name)
	}
	return nil
}

// makeFile creates a file with reserved space, the first part of it written, so
// that a sync after a write has no metadata to touch. After an error it may have made
// the file in part.
func (l *Log) makeFile(name string, size, zeroed int64) error {
	f, err := l.fsys.Create(l.path(name))
	if err != nil {
		return err
	}
	err = f.Allocate(size)
	chunk := make([]byte, min(zeroChunk, zeroed))
	for at := int64(0); at < zeroed && err == nil; at += int64(len(chunk)) {
		_, err = f.WriteAt(chunk[:min(int64(len(chunk)), zeroed-at)], at)
	}
	if err == nil {
		if err = f.Sync(); err != nil {
			err = &unsynced{err}
		}
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
