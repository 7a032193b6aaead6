package wal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// Format is the version of everything that this package writes, and of what its log makes of a
// state. A directory of another one is refused: 1 was before the first release, and its log
// tells of digests that this program does not come to.
const Format = 2

// Identity says whose directory this is. It is kept in two copies, each with
// its own sum, and is the last thing that makes a directory a member's.
type Identity struct {
	Cluster protocol.ClusterID
	Member  protocol.MemberID
	Name    string
	// Starts counts how often the directory was opened.
	Starts uint64
	// Format is the version of the directory's content.
	Format uint32
}

const (
	identityMagic    = "STARLING"
	identityBytes    = 16 + 16 + 16 + 8 + 2 + 8 // without the name
	identityBytesMax = 4 << 10
)

var identityFiles = [2]string{"identity-1", "identity-2"}

// IdentityFiles returns the paths of the two copies of a directory's identity. While
// the log is open they are not written.
func IdentityFiles(dir string) []string {
	return []string{filepath.Join(dir, identityFiles[0]), filepath.Join(dir, identityFiles[1])}
}

// Folder returns the path of the folder of a directory's log. While the log is open its
// name stays that of the same folder.
func Folder(dir string) string { return filepath.Join(dir, logFolder) }

// encodeIdentity writes magic, format, the payload's length, the payload, and a
// sum of all that. Later formats change only the payload.
func encodeIdentity(id Identity) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, identityBytes+len(id.Name))
	b = append(b, identityMagic...)
	b = le.AppendUint32(b, id.Format)
	b = le.AppendUint32(b, uint32(16+16+8+2+len(id.Name)))
	b = append(b, id.Cluster[:]...)
	b = append(b, id.Member[:]...)
	b = le.AppendUint64(b, id.Starts)
	b = le.AppendUint16(b, uint16(len(id.Name)))
	b = append(b, id.Name...)
	return le.AppendUint64(b, xxh3.Hash(b))
}

// decodeIdentity returns protocol.ErrCorrupt for a damaged copy and
// protocol.ErrDirectory for one of another format.
func decodeIdentity(b []byte) (Identity, error) {
	le := binary.LittleEndian
	var id Identity
	damaged := protocol.ErrCorrupt.With("damaged data: identity")
	if len(b) < 24 || string(b[:8]) != identityMagic {
		return id, damaged
	}
	id.Format = le.Uint32(b[8:])
	n := int64(le.Uint32(b[12:]))
	if int64(len(b)) != 16+n+8 || le.Uint64(b[16+n:]) != xxh3.Hash(b[:16+n]) {
		return id, damaged
	}
	if id.Format > Format {
		return id, protocol.ErrDirectory.With(fmt.Sprintf(
			"the data directory has format %d, this program knows formats up to %d: use a newer version", id.Format, Format))
	}
	if id.Format < Format {
		return id, protocol.ErrDirectory.With(fmt.Sprintf(
			"the data directory has format %d, of a program before the first release, and this one reads format %d only: export its maps with that program (starling map export), which its queues and counters have nothing like, and import them into a new cluster", id.Format, Format))
	}
	b = b[16 : 16+n]
	if len(b) < 42 || len(b) != 42+int(le.Uint16(b[40:])) {
		return id, damaged
	}
	copy(id.Cluster[:], b)
	copy(id.Member[:], b[16:])
	id.Starts = le.Uint64(b[32:])
	id.Name = string(b[42:])
	return id, nil
}

// writeIdentity replaces both copies, one after the other, and makes them
// durable.
func writeIdentity(fsys vfs.FS, dir string, id Identity) error {
	content := encodeIdentity(id)
	for _, name := range identityFiles {
		if err := vfs.WriteFile(fsys, filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	return fsys.SyncDir(dir)
}

// ReadIdentity returns whose directory dir is.
//
//   - protocol.ErrNotFound: nobody's yet. It is absent, empty, or holds only the
//     beginning of a bootstrap that was cut short; Init makes it a member's.
//   - protocol.ErrDirectory: it holds something else, is of a newer format, or can
//     not be read now.
//   - protocol.ErrCorrupt: both copies are damaged.
//
// A copy that the disk does not give counts as a damaged one while the other is
// there: Open writes both again.
//
// It takes no lock and changes nothing.
func ReadIdentity(fsys vfs.FS, dir string) (Identity, error) {
	id, _, err := identityIn(fsys, dir)
	return id, err
}

// identityIn is ReadIdentity. flaw is what is wrong with one copy while the other is good.
func identityIn(fsys vfs.FS, dir string) (id Identity, flaw, err error) {
	patience := vfs.NewPatience(fsys)
	for {
		id, flaw, err = readIdentity(fsys, dir)
		if !vfs.Damaged(err) || !patience.Again() {
			return id, flaw, err
		}
	}
}

// readIdentity tries once.
func readIdentity(fsys vfs.FS, dir string) (id Identity, flaw, err error) {
	var best Identity
	var damaged, refused error
	found := 0
	for _, name := range identityFiles {
		b, err := vfs.ReadFile(fsys, filepath.Join(dir, name), identityBytesMax)
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist):
			continue
		case vfs.Damaged(err):
			refused = err
			continue
		case errors.Is(err, syscall.ENOTDIR):
			return best, nil, protocol.ErrDirectory.With(dir + " is a file, or below one: a member's data takes a directory")
		default:
			return best, nil, protocol.ErrDirectory.Because(err)
		}
		id, err := decodeIdentity(b)
		if errors.Is(err, protocol.ErrDirectory) {
			return best, nil, protocol.ErrDirectory.With(dir + ": " + err.Error())
		}
		if err != nil {
			damaged = err
			continue
		}
		if found++; found == 1 || id.Starts > best.Starts {
			best = id
		}
	}
	switch {
	case found > 0:
		return best, cmp.Or(damaged, refused), nil
	case refused != nil:
		return best, nil, protocol.ErrDirectory.With("the data directory cannot be used: no copy of the identity in " + dir +
			" can be read; start again when the disk gives one back; if it never does, move the directory away and let the member join as a new one").Because(refused)
	case damaged != nil:
		return best, nil, protocol.ErrCorrupt.With("damaged data: both copies of the identity in " + dir +
			" are damaged; move the directory away and let the member join as a new one")
	}
	if err := checkUnused(fsys, dir); err != nil {
		return best, nil, err
	}
	return best, nil, protocol.ErrNotFound.With("no member lives in " + dir + " yet")
}
