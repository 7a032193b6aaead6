//go:build linux

package fieldtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/strace"
	"github.com/starlinghq/starling/protocol"
)

// faultsVariable, if it is "all", has TestOneFailedCallOfOneMember try the whole
// table; anything else than that is what the names of the cases contain.
const faultsVariable = "STARLING_DISK_FAULTS"

// someDiskCases are tried always: one for each way that a case may go.
var someDiskCases = []string{
	"running/leader/segment/fdatasync: EIO",
	"running/follower/store/MANIFEST/fsync: EIO",
	"running/passive/spool/unlinkat: EIO",
	"running/leader/pointer/openat: EMFILE",
	"start/follower/lock/flock: EINTR",
	"stop/leader/segment/close: EIO",
}

// broken is a cluster of which one member at a time meets a call that fails.
type broken struct {
	*cluster
	book *ledger
	runs int

	hits, ends, waits int
	said              map[string]string // what members that ended said, by case
}

// newBroken begins a cluster of three actives and a passive that take a checkpoint
// every second.
func newBroken(t *testing.T) *broken {
	t.Helper()
	b := &broken{cluster: newCluster(t), book: newLedger(), said: map[string]string{}}
	for _, name := range []string{"a1", "a2", "a3"} {
		b.add(name, protocol.RoleActive, nil).every = time.Second
	}
	b.add("p1", protocol.RolePassive, nil).every = time.Second
	b.begin()
	return b
}

// One system call of one member fails, or takes 3 s, while clients write: the member
// lives on, or says why it ends, and nothing acknowledged is lost.
func TestOneFailedCallOfOneMember(t *testing.T) {
	several(t)
	wantTraces(t)
	t.Parallel()
	cases := diskCases()
	lanes := 1
	switch want := os.Getenv(faultsVariable); want {
	case "":
		cases = slices.DeleteFunc(cases, func(x diskCase) bool {
			return !slices.ContainsFunc(someDiskCases, func(some string) bool { return strings.HasPrefix(withoutWho(x.String()), withoutWho(some)) })
		})
	case "all":
		lanes = 2
	default:
		cases = slices.DeleteFunc(cases, func(x diskCase) bool { return !strings.Contains(x.String(), want) })
	}
	for lane := range lanes {
		t.Run(fmt.Sprint(lane), func(t *testing.T) {
			t.Parallel()
			b := newBroken(t)
			for n, x := range cases {
				if n%lanes == lane && !t.Run(x.String(), func(t *testing.T) { b.try(t, x) }) {
					b.again(t)
				}
			}
			t.Logf("%d cases: the call was met in %d, and the member ended in %d; its log waited in %d", b.runs, b.hits, b.ends, b.waits)
			for name, text := range b.said { // for people
				t.Logf("%s: %s", name, text)
			}
		})
	}
}

// withoutWho leaves the member out of a case's name, which depends on its number.
func withoutWho(name string) string {
	parts := strings.SplitN(name, "/", 3)
	return parts[0] + "/" + parts[2]
}

// again takes another cluster after a case that has failed: the next one is to be
// judged by itself.
func (b *broken) again(t *testing.T) {
	b.kill()
	fresh := newBroken(t)
	b.cluster, b.book = fresh.cluster, fresh.book
}

// try runs a case and judges it.
func (b *broken) try(t *testing.T, x diskCase) {
	b.runs++
	old := b.t
	b.have(t)
	defer b.have(old)
	m := b.victim(x)
	for _, other := range b.members {
		other.log.forget()
	}
	stop := b.book.begin(b.cluster, scribe{name: "w", keys: 400, size: x.size()}, b.members...)
	defer stop()
	trace := filepath.Join(t.TempDir(), "strace")
	switch x.phase {
	case running:
		b.whileRunning(x, m, trace)
	case stopping:
		b.whileStopping(x, m, trace)
	default:
		b.whileStarting(x, m, trace)
	}
	stop()
	hit := b.met(trace)
	b.judgeEnd(x, m, hit)
	b.recover()
	b.endAlike()
}

// endAlike judges that all members serve alike, before and after each has started
// anew, and says what they said if anything was wrong.
func (b *broken) endAlike() {
	b.t.Helper()
	b.serveAlike(b.book)
	b.restartAll()
	b.serveAlike(b.book)
	if b.t.Failed() {
		for _, m := range b.members {
			b.t.Logf("%s said at last:\n%s", m.name, tail(m.log.String(), 30))
		}
	}
}

// have has the cluster report to a test.
func (b *broken) have(t *testing.T) {
	b.t = t
	for _, m := range b.members {
		m.t = t
	}
}

// victim returns the member whose turn it is.
func (b *broken) victim(x diskCase) *member {
	b.t.Helper()
	if x.who == "passive" {
		return b.members[3]
	}
	leader := b.leader(b.members...)
	for _, m := range b.members[:3] {
		if (m == leader) == (x.who == "leader") {
			return m
		}
	}
	return nil
}

// hitTime is how long a case waits for its call. A call that is not made then shows
// nothing, and is counted.
const hitTime = 10 * time.Second

// met reports whether the call was made.
func (b *broken) met(trace string) bool {
	text, err := os.ReadFile(trace)
	return err == nil && (strings.Contains(string(text), strace.Injected) || strings.Contains(string(text), strace.Late))
}

// detachTime is how long strace has for letting go of a process.
const detachTime = 5 * time.Second

// torn is what a call returns that strace had taken away and not given back when it
// let go of the process: no fault that a case has asked for.
const torn = "function not implemented"

func (b *broken) whileRunning(x diskCase, m *member, trace string) {
	detach := b.attach(strace.Trace{Faults: []strace.Fault{x.fault}, Paths: x.paths(filepath.Join(m.dir, "data")), Log: trace}, m)
	_ = within(hitTime, func() error { // what has not been met is counted
		if m.running() && !(b.met(trace) && (x.fault.When != always || logWaited(m))) {
			return fmt.Errorf("not met")
		}
		return nil
	})
	if logWaited(m) {
		b.waits++
	}
	b.book.goesOn(b.cluster, 20)
	detach()
	b.book.goesOn(b.cluster, 20)
}

// logWaited reports whether the log of a member has waited for what it lacked.
func logWaited(m *member) bool { return strings.Contains(m.log.String(), `msg="the log waits"`) }

// attach makes calls of a running member fail until detach is called.
func (b *broken) attach(trace strace.Trace, m *member) (detach func()) {
	b.t.Helper()
	command := trace.Attach(m.process.Process.Pid)
	c := exec.Command(command[0], command[1:]...)
	c.Stderr = m.log
	if err := c.Start(); err != nil {
		b.t.Fatal(err)
	}
	err := within(patience, func() error { // until it has the process
		if !m.running() {
			return nil // it has met the call already, and has ended of it
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.process.Process.Pid))
		if err == nil && strings.Contains(string(status), "TracerPid:\t0\n") {
			err = fmt.Errorf("%s is not traced", m.name)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	detach = sync.OnceFunc(func() {
		_ = c.Process.Signal(syscall.SIGINT) // an error means that it has ended with its process
		// strace may wait for ever for a thread that ends at this moment.
		end := time.AfterFunc(detachTime, func() { _ = c.Process.Kill() })
		_ = c.Wait()
		end.Stop()
	})
	b.t.Cleanup(detach)
	return detach
}

func (b *broken) whileStopping(x diskCase, m *member, trace string) {
	b.book.goesOn(b.cluster, 20)
	detach := b.attach(strace.Trace{Faults: []strace.Fault{x.fault}, Paths: x.paths(filepath.Join(m.dir, "data")), Log: trace}, m)
	defer detach()
	if err := m.stop(); err != nil {
		b.note(x, m)
	}
}

// whileStarting lets a member start with a fault, after it has missed so much, when it
// is to install a checkpoint, that it needs one.
func (b *broken) whileStarting(x diskCase, m *member, trace string) {
	b.book.goesOn(b.cluster, 20)
	if err := m.stop(); err != nil {
		b.t.Error(err)
	}
	if x.phase == installing {
		b.missesMuch(m)
	}
	m.trace = &strace.Trace{Faults: []strace.Fault{x.fault}, Paths: x.paths(filepath.Join(m.dir, "data")), Log: trace}
	m.start()
	m.trace = nil
	err := within(patience, func() error {
		if !m.running() {
			return nil
		}
		s, err := b.status(m)
		if err == nil && x.phase == installing && s.Applied == 0 {
			err = fmt.Errorf("%s has no state", m.name)
		}
		return err
	})
	if err != nil {
		b.t.Errorf("the start hangs: %v", err)
	}
	b.book.goesOn(b.cluster, 20)
}

// missesMuch waits until the logs of the others begin above the end of a stopped
// member's.
func (b *broken) missesMuch(m *member) {
	b.t.Helper()
	other := b.members[0]
	if other == m {
		other = b.members[1]
	}
	var begin starling.Status
	b.eventually(func() (err error) { begin, err = b.status(other); return err })
	b.eventually(func() error {
		s, err := b.status(other)
		if err == nil && s.First <= begin.Applied {
			err = fmt.Errorf("the log of %s begins at %d, not above %d", other.name, s.First, begin.Applied)
		}
		return err
	})
}

// note keeps what a member said when it ended.
func (b *broken) note(x diskCase, m *member) {
	text := tail(m.log.String(), 1)
	b.said[x.String()] = text
	if why := unclear(text, x.fault); why != "" {
		b.t.Errorf("what %s says is not clear, %s: %s", m.name, why, text)
	}
}

// decided waits until a member has ended or serves: one that stops takes a while.
func (b *broken) decided(m *member) {
	b.t.Helper()
	b.eventually(func() error {
		if !m.running() {
			return nil
		}
		_, err := b.status(m)
		return err
	})
}

// judgeEnd judges how members went on.
func (b *broken) judgeEnd(x diskCase, m *member, hit bool) {
	b.t.Helper()
	if hit {
		b.hits++
	} else {
		b.t.Log("the call was not made")
	}
	for _, other := range b.members {
		if text := other.log.String(); panicked(text) {
			b.t.Errorf("%s has panicked:\n%s", other.name, tail(text, 60))
		}
		if other != m && !other.running() {
			b.t.Errorf("%s has ended, whose calls did not fail: %s", other.name, tail(other.log.String(), 3))
		}
	}
	b.decided(m)
	if m.running() || x.phase == stopping {
		return
	}
	b.ends++
	if strings.Contains(tail(m.log.String(), 1), torn) {
		b.t.Log("strace let go in the middle of a call: nothing is shown")
		return
	}
	b.note(x, m)
	if !x.mayEnd {
		b.t.Errorf("%s has ended: %s", m.name, tail(m.log.String(), 3))
	}
}

// panicked reports whether a process has said so.
func panicked(text string) bool {
	return strings.Contains(text, "panic:") || strings.Contains(text, "fatal error:") || strings.Contains(text, "SIGSEGV")
}

// recover starts who has ended, without faults.
func (b *broken) recover() {
	b.t.Helper()
	for _, m := range b.members {
		if !m.running() {
			m.start()
		}
	}
	for _, m := range b.members {
		b.eventually(func() error { _, err := b.status(m); return err })
	}
}

// restartAll stops all members, looks at their checkpoints, and starts them again.
func (b *broken) restartAll() {
	b.t.Helper()
	var stopped sync.WaitGroup
	for _, m := range b.members {
		stopped.Go(func() {
			if err := m.stop(); err != nil {
				b.t.Errorf("the stop: %v", err)
			}
		})
	}
	stopped.Wait()
	for _, m := range b.members {
		b.inspect(m)
	}
	b.recover()
}

// unclear returns what is wrong with the text of a member that has ended for a fault,
// empty if nothing is.
func unclear(text string, f strace.Fault) string {
	causes := map[string]string{
		"EIO": "input/output error", "ENOSPC": "no space left on device", "EDQUOT": "disk quota exceeded", "EINTR": "interrupted system call",
		"EMFILE": "too many open files", "EACCES": "permission denied", "ENOMEM": "cannot allocate memory", "ENOLCK": "no locks available",
	}
	cause := causes[f.Error]
	switch {
	case !strings.Contains(text, cause):
		return "it does not say " + cause
	case cause != "" && strings.Count(text, cause) > 1:
		return "it says twice " + cause
	case f.Error != "EIO" && strings.Contains(text, "the disk failed"):
		return "it says that the disk failed"
	case strings.Contains(text, vfsTemporary):
		return "it names a temporary file"
	}
	return ""
}

// vfsTemporary ends the names of files that nobody finds afterwards.
const vfsTemporary = ".tmp:"
