package checkpoint

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// A chunk is a run of items in order, each as: length of the stored key, stored
// key, length of the stored value, stored value; lengths are uvarints.
//
// An item begins a new chunk if the one before would grow above twice the least
// size with it (ChunkBytesMax, for ChunkBytesMin), or has the least size and the
// item's key is drawn. The draw hashes the key, and is the likelier the larger
// the item, so that chunks end on average half the least size after it. What is
// in a chunk thus depends on nothing before its first item, and after a change
// the boundaries soon fall on the same keys again.

// chunk is one that is complete, while it is being passed on: data and first
// are valid until the next one.
type chunk struct {
	first []byte // stored key of its first item
	items uint64
	data  []byte
}

func (c *chunk) sum() storage.ChunkSum { return xxh3.Hash128(c.data).Bytes() }

// cutter cuts a run of items into chunks of a least size.
type cutter struct {
	least int
	open  chunk
}

// ends reports whether an item begins a new chunk, that is, whether the open
// one is complete. The caller then takes it (see take) before it adds the item.
func (c *cutter) ends(key, value []byte) bool {
	have := len(c.open.data)
	if have == 0 {
		return false
	}
	size := recordBytes(key, value)
	switch {
	case have+size > 2*c.least:
		return true
	case have < c.least:
		return false
	case size >= c.least/2:
		return true
	}
	return xxh3.Hash(key) < uint64(size)*(math.MaxUint64/uint64(c.least/2))
}

func (c *cutter) add(key, value []byte) {
	if c.open.items == 0 {
		c.open.first = append(c.open.first[:0], key...)
	}
	c.open.items++
	c.open.data = append(binary.AppendUvarint(c.open.data, uint64(len(key))), key...)
	c.open.data = append(binary.AppendUvarint(c.open.data, uint64(len(value))), value...)
}

// reset begins a new chunk in the memory of the one that was passed on.
func (c *cutter) reset() { c.open.items, c.open.data = 0, c.open.data[:0] }

func recordBytes(key, value []byte) int {
	return uvarintBytes(len(key)) + len(key) + uvarintBytes(len(value)) + len(value)
}

func uvarintBytes(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// decodeChunk calls fn for each item of a chunk, in order, with the stored form
// beside it. The chunk may come from anywhere: what is not in order, beyond a
// limit or not in its shortest form is protocol.ErrCorrupt. It returns the last
// stored key, with which the next chunk is to be called.
func decodeChunk(data []byte, at protocol.Index, last []byte, fn func(it storage.Item, key, value []byte) error) ([]byte, error) {
	space := ""
	for len(data) > 0 {
		var key, value []byte
		var ok bool
		if key, data, ok = takeBytes(data, storedKeyMax); !ok {
			return nil, corrupt("a chunk has a malformed key")
		}
		if value, data, ok = takeBytes(data, storedItemMax); !ok {
			return nil, corrupt("a chunk has a malformed value")
		}
		it, ok := decodeItem(key, value, at, space)
		if !ok || last != nil && bytes.Compare(key, last) <= 0 {
			return nil, corrupt("a chunk has a malformed item, or its items are not in order")
		}
		if err := fn(it, key, value); err != nil {
			return nil, err
		}
		last, space = key, it.Space
	}
	return last, nil
}

func takeBytes(b []byte, limit int) (out, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(limit) || n > uint64(len(b)-size) || size != uvarintBytes(int(n)) {
		return nil, nil, false
	}
	return b[size : size+int(n) : size+int(n)], b[size+int(n):], true
}

// row is a chunk as a table knows it.
type row struct {
	first []byte
	items uint64
	bytes int
	sum   storage.ChunkSum
}

func rowOf(c *chunk) row {
	return row{first: bytes.Clone(c.first), items: c.items, bytes: len(c.data), sum: c.sum()}
}

// table is where the chunks of a checkpoint begin. It is never changed.
type table struct {
	rows []row
}

// items counts the items of all chunks.
func (t *table) items() uint64 {
	n := uint64(0)
	for i := range t.rows {
		n += t.rows[i].items
	}
	return n
}

// equal reports whether both have the same chunks.
func (t *table) equal(u *table) bool {
	return slices.EqualFunc(t.rows, u.rows, func(a, b row) bool { return a.sum == b.sum && a.items == b.items && a.bytes == b.bytes })
}

// describe fills in what a manifest says of the chunks.
func (t *table) describe(d *storage.Manifest) {
	d.Items, d.Bytes, d.Chunks = 0, 0, nil
	for i := range t.rows {
		d.Items += t.rows[i].items
		d.Bytes += uint64(t.rows[i].bytes)
		d.Chunks = append(d.Chunks, t.rows[i].sum)
	}
}

// find returns the row in whose range a key lies: from its first key to below
// the next one's, and the first row from the beginning.
func (t *table) find(key []byte) int {
	return max(0, sort.Search(len(t.rows), func(i int) bool { return bytes.Compare(t.rows[i].first, key) > 0 })-1)
}

// changes knows which chunks of a table a set of changed keys touches.
type changes struct {
	of    *table
	dirty []bool
}

func newChanges(of *table) *changes { return &changes{of: of, dirty: make([]bool, len(of.rows))} }

// add notes a changed key. A change to the first key of a chunk may move the
// end of the one before.
func (c *changes) add(key []byte) {
	if len(c.dirty) == 0 {
		return
	}
	i := c.of.find(key)
	c.dirty[i] = true
	if i > 0 && bytes.Equal(c.of.rows[i].first, key) {
		c.dirty[i-1] = true
	}
}

func corrupt(what string) error { return protocol.ErrCorrupt.With("damaged data: " + what) }
