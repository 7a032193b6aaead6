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
	"github.com/starlinghq/starling/storage/wal"
)

// premises are where a member's directory was when it was opened: a directory that is
// deleted, moved or replaced under a running member goes on to take writes, and none
// of them is there after a restart. What is compared is held open, so that no other
// file can have its number.
type premises struct {
	mu   sync.Mutex
	dir  string // empty: the member has none
	held []held
	gone error
}

// held is a file of the directory, or the directory itself.
type held struct {
	path string
	file *os.File
	info fs.FileInfo
}

// take remembers the directory and its identity.
func (p *premises) take(dir string) error {
	if dir == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dir = dir
	for _, path := range append([]string{dir}, wal.IdentityFiles(dir)...) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		p.held = append(p.held, held{path: path, file: f})
		if p.held[len(p.held)-1].info, err = f.Stat(); err != nil {
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

// look returns why the member cannot go on in its directory, or nil: it is somewhere
// else, or nowhere. Any goroutine may ask. What cannot be known now is no reason. A
// copy of the identity that is gone while the other is there is none either: the
// next start writes it again.
func (p *premises) look() error {
	p.mu.Lock()
	held, gone := p.held, p.gone
	p.mu.Unlock()
	if gone != nil || len(held) == 0 {
		return gone
	}
	here, known := held[0].isThere() // without the lock: a server of files may not answer
	missing := 0
	for _, h := range held[1:] {
		if there, sure := h.isThere(); sure && !there {
			missing++
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.held) == 0: // it was closed meanwhile
	case p.gone != nil:
	case known && !here:
		p.gone = p.lost(held[0])
	case missing == len(held)-1:
		p.gone = p.lost(held[1])
	}
	return p.gone
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

// lost says what has become of the directory, and the way out.
func (p *premises) lost(h held) error {
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
	part := ""
	if h.path != p.dir {
		part = "the identity in "
	}
	text := fmt.Sprintf("%sthe data directory %s was %s while the member ran: what it has written since would be lost; it has stopped", part, p.dir, what)
	if way != "" {
		text += "; " + way + ", then start the member again; otherwise"
	} else {
		text += ";"
	}
	return protocol.ErrDirectory.With(text + " start it with an empty directory, and with --replace if it has a seat; the others have everything as long as a majority of the voters is left")
}
