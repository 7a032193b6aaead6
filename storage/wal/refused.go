package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	refusedFile     = "refused"
	refusedBytesMax = 16 << 10
)

// Refusal is why a directory must not be used by a member any more: others of its
// cluster have said that it was put back to an older copy (protocol.ErrRolledBack),
// or is a copy of one that is in use (protocol.ErrTwin).
type Refusal struct {
	Code protocol.Code
	// By is who said it, and Address where that one was.
	By      protocol.MemberID
	Address string
	When    time.Time
	// Text is the sentence, with the way out.
	Text string
}

// Err is the refusal as an error of its code.
func (r *Refusal) Err() error { return &protocol.Error{Code: r.Code, Text: r.Text} }

// WriteRefusal writes a refusal into a directory, durably. Whoever opens the
// directory afterwards has to ask for it first: see ReadRefusal.
func WriteRefusal(fsys vfs.FS, dir string, r Refusal) error {
	text := fmt.Sprintf("code %s\nby %s\naddress %s\nwhen %s\ntext %s\n",
		r.Code, r.By, r.Address, r.When.UTC().Format(time.RFC3339), strings.ReplaceAll(r.Text, "\n", " "))
	if err := vfs.WriteFile(fsys, filepath.Join(dir, refusedFile), []byte(text)); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// ReadRefusal returns the refusal that is written in a directory, or nil. It takes
// no lock and changes nothing. What is there and cannot be read counts as a refusal:
// [S] a flipped bit must not let a member vote again. protocol.ErrDirectory: the
// directory cannot be read.
func ReadRefusal(fsys vfs.FS, dir string) (*Refusal, error) {
	b, err := vfs.ReadFile(fsys, filepath.Join(dir, refusedFile), refusedBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, protocol.ErrDirectory.Because(err)
	}
	r := Refusal{Code: protocol.ErrRolledBack.Code}
	for line := range strings.Lines(string(b)) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch word { // what cannot be read is left out: the rest says enough
		case "code":
			if protocol.Code(rest) == protocol.ErrTwin.Code {
				r.Code = protocol.ErrTwin.Code
			}
		case "by":
			r.By, _ = protocol.ParseMemberID(rest)
		case "address":
			r.Address = rest
		case "when":
			r.When, _ = time.Parse(time.RFC3339, rest)
		case "text":
			r.Text = rest
		}
	}
	if r.Text == "" {
		r.Text = "the other members have refused this directory, and what they said cannot be read any more"
	}
	return &r, nil
}
