//go:build linux

package fieldtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/dev/strace"
)

// schedulesVariable is how many schedules TestFailedCallsOfAllMembersAtOnce tries, and
// schedulesFromVariable which seed is the first.
const (
	schedulesVariable     = "STARLING_DISK_SCHEDULES"
	schedulesFromVariable = "STARLING_DISK_SCHEDULES_FROM"
)

// scheduledCalls are the calls of which each member meets one that fails, with the
// errors of which one is drawn, and up to which of a thread's calls it may be: about
// as many as there are in one interval of checkpoints.
var scheduledCalls = []struct {
	call   string
	errors []string
	within int
}{
	{"openat", []string{"EMFILE", "ENOMEM", "EIO"}, 40},
	{"pwrite64", []string{"EIO", "ENOSPC"}, 60},
	{"fdatasync", []string{"EIO"}, 60},
	{"fsync", []string{"EIO", "ENOSPC"}, 8},
	{"msync", []string{"EIO"}, 6},
	{"ftruncate", []string{"EIO", "EDQUOT"}, 6},
	{"fallocate", []string{"ENOSPC", "EDQUOT"}, 3},
	{"renameat", []string{"EIO", "EACCES"}, 4},
	{"unlinkat", []string{"EIO", "EACCES"}, 20},
	{"mkdirat", []string{"EMLINK", "ENOSPC"}, 3},
	{"linkat", []string{"EMFILE", "EIO"}, 3},
	{"symlinkat", []string{"EIO"}, 6},
	{"getdents64", []string{"EIO", "ENOMEM"}, 20},
	{"statfs", []string{"EIO", "EINTR"}, 20},
	{"pread64", []string{"EIO"}, 10},
}

// scheduleTime is two intervals of checkpoints.
const scheduleTime = 2 * time.Second

// One call of each kind fails at each of three voters, at times that a seed says,
// while clients write: members may end for it, all at once even, and nothing that was
// acknowledged is lost.
func TestFailedCallsOfAllMembersAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes long, and adds nothing under the race detector")
	}
	wantTraces(t)
	t.Parallel()
	from, count := max(1, number(t, schedulesFromVariable)), max(1, number(t, schedulesVariable))
	b := newBroken(t)
	for seed := from; seed < from+count; seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { b.follow(t, uint64(seed)) }) {
			b.again(t)
		}
	}
	t.Logf("%d schedules: %d calls failed, members ended %d times, %d writes acknowledged", b.runs, b.hits, b.ends, b.book.acknowledged.Load())
}

// schedule draws what a member meets.
func schedule(r *rand.Rand) (faults []strace.Fault) {
	for _, c := range scheduledCalls {
		faults = append(faults, strace.Fault{Call: c.call, Error: c.errors[r.IntN(len(c.errors))], When: fmt.Sprint(1 + r.IntN(c.within))})
	}
	return faults
}

// follow runs one schedule and judges it.
func (b *broken) follow(t *testing.T, seed uint64) {
	b.runs++
	old := b.t
	b.have(t)
	defer b.have(old)
	r := rand.New(rand.NewPCG(seed, 7))
	stop := b.book.begin(b.cluster, scribe{name: "s", keys: 400, size: 600}, b.members...)
	defer stop()
	logs := t.TempDir()
	var detach []func()
	for _, m := range b.members[:3] {
		m.log.forget()
		detach = append(detach, b.attach(strace.Trace{Faults: schedule(r), Log: filepath.Join(logs, m.name)}, m))
	}
	wait(t.Context(), scheduleTime)
	for _, f := range detach {
		f()
	}
	for _, m := range b.members[:3] {
		if text, err := os.ReadFile(filepath.Join(logs, m.name)); err == nil {
			b.hits += strings.Count(string(text), strace.Injected)
		}
		b.judgeScheduled(m)
	}
	b.recover()
	b.book.goesOn(b.cluster, 20)
	stop()
	b.endAlike()
}

// judgeScheduled judges a member that may have ended for one of its calls.
func (b *broken) judgeScheduled(m *member) {
	b.t.Helper()
	b.decided(m)
	text := m.log.String()
	if panicked(text) {
		b.t.Errorf("%s has panicked:\n%s", m.name, tail(text, 60))
	}
	if m.running() {
		return
	}
	b.ends++
	last := tail(text, 1)
	if strings.Contains(last, torn) {
		return
	}
	if !strings.Contains(last, "the member has stopped") || strings.Count(last, "has stopped") > 1 {
		b.t.Errorf("%s does not say why it has ended: %s", m.name, tail(text, 3))
	}
	b.t.Logf("%s: %s", m.name, last)
}
