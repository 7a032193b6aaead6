//go:build unix

package cmd

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe in the place of a key is a sentence, and waits for nobody; and so is a key
// that others can read.
func TestKeyFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	pipe, key := filepath.Join(dir, "pipe"), filepath.Join(dir, "key")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	fails(t, exitUsage, "is no regular file", "agent", "--dir", dir, "--sign-key", pipe)
	fails(t, exitUsage, "is no regular file", "agent", "--dir", dir, "--trusted-keys", pipe)
	works(t, "", "keys", "generate", key)
	works(t, "", "keys", "show", key)
	for mode, open := range map[os.FileMode]bool{0o644: true, 0o604: true, 0o620: true, 0o640: false, 0o400: false} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		if open {
			fails(t, exitFailure, "can be read or changed by others", "keys", "show", key)
		} else {
			works(t, "", "keys", "show", key)
		}
	}
}
