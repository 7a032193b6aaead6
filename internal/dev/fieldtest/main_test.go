//go:build linux

package fieldtest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/starlinghq/starling/cmd"
	"github.com/starlinghq/starling/resources"
)

// asVariable says what this binary is when it has started itself: the tests in
// their namespaces, a member, or the command.
const (
	asVariable     = "STARLING_FIELD_AS"
	noSyncVariable = "STARLING_FIELD_NOSYNC"
	whyVariable    = "STARLING_FIELD_WHY"    // why there are no namespaces
	countsVariable = "STARLING_FIELD_COUNTS" // a file in which a process says how many goroutines it has
)

func TestMain(m *testing.M) {
	as := os.Getenv(asVariable)
	os.Unsetenv(asVariable)
	if os.Getenv(noSyncVariable) != "" {
		os.Unsetenv(noSyncVariable)
		if err := withoutSync(); err != nil {
			fmt.Fprintln(os.Stderr, "switching sync off:", err)
			os.Exit(1)
		}
	}
	switch as {
	case "member":
		os.Exit(memberMain())
	case "guest":
		hold := os.Getenv(holdVariable)
		tellUsage(os.Getenv(usageVariable))
		os.Exit(cmd.Main(resources.NewType("holding", 1, holds(hold))))
	case "typed":
		os.Exit(cmd.Main(stuckType))
	case "agent":
		countGoroutines()
		os.Exit(cmd.Main())
	case "inside":
		if err := furnish(); err != nil {
			os.Setenv(whyVariable, "no namespaces of their own: "+err.Error())
		}
		waitTogether()
		os.Exit(m.Run())
	}
	code, err := enter()
	if err != nil {
		os.Setenv(whyVariable, "no namespaces of their own: "+err.Error())
		waitTogether()
		code = m.Run()
	}
	os.Exit(code)
}

// waitTogether has more tests run side by side than there are processors, unless a flag says
// how many: most of their time they wait, for somebody to be missed or for a disk.
func waitTogether() {
	if err := flag.Set("test.parallel", strconv.Itoa(max(4, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
}

// countGoroutines has this process say in a file how many goroutines it has, which
// nobody sees from outside, if it is told to.
func countGoroutines() {
	name := os.Getenv(countsVariable)
	if name == "" {
		return
	}
	os.Unsetenv(countsVariable)
	f, err := os.Create(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, "counting goroutines:", err)
		os.Exit(1)
	}
	go func() {
		for range time.Tick(countsEvery) {
			// What cannot be written is written the next time.
			_, _ = f.WriteAt(fmt.Appendf(nil, "%8d", runtime.NumGoroutine()), 0)
		}
	}()
}

// countsEvery is how often.
const countsEvery = 5 * time.Second

// enter runs the tests in new namespaces and returns their exit code, or why
// that cannot be. When the process inside ends, all that it started does, and
// its mounts, loop devices and networks go with it.
func enter() (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("this needs root")
	}
	runtime.LockOSThread() // the thread's end would be taken for the parent's
	path, err := os.Executable()
	if err != nil {
		return 0, err
	}
	c := exec.Command(path, os.Args[1:]...)
	c.Env = append(os.Environ(), asVariable+"=inside")
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	err = c.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	return max(c.ProcessState.ExitCode(), -c.ProcessState.ExitCode()), nil
}

// furnish makes the new namespaces habitable: mounts do not show outside, /proc
// tells of the processes in here, names of networks are forgotten with them, and
// loopback is up.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts in here: %w", err)
	}
	// A host has a copy of the mounts, and keeps what it is not told of: a disk that was cut
	// off and mounted again would be the one from before.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("telling hosts of mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/run/netns", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting /run/netns: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bringing loopback up: %w", err)
	}
	return nil
}

// need skips a test that cannot be had here, and says why.
func need(t *testing.T, tools ...string) {
	t.Helper()
	if why := os.Getenv(whyVariable); why != "" {
		t.Skip(why)
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
}

// several leaves out, of the short run, a test of what members do to one another: what is
// concurrent inside one the tests of internal/runtime meet.
func several(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: several processes and their disks, for long; a race is inside one")
	}
}

// beside has a test run beside others, unless one of the variables is set with which it
// measures.
func beside(t *testing.T, measures ...string) {
	for _, variable := range measures {
		if os.Getenv(variable) != "" {
			return
		}
	}
	t.Parallel()
}

// number returns what a variable says, 0 if it is not set.
func number(t *testing.T, variable string) int {
	t.Helper()
	s := os.Getenv(variable)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s is a number above 0, not %q", variable, s)
	}
	return n
}

// tool runs a program of the operating system.
func tool(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// withoutSync makes every sync of this process succeed and do nothing. It is
// the kernel that leaves them out, so the program is the same to the last byte,
// and no switch of the product can do it.
func withoutSync() error {
	load := unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0} // the call's number
	syncs := []uint32{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_MSYNC, unix.SYS_SYNCFS, unix.SYS_SYNC_FILE_RANGE, unix.SYS_SYNC}
	filter := []unix.SockFilter{load}
	for i, number := range syncs {
		filter = append(filter, unix.SockFilter{
			Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: number, Jt: uint8(len(syncs) - i), // to the last line
		})
	}
	filter = append(filter,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO}, // of error 0
	)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}
