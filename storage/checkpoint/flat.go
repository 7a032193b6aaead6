package checkpoint

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/storage/vfs"
)

// flatEngine keeps each store in memory, and in one file on a vfs, so that it
// survives what the file system survives. It is for members without a disk of
// their own and for simulated ones: all of it is in memory, twice on a vfs that
// is in memory too.
type flatEngine struct{ fsys vfs.FS }

const (
	flatFile = "data"
	// A record is its length, its sum, and the payload: timestamp and changes.
	flatHeader    = 4 + 8
	flatRecordMax = 1 << 30
	// flatBatchBytes is when a batch is written out.
	flatBatchBytes = 1 << 20
	// flatSlack is the garbage that a file may have besides half of it.
	flatSlack = 64 << 10

	flatSet    = 1
	flatRemove = 2
)

// version is what a key was at a timestamp.
type version struct {
	at      uint64
	value   []byte
	removed bool
}

type flatDatabase struct {
	fsys   vfs.FS
	folder string

	mu     sync.RWMutex
	keys   map[string][]version // newest last
	sorted []string             // nil: to be made
	file   vfs.File
	end    int64 // of the file
	broken bool  // a write failed: nobody knows what is in the file
}

func (e flatEngine) open(folder string) (database, error) {
	if err := e.fsys.MkdirAll(folder); err != nil {
		return nil, err
	}
	d := &flatDatabase{fsys: e.fsys, folder: folder, keys: map[string][]version{}}
	name := filepath.Join(folder, flatFile)
	b, err := vfs.ReadFile(e.fsys, name, 1<<40)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rest := d.replay(b)
	if err == nil && len(rest) == 0 {
		d.file, err = e.fsys.OpenWrite(name)
		d.end = int64(len(b))
		return d, err
	}
	// What follows a torn record must not be taken for one later.
	return d, d.rewrite()
}

func (e flatEngine) remove(folder string) error {
	err := e.fsys.Remove(filepath.Join(folder, flatFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if e := e.fsys.Remove(folder); err == nil && !errors.Is(e, fs.ErrNotExist) {
		err = e
	}
	return err
}

// replay takes good records off the front and returns what is left.
func (d *flatDatabase) replay(b []byte) []byte {
	le := binary.LittleEndian
	for len(b) >= flatHeader {
		n := int(le.Uint32(b))
		if n < 8 || n > flatRecordMax || n > len(b)-flatHeader || le.Uint64(b[4:]) != xxh3.Hash(b[flatHeader:flatHeader+n]) {
			break
		}
		d.apply(b[flatHeader : flatHeader+n])
		b = b[flatHeader+n:]
	}
	return b
}

// apply makes the changes of one payload. Its sum is good, so it is as it was
// written.
func (d *flatDatabase) apply(p []byte) {
	at := binary.LittleEndian.Uint64(p)
	for p = p[8:]; len(p) > 0; {
		op := p[0]
		var key, value []byte
		key, p, _ = takeBytes(p[1:], flatRecordMax)
		if op == flatSet {
			value, p, _ = takeBytes(p, flatRecordMax)
		}
		d.put(string(key), version{at: at, value: slices.Clone(value), removed: op == flatRemove})
	}
}

func (d *flatDatabase) put(key string, v version) {
	list, known := d.keys[key]
	if !known {
		d.sorted = nil
	}
	i := len(list)
	for i > 0 && list[i-1].at > v.at {
		i--
	}
	if i > 0 && list[i-1].at == v.at {
		list = slices.Clone(list) // a cursor may be reading the old one
		list[i-1] = v
	} else {
		list = slices.Insert(slices.Clone(list), i, v)
	}
	d.keys[key] = list
}

// order returns the keys in order. The caller holds the lock.
func (d *flatDatabase) order() []string {
	if d.sorted == nil {
		d.sorted = make([]string, 0, len(d.keys))
		for key := range d.keys {
			d.sorted = append(d.sorted, key)
		}
		slices.Sort(d.sorted)
	}
	return d.sorted
}

// rewrite replaces the file by one that has what is in memory.
func (d *flatDatabase) rewrite() error {
	byTime := map[uint64][]byte{}
	var times []uint64
	for _, key := range d.order() {
		for _, v := range d.keys[key] {
			if byTime[v.at] == nil {
				times = append(times, v.at)
				byTime[v.at] = beginPayload(nil, v.at)
			}
			byTime[v.at] = appendChange(byTime[v.at], []byte(key), v.value, v.removed)
		}
	}
	slices.Sort(times)
	var b []byte
	for _, at := range times {
		b = appendRecord(b, byTime[at])
	}
	name := filepath.Join(d.folder, flatFile)
	if err := vfs.WriteFile(d.fsys, name, b); err != nil {
		return err
	}
	if err := d.fsys.SyncDir(d.folder); err != nil {
		return err
	}
	f, err := d.fsys.OpenWrite(name)
	if err != nil {
		return err
	}
	if d.file != nil {
		d.file.Close()
	}
	d.file, d.end = f, int64(len(b))
	return nil
}

func beginPayload(dst []byte, at uint64) []byte { return binary.LittleEndian.AppendUint64(dst, at) }

func appendChange(dst, key, value []byte, removed bool) []byte {
	op := byte(flatSet)
	if removed {
		op = flatRemove
	}
	dst = append(binary.AppendUvarint(append(dst, op), uint64(len(key))), key...)
	if removed {
		return dst
	}
	return append(binary.AppendUvarint(dst, uint64(len(value))), value...)
}

func appendRecord(dst, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = binary.LittleEndian.AppendUint64(dst, xxh3.Hash(payload))
	return append(dst, payload...)
}

func (d *flatDatabase) batch(at uint64) batch {
	return &flatBatch{d: d, at: at, payload: beginPayload(nil, at)}
}

// flatBatch gathers changes and writes them out now and then.
type flatBatch struct {
	d       *flatDatabase
	at      uint64
	payload []byte
}

func (b *flatBatch) set(key, value []byte) error { return b.change(key, value, false) }

func (b *flatBatch) remove(key []byte) error { return b.change(key, nil, true) }

func (b *flatBatch) change(key, value []byte, removed bool) error {
	b.payload = appendChange(b.payload, key, value, removed)
	if len(b.payload) < flatBatchBytes {
		return nil
	}
	return b.write()
}

func (b *flatBatch) write() error {
	d := b.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken {
		return errBroken
	}
	if len(b.payload) == 8 {
		return nil
	}
	if _, err := d.file.WriteAt(appendRecord(nil, b.payload), d.end); err != nil {
		// A full disk has written a part at most, which the next attempt covers.
		d.broken = !errors.Is(err, vfs.ErrNoSpace)
		return err
	}
	d.end += flatHeader + int64(len(b.payload))
	d.apply(b.payload)
	b.payload = beginPayload(b.payload[:0], b.at)
	return nil
}

var errBroken = errors.New("an earlier write to the store failed")

func (b *flatBatch) flush() error {
	if err := b.write(); err != nil {
		return err
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	if err := b.d.file.Sync(); err != nil {
		b.d.broken = true
		return err
	}
	return b.d.fsys.SyncDir(b.d.folder)
}

func (b *flatBatch) cancel() {}

// discard drops what nobody reads any more, and rewrites a file of which that
// is more than half.
func (d *flatDatabase) discard(below uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	live := int64(0)
	for key, list := range d.keys {
		i := len(list) - 1
		for i > 0 && list[i].at > below {
			i--
		}
		if list[i].at <= below && list[i].removed {
			i++
		}
		if i == len(list) {
			delete(d.keys, key)
			d.sorted = nil
			continue
		}
		if i > 0 {
			d.keys[key] = slices.Clone(list[i:])
		}
		for _, v := range d.keys[key] {
			live += int64(len(key) + len(v.value) + 8)
		}
	}
	if d.broken || d.end < 2*live+flatSlack {
		return nil
	}
	return d.rewrite()
}

func (d *flatDatabase) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.file.Close()
}

func (d *flatDatabase) cursor(at uint64) cursor {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &flatCursor{d: d, at: at, keys: d.order()}
}

// flatCursor walks over the keys as they were when it was made.
type flatCursor struct {
	d     *flatDatabase
	at    uint64
	keys  []string
	place int
}

func (c *flatCursor) seek(from []byte) { c.place, _ = slices.BinarySearch(c.keys, string(from)) }

func (c *flatCursor) next() (key, value []byte, ok bool, err error) {
	c.d.mu.RLock()
	defer c.d.mu.RUnlock()
	for c.place < len(c.keys) {
		name := c.keys[c.place]
		c.place++
		list := c.d.keys[name]
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].at > c.at {
				continue
			}
			if list[i].removed {
				break
			}
			return []byte(name), list[i].value, true, nil
		}
	}
	return nil, nil, false, nil
}

func (c *flatCursor) close() {}
