package witness

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

var two = []Watermark{
	{protocol.MemberID{2}, 7, 1<<64 - 1, 90},
	{protocol.MemberID{1}, 1<<64 - 1, 3, 1<<64 - 1},
}

func TestFileRoundTrip(t *testing.T) {
	dir := t.TempDir()
	if list, err := Read(vfs.OS(), dir); err != nil || list != nil {
		t.Errorf("without a file: got %v, %v", list, err)
	}
	file := Encode(two)
	if err := os.WriteFile(filepath.Join(dir, File), file, 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := Read(vfs.OS(), dir); err != nil || !slices.Equal(list, two) {
		t.Errorf("got %v, %v; want %v", list, err, two)
	}
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 1
		if _, err := Decode(damaged); !errors.Is(err, protocol.ErrCorrupt) {
			t.Errorf("byte %d flipped: got %v, want %v", i, err, protocol.ErrCorrupt)
		}
	}
	if _, err := Decode(Encode([]Watermark{two[0], two[0]})); !errors.Is(err, protocol.ErrCorrupt) {
		t.Errorf("a member twice: got %v, want %v", err, protocol.ErrCorrupt)
	}
	many := make([]Watermark, Max+1)
	for i := range many {
		many[i] = Watermark{protocol.MemberID{byte(i), byte(i >> 8), 1}, 1<<64 - 1, 1<<64 - 1, 1<<64 - 1}
	}
	if b := Encode(many); len(b) > BytesMax {
		t.Errorf("%d bytes, the limit is %d", len(b), BytesMax)
	} else if list, err := Decode(b); err != nil || len(list) != Max || list[0] != many[0] {
		t.Errorf("got %d members, %v; want the first %d", len(list), err, Max)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(two))
	f.Add(Encode(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := Decode(b)
		if err != nil {
			return
		}
		if again, err := Decode(Encode(list)); err != nil || len(list) <= Max && !slices.Equal(again, list) {
			t.Errorf("got %v, %v; want %v", again, err, list)
		}
	})
}
