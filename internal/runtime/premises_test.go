package runtime

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
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
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.Done():
	case <-time.After(patience):
		t.Fatal("the member goes on in a directory that is not there")
	}
	if err := m.Err(); !errors.Is(err, protocol.ErrDirectory) || !strings.Contains(err.Error(), dir+" was deleted") || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("it says %v", err)
	}
	c.put(c.client(c.members["a1"]), "k", "v")
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
			works(t, os.Mkdir(dir, 0o700))
			for _, f := range wal.IdentityFiles(dir) {
				works(t, os.WriteFile(f, nil, 0o600))
			}
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
		{"left alone", func(*testing.T, string) {}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir() + "/d"
			works(t, os.Mkdir(dir, 0o700))
			for _, f := range wal.IdentityFiles(dir) {
				works(t, os.WriteFile(f, []byte("x"), 0o600))
			}
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

func works(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
