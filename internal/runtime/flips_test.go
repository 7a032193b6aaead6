package runtime

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// One bit is flipped somewhere in the directory of a stopped voter, which is then
// started in its cluster, again and again: what a flip has left is what the next
// one meets, and what nobody has read yet is found by a later start. The member must serve what the others serve, or refuse to start and
// name the way out. It is a process of its own, because a damaged Badger may kill
// it; the two others stay.
//
//	STARLING_FLIPS=1000 go test ./internal/runtime -run FlippedBits -v -timeout 90m
const (
	flipsVariable   = "STARLING_FLIPS"
	flipsSeed       = "STARLING_FLIPS_SEED"
	flippedVariable = "STARLING_FLIPS_MEMBER" // directory, address and whom to join

	flipsDefault = 6
	// flipStarts is how often a member is started that dies while it starts:
	// after three deaths a store of checkpoints is set aside.
	flipStarts = 5
	// flipPatience bounds one start, until it serves what the others serve.
	flipPatience = 90 * time.Second
)

// flipConfig makes logs of many segments and checkpoints all the time.
func flipConfig(cfg *Config) {
	cfg.SegmentBytes, cfg.CheckpointBytes, cfg.CheckpointEvery, cfg.RetainEntries = 16<<10, 48<<10, -1, 100
}

// TestFlippedMemberProcess is the member whose directory was damaged.
func TestFlippedMemberProcess(t *testing.T) {
	say := strings.Fields(os.Getenv(flippedVariable))
	if len(say) != 3 {
		return
	}
	cfg := Config{
		Security: security.Plaintext(), Registry: testRegistry(t),
		Config: config.Config{
			Name: "a3", Dir: say[0], Bind: say[1], Join: []string{say[2]},
			Election: 150 * time.Millisecond, Heartbeat: 50 * time.Millisecond,
			Logger: slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelInfo})),
		},
	}
	flipConfig(&cfg)
	ctx, cancel := context.WithTimeout(context.Background(), flipPatience)
	defer cancel()
	m, err := Open(ctx, cfg)
	if err != nil {
		fmt.Printf("refused: %v\n", err)
		os.Exit(3)
	}
	fmt.Println("serving")
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is to stop
	_ = m.Shutdown(ctx)
	if err := m.Err(); err != nil {
		fmt.Printf("stopped: %v\n", err)
	}
	os.Exit(0)
}

// flipped is a run of the member.
type flipped struct {
	process *exec.Cmd
	stdin   io.Closer
	mu      sync.Mutex
	said    bytes.Buffer
	lines   chan string // that begin it: serving, or refused
	ended   chan struct{}
}

func startFlipped(t *testing.T, dir, bind, join string) *flipped {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFlippedMemberProcess$")
	cmd.Env = append(os.Environ(), flippedVariable+"="+strings.Join([]string{dir, bind, join}, " "))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	f := &flipped{process: cmd, stdin: stdin, lines: make(chan string, 1), ended: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in what it said
		_ = w.Close()
	}()
	go func() {
		defer close(f.ended)
		in := bufio.NewReader(r)
		for {
			line, err := in.ReadString('\n')
			f.mu.Lock()
			f.said.WriteString(line)
			f.mu.Unlock()
			if line == "serving\n" || strings.HasPrefix(line, "refused: ") {
				f.lines <- strings.TrimSpace(line)
			}
			if err != nil {
				return
			}
		}
	}()
	return f
}

func (f *flipped) words() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.String()
}

// began waits until it serves or has ended. An empty answer: it died.
func (f *flipped) began() string {
	select {
	case line := <-f.lines:
		return line
	case <-f.ended:
		select {
		case line := <-f.lines:
			return line
		default:
			return ""
		}
	}
}

func (f *flipped) stop(kill bool) {
	if kill {
		_ = f.process.Process.Kill()
	}
	_ = f.stdin.Close()
	<-f.ended
}

// flipOne flips a random bit in a random file of a directory. Half of the time it
// is one among the bytes that are not zero: most of some files is.
func flipOne(t *testing.T, r *rand.Rand, dir string) (file string, at int64, bit int) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil && info.Size() > 0 {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	file = files[r.IntN(len(files))]
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	used := r.IntN(2) == 0
	for try := 0; try == 0 || used && b[0] == 0 && try < 20000; try++ {
		at = r.Int64N(info.Size())
		if _, err := f.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
	bit = r.IntN(8)
	invert(t, file, at, bit)
	return file, at, bit
}

// tidy removes the stores of checkpoints that were set aside, and their pointers:
// they are kept for people, and what becomes of them says nothing more.
func tidy(t *testing.T, dir string) {
	t.Helper()
	folder := filepath.Join(dir, checkpoint.Folder)
	names, err := filepath.Glob(filepath.Join(folder, "aside-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		store := strings.SplitN(filepath.Base(name), "-", 3)[1]
		if err := errors.Join(os.Remove(name), os.RemoveAll(filepath.Join(folder, "store-"+store))); err != nil {
			t.Fatal(err)
		}
	}
}

func invert(t *testing.T, file string, at int64, bit int) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// flipLab is a cluster of two members here and the one that is damaged.
type flipLab struct {
	*cluster
	dir, bind string
	writes    int
}

// write changes some of a few keys, so that logs grow and states do not.
func (l *flipLab) write(n int) {
	l.t.Helper()
	caller := l.client(l.members["a1"])
	defer caller.Close()
	for range n {
		l.writes++
		l.put(caller, fmt.Sprint("k", l.writes%50), strings.Repeat(fmt.Sprint(l.writes, " "), 300))
	}
}

// agrees waits until the member has applied what a1 has, and its state is the
// same.
func (l *flipLab) agrees(f *flipped) error {
	ctx, cancel := context.WithTimeout(context.Background(), flipPatience)
	defer cancel()
	conn, err := wire.DialClient(ctx, l.bind, wire.ClientConfig{Dial: security.Plaintext().Dial})
	if err != nil {
		return err
	}
	defer conn.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		r, err := conn.Do(ctx, &protocol.Request{Kind: protocol.RequestStatus})
		if err != nil || r.Status == nil {
			return fmt.Errorf("its status: %v", err)
		}
		mine, its := l.members["a1"].Status(), r.Status
		if its.Applied == mine.Applied {
			if its.Digest != mine.Digest {
				return fmt.Errorf("SERVES WRONG: at %d its state has the digest %s, a1's %s", its.Applied, its.Digest, mine.Digest)
			}
			if its.Serving {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-f.ended:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("it has applied %d, a1 %d; serving %v: %s", its.Applied, mine.Applied, its.Serving, its.Reason)
		}
	}
}

// sameLog compares the end of the stopped member's log with a1's.
func (l *flipLab) sameLog() error {
	report, err := wal.Verify(vfs.OS(), l.dir)
	if err != nil {
		return err
	}
	if report.Last == 0 || report.Last < report.First {
		return nil // it begins after a checkpoint
	}
	var entries []protocol.Entry
	l.eventually("a1 holds what a3 does", func() error { // which may have been the first to hear of it
		entries, err = l.members["a1"].log.Read(report.Last, report.Last, 0)
		return err
	})
	if entries[0].Sum != report.LastSum {
		return fmt.Errorf("WRONG LOG: at %d it has the log sum %s, a1 %s", report.Last, report.LastSum, entries[0].Sum)
	}
	return nil
}

// signs are what a member says when it has found damage.
var signs = []string{"damaged", "repaired", "cannot be used", "set aside", "forgetting", "corrupt", "given up"}

// sign returns the first line that says so, or nothing.
func sign(said string) string {
	for line := range strings.Lines(said) {
		for _, sign := range signs {
			if strings.Contains(line, sign) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

func TestFlippedBitsInALiveCluster(t *testing.T) {
	t.Parallel()
	flips, err := strconv.Atoi(os.Getenv(flipsVariable))
	if err != nil {
		flips = flipsDefault
	}
	if testing.Short() {
		flips = 2
	}
	seed, err := strconv.ParseUint(os.Getenv(flipsSeed), 10, 64)
	if err != nil {
		seed = 1
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 6))
	c := newCluster(t)
	limit, cancel := context.WithTimeout(context.Background(), patience+time.Duration(flips)*20*time.Second)
	defer cancel()
	c.ctx = limit
	c.three(flipConfig)
	l := &flipLab{cluster: c, dir: c.configs["a3"].Dir, bind: c.configs["a3"].Bind}
	l.write(150)
	c.equal()
	c.kill("a3")
	delete(c.members, "a3")
	counts, began := map[string]int{}, time.Now()
	for n := range flips {
		tidy(t, l.dir)
		file, at, bit := flipOne(t, r, l.dir)
		name, _ := filepath.Rel(l.dir, file)
		what, err := l.one(r, func() { invert(t, file, at, bit) })
		counts[what]++
		if err != nil {
			t.Fatalf("flip %d: %s, byte %d, bit %d: %v", n, name, at, bit, err)
		}
		if what != "harmless" {
			t.Logf("flip %d: %s, byte %d, bit %d: %s", n, name, at, bit, what)
		}
		if (n+1)%50 == 0 {
			t.Logf("%d flips, %.1f a second: %v", n+1, float64(n+1)/time.Since(began).Seconds(), counts)
		}
	}
	t.Logf("%d flips in %v: %v", flips, time.Since(began).Round(time.Second), counts)
}

// one starts the member after a flip and says what became of it. undo takes the
// flip back: a member that refuses to start has changed nothing, and starts then.
func (l *flipLab) one(r *rand.Rand, undo func()) (what string, err error) {
	what = "harmless"
	undone := false
	for start := 1; ; start++ {
		l.write(3) // it was away for a moment
		f := startFlipped(l.t, l.dir, l.bind, l.members["a1"].Addr())
		fail := func(format string, args ...any) (string, error) {
			f.stop(true)
			return "failed", fmt.Errorf(format+"\n%s", append(args, f.words())...)
		}
		switch line := f.began(); {
		case line == "serving":
		case line == "": // its store killed it
			if start == flipStarts {
				return fail("it died %d times while it started", start)
			}
			what = "died, then started"
			f.stop(true)
			continue
		default:
			if undone || !strings.Contains(line, "starling remove") || !strings.Contains(line, "move the directory away") {
				return fail("it refuses, and does not say what to do: %s", line)
			}
			f.stop(true)
			l.t.Logf("refused: %s", line)
			undo()
			what, undone = "refused", true
			continue
		}
		if err := l.agrees(f); err != nil {
			return fail("%v", err)
		}
		l.write(2)
		if err := l.agrees(f); err != nil {
			return fail("%v", err)
		}
		f.stop(r.IntN(4) > 0)
		if said := f.words(); what == "harmless" && sign(said) != "" {
			l.t.Log(sign(said))
			what = "healed: a checkpoint or a note was given up"
			if strings.Contains(said, "the log is repaired") {
				what = "healed: the log was repaired"
			}
		}
		if err := l.sameLog(); err != nil {
			return fail("%v", err)
		}
		return what, nil
	}
}
