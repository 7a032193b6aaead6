package cmd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// The main job: an import through a passive member while members die. The
// input is small by default; STARLING_MAINJOB=full takes every file of the Go
// source tree, path -> SHA-256.
func TestMainJob(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes that are killed take a while")
	}
	t.Parallel()
	input := jobInput(t)
	f := newFlock(t, 3, 2)
	t.Run("leader and a passive die", func(t *testing.T) { leaderAndPassiveDie(t, f, input) })
	t.Run("the member asked dies", func(t *testing.T) { theMemberAskedDies(t, f, input) })
}

// job is an import that runs, and what it is to end with.
type job struct {
	f       *flock
	name    string
	lines   int
	sorted  []byte
	before  starling.Index // applied when it began
	process *exec.Cmd
	stderr  *syncBuffer
}

func startJob(t *testing.T, f *flock, name, addr string, input [][]byte) *job {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(path, bytes.Join(input, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	stdin, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	sorted := slices.Clone(input)
	slices.SortFunc(sorted, bytes.Compare)
	j := &job{f: f, name: name, lines: len(input), sorted: bytes.Join(sorted, nil), before: f.settled().Applied, stderr: new(syncBuffer)}
	j.process = command(t, "map", "import", "--addr", addr, "--concurrency", "8", "--timeout", "1m", "--format", "tab", name)
	j.process.Stdin, j.process.Stderr = stdin, j.stderr
	if err := j.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.process.Process.Kill() })
	return j
}

// reaches waits until a share of the lines has been applied at a member.
func (j *job) reaches(t *testing.T, member string, numerator, denominator int) {
	t.Helper()
	want := j.before + starling.Index(j.lines*numerator/denominator)
	eventually(t, 5*time.Minute, func() error {
		s, err := status(j.f.addr(member))
		if err == nil && s.Applied < want {
			err = fmt.Errorf("%s has applied %d of %d; the import says %q", member, s.Applied, want, j.stderr)
		}
		return err
	})
}

// ends waits for the import, which must succeed, and for all members; then all
// exports must be the sorted input.
func (j *job) ends(t *testing.T) {
	t.Helper()
	if err := j.process.Wait(); err != nil {
		t.Fatalf("import: %v: %s", err, j.stderr)
	}
	s := j.f.settled()
	if got, least := s.Applied, j.before+starling.Index(j.lines); got < least {
		t.Errorf("applied %d, at least %d lines were imported", got, least)
	}
	for _, name := range j.f.names {
		out, stderr, code := run(context.Background(), "", "map", "export", "--addr", j.f.addr(name), "--consistency", "local", "--format", "tab", j.name)
		if code != 0 {
			t.Errorf("export at %s: exit code %d: %s", name, code, stderr)
			continue
		}
		if out != string(j.sorted) {
			t.Errorf("the export at %s (%d bytes) is not the sorted input (%d bytes): %s", name, len(out), len(j.sorted), firstDifference(out, string(j.sorted)))
		}
	}
	t.Logf("%d lines, applied %d, digest %s on all members", j.lines, s.Applied, s.Digest)
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is %q, want %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

func leaderAndPassiveDie(t *testing.T, f *flock, input [][]byte) {
	j := startJob(t, f, "files", f.addr("p1"), input)
	j.reaches(t, "p1", 1, 3)
	s, err := status(f.addr("p1"))
	if err != nil || s.Leader == "" {
		t.Fatalf("no leader: %+v, %v", s, err)
	}
	leader := f.agents[s.Leader]
	leader.kill()
	j.reaches(t, "p1", 2, 3)
	f.agents["p2"].kill()
	leader.start()
	f.agents["p2"].start()
	j.ends(t)
}

func theMemberAskedDies(t *testing.T, f *flock, input [][]byte) {
	j := startJob(t, f, "again", f.addr("p1")+","+f.addr("p2"), input)
	j.reaches(t, "p1", 1, 3)
	f.agents["p1"].kill()
	j.reaches(t, "p2", 2, 3)
	f.agents["p1"].start()
	j.ends(t)
}

// jobInput returns lines in no order.
func jobInput(t *testing.T) [][]byte {
	t.Helper()
	var lines [][]byte
	if os.Getenv("STARLING_MAINJOB") == "full" {
		lines = goSources(t)
		t.Logf("%d files of the Go source tree", len(lines))
	} else {
		lines = smallInput(1500)
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	return lines
}

// smallInput returns n lines whose keys make trouble for sorting and escaping.
func smallInput(n int) [][]byte {
	r := rand.New(rand.NewPCG(3, 4))
	odd := []string{"a", "a b", "a.b", "a/b", "a\tb", "a\nb", `a\b`, "a\x01", "a\x08\x08", "a\xff", "\t", "\n", `\`, "]", "ä", "help", "--addr", "-5"}
	var lines [][]byte
	for i := range n {
		key := fmt.Sprintf("src/%c/%d.go", 'a'+r.IntN(26), i)
		if i < len(odd) {
			key = odd[i]
		}
		value := fmt.Sprintf("%x", sha256.Sum256([]byte(key)))
		if i%100 == 0 {
			value += "\tand\nmore\\"
		}
		lines = append(lines, appendLine(nil, []byte(key), []byte(value)))
	}
	return lines
}

func goSources(t *testing.T) [][]byte {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(strings.TrimSpace(string(out)), "src")
	var lines [][]byte
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		lines = append(lines, appendLine(nil, []byte(filepath.ToSlash(name)), fmt.Appendf(nil, "%x", sha256.Sum256(content))))
		return err
	})
	if err == nil && len(lines) < 10_000 {
		err = errors.New("fewer than 10,000 files")
	}
	if err != nil {
		t.Fatalf("%s: %v", root, err)
	}
	return lines
}
