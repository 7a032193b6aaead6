package checkpoint

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/vfs"
)

// A complete store has a file with the size and the sum of each file that a view
// needs. [S] No engine sees a file before its sum was compared: damaged tables end the
// process in goroutines of Badger's own. And what cannot be read is told from what was
// read and is wrong.
//
// Each line is a size, a sum and a name; the last one is the sum of all above.
const sealName = "sums"

// sealBytesMax is far above what a store has.
const sealBytesMax = 64 << 20

// sealed is a file of a complete store.
type sealed struct {
	name string
	size int64
	sum  xxh3.Uint128
}

// seal reads the files of a store that has been closed, and writes their sums. They
// are read from the disk, as far as the operating system can be asked for that: what
// it holds in memory after a failed sync looks as if it had been written.
func seal(fsys vfs.FS, e engine.Engine, folder string) error {
	names, err := fsys.ReadDir(folder)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, name := range names {
		if e.Use(name) == engine.Unneeded {
			continue
		}
		f, err := sumFile(fsys, folder, name, vfs.Uncached)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%d %s %s\n", f.size, sumText(f.sum), f.name)
	}
	fmt.Fprintf(&b, "%s\n", sumText(xxh3.Hash128(b.Bytes())))
	return errors.Join(vfs.WriteSynced(fsys, filepath.Join(folder, sealName), &b), fsys.SyncDir(folder))
}

func sumText(sum xxh3.Uint128) string { return fmt.Sprintf("%016x%016x", sum.Hi, sum.Lo) }

func sumFile(fsys vfs.FS, folder, name string, first func(vfs.File)) (sealed, error) {
	f, err := fsys.Open(filepath.Join(folder, name))
	if err != nil {
		return sealed{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return sealed{}, err
	}
	first(f)
	h := xxh3.New()
	n, err := io.Copy(h, io.NewSectionReader(f, 0, size))
	return sealed{name, n, h.Sum128()}, err
}

// clone gives a new store the files of the one that it begins as.
func clone(fsys vfs.FS, e engine.Engine, from, to string) ([]engine.File, error) {
	files, err := readSeal(fsys, e, from)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		source, target := filepath.Join(from, f.name), filepath.Join(to, f.name)
		if e.Use(f.name) == engine.Copied {
			err = vfs.Copy(fsys, source, target)
		} else {
			err = vfs.LinkOrCopy(fsys, source, target)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, corrupt(f.name + " of a store of checkpoints is not there")
		}
		if err != nil {
			return nil, err
		}
	}
	return filesOf(files), nil
}

func filesOf(list []sealed) []engine.File {
	files := make([]engine.File, len(list))
	for i, f := range list {
		files[i] = engine.File{Name: f.name, Size: f.size}
	}
	return files
}

// readSeal returns the files that a store consists of.
func readSeal(fsys vfs.FS, e engine.Engine, folder string) ([]sealed, error) {
	b, err := vfs.ReadFile(fsys, filepath.Join(folder, sealName), sealBytesMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corrupt("a store of checkpoints, or the list of its files, is not there")
	}
	if err != nil {
		return nil, err
	}
	return decodeSeal(b, e)
}

func decodeSeal(b []byte, e engine.Engine) ([]sealed, error) {
	wrong := corrupt("the list of files of a store of checkpoints")
	body, last := b, []byte(nil)
	if n := bytes.LastIndexByte(bytes.TrimSuffix(b, []byte("\n")), '\n') + 1; bytes.HasSuffix(b, []byte("\n")) {
		body, last = b[:n], b[n:len(b)-1]
	}
	if string(last) != sumText(xxh3.Hash128(body)) {
		return nil, wrong
	}
	var out []sealed
	lines := bufio.NewScanner(bytes.NewReader(body))
	for lines.Scan() {
		var f sealed
		n, err := fmt.Sscanf(lines.Text(), "%d %16x%16x %s", &f.size, &f.sum.Hi, &f.sum.Lo, &f.name)
		if n != 4 || err != nil || e.Use(f.name) == engine.Unneeded || filepath.Base(f.name) != f.name {
			return nil, wrong
		}
		out = append(out, f)
	}
	return out, lines.Err()
}

// checkSeal compares all files of a complete store with their sums.
func checkSeal(fsys vfs.FS, e engine.Engine, folder string) ([]engine.File, error) {
	files, err := readSeal(fsys, e, folder)
	if err != nil {
		return nil, err
	}
	for _, want := range files {
		got, err := sumFile(fsys, folder, want.name, func(vfs.File) {})
		if errors.Is(err, fs.ErrNotExist) {
			return nil, corrupt(want.name + " of a store of checkpoints is not there")
		}
		if err != nil {
			return nil, err
		}
		if got != want {
			return nil, corrupt(want.name + " of a store of checkpoints is not what was written")
		}
	}
	return filesOf(files), nil
}
