package runtime

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

const (
	// stuckAfter is how long a command may take, at least, before it is said to
	// hang; two election timeouts, if that is longer.
	stuckAfter = 5 * time.Second
	// stuckLook is between two looks at what runs.
	stuckLook = 250 * time.Millisecond
	// stackBytesMax limits what is read of the stacks of all goroutines, to find one.
	stackBytesMax = 16 << 20
)

// hampers is what keeps the member from its work, told to its replica; the loop's.
type hampers struct{ now replica.Hampered }

// change changes it. Any goroutine may call it.
func (h *hampers) change(m *Member, change func(*replica.Hampered)) {
	m.mailbox.complete(func(now protocol.Instant) {
		change(&h.now)
		m.replica.Hamper(now, h.now)
	})
}

// applier is the one writer of the state, and knows whether it hangs in a command.
// Commands are the program's own: one that never returns stops the state of every
// member, and nobody can end it.
type applier struct {
	goroutine atomic.Pointer[string] // the head of its stack, "goroutine 7 ["
	stuck     atomic.Pointer[stuck]
	ended     chan struct{} // closed when it has
	working   bool          // a batch is with the machine; the applier's
	now       replica.Apply // that batch
}

// stuck is a command that has not returned for too long.
type stuck struct {
	machine.Running
	err error
}

// stuckTime is how long a command, or a call of the log's disk, may take before it is
// said to hang.
func stuckTime(m *Member) time.Duration {
	return max(stuckAfter, 2*m.cfg.activeConfig().Election)
}

// work applies until there is nothing more. A command that ends its goroutine has
// another one go on, with the rest of the batch.
func (a *applier) work(m *Member) {
	defer func() {
		if m.machine.CutShort() {
			go a.work(m)
			return
		}
		close(a.ended)
	}()
	a.introduce()
	if a.working {
		if !a.done(m, m.machine.Resume()) {
			return
		}
	}
	for next := range m.applies {
		a.now, a.working = next, true
		var results []protocol.Result
		switch {
		case next.Installed != 0:
			m.driver.Install(&next)
		default:
			results = m.machine.Apply(next.Entries, make([]protocol.Result, 0, len(next.Entries)))
		}
		if !a.done(m, results) {
			return
		}
	}
}

// done has those answered who wait for a batch that was applied, tells the loop of it, and
// reports whether there is to be another one.
func (a *applier) done(m *Member, results []protocol.Result) bool {
	batch := a.now
	a.now, a.working = replica.Apply{}, false
	if err := m.machine.Stopped(); err != nil {
		m.cannotApply(err)
		return false
	}
	if m.cause.Load() != nil || m.life.Err() != nil {
		return false // the end has not waited for a command that hung
	}
	done := m.driver.Applied(&batch, results)
	if !m.mailbox.put(func(in *mail) { in.applied = append(in.applied, done) }) {
		return false
	}
	if batch.Take != nil { // last: what comes of it is news of a checkpoint entry that the replica has heard of
		m.driver.Take(&batch)
	}
	return true
}

// introduce remembers the head of the own stack.
func (a *applier) introduce() {
	b := make([]byte, 64)
	head, _, _ := bytes.Cut(b[:runtime.Stack(b, false)], []byte("["))
	text := string(head) + "["
	a.goroutine.Store(&text)
}

// stack returns the applier's stack. All others stand still meanwhile, so it is asked
// for once for each command that hangs.
func (a *applier) stack() string {
	head := a.goroutine.Load()
	for size := 1 << 20; ; size *= 4 {
		b := make([]byte, size)
		b = b[:runtime.Stack(b, true)]
		for part := range bytes.SplitSeq(b, []byte("\n\n")) {
			if bytes.HasPrefix(part, []byte(*head)) {
				return string(part)
			}
		}
		if size >= stackBytesMax {
			return "not found among those of so many goroutines"
		}
	}
}

// watch says that a command hangs, and that it has returned after all, until the member
// ends.
func (a *applier) watch(m *Member) {
	limit := stuckTime(m)
	ticker := time.NewTicker(stuckLook)
	defer ticker.Stop()
	var last machine.Running
	since := time.Now()
	for {
		now, _ := m.machine.Running()
		if now != last {
			last, since = now, time.Now()
			a.returned(m)
		}
		if now.Index != 0 && time.Since(since) >= limit && a.stuck.Load() == nil {
			a.hangs(m, now, time.Since(since))
		}
		select {
		case <-ticker.C:
		case <-m.stop:
			return
		}
	}
}

// hangs says that a command hangs. The member is not ready; if it leads, it gives the
// lead to one that has passed the entry.
func (a *applier) hangs(m *Member, c machine.Running, took time.Duration) {
	text := fmt.Sprintf("%s, has not returned for %v, and nothing after it is applied; if it never returns, ", c, took.Round(time.Second))
	a.stuck.Store(&stuck{Running: c, err: protocol.ErrNotServing.With(fmt.Sprintf("this member is stuck: %sgo on without it: starling recover --refuse %d; %s", text, c.Index, seeHangs))})
	m.hampers.change(m, func(h *replica.Hampered) { h.Stuck, h.Why = c.Index, "is stuck in a command" })
	m.logger.Error("a command hangs: "+text+wayOut(c.Index), "index", c.Index, "type", c.Type, "operation", c.Operation, "resource", c.Resource, "stack", a.stack())
	m.changed.tell()
}

// seeHangs names where the whole way out is written down.
const seeHangs = `docs/recover.md, "When a command does not return"`

// wayOut says how to go on without an entry, in the order in which it is done. At one
// member only, where others have passed the entry, a start is tried first.
func wayOut(i protocol.Index) string {
	return fmt.Sprintf("and others have passed it, start this member again; if no member passes it, "+
		"repair the type and start all members with it, or go on without the entry: (1) stop what calls it, (2) stop all members, "+
		"(3) bring all directories together and have the command begin a new cluster without the entry: "+
		"starling recover --begin-new-cluster --although-quorum-is-intact --refuse %d DIR..., "+
		"where starling is a program that knows the type (one that calls cmd.Main, or starling.Recover, with it), "+
		"and if that stops at another entry, give both, %d,INDEX, "+
		"(4) start the member that it names, and (5) all others, with empty directories, to join it; see %s", i, i, seeHangs)
}

// returned says that the command that hung has returned.
func (a *applier) returned(m *Member) {
	if c := a.stuck.Swap(nil); c != nil {
		m.hampers.change(m, func(h *replica.Hampered) { h.Stuck, h.Why = 0, "" })
		m.logger.Warn("the command that hung has returned", "index", c.Index, "type", c.Type, "operation", c.Operation, "resource", c.Resource)
		m.changed.tell()
	}
}

// why says why nothing is applied, or nil.
func (a *applier) why() error {
	if c := a.stuck.Load(); c != nil {
		return c.err
	}
	return nil
}

// unlessStuck returns a context that ends also when a command hangs: what waits for
// answers then waits in vain.
func (a *applier) unlessStuck(ctx context.Context, m *Member) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			changed := m.changed.wait()
			if a.stuck.Load() != nil {
				cancel()
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, cancel
}

// end waits for the applier. One that hangs in a command is left behind: nobody can end
// it.
func (a *applier) end(m *Member) {
	patience := stuckTime(m)
	if a.stuck.Load() != nil {
		patience = 0
	}
	if within(patience, func() { <-a.ended }) {
		return
	}
	c, runs := m.machine.Running()
	if !runs {
		<-a.ended // it does something else, which ends
		return
	}
	m.logger.Error("the member ends while a command has not returned; its goroutine stays",
		"index", c.Index, "type", c.Type, "operation", c.Operation, "resource", c.Resource)
}
