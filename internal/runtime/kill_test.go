package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/dev/freeport"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/sim/awkward"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	queues "github.com/starlinghq/starling/resources/queue"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/vfs"
)

// childVariable makes this test binary one member, as JSON of a childConfig, that
// runs until it is killed.
const childVariable = "STARLING_RUNTIME_CHILD"

type childConfig struct {
	Name, Dir, Bind string
	Join            []string
	Role            protocol.Role
	// Spoil has the process encode, beside what it does as a member, values that
	// leave behind what they can.
	Spoil bool
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		os.Exit(runChild(text))
	}
	// A probe that began before the end goes on for a second or so: memberlist waits for its answer.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}

func runChild(text string) int {
	var child childConfig
	err := json.Unmarshal([]byte(text), &child)
	var registry *resources.Registry
	if err == nil {
		registry, err = resources.NewRegistry(kvmap.Type, counter.Type, queues.Type, awkward.Type)
	}
	if child.Spoil {
		go spoilAll()
	}
	var m *Member
	if err == nil {
		cfg := Config{Security: security.Plaintext(), Registry: registry, Config: config.Config{Name: child.Name, Dir: child.Dir, Bind: child.Bind, Join: child.Join, Role: child.Role,
			Election: 150 * time.Millisecond, Heartbeat: 50 * time.Millisecond}}
		compacting(&cfg)
		m, err = Open(context.Background(), cfg)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-m.Done()
	return 1
}

// child runs a member in a process of its own, and returns what ends it with
// SIGKILL.
func (c *cluster) child(cfg childConfig) (kill func()) {
	c.t.Helper()
	text, err := json.Marshal(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	p := exec.Command(os.Args[0])
	p.Env = append(os.Environ(), childVariable+"="+string(text))
	p.Stderr = os.Stderr
	if err := p.Start(); err != nil {
		c.t.Fatal(err)
	}
	return func() {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

// rewrite writes large values under the same keys, so that the state is of many
// chunks and all of it changes.
func (c *cluster) rewrite(caller *client.Client, round, keys int) {
	c.t.Helper()
	for i := range keys {
		c.put(caller, fmt.Sprint("big", i), strings.Repeat(fmt.Sprintf("%4d", round), 16<<10))
	}
}

// A member that is killed while it installs a checkpoint goes on with what it
// has, or begins again; its log, its vote and its state go together at each
// start.
func TestKilledWhileInstalling(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes that are killed, again and again")
	}
	t.Parallel()
	c := newCluster(t)
	m := c.start("a1", protocol.RoleActive, compacting, in(c.dir()), func(cfg *Config) {
		cfg.Actives = 1
		cfg.behindBytes = -1 // each time it needs another checkpoint
	})
	caller := c.client(m)
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	late := childConfig{Name: "late", Dir: filepath.Join(c.dir(), "late"), Bind: freeport.Address(t), Join: []string{m.Addr()}, Role: protocol.RolePassive}
	under := 0
	for round := range 3 {
		before := m.Status().Applied
		c.rewrite(caller, round, 20)
		c.compacted("a1", before)
		kill := c.child(late)
		store := filepath.Join(late.Dir, checkpoint.Folder)
		c.eventually("an installation begins", func() error {
			_, err := os.Stat(filepath.Join(store, "install"))
			kept, peekErr := checkpoint.Peek(vfs.OS(), store)
			if peekErr == nil && len(kept) > 0 && kept[0].Index > before {
				return nil // it was faster than we look
			}
			return err
		})
		// Its death comes at any moment of the next while.
		death := time.NewTimer(time.Duration(r.IntN(60)) * time.Millisecond)
		select {
		case <-death.C:
		case <-c.ctx.Done():
		}
		kill()
		if _, err := os.Stat(filepath.Join(store, "install")); err == nil {
			under++
		}
	}
	t.Logf("killed in the middle %d times", under)
	p := c.start("late", protocol.RolePassive, compacting, in(late.Dir))
	c.equal()
	if got := c.get(c.client(p), "big7"); got != strings.Repeat("   2", 16<<10) {
		t.Errorf("big7 is %q..., want the last round's", got[:8])
	}
	c.verify(p)
}

// A member that is killed while it takes checkpoints loses at most the one under
// way, and nothing that was acknowledged.
func TestKilledWhileTaking(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes that are killed, again and again")
	}
	t.Parallel()
	c := newCluster(t)
	for _, name := range []string{"a1", "a2"} {
		c.start(name, protocol.RoleActive, compacting, in(c.dir()))
	}
	c.voters(2)
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	caller := c.client(c.members["a1"])
	third := childConfig{Name: "third", Dir: filepath.Join(c.dir(), "third"), Bind: freeport.Address(t), Join: []string{c.members["a1"].Addr()}, Role: protocol.RolePassive}
	for round := range 3 {
		kill := c.child(third)
		c.eventually("it takes checkpoints", func() error {
			c.rewrite(caller, round, 1)
			for _, x := range c.members["a1"].Status().Members {
				if x.Name == "third" && x.Alive && x.Known && x.Applied > 0 {
					return nil
				}
			}
			return errors.New("it is not there")
		})
		end := time.After(time.Duration(50+r.IntN(200)) * time.Millisecond)
		for over := false; !over; {
			c.rewrite(caller, round, 1)
			select {
			case <-end:
				over = true
			default:
			}
		}
		kill()
	}
	m := c.start("third", protocol.RolePassive, compacting, in(third.Dir))
	c.equal()
	c.verify(m)
}
