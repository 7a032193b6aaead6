package storage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/storagetest"
)

func TestDescriptionThereAndBack(t *testing.T) {
	d := storagetest.Describe(10)
	d.Items, d.Bytes, d.Chunks = 2, 20, []storage.ChunkSum{{1}, {2}}
	b := storage.EncodeDescription(d)
	got, err := storage.DecodeDescription(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(storage.EncodeDescription(got), b) || got.Digest != d.Digest || !got.SameLog(&d) {
		t.Errorf("got %v, want %v", got, d)
	}
	for bit := range 8 * len(b) {
		damaged := bytes.Clone(b)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := storage.DecodeDescription(damaged); !errors.Is(err, protocol.ErrMalformed) {
			t.Fatalf("bit %d: got error %v, want %v", bit, err, protocol.ErrMalformed)
		}
	}
}

func TestDescriptionLimits(t *testing.T) {
	if storage.DescriptionBytesMax > protocol.FrameBytesMax {
		t.Errorf("a description may have %d bytes, a frame %d", storage.DescriptionBytesMax, protocol.FrameBytesMax)
	}
	for name, change := range map[string]func(d *storage.Description){
		"no index":                     func(d *storage.Description) { d.Index = 0 },
		"no term":                      func(d *storage.Description) { d.Term = 0 },
		"configuration of later":       func(d *storage.Description) { d.Configuration.Index = 11 },
		"no voter":                     func(d *storage.Description) { d.Configuration.Configuration.Members = nil },
		"items without chunks":         func(d *storage.Description) { d.Items = 1 },
		"chunks without items":         func(d *storage.Description) { d.Chunks = make([]storage.ChunkSum, 1) },
		"fewer items than chunks":      func(d *storage.Description) { d.Items, d.Bytes, d.Chunks = 1, 9, make([]storage.ChunkSum, 2) },
		"more bytes than chunks allow": func(d *storage.Description) { d.Items, d.Bytes, d.Chunks = 1, 1<<40, make([]storage.ChunkSum, 1) },
	} {
		d := storagetest.Describe(10)
		change(&d)
		if err := d.Validate(); !errors.Is(err, protocol.ErrInvalid) {
			t.Errorf("%s: got error %v, want %v", name, err, protocol.ErrInvalid)
		}
	}
	d := storagetest.Describe(10)
	d.Items, d.Bytes, d.Chunks = 1<<30, 1<<30, make([]storage.ChunkSum, storage.ChunksMax+1)
	if err := d.Validate(); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got error %v, want %v", err, protocol.ErrTooLarge)
	}
}

func FuzzDescription(f *testing.F) {
	d := storagetest.Describe(10)
	f.Add(storage.EncodeDescription(d))
	d.Items, d.Bytes, d.Chunks = 2, 20, []storage.ChunkSum{{1}, {2}}
	f.Add(storage.EncodeDescription(d))
	f.Fuzz(func(t *testing.T, b []byte) {
		summed := bytes.Clone(b)
		if n := len(b); n >= 8 { // also what passes the sum
			summed = binary.LittleEndian.AppendUint64(summed[:n-8], xxh3.Hash(summed[:n-8]))
		}
		for _, b := range [][]byte{b, summed} {
			d, err := storage.DecodeDescription(b)
			if err != nil {
				continue
			}
			if got := storage.EncodeDescription(d); !bytes.Equal(got, b) {
				t.Errorf("got %x, want %x", got, b)
			}
		}
	})
}
