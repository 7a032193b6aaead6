package checkpoint

import (
	"errors"
	"io/fs"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

// Folder is where in a member's directory its store is.
const Folder = "checkpoints"

// Peek returns the checkpoints that the pointers of a store name, newest first,
// without opening, locking or changing anything. It says nothing about the
// content. A damaged pointer is left out, and a store that does not exist has
// none. The error is protocol.ErrDirectory.
func Peek(fsys vfs.FS, dir string) ([]storage.Manifest, error) {
	s := &Store{fsys: fsys, dir: dir, o: Options{}.withDefaults(dir), homes: map[uint64]*home{}}
	patience := vfs.NewPatience(fsys)
	for slot := 1; slot <= slots; slot++ {
		p, err := s.readPointer(pointerName(slot), patience)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, protocol.ErrCorrupt):
		case err != nil:
			return nil, protocol.ErrDirectory.Because(err)
		default:
			s.kept = append(s.kept, &kept{slot: slot, pointer: p})
		}
	}
	s.sortKept()
	return s.Kept(), nil
}
