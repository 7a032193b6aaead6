package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// badDisk is a disk with bad sectors: reads that touch them fail, also after a
// restart, until another file has taken the place of the one that they are in.
type badDisk struct {
	vfs.FS
	mu    sync.Mutex
	files map[string]*badSectors
}

// badSectors are those of one file, whatever its name.
type badSectors struct {
	mu  sync.Mutex
	bad [][2]int64
}

func newBadDisk() *badDisk { return &badDisk{FS: vfs.OS(), files: map[string]*badSectors{}} }

// Sleep implements vfs.Sleeper: what is bad does not pass.
func (d *badDisk) Sleep(time.Duration) {}

func (d *badDisk) of(name string) *badSectors {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil {
		d.files[name] = &badSectors{}
	}
	return d.files[name]
}

// fail makes the bytes from at on bad, with the block that they lie in.
func (d *badDisk) fail(name string, at, n int64) {
	s := d.of(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bad = append(s.bad, [2]int64{at &^ 4095, (at + n - 1) | 4095 + 1})
}

func (d *badDisk) Create(name string) (vfs.File, error)    { return d.open(name, d.FS.Create) }
func (d *badDisk) Open(name string) (vfs.File, error)      { return d.open(name, d.FS.Open) }
func (d *badDisk) OpenWrite(name string) (vfs.File, error) { return d.open(name, d.FS.OpenWrite) }

func (d *badDisk) open(name string, how func(string) (vfs.File, error)) (vfs.File, error) {
	f, err := how(name)
	if err != nil {
		return nil, err
	}
	return badFile{f, d.of(name)}, nil
}

func (d *badDisk) Rename(from, to string) error {
	if err := d.FS.Rename(from, to); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[to] = d.files[from]
	delete(d.files, from)
	return nil
}

func (d *badDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name)
	return d.FS.Remove(name)
}

type badFile struct {
	vfs.File
	sectors *badSectors
}

func (f badFile) ReadAt(p []byte, at int64) (int, error) {
	f.sectors.mu.Lock()
	defer f.sectors.mu.Unlock()
	for _, b := range f.sectors.bad {
		if at < b[1] && b[0] < at+int64(len(p)) {
			return 0, &os.PathError{Op: "read", Path: "a bad sector", Err: syscall.EIO}
		}
	}
	return f.File.ReadAt(p, at)
}

// spoil makes the record bad that a part of a log lies in, from 0 to 1.
func (d *badDisk) spoil(t *testing.T, dir string, part float64) wal.Record {
	t.Helper()
	all, _ := records(t, dir)
	r := all[int(part*float64(len(all)))]
	d.fail(filepath.Join(dir, "log", r.Segment), r.Offset+headerBytes+5, 1)
	return r
}

// Three members have sectors that cannot be read, in different places of their logs, in
// a copy of an identity and in the header of a segment: they start, and each has what
// another lacks. No one of them started.
func TestMembersWithBadSectorsStartAndHealOneAnother(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	disks := map[string]*badDisk{}
	c.three(smallSegments, func(cfg *Config) {
		disks[cfg.Name] = newBadDisk()
		cfg.logDisk = disks[cfg.Name]
	})
	c.fill(c.client(c.members["a1"]), "x", 150)
	c.equal()
	names := []string{"a1", "a2", "a3"}
	for i, name := range names {
		c.kill(name)
		dir, disk := c.configs[name].Dir, disks[name]
		disk.spoil(t, dir, 0.2+0.3*float64(i))
		disk.fail(filepath.Join(dir, fmt.Sprint("identity-", 1+i%2)), 0, 1)
		_, report := records(t, dir)
		disk.fail(filepath.Join(dir, "log", report.Segments[1+i].Name), 0, 1)
		if _, err := wal.Verify(disk, dir); err == nil {
			t.Fatalf("%s: the log verifies as sound", name)
		}
	}
	c.openAll(names...)
	for _, name := range names {
		for i := range 150 {
			if got := c.get(c.client(c.members[name]), fmt.Sprint("x", i)); len(got) != 1024 {
				t.Fatalf("%s: x%d has %d bytes", name, i, len(got))
			}
		}
	}
	c.equal()
	for _, name := range names {
		c.kill(name)
		if _, err := wal.Verify(disks[name], c.configs[name].Dir); err != nil {
			t.Errorf("the log of %s after it was mended: %v", name, err)
		}
	}
}
