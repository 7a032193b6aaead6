package checkpoint_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
)

// The tests below run this test binary again, as processes that may die. What
// they are to do stands in the environment.
const (
	childVariable  = "STARLING_CHECKPOINT_CHILD" // "take", "read", "some" or "many"
	folderVariable = "STARLING_CHECKPOINT_FOLDER"

	exitSound     = 0 // all that was given out was right; some may be refused
	exitWrongData = 3
	exitRefused   = 4
)

// step is the distance of the indexes at which the child takes checkpoints.
const step = 10

// contentAt replays what the log would have made of the state at an index.
func contentAt(index protocol.Index) *storagetest.Content {
	content := storagetest.NewContent()
	for i := protocol.Index(step); i <= index; i += step {
		content.Change(rand.New(rand.NewPCG(uint64(i), 5)), 25, i-step, i)
	}
	return content
}

// wrong compares a kept checkpoint with what it must hold. A store that says
// that it is damaged is not wrong.
func wrong(s *checkpoint.Store, d storage.Manifest) (bool, error) {
	want := contentAt(d.Index)
	items := want.Items()
	n := 0
	different := false
	err := s.Iterate(context.Background(), d.Index, func(it storage.Item) error {
		different = different || n >= len(items) || it.Space != items[n].Space || !bytes.Equal(it.Key, items[n].Key) ||
			it.Index != items[n].Index || !bytes.Equal(it.Value, items[n].Value)
		n++
		return nil
	})
	return different || err == nil && n != len(items), err
}

func TestChildProcess(t *testing.T) {
	dir := os.Getenv(folderVariable)
	switch os.Getenv(childVariable) {
	case "take":
		os.Exit(takeForEver(dir))
	case "read":
		os.Exit(readAll(dir))
	case "some":
		os.Exit(takeSome(dir))
	case "many":
		os.Exit(takeMany(dir))
	}
}

// takeForEver takes checkpoints until it is killed, and says what is durable.
func takeForEver(dir string) int {
	o := small()
	o.OnProgress = func(checkpoint.Progress) { fmt.Println("progress") }
	s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), o)
	if err != nil {
		fmt.Println("failed", err)
		return 1
	}
	index := protocol.Index(0)
	for _, d := range s.Kept() {
		index = max(index, d.Index)
		if bad, err := wrong(s, d); bad || err != nil {
			fmt.Println("failed", d.Index, bad, err)
			return 1
		}
	}
	for n := 0; ; n++ {
		index += step
		content := contentAt(index)
		var changes []storage.Item
		var w storage.CheckpointWriter
		if kept := s.Kept(); len(kept) > 1 && index/step%8 != 0 {
			changes = content.Since(contentAt(kept[1].Index), rand.New(rand.NewPCG(uint64(index), 8)))
			w, err = s.BeginIncremental(context.Background(), index, kept[1])
		} else {
			w, err = s.BeginFull(context.Background(), index, 0)
			changes = content.Items()
		}
		for part := range slices.Chunk(changes, 10) {
			if err == nil {
				err = w.Write(context.Background(), part)
			}
		}
		if err == nil {
			_, err = w.Commit(context.Background(), storagetest.Describe(index))
		}
		if err != nil {
			fmt.Println("failed", err)
			return 1
		}
		fmt.Println("durable", index)
	}
}

// readAll reads all that is kept, as a member does that starts.
func readAll(dir string) int {
	o := small()
	o.BootID = "one boot"
	s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), o)
	if err != nil {
		fmt.Println(err)
		return exitRefused
	}
	defer s.Close()
	for _, d := range s.Kept() {
		bad, err := wrong(s, d)
		if bad {
			fmt.Println("wrong data of", d.Index)
			return exitWrongData
		}
		fmt.Println("read", d.Index, err)
		for n := range d.Chunks {
			if err == nil {
				_, err = s.ReadChunk(context.Background(), d.Index, n)
			}
		}
		if err != nil && !errors.Is(err, protocol.ErrCorrupt) && !errors.Is(err, protocol.ErrNotFound) {
			return exitRefused
		}
	}
	return exitSound
}

func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildProcess$")
	cmd.Env = append(os.Environ(), childVariable+"="+what, folderVariable+"="+dir)
	return cmd
}

// A process is killed at random points of its work: what it said is durable is
// there, and two checkpoints are whole.
func TestKilledAtRandom(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: who is killed tells of no race")
	}
	const rounds, seed = 12, 1
	r := rand.New(rand.NewPCG(seed, 6))
	dir := filepath.Join(t.TempDir(), "checkpoints")
	durable, whole := protocol.Index(0), 0
	for range rounds {
		cmd := child(t, "take", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for left := 20 + r.IntN(60); left > 0 && lines.Scan(); left-- {
			durable = max(durable, sawDurable(t, lines.Text()))
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said before it died
			durable = max(durable, sawDurable(t, lines.Text()))
		}
		io.Copy(io.Discard, out)
		cmd.Wait()

		s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), small())
		if err != nil {
			t.Fatal(err)
		}
		kept := s.Kept()
		if durable > 0 && (len(kept) == 0 || kept[0].Index < durable) || durable > step && len(kept) != 2 {
			t.Fatalf("seed %d: got %d checkpoints, %d was durable", seed, len(kept), durable)
		}
		for _, d := range kept {
			if bad, err := wrong(s, d); bad || err != nil {
				t.Fatalf("seed %d: checkpoint %d: wrong %v, error %v", seed, d.Index, bad, err)
			}
			whole++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d checkpoints read, the last one at %d", rounds, whole, durable)
}

func sawDurable(t *testing.T, line string) protocol.Index {
	t.Helper()
	if strings.HasPrefix(line, "failed") {
		t.Fatal(line)
	}
	number, ok := strings.CutPrefix(line, "durable ")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.Index(n)
}

// damage is one way to break a file.
type damage struct {
	name string
	do   func(r *rand.Rand, b []byte) []byte
}

func flips(n int) func(*rand.Rand, []byte) []byte {
	return func(r *rand.Rand, b []byte) []byte {
		for range n {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		return b
	}
}

var damages = []damage{
	{"one bit", flips(1)},
	{"another bit", flips(1)},
	{"100 bits", flips(100)},
	{"cut in half", func(_ *rand.Rand, b []byte) []byte { return b[:len(b)/2] }},
	{"zeros", func(_ *rand.Rand, b []byte) []byte { return make([]byte, len(b)) }},
}

// Every kind of file is damaged in turn. What is read may be refused, and the
// process may die of it, three times: then the store is set aside and the
// process lives. Wrong data is never given out.
func TestDamagedFilesNeverGiveWrongData(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: each process reads one damaged file after the other")
	}
	dir := filepath.Join(t.TempDir(), "checkpoints")
	buildForDamage(t, dir)
	const seed = 2
	r := rand.New(rand.NewPCG(seed, 7))
	kinds := map[string]int{}
	found, sound, refused, deaths, aside := 0, 0, 0, 0, 0
	files := filesBelow(t, dir)
	for i, name := range files.names {
		kind := filepath.Ext(name)
		if kind == "" {
			kind = filepath.Base(name)
		}
		if kinds[kind]++; kinds[kind] > 3 {
			continue
		}
		for _, d := range damages {
			if len(files.content[i]) == 0 {
				continue
			}
			copied := filepath.Join(t.TempDir(), "c")
			files.write(t, copied, i, d.do(r, bytes.Clone(files.content[i])))
			for attempt := 1; ; attempt++ {
				out, err := child(t, "read", copied).CombinedOutput()
				code := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					code = exit.ExitCode()
				}
				if code == exitWrongData {
					t.Fatalf("seed %d: %s, %s: %s", seed, name, d.name, out)
				}
				if code == exitSound || code == exitRefused {
					if bytes.Contains(out, []byte("damaged")) {
						found++
					}
					if code == exitSound {
						sound++
					} else {
						refused++
					}
					if attempt > 3 {
						aside++
					}
					break
				}
				if deaths++; attempt > 6 { // three for each phase
					t.Fatalf("seed %d: %s, %s: died %d times in one boot: %s", seed, name, d.name, attempt, out)
				}
			}
			if err := os.RemoveAll(copied); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("files by kind %v: %d damages said, %d starts went on, %d were refused, %d deaths, %d set aside after them", kinds, found, sound, refused, deaths, aside)
	if found < 3 {
		t.Errorf("only %d damages were met at all", found)
	}
	for _, kind := range []string{".sst", ".vlog", "MANIFEST", "KEYREGISTRY", "DISCARD", "pointer-1"} {
		if kinds[kind] == 0 {
			t.Errorf("no file of kind %s was damaged", kind)
		}
	}
}

// buildForDamage leaves what two checkpoints consist of, one of them incremental.
func buildForDamage(t *testing.T, dir string) {
	t.Helper()
	s, err := checkpoint.Open(vfs.OS(), dir, onBadger(), small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for index := protocol.Index(10 * step); index <= 12*step; index += step {
		content := contentAt(index)
		changes := content.Items()
		var w storage.CheckpointWriter
		if kept := s.Kept(); len(kept) == 2 {
			changes = content.Since(contentAt(kept[1].Index), rand.New(rand.NewPCG(1, 9)))
			w, err = s.BeginIncremental(context.Background(), index, kept[1])
		} else {
			w, err = s.BeginFull(context.Background(), index, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(context.Background(), changes); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(context.Background(), storagetest.Describe(index)); err != nil {
			t.Fatal(err)
		}
	}
}

// files is a copy of a folder, without the zeros at the end of sparse files.
type files struct {
	names   []string
	content [][]byte
	sizes   []int64
}

func filesBelow(t *testing.T, dir string) files {
	t.Helper()
	var out files
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		out.names, out.sizes = append(out.names, name), append(out.sizes, int64(len(b)))
		out.content = append(out.content, bytes.Clone(bytes.TrimRight(b, "\x00")))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// write makes the folder again, with another content of one file. One that got
// shorter is short.
func (f *files) write(t *testing.T, dir string, changed int, content []byte) {
	t.Helper()
	for i, name := range f.names {
		b, size := f.content[i], f.sizes[i]
		if i == changed {
			b = content
			if len(b) < len(f.content[i]) {
				size = int64(len(b))
			}
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}
