//go:build linux

package fieldtest

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/strace"
	"github.com/starlinghq/starling/protocol"
)

// hoursVariable says how long TestPassingErrorsLeaveNothingBehind goes on.
const hoursVariable = "STARLING_DISK_HOURS"

// sampleEvery is how often it looks at what members use.
const sampleEvery = 10 * time.Second

// passingErrors are what each of three members meets on one in a few hundred of a
// thread's calls: nothing that says that what was written is lost. A checkpoint may
// be given up for them, no member ends.
var passingErrors = [3][]strace.Fault{
	{
		{Call: "openat", Error: "EMFILE", When: "211+701"},
		{Call: "fallocate", Error: "ENOSPC", When: "7+29"},
		{Call: "linkat", Error: "EMFILE", When: "11+59"},
		{Call: "getdents64", Error: "ENOMEM", When: "307+1999"},
		{Call: "statfs", Error: "EINTR", When: "5+301"},
	},
	{
		{Call: "openat", Error: "ENOMEM", When: "223+709"},
		{Call: "mkdirat", Error: "ENOSPC", When: "7+61"},
		{Call: "unlinkat", Error: "EIO", When: "31+211"},
		{Call: "pread64", Error: "EIO", When: "61+307"},
		{Call: "statfs", Error: "EIO", When: "5+307"},
	},
	{
		{Call: "openat", Error: "EIO", When: "227+719"},
		{Call: "symlinkat", Error: "EIO", When: "13+211"},
		{Call: "unlinkat", Error: "EACCES", When: "37+223"},
		{Call: "msync", Error: "EIO", When: "7+41"},
	},
}

// usage is what a member uses at one time, in the order of used.
type usage [6]int64

const (
	diskBytes = iota
	files
	descriptors
	memory
	threads
	goroutines
)

// used is what must not grow, and by how much it may seem to: so many percent
// of what it was, and so many.
var used = [...]struct {
	name            string
	percent, margin int64
}{
	diskBytes:   {"bytes on disk", 10, 4 << 20},
	files:       {"files", 10, 10},
	descriptors: {"descriptors", 10, 10},
	memory:      {"bytes of memory", 20, 24 << 20},
	threads:     {"threads", 10, 5},
	goroutines:  {"goroutines", 10, 15},
}

// halfOpen is what Badger keeps of a store that it could not open at a bad moment, in
// which it hands out nothing that could be ended: that is subtracted. Of memory it is
// a write buffer, and as much again, to which the garbage collector lets the heap grow.
var halfOpen = usage{descriptors: 4, memory: 40 << 20, goroutines: 8}

func (u usage) String() string {
	return fmt.Sprintf("%6.1f MB %4d files %4d fds %6.1f MB rss %3d threads %4d goroutines",
		float64(u[diskBytes])/1e6, u[files], u[descriptors], float64(u[memory])/1e6, u[threads], u[goroutines])
}

// uses looks at a member: at its directory, where a file that has two names counts
// once, and at its process. What the log has made ready for later, or keeps of what it
// gave up, is not counted: there are two such segments at most, and one until the first
// time that the log goes on in another one, which takes hours here.
func (m *member) uses() (usage, error) {
	var u usage
	seen := map[uint64]bool{}
	err := filepath.WalkDir(filepath.Join(m.dir, "data"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file that was removed meanwhile
		}
		u[files]++
		info, err := d.Info()
		if err != nil {
			return nil
		}
		if s := info.Sys().(*syscall.Stat_t); !seen[s.Ino] && !strings.HasPrefix(d.Name(), "spare-") {
			seen[s.Ino] = true
			u[diskBytes] += s.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return u, err
	}
	process := fmt.Sprintf("/proc/%d", m.process.Process.Pid)
	open, err := os.ReadDir(process + "/fd")
	if err != nil {
		return u, err
	}
	u[descriptors] = int64(len(open))
	status, err := os.ReadFile(process + "/status")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case fields[0] == "VmRSS:":
			u[memory], err = strconv.ParseInt(fields[1], 10, 64)
			u[memory] <<= 10
		case fields[0] == "Threads:":
			u[threads], err = strconv.ParseInt(fields[1], 10, 64)
		}
		if err != nil {
			return u, err
		}
	}
	if b, err := os.ReadFile(m.counts); err == nil {
		u[goroutines], _ = strconv.ParseInt(string(bytes.TrimSpace(b)), 10, 64) // 0 before the first count
	}
	return u, nil
}

// grows returns in what the last quarter of samples is above the second one. The
// first one is the beginning: directories and caches fill.
func grows(samples []usage) []string {
	quarter := len(samples) / 4
	var out []string
	for i, r := range used {
		second, last := median(samples[quarter:2*quarter], i), median(samples[3*quarter:], i)
		if last > second+second*r.percent/100+r.margin {
			out = append(out, fmt.Sprintf("%s: %d in the second quarter, %d in the last", r.name, second, last))
		}
	}
	return out
}

func median(samples []usage, resource int) int64 {
	var list []int64
	for _, u := range samples {
		list = append(list, u[resource])
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func TestGrowthIsSeen(t *testing.T) {
	t.Parallel()
	for i, r := range used {
		flat, leak := make([]usage, 40), make([]usage, 40)
		for n := range flat {
			flat[n] = usage{200 << 20, 40, 60, 80 << 20, 20, 150}
			leak[n] = flat[n]
			leak[n][i] += int64(n) * (flat[n][i]/20 + r.margin/4)
		}
		if got := grows(flat); len(got) > 0 {
			t.Errorf("flat: got %v", got)
		}
		if got := grows(leak); len(got) != 1 || !strings.HasPrefix(got[0], r.name) {
			t.Errorf("%s grow: got %v", r.name, got)
		}
	}
}

// Members that take a checkpoint every second while calls of all kinds fail now and
// then use no more of anything in the end than when they had begun, and lose nothing.
func TestPassingErrorsLeaveNothingBehind(t *testing.T) {
	text := os.Getenv(hoursVariable)
	if text == "" {
		t.Skipf("%s does not say how long", hoursVariable)
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 8*sampleEvery {
		t.Fatalf("%s is a duration of %v at least, not %q", hoursVariable, 8*sampleEvery, text)
	}
	wantTraces(t)
	c, book := newCluster(t), newLedger()
	logs := t.TempDir()
	for i := range passingErrors {
		m := c.add(fmt.Sprintf("a%d", i+1), protocol.RoleActive, nil)
		m.agent, m.counts = true, filepath.Join(logs, m.name+".goroutines")
		m.extra = []string{"--checkpoint-every", "1s", "--checkpoint-bytes", "150000"}
		m.trace = &strace.Trace{Faults: passingErrors[i], Log: filepath.Join(logs, m.name+".strace")}
	}
	c.begin()
	stop := book.begin(c, scribe{name: "hours", keys: 200, size: 200, pause: 100 * time.Millisecond}, c.members...)
	h := &hours{cluster: c, book: book, samples: make([][]usage, len(c.members))}
	h.pass(length)
	stop()
	for i, m := range c.members {
		t.Logf("%s: %d checkpoints, %s", m.name, m.log.takenCheckpoints(), injected(t, m.trace.Log))
		for _, growth := range grows(h.samples[i]) {
			t.Errorf("%s uses more and more: %s", m.name, growth)
		}
		if m.log.takenCheckpoints() == 0 {
			t.Errorf("%s has taken no checkpoint", m.name)
		}
		m.trace = nil
	}
	c.serveAlike(book)
	c.restartEach()
	c.serveAlike(book)
	t.Logf("%d writes acknowledged, 0 lost; %d ends", book.acknowledged.Load(), h.ends)
}

// hours is a long time of passing errors.
type hours struct {
	*cluster
	book    *ledger
	samples [][]usage // of each member
	ends    int
}

// pass lets it pass, and takes the samples.
func (h *hours) pass(length time.Duration) {
	h.t.Helper()
	begin := time.Now()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for time.Since(begin) < length {
		<-tick.C
		for i, m := range h.members {
			if !m.running() {
				h.ends++
				h.t.Errorf("%v: %s has ended: %s", time.Since(begin).Round(time.Second), m.name, tail(m.log.String(), 5))
				m.start()
			}
			u, err := m.uses()
			if err != nil {
				h.t.Errorf("%s: %v", m.name, err)
				continue
			}
			left := m.log.halfOpened()
			h.t.Logf("%8v %s: %v, %d half open, %d checkpoints, %d writes", time.Since(begin).Round(time.Second), m.name, u, left, m.log.takenCheckpoints(), h.book.acknowledged.Load())
			for r := range u {
				u[r] -= int64(left) * halfOpen[r]
			}
			h.samples[i] = append(h.samples[i], u)
		}
	}
}

// injected counts what was made to fail, by call.
func injected(t *testing.T, log string) string {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(b)) {
		if !strings.Contains(line, strace.Injected) {
			continue
		}
		if fields := strings.Fields(line); len(fields) > 1 {
			call, _, _ := strings.Cut(fields[1], "(")
			counts[call]++
		}
	}
	var list []string
	for call, n := range counts {
		list = append(list, fmt.Sprintf("%s %d", call, n))
	}
	slices.Sort(list)
	return "made to fail: " + strings.Join(list, ", ")
}
