// Package strace makes system calls of a process fail, for tests. It says what to
// put in front of a command; strace does the rest, and the command stays the same to
// the last byte.
package strace

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Fault is one system call that fails, or takes longer. strace knows one for each
// call: of two for the same call the later one counts.
type Fault struct {
	Call  string        // as strace names it
	Error string        // EIO, ...; empty: none
	When  string        // 3 is a thread's third such call, 3+ all from that on, 3+200 each 200th besides; empty: all
	Delay time.Duration // before the call
}

func (f Fault) String() string {
	what := f.Error
	if f.Delay > 0 {
		what = strings.TrimSpace(fmt.Sprintf("%s %v late", what, f.Delay))
	}
	if f.When == "" {
		return fmt.Sprintf("%s: %s", f.Call, what)
	}
	return fmt.Sprintf("%s: %s, number %s", f.Call, what, f.When)
}

func (f Fault) rule() string {
	rule := "inject=" + f.Call
	if f.Error != "" {
		rule += ":error=" + f.Error
	}
	if f.Delay > 0 {
		rule += fmt.Sprintf(":delay_enter=%d", f.Delay.Microseconds())
	}
	if f.When != "" {
		rule += ":when=" + f.When
	}
	return rule
}

// Trace is what a process meets.
type Trace struct {
	Faults []Fault
	// Paths limits the faults, and what When counts, to calls that have to do with
	// one of these files, by its name or by a descriptor; none: any.
	Paths []string
	Log   string // the file that failed calls are written to; empty: none
}

// Injected is what stands in the log behind a call that was made to fail.
const Injected = "(INJECTED)"

// Late is what stands there behind one that was made to wait.
const Late = "(DELAYED)"

// Command puts a trace in front of a command. The process that is started is the
// command's own: its signals and its exit code are as without a trace.
func (t Trace) Command(command ...string) []string {
	args := []string{"strace", "-D", "-f", "--seccomp-bpf"}
	return append(append(args, t.flags()...), command...)
}

// Attach returns a command that makes system calls of a running process fail, and
// lets it go when it is interrupted.
func (t Trace) Attach(pid int) []string {
	args := []string{"strace", "-f", "-p", fmt.Sprint(pid)}
	return append(args, t.flags()...)
}

func (t Trace) flags() []string {
	log := t.Log
	if log == "" {
		log = os.DevNull
	}
	calls := make([]string, len(t.Faults))
	var rules []string
	for i, f := range t.Faults {
		calls[i] = f.Call
		rules = append(rules, "-e", f.rule())
	}
	args := append([]string{"--quiet=all", "-e", "signal=none", "-o", log, "-e", "trace=" + strings.Join(calls, ",")}, rules...)
	for _, path := range t.Paths {
		args = append(args, "-P", path)
	}
	return args
}

// Usable returns why system calls cannot be made to fail here, nil if they can.
func Usable() error {
	if _, err := exec.LookPath("strace"); err != nil {
		return fmt.Errorf("strace is not installed: nothing makes system calls fail")
	}
	command := Trace{Faults: []Fault{{Call: "sync", Error: "EIO"}}}.Command("true")
	out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("strace cannot trace here: %w: %s", err, out)
	}
	return nil
}
