// Package witness is the file in which a member remembers how far the directories
// of others had come when it saw them last. A running member writes it
// (internal/runtime), and it is read offline, too (internal/recovery).
package witness

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	// File is where a member with a directory remembers what it has seen of the
	// others' directories, so that it also knows a restored copy after a restart
	// of its own.
	File = "watermarks"
	// Max bounds it: of more members those heard last are remembered.
	Max = 4096
	// BytesMax is the most that it takes.
	BytesMax = Max*(33+3*21) + 64
)

// Watermark is what a member has said of its directory.
type Watermark struct {
	Member protocol.MemberID
	// Starts is how often it had been opened, Run the random number of that
	// start, Sequence the last record that was said to be durable.
	Starts   uint64
	Run      protocol.RunID
	Sequence protocol.Sequence
}

// Encode returns the file's content: a line for each member, those heard last
// first, and a sum, so that a flipped bit refuses nobody.
func Encode(list []Watermark) []byte {
	var b bytes.Buffer
	for _, s := range list[:min(len(list), Max)] {
		fmt.Fprintf(&b, "%s %d %d %d\n", s.Member, s.Starts, uint64(s.Run), uint64(s.Sequence))
	}
	fmt.Fprintf(&b, "sum %08x\n", crc32.ChecksumIEEE(b.Bytes()))
	return b.Bytes()
}

// Decode takes what Encode returned. The error is protocol.ErrCorrupt.
func Decode(b []byte) ([]Watermark, error) {
	damaged := protocol.ErrCorrupt.With("damaged data: what this member remembers of the others' directories")
	at := bytes.LastIndex(b, []byte("sum "))
	if at < 0 || string(b[at:]) != fmt.Sprintf("sum %08x\n", crc32.ChecksumIEEE(b[:at])) {
		return nil, damaged
	}
	var list []Watermark
	known := map[protocol.MemberID]bool{}
	for text := range strings.Lines(string(b[:at])) {
		var id string
		var starts, run, sequence uint64
		if _, err := fmt.Sscanf(text, "%s %d %d %d\n", &id, &starts, &run, &sequence); err != nil {
			return nil, damaged
		}
		member, err := protocol.ParseMemberID(id)
		if err != nil || known[member] {
			return nil, damaged
		}
		known[member] = true
		list = append(list, Watermark{member, starts, protocol.RunID(run), protocol.Sequence(sequence)})
	}
	return list, nil
}

// Read returns what the member of a directory remembers; nothing if it has not
// written anything yet. The error is protocol.ErrCorrupt, or that of the disk.
func Read(fsys vfs.FS, dir string) ([]Watermark, error) {
	b, err := vfs.ReadFile(fsys, filepath.Join(dir, File), BytesMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return Decode(b)
}
