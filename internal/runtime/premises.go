package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/wal"
)

// premises are where a member's directory, and the folders in it, were when it was
// opened: one that is deleted, moved or replaced under a running member goes on to take
// writes, and none of them is there after a restart. What is compared is held open, so
// that no other file can have its number.
type premises struct {
	mu   sync.Mutex
	dir  string // empty: the member has none
	held []held
	gone error
}

// held is the directory itself, or what is in it.
type held struct {
	path string
	part string // of the directory, in words; empty: all of it
	copy bool   // there are others, and one of them is enough
	file *os.File
	info fs.FileInfo
}

// partsOf are what is looked at of a directory, the first first: what has become of the
// whole explains the rest.
func partsOf(dir string) []held {
	parts := []held{
		{path: dir},
		{path: wal.Folder(dir), part: "the log in "},
		{path: filepath.Join(dir, checkpoint.Folder), part: "the folder of the checkpoints in "},
	}
	for _, file := range wal.IdentityFiles(dir) {
		parts = append(parts, held{path: file, part: "the identity in ", copy: true})
	}
	return parts
}

// take remembers the directory, its folders and its identity.
func (p *premises) take(dir string) error {
	if dir == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dir = dir
	for _, h := range partsOf(dir) {
		f, err := os.Open(h.path)
		if err != nil {
			return err
		}
		h.file = f
		h.info, err = f.Stat()
		p.held = append(p.held, h) // close lets go of it
		if err != nil {
			return err
		}
	}
	return nil
}

// close lets go of what is held open.
func (p *premises) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.held {
		_ = h.file.Close()
	}
	p.held = nil
}

// look returns why the member cannot go on in its directory, or nil: it, or one of its
// folders, is somewhere else, or nowhere. Any goroutine may ask. What cannot be known now
// is no reason. A copy of the identity that is gone while the other is there is none
// either: the next start writes it again.
func (p *premises) look() error {
	p.mu.Lock()
	held, gone := p.held, p.gone
	p.mu.Unlock()
	if gone != nil || len(held) == 0 {
		return gone
	}
	missing := lost(held) // without the lock: a server of files may not answer
	p.mu.Lock()
	defer p.mu.Unlock()
	if missing != nil && p.gone == nil && len(p.held) > 0 { // or it was closed meanwhile
		p.gone = p.explain(missing)
	}
	return p.gone
}

// lost returns the first that is not where it was, or nil.
func lost(all []held) *held {
	copies, gone := 0, 0
	var one *held
	for i := range all {
		h := &all[i]
		there, known := h.isThere()
		switch missing := known && !there; {
		case !h.copy && missing:
			return h
		case h.copy:
			copies++
			if missing {
				gone, one = gone+1, h
			}
		}
	}
	if gone < copies {
		return nil
	}
	return one
}

// isThere reports whether a path still names what is held open.
func (h *held) isThere() (there, known bool) {
	now, err := os.Stat(h.path)
	switch {
	case err == nil:
		return os.SameFile(h.info, now), true
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return false, true
	}
	return false, false
}

// explain says what has become of the directory, or of a part of it, and the way out.
func (p *premises) explain(h *held) error {
	what, way := "deleted, or moved away,", "put it back if it was moved"
	after, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", h.file.Fd())) // empty where there is none
	absolute, err := filepath.Abs(h.path)
	switch {
	case strings.HasSuffix(after, " (deleted)"):
		what, way = "deleted", ""
	case after != "" && err == nil && after != absolute:
		what, way = "moved to "+after, "put it back"
	}
	if _, err := os.Lstat(h.path); err == nil {
		what += ", and another one stands in its place,"
		if way != "" {
			way = "move that one away, and " + way
		}
	}
	text := fmt.Sprintf("%sthe data directory %s was %s while the member ran: what it has written since would be lost; it has stopped", h.part, p.dir, what)
	if way != "" {
		text += "; " + way + ", then start the member again; otherwise"
	} else {
		text += ";"
	}
	return protocol.ErrDirectory.With(text + " start it with an empty directory, and with --replace if it has a seat; the others have everything as long as a majority of the voters is left")
}
