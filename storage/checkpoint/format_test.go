package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// sample is a content that must be described equally for ever: a member with
// another version of this code has to agree.
func sample() []storage.Item {
	r := rand.New(rand.NewPCG(1, 2))
	var items []storage.Item
	for i := range 4000 {
		value := make([]byte, i%700)
		for k := range value {
			value[k] = byte(r.Uint32())
		}
		items = append(items, storage.Item{Space: []string{"", "a", "a\x00"}[i%3], Key: fmt.Appendf(nil, "key-%d", i), Index: protocol.Index(1 + i), Value: value})
	}
	return items
}

const (
	goldenChunks = 8
	goldenFirst  = "3de27d1be6a0d9d46b9f872a81a6013d"
	goldenLast   = "5b484f8ae03fbcd9e1c9b128e3b946e7"
)

func TestChunksAreTheSameInBothStoresAndForEver(t *testing.T) {
	ctx := context.Background()
	o := Options{SpaceReserve: 1 << 20}
	onBadger, err := Open(vfs.OS(), t.TempDir(), smallBadger(), o)
	if err != nil {
		t.Fatal(err)
	}
	inMemory, err := NewMemory(o)
	if err != nil {
		t.Fatal(err)
	}
	var described [][]byte
	for _, s := range []*Store{onBadger, inMemory} {
		defer s.Close()
		w, err := s.BeginFull(ctx, 5000, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(ctx, sample()); err != nil {
			t.Fatal(err)
		}
		d, err := w.Commit(ctx, storagetest.Describe(5000))
		if err != nil {
			t.Fatal(err)
		}
		described = append(described, storage.EncodeManifest(d))
		first, last := fmt.Sprintf("%x", d.Chunks[0]), fmt.Sprintf("%x", d.Chunks[len(d.Chunks)-1])
		if len(d.Chunks) != goldenChunks || first != goldenFirst || last != goldenLast {
			t.Errorf("got %d chunks, %s to %s, want %d, %s to %s", len(d.Chunks), first, last, goldenChunks, goldenFirst, goldenLast)
		}
	}
	if !bytes.Equal(described[0], described[1]) {
		t.Error("Badger and memory describe one content differently")
	}
}

func TestStoredKeysKeepTheOrder(t *testing.T) {
	spaces := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00\x01", "a\x00b", "a\x01", "ab", "\xff"}
	keys := []string{"\x00", "\x00\x01", "\x01", "a", "\xff"}
	var last []byte
	for _, space := range spaces {
		for _, key := range keys {
			b := appendStoredKey(nil, space, []byte(key))
			if last != nil && bytes.Compare(last, b) >= 0 {
				t.Errorf("%q %q is not above the one before", space, key)
			}
			last = b
			gotSpace, gotKey, ok := splitStoredKey(b, "")
			if !ok || gotSpace != space || string(gotKey) != key {
				t.Errorf("got %q %q %v, want %q %q", gotSpace, gotKey, ok, space, key)
			}
		}
	}
}

func TestNewerPointerIsRefused(t *testing.T) {
	disk := vfs.NewMemory(1)
	s, err := Open(disk, "/c", flat.New(disk), Options{})
	if err != nil {
		t.Fatal(err)
	}
	(&house{t: t}).take(s, 10, false)
	b := encodePointer(s.kept[0].pointer)
	b[8]++
	b = encodeSummed(b[:len(b)-8])
	if _, err := decodePointer(b); !errors.Is(err, protocol.ErrDirectory) {
		t.Errorf("got error %v, want %v", err, protocol.ErrDirectory)
	}
}

func FuzzPointer(f *testing.F) {
	d := storagetest.Describe(10)
	f.Add(encodePointer(pointer{store: 3, manifest: d}))
	d.Items, d.Bytes, d.Chunks = 2, 20, []storage.ChunkSum{{1}, {2}}
	f.Add(encodePointer(pointer{store: 4, manifest: d}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, encodeSummed(b)} { // the second passes the sum
			p, err := decodePointer(b)
			if err != nil {
				continue
			}
			if got := encodePointer(p); !bytes.Equal(got, b) && b[8] == pointerFormat {
				t.Errorf("got %x, want %x", got, b)
			}
		}
		decodeMarker(b, "a")
	})
}

func FuzzChunk(f *testing.F) {
	c := cutter{least: storage.ChunkBytesMin}
	c.add(appendStoredKey(nil, "a\x00", []byte("k")), appendStoredValue(nil, 3, []byte("v")))
	c.add(appendStoredKey(nil, "b", []byte("k")), appendStoredValue(nil, 4, nil))
	f.Add(c.open.data)
	f.Fuzz(func(t *testing.T, b []byte) {
		again := cutter{least: storage.ChunkBytesMin}
		_, err := decodeChunk(b, 100, nil, func(it storage.Item, _, _ []byte) error {
			if err := checkItem(&it, 100, true); err != nil {
				t.Errorf("got an item that cannot be kept: %v", err)
			}
			again.add(appendStoredKey(nil, it.Space, it.Key), appendStoredValue(nil, it.Index, it.Value))
			return nil
		})
		if err == nil && !bytes.Equal(again.open.data, b) {
			t.Errorf("got %x, want %x", again.open.data, b)
		}
	})
}

// encodeSummed ends bytes with the sum that a pointer file has.
func encodeSummed(b []byte) []byte {
	return binary.LittleEndian.AppendUint64(bytes.Clone(b), xxh3.Hash(b))
}
