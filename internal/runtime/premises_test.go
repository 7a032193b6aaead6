package runtime

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/wal"
)

// A directory that is deleted, moved away or replaced under a running member stops it,
// with a sentence that says which; the others go on.
func TestADirectoryThatIsGoneStopsItsMember(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for _, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, func(cfg *Config) { cfg.Dir = c.dir() })
	}
	c.voters(3)
	m, dir := c.members["a3"], c.configs["a3"].Dir
	// One copy of the identity is as good as two.
	if err := os.Remove(wal.IdentityFiles(dir)[0]); err != nil {
		t.Fatal(err)
	}
	if err := m.premises.look(); err != nil {
		t.Errorf("without one copy of the identity: %v", err)
	}
	works(t, os.RemoveAll(dir))
	stopsFor(t, m, "the data directory "+dir+" was deleted")
	c.put(c.client(c.members["a1"]), "k", "v")
}

// So does a folder in it, which holds what is to be there after a restart.
func TestAFolderThatIsGoneStopsItsMember(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]string{"log": "the log in the data directory ", checkpoint.Folder: "the folder of the checkpoints in the data directory "} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t)
			dir := c.dir()
			m := c.start("a1", protocol.RoleActive, func(cfg *Config) { cfg.Dir = dir })
			works(t, os.Rename(filepath.Join(dir, folder), filepath.Join(dir, "old")))
			works(t, os.Mkdir(filepath.Join(dir, folder), 0o700))
			stopsFor(t, m, want+dir+" was moved to ")
		})
	}
}

// stopsFor waits until a member has stopped because of its directory.
func stopsFor(t *testing.T, m *Member, why string) {
	t.Helper()
	select {
	case <-m.Done():
	case <-time.After(patience):
		t.Fatal("the member goes on in a directory that is not there")
	}
	if err := m.Err(); !errors.Is(err, protocol.ErrDirectory) || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("it says %v, want %q in it", err, why)
	}
}

func TestWhatHasBecomeOfADirectory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   []string
	}{
		{"deleted", func(t *testing.T, dir string) { works(t, os.RemoveAll(dir)) }, []string{" was deleted while"}},
		{"moved", func(t *testing.T, dir string) { works(t, os.Rename(dir, dir+".old")) }, []string{" was moved to ", ".old while", "put it back, then start"}},
		{"replaced", func(t *testing.T, dir string) {
			works(t, os.Rename(dir, dir+".old"))
			works(t, os.Mkdir(dir, 0o700))
		}, []string{".old, and another one stands in its place,", "move that one away, and put it back"}},
		{"deleted and made anew", func(t *testing.T, dir string) {
			works(t, os.RemoveAll(dir))
			furnish(t, dir)
		}, []string{" was deleted, and another one stands in its place, while"}},
		{"emptied", func(t *testing.T, dir string) {
			for _, f := range wal.IdentityFiles(dir) {
				works(t, os.Remove(f))
			}
		}, []string{"the identity in the data directory", " was deleted while"}},
		{"filled from a copy", func(t *testing.T, dir string) {
			for _, f := range wal.IdentityFiles(dir) {
				works(t, os.Remove(f))
				works(t, os.WriteFile(f, nil, 0o600))
			}
		}, []string{"the identity in the data directory", "another one stands in its place"}},
		{"the log deleted", func(t *testing.T, dir string) { works(t, os.RemoveAll(wal.Folder(dir))) }, []string{"the log in the data directory ", " was deleted while"}},
		{"the log moved", func(t *testing.T, dir string) { works(t, os.Rename(wal.Folder(dir), dir+"/old")) },
			[]string{"the log in the data directory ", " was moved to ", "/old while", "put it back, then start"}},
		{"the log replaced", func(t *testing.T, dir string) {
			works(t, os.RemoveAll(wal.Folder(dir)))
			works(t, os.Mkdir(wal.Folder(dir), 0o700))
		}, []string{"the log in the data directory ", " was deleted, and another one stands in its place, while"}},
		{"the checkpoints deleted", func(t *testing.T, dir string) { works(t, os.RemoveAll(dir+"/"+checkpoint.Folder)) },
			[]string{"the folder of the checkpoints in the data directory ", " was deleted while"}},
		{"the checkpoints replaced", func(t *testing.T, dir string) {
			works(t, os.Rename(dir+"/"+checkpoint.Folder, dir+"/old"))
			works(t, os.Mkdir(dir+"/"+checkpoint.Folder, 0o700))
		}, []string{"the folder of the checkpoints in the data directory ", "/old, and another one stands in its place,", "move that one away, and put it back"}},
		{"one copy of the identity deleted", func(t *testing.T, dir string) { works(t, os.Remove(wal.IdentityFiles(dir)[1])) }, nil},
		{"left alone", func(*testing.T, string) {}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir() + "/d"
			furnish(t, dir)
			var p premises
			works(t, p.take(dir))
			defer p.close()
			test.change(t, dir)
			err := p.look()
			if (err == nil) != (test.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

// furnish makes a directory with all that is looked at.
func furnish(t *testing.T, dir string) {
	t.Helper()
	for _, h := range partsOf(dir) {
		if h.copy {
			works(t, os.WriteFile(h.path, []byte("x"), 0o600))
		} else {
			works(t, os.Mkdir(h.path, 0o700))
		}
	}
}

func works(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
