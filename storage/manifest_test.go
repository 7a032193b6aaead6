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
	b := storage.EncodeManifest(d)
	got, err := storage.DecodeManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(storage.EncodeManifest(got), b) || got.Digest != d.Digest || !got.SameLog(&d) {
		t.Errorf("got %v, want %v", got, d)
	}
	for bit := range 8 * len(b) {
		damaged := bytes.Clone(b)
		damaged[bit/8] ^= 1 << (bit % 8)
		if _, err := storage.DecodeManifest(damaged); !errors.Is(err, protocol.ErrMalformed) {
			t.Fatalf("bit %d: got error %v, want %v", bit, err, protocol.ErrMalformed)
		}
	}
}

func TestDescriptionLimits(t *testing.T) {
	if storage.ManifestBytesMax > protocol.FrameBytesMax {
		t.Errorf("a manifest may have %d bytes, a frame %d", storage.ManifestBytesMax, protocol.FrameBytesMax)
	}
	for name, change := range map[string]func(d *storage.Manifest){
		"no index":                     func(d *storage.Manifest) { d.Index = 0 },
		"no term":                      func(d *storage.Manifest) { d.Term = 0 },
		"configuration of later":       func(d *storage.Manifest) { d.Configuration.Index = 11 },
		"no voter":                     func(d *storage.Manifest) { d.Configuration.Configuration.Members = nil },
		"items without chunks":         func(d *storage.Manifest) { d.Items = 1 },
		"chunks without items":         func(d *storage.Manifest) { d.Chunks = make([]storage.ChunkSum, 1) },
		"fewer items than chunks":      func(d *storage.Manifest) { d.Items, d.Bytes, d.Chunks = 1, 9, make([]storage.ChunkSum, 2) },
		"more bytes than chunks allow": func(d *storage.Manifest) { d.Items, d.Bytes, d.Chunks = 1, 1<<40, make([]storage.ChunkSum, 1) },
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
	f.Add(storage.EncodeManifest(d))
	d.Items, d.Bytes, d.Chunks = 2, 20, []storage.ChunkSum{{1}, {2}}
	f.Add(storage.EncodeManifest(d))
	f.Fuzz(func(t *testing.T, b []byte) {
		summed := bytes.Clone(b)
		if n := len(b); n >= 8 { // also what passes the sum
			summed = binary.LittleEndian.AppendUint64(summed[:n-8], xxh3.Hash(summed[:n-8]))
		}
		for _, b := range [][]byte{b, summed} {
			d, err := storage.DecodeManifest(b)
			if err != nil {
				continue
			}
			if got := storage.EncodeManifest(d); !bytes.Equal(got, b) {
				t.Errorf("got %x, want %x", got, b)
			}
		}
	})
}
