package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	lockFile = "lock"
	// beginningFile is there while a bootstrap is under way: with it, and
	// without an identity, the directory is begun anew.
	beginningFile = "beginning"
)

// LockDir takes the directory for this process, and creates it if needed. It
// returns protocol.ErrDirectory if another process has it.
func LockDir(fsys vfs.FS, dir string) (io.Closer, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, protocol.ErrDirectory.Because(err)
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, protocol.ErrDirectory.With("the data directory " + dir + " is in use by another process")
	}
	if err != nil {
		return nil, protocol.ErrDirectory.Because(err)
	}
	return lock, nil
}

// InUse reports whether another process has the directory. It creates nothing.
func InUse(fsys vfs.FS, dir string) bool {
	names, err := fsys.ReadDir(dir)
	if err != nil || !slices.Contains(names, lockFile) {
		return false
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockFile))
	if err == nil {
		_ = lock.Close()
	}
	return errors.Is(err, vfs.ErrLocked)
}

// ours reports whether a name at the top of a directory without an identity can
// come from a bootstrap that was cut short.
func ours(name string) bool {
	if slices.Contains([]string{lockFile, beginningFile, promiseFile, logFolder, "lost+found"}, name) {
		return true
	}
	unfinished, ok := strings.CutSuffix(name, vfs.TemporarySuffix)
	return ok && (unfinished == beginningFile || unfinished == promiseFile || slices.Contains(identityFiles[:], unfinished))
}

// checkUnused returns nil if a directory that has no identity may become a
// member's: absent, empty, or with a beginning only.
func checkUnused(fsys vfs.FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return protocol.ErrDirectory.Because(err)
	}
	var foreign []string
	for _, name := range names {
		if !ours(name) {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) > 0 {
		return protocol.ErrDirectory.With(fmt.Sprintf("%s is not empty and not a member's directory: it holds %s; choose another directory",
			dir, some(foreign)))
	}
	if slices.Contains(names, beginningFile) || !slices.Contains(names, logFolder) {
		return nil
	}
	f, err := listFolder(fsys, dir)
	if err != nil {
		return err
	}
	if len(f.segments)+len(f.unexpected) > 0 {
		return protocol.ErrDirectory.With(fmt.Sprintf("%s holds a log of %d segments but no identity: it is not known whose it is; move it away",
			dir, len(f.segments)))
	}
	return nil
}

// some lists a few names.
func some(names []string) string {
	const show = 3
	if len(names) <= show {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:show], ", "), len(names)-show)
}

// Init makes dir the directory of a member. The entries, if any, are what a
// bootstrap begins with: the first configuration, which is committed because its
// only voter has it. Everything is durable before the identity is written, and
// the identity before Init returns; a crash before that leaves a directory that
// Init takes for unused.
//
// id.Starts and id.Format are set by this package. It returns
// protocol.ErrDirectory if the directory is somebody's, or in use.
func Init(fsys vfs.FS, dir string, id Identity, first []protocol.Entry, o Options) error {
	if err := checkFree(fsys, dir); err != nil {
		return err
	}
	lock, err := LockDir(fsys, dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	return InitHeld(fsys, dir, id, first, o)
}

// InitHeld is Init for who holds the directory (LockDir). A promise not to begin a
// cluster, see WritePromise, is taken out in the end.
func InitHeld(fsys vfs.FS, dir string, id Identity, first []protocol.Entry, o Options) error {
	o = o.withDefaults()
	if err := checkFree(fsys, dir); err != nil { // nobody took it in between
		return err
	}
	if err := initLog(fsys, dir, first, o); err != nil {
		return initError(err)
	}
	id.Starts, id.Format = 0, Format
	if err := writeIdentity(fsys, dir, id); err != nil {
		return initError(err)
	}
	if err := fsys.Remove(filepath.Join(dir, beginningFile)); err != nil {
		return initError(err)
	}
	if err := ForgetPromise(fsys, dir); err != nil {
		return err
	}
	return initError(fsys.SyncDir(dir))
}

// checkFree returns nil if nobody's directory it is.
func checkFree(fsys vfs.FS, dir string) error {
	held, err := ReadIdentity(fsys, dir)
	switch {
	case err == nil:
		return protocol.ErrDirectory.With(fmt.Sprintf("%s already belongs to member %s of cluster %s",
			dir, held.Member.Short(), held.Cluster))
	case errors.Is(err, protocol.ErrNotFound):
		return nil
	}
	return err
}

// initLog begins a log, over the remains of an earlier attempt.
func initLog(fsys vfs.FS, dir string, first []protocol.Entry, o Options) error {
	if err := vfs.WriteFile(fsys, filepath.Join(dir, beginningFile), nil); err != nil {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	path := Folder(dir)
	if err := fsys.MkdirAll(path); err != nil {
		return err
	}
	names, err := fsys.ReadDir(path)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := fsys.Remove(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	if err := fsys.SyncDir(path); err != nil {
		return err
	}
	l := newLog(fsys, dir, o)
	defer l.closeFiles()
	if err := l.beginSegment(&carry{opening: true, room: segmentAlign}); err != nil {
		return err
	}
	if len(first) == 0 {
		return nil
	}
	last := first[len(first)-1]
	w := protocol.Write{
		State: protocol.HardState{Term: last.Term, Commit: last.Index},
		First: first[0].Index, Last: last.Index,
	}
	if err := l.Write(w, first); err != nil {
		return err
	}
	if err := l.Sync(); err != nil {
		return err
	}
	return l.Settle()
}

func initError(err error) error {
	if err == nil {
		return nil
	}
	return vfs.Refused(err)
}

func protocolError(err error) bool {
	var e *protocol.Error
	return errors.As(err, &e)
}
