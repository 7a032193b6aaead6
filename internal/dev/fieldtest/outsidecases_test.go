//go:build linux

package fieldtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources"
)

// startFor is how long a member may take to start.
const startFor = 30 * time.Second

func noDescriptors(o *outside, hold time.Duration) {
	g := o.guests[1]
	g.isWell(0) // by a connection that stays
	open := map[string]bool{}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.process.Process.Pid))
	if err != nil {
		o.t.Fatal(err)
	}
	for _, e := range entries {
		open[e.Name()] = true
	}
	free := 0
	for open[fmt.Sprint(free)] {
		free++
	}
	back := g.limit(unix.RLIMIT_NOFILE, uint64(free))
	knock, err := net.Dial("tcp", g.addr)
	if err != nil {
		o.t.Fatal(err)
	}
	defer knock.Close()
	g.says(0, "503", "takes no new connections", "ulimit -n")
	o.lasts(hold, o.guests[0], o.guests[2])
	back()
	o.sound()
}

func logPipeFull(o *outside, hold time.Duration) {
	g, _ := o.leads()
	g.deaf.Store(true)
	o.eventually(func() error {
		o.junk(g, 200)
		if n := o.status(g).LogLost; n == 0 {
			return errors.New("no line is lost")
		}
		return nil
	})
	g.isWell(0)
	o.lasts(hold, o.guests...)
	g.deaf.Store(false)
	o.eventually(func() error {
		o.junk(g, 1)
		if !strings.Contains(g.log.String(), "lines of this log are lost") {
			return fmt.Errorf("what is lost is not said:\n%s", tail(g.log.String(), 3))
		}
		return nil
	})
	o.sound()
}

func logPipeClosed(o *outside, hold time.Duration) {
	g, _ := o.leads()
	_ = g.pipe.Close()
	o.eventually(func() error {
		o.junk(g, 10)
		if n := o.status(g).LogLost; n == 0 {
			return errors.New("no line is lost")
		}
		return nil
	})
	o.lasts(hold, o.guests...)
	o.sound()
	g.stop(15 * time.Second) // it ends as told, and starts again with a log
	g.start()
	g.isWell(startFor)
	o.sound()
}

// full fills a disk until its member knows. What that gives back first is taken as well.
func (o *outside) full(g *guest) {
	o.t.Helper()
	for range 4 { // it has two files to give back, at most
		g.disk.fill(8 << 20)
		g.looks(0, func(readyz string) error {
			if g.disk.free() > outsideLow || strings.HasPrefix(readyz, "200 ok, but") {
				return nil
			}
			return fmt.Errorf("with %d bytes free readyz says %q", g.disk.free(), readyz)
		})
		if g.disk.free() <= outsideLow {
			return
		}
	}
	o.t.Fatalf("%s goes on giving back room", g.name)
}

func followerFull(o *outside, hold time.Duration) {
	_, g := o.leads()
	o.full(g)
	g.says(0, "200 ok, but it would take no writes if it led: the disk of "+g.name, "--disk-low", "64 MiB")
	o.lasts(hold, o.guests...)
	g.disk.empty()
	o.sound()
}

func leaderFull(o *outside, hold time.Duration) {
	g, other := o.leads()
	o.full(g)
	o.eventually(func() error {
		if s := o.status(other); s.Leader == g.name || s.Leader == "" {
			return fmt.Errorf("%q leads", s.Leader)
		}
		return nil
	})
	g.says(0, "200 ok, but it would take no writes if it led")
	o.lasts(hold, o.guests...)
	g.disk.empty()
	o.sound()
}

func allFull(o *outside, hold time.Duration) {
	for _, g := range o.guests {
		o.full(g)
	}
	leader, _ := o.leads()
	leader.says(0, "200 ok, but writes are refused: the disk of "+leader.name, "until there is 96 MiB (--disk-high)")
	for _, g := range o.guests {
		if err := o.put(g); !errors.Is(err, starling.ErrNoSpace) {
			o.t.Errorf("a write at %s: got %v, want %v", g.name, err, starling.ErrNoSpace)
		}
		c, ctx, done := o.dial(g)
		if _, err := starling.NewMap[string, string](c, "outside").Delete(ctx, "1"); err != nil {
			o.t.Errorf("a delete at %s: %v", g.name, err)
		}
		done()
	}
	o.lasts(hold)
	for _, g := range o.guests {
		g.disk.empty()
	}
	o.sound()
}

func commandHangs(o *outside, hold time.Duration) {
	if err := os.WriteFile(o.hold, nil, 0o600); err != nil {
		o.t.Fatal(err)
	}
	leader, other := o.leads()
	command := holds(o.hold)
	resources.NewType("holding", 1, command)
	c, _, done := o.dial(other)
	ctx, cancel := context.WithCancel(context.Background())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = command.Do(ctx, c, "r", "x")
	}()
	for _, g := range o.guests {
		g.says(stuckFor, "503", "command holding.hold on \"r\", entry ", "starling recover --refuse ")
	}
	o.lasts(hold)
	leader.stop(12 * time.Second)
	cancel()
	<-answered
	done()
	if err := os.Remove(o.hold); err != nil {
		o.t.Fatal(err)
	}
	leader.start()
	leader.isWell(startFor)
	o.sound()
}

func diskHangs(o *outside, hold time.Duration) {
	leader, g := o.leads()
	goOn := g.disk.hang()
	o.lasts(0, leader) // its log waits from now on
	g.says(stuckFor, "503", "this member stores nothing now: the disk of "+g.name, "has not answered")
	for _, other := range o.guests {
		if other != g {
			o.lasts(hold/2, other)
		}
	}
	g.says(0, "503", "has not answered")
	goOn()
	g.isWell(0)
	o.sound()
}

// A limit of the size of a file is met where the log is written: the member ends, because
// a write has failed, and names the limit.
func fileSizeLimit(o *outside, hold time.Duration) {
	leader, g := o.leads()
	g.limit(unix.RLIMIT_FSIZE, 4096)
	o.eventually(func() error {
		if err := o.put(leader); err != nil {
			o.t.Fatalf("a write at %s: %v", leader.name, err)
		}
		if g.runs() {
			return fmt.Errorf("%s runs on", g.name)
		}
		return nil
	})
	g.saidAtTheEnd("file too large; the disk is sound: raise the limit of the size of a file (ulimit -f, LimitFSIZE); then start the member again")
	g.start()
	g.isWell(startFor)
	o.lasts(hold, o.guests...)
	o.sound()
}

// The folder of the log, or that of the checkpoints, is somewhere else: the member ends,
// and starts when it has been put back.
func folderMoved(o *outside, hold time.Duration) {
	_, g := o.leads()
	for _, folder := range []string{"log", "checkpoints"} {
		at := filepath.Join(g.disk.dir, "data", folder)
		if err := os.Rename(at, at+".old"); err != nil {
			o.t.Fatal(err)
		}
		g.ends(truthful)
		g.saidAtTheEnd("in the data directory ", "was moved to "+at+".old while the member ran", "put it back, then start the member again")
		if err := os.Rename(at+".old", at); err != nil {
			o.t.Fatal(err)
		}
		g.start()
		g.isWell(startFor)
		o.lasts(hold, o.guests...)
	}
	o.sound()
}

func directoryDeleted(o *outside, hold time.Duration) {
	_, g := o.leads()
	if err := os.RemoveAll(filepath.Join(g.disk.dir, "data")); err != nil {
		o.t.Fatal(err)
	}
	g.ends(truthful)
	g.saidAtTheEnd("the data directory ", "was deleted while the member ran")
	var rest []*guest
	for _, x := range o.guests {
		if x != g {
			rest = append(rest, x)
		}
	}
	o.guests = rest
	o.lasts(hold, rest...)
	o.sound()
}

// Where the quorum is gone no member is ready that is left: voters say so as soon as one of
// them would have called an election, passives half a second later, within two seconds of
// when it could be known. With the quorum all are ready again.
func TestWithoutAQuorumNobodyIsReady(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes and their file systems")
	}
	o := newOutside(t, 1)
	passive := o.guests[3]
	for _, keepsLeader := range []bool{true, false} {
		for _, g := range o.guests {
			g.isWell(startFor)
		}
		leader, _ := o.leads()
		var left *guest
		var stopped []*guest
		for _, g := range o.guests[:3] {
			if left == nil && (g == leader) == keepsLeader {
				left = g
				continue
			}
			stopped = append(stopped, g)
			if err := g.process.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
		passive.says(2*lanElection+500*time.Millisecond, "503", "this member follows nobody")
		left.says(0, "503", "no leader is known")
		for _, g := range stopped {
			if err := g.process.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
		left.isWell(startFor)
	}
}

// lanElection is the election timeout of the command's defaults.
const lanElection = 500 * time.Millisecond
