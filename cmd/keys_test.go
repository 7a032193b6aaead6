package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newKey makes a key as people do, and adds it to the trusted ones.
func newKey(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name+".key")
	line, stderr, code := run(context.Background(), "", "keys", "generate", "--label", name, path)
	if code != 0 || !strings.HasPrefix(line, "ed25519 ") || !strings.HasSuffix(line, " "+name+"\n") {
		t.Fatalf("keys generate: exit code %d, %q, %s", code, line, stderr)
	}
	f, err := os.OpenFile(filepath.Join(dir, "trusted.keys"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(line); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeysAreMadeOnceAndShown(t *testing.T) {
	dir := t.TempDir()
	path := newKey(t, dir, "a1")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the key is not its owner's alone: %v, %v", info.Mode(), err)
	}
	trusted, _ := os.ReadFile(filepath.Join(dir, "trusted.keys"))
	if out, _, code := run(context.Background(), "", "keys", "show", "--label", "a1", path); code != 0 || out != string(trusted) {
		t.Errorf("keys show: exit code %d, got %q, want %q", code, out, trusted)
	}
	if _, stderr, code := run(context.Background(), "", "keys", "generate", path); code == 0 || !strings.Contains(stderr, "is there already") {
		t.Errorf("over a key that is there: exit code %d, %s", code, stderr)
	}
	if _, stderr, code := run(context.Background(), "", "keys", "show", filepath.Join(dir, "trusted.keys")); code == 0 || !strings.Contains(stderr, "public keys, not a private one") {
		t.Errorf("show of public keys: exit code %d, %s", code, stderr)
	}
}

func TestBadKeysAreUsageErrors(t *testing.T) {
	dir := t.TempDir()
	key := newKey(t, dir, "a1")
	other := newKey(t, t.TempDir(), "a2")
	trusted := filepath.Join(dir, "trusted.keys")
	for flags, want := range map[string]string{
		"--sign-key " + trusted:                                             "--sign-key: " + trusted + " has public keys",
		"--sign-key /none":                                                  "--sign-key: reading keys",
		"--trusted-keys " + key:                                             "--trusted-keys: " + key + " is a private key",
		"--trusted-keys " + trusted:                                         "needs --sign-key",
		"--role passive --sign-key " + key:                                  "signs nothing",
		"--sign-key " + other + " --trusted-keys " + trusted:                "not among --trusted-keys",
		"--role passive --eligible --trusted-keys " + trusted:               "needs --sign-key",
		"--sign-key " + key + " --trusted-keys " + trusted + " --http none": "",
	} {
		_, err := agentConfigOf(t, append(strings.Fields(flags), "--dir", "/d", "--name", "a1")...)
		if want == "" {
			if err != nil {
				t.Errorf("%s: got %v", flags, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%s: got %v, want a usage error with %q", flags, err, want)
		}
	}
}

// A passive that checks follows actives that sign: it has their entries, and knows
// how old they are.
func TestAgentsThatSign(t *testing.T) {
	dir := t.TempDir()
	key, trusted := newKey(t, dir, "a1"), filepath.Join(dir, "trusted.keys")
	a := newAgent(t, "a1", "active", "--bootstrap", "--actives", "1", "--sign-key", key, "--trusted-keys", trusted)
	a.start()
	eventually(t, time.Minute, func() error { _, err := status(a.addr); return err })
	p := newAgent(t, "p1", "passive", "--join", a.addr, "--trusted-keys", trusted)
	p.start()
	if _, stderr, code := run(context.Background(), "", "map", "put", "--addr", a.addr, "m", "k", "v"); code != 0 {
		t.Fatalf("put: %s", stderr)
	}
	eventually(t, time.Minute, func() error {
		out, stderr, code := run(context.Background(), "", "map", "get", "--addr", p.addr, "--consistency", "local", "m", "k")
		if code != 0 || strings.TrimSpace(out) != "v" {
			return fmt.Errorf("got %q, %s", out, stderr)
		}
		s, err := status(p.addr)
		if err == nil && (s.AgeMS == nil || s.Refused != 0) {
			err = fmt.Errorf("age %v, %d refused", s.AgeMS, s.Refused)
		}
		return err
	})
}
