//go:build linux

package fieldtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// The clients of a history write without a pause that anybody would notice, and
// read a little less often.
const (
	writePause = 5 * time.Millisecond
	readPause  = 20 * time.Millisecond
	// lookPatience bounds a read of what a member has: one that is stopped answers none.
	lookPatience = time.Second
	// registerCount is how many registers they share at a time. After
	// registersAge they go on to others, so that the search for an order stays
	// short however long a history is.
	registerCount = 3
	registersAge  = 5 * time.Second
	// judgeTime bounds that search for one register. No verdict is no pass.
	judgeTime = time.Minute
)

// access is what a client does to a register, which is 0 at first; each value is
// written once.
type access struct {
	write bool
	value int64
}

var registerModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		if a := input.(access); a.write {
			return true, a.value
		}
		return output == state, state
	},
}

// runner is a client that goes on through faults. It dials one member alone and
// learns of the others.
type runner struct {
	home     *member
	client   *client.Client
	sessions *sessions

	mu   sync.Mutex
	acks []acknowledgement // of its writes in this history
}

type acknowledgement struct{ began, ended time.Time }

// sessions is a client's way to the cluster, and what it has heard there of its sessions.
type sessions struct {
	*client.Remote
	opened, gone atomic.Int64
}

func (s *sessions) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	r, err := s.Remote.Do(ctx, q)
	if err != nil || q.Kind != protocol.RequestCommand {
		return r, err
	}
	switch {
	case r.Result.Code == protocol.ErrSessionExpired.Code:
		s.gone.Add(1)
	case q.Command.Type == protocol.SessionType && q.Command.Operation == protocol.SessionOpen && r.Result.Err() == nil:
		s.opened.Add(1)
	}
	return r, nil
}

// runners dials each member with a client of its own, whose session lasts so long without
// a word from it; 0: the default.
func (n *networked) runners(timeout time.Duration, homes ...*member) []*runner {
	n.t.Helper()
	var list []*runner
	for _, m := range homes {
		remote, err := client.NewRemote(n.t.Context(), client.RemoteConfig{Security: security.Plaintext(), Addresses: []string{m.addr}})
		if err != nil {
			n.t.Fatal(err)
		}
		r := &runner{home: m, sessions: &sessions{Remote: remote}}
		if r.client, err = client.New(r.sessions, client.Config{SessionTimeout: timeout}); err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { _ = r.client.Close() }) // its members are gone
		list = append(list, r)
	}
	return list
}

// next returns the first write that was acknowledged at an instant or after it.
func (r *runner) next(at time.Time) (acknowledgement, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.acks {
		if !a.ended.Before(at) {
			return a, true
		}
	}
	return acknowledgement{}, false
}

// history is what runners saw of registers and of a counter.
type history struct {
	name    string
	runners []*runner
	began   time.Time
	values  atomic.Int64 // that were written to registers
	stop    chan struct{}
	cancel  context.CancelFunc // of what does not end
	done    sync.WaitGroup

	mu        sync.Mutex
	registers map[string][]porcupine.Operation
	sums      map[int64]time.Time // of the counter: when each was acknowledged
	doubled   []int64             // sums that were acknowledged more than once
	looks     []look
	unknown   int64
}

// look is what a member has said of the counter, without asking anybody.
type look struct {
	at    *member
	began time.Time
	sum   int64
	info  starling.Info
}

// record lets runners write and read until ended is called. Each history has a
// name of its own.
func (n *networked) record(name string, runners []*runner) *history {
	ctx, cancel := context.WithCancel(context.Background())
	h := &history{
		name: name, runners: runners, began: time.Now(), stop: make(chan struct{}), cancel: cancel,
		registers: map[string][]porcupine.Operation{}, sums: map[int64]time.Time{},
	}
	for _, r := range runners {
		r.mu.Lock()
		r.acks = nil
		r.mu.Unlock()
		h.done.Go(func() { h.writes(ctx, r) })
		h.done.Go(func() { h.reads(ctx, r) })
		h.done.Go(func() { h.watches(ctx, r) })
	}
	n.t.Cleanup(func() { cancel(); h.done.Wait() })
	return h
}

// rest waits, and reports whether the history goes on.
func (h *history) rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-h.stop:
		return false
	default:
		return wait(ctx, d)
	}
}

// register names the one whose turn it is.
func (h *history) register(turn int) string {
	return fmt.Sprintf("%s-%03d-%d", h.name, time.Since(h.began)/registersAge, turn%registerCount)
}

func (h *history) writes(ctx context.Context, r *runner) {
	registers, counter := starling.NewMap[string, int64](r.client, "registers"), starling.NewCounter(r.client, h.name)
	for turn := 0; h.rest(ctx, writePause); turn++ {
		began := time.Now()
		var err error
		if turn%2 == 0 {
			var sum int64
			sum, err = counter.Add(ctx, 1)
			h.added(sum, err)
		} else {
			name, a := h.register(turn/2), access{write: true, value: h.values.Add(1)}
			err = registers.Put(ctx, name, a.value)
			h.note(name, a, 0, began, err)
		}
		if err == nil {
			r.mu.Lock()
			r.acks = append(r.acks, acknowledgement{began, time.Now()})
			r.mu.Unlock()
		}
	}
}

func (h *history) reads(ctx context.Context, r *runner) {
	registers := starling.NewMap[string, int64](r.client, "registers")
	for turn := 0; h.rest(ctx, readPause); turn++ {
		name, began := h.register(turn), time.Now()
		value, err := registers.Get(ctx, name)
		if err == nil || errors.Is(err, starling.ErrNotFound) {
			h.note(name, access{}, value, began, nil)
		}
	}
}

// note takes down an operation on a register. A write that failed may have
// happened, or may still.
func (h *history) note(name string, a access, got int64, began time.Time, err error) {
	returned := int64(time.Since(h.began))
	if err != nil {
		returned = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.registers[name]
	h.registers[name] = append(list, porcupine.Operation{ClientId: len(list), Input: a, Output: got, Call: int64(began.Sub(h.began)), Return: returned})
}

// watches has a client ask what its own member has of the counter, and how old that is.
func (h *history) watches(ctx context.Context, r *runner) {
	counter := starling.NewCounter(r.client, h.name)
	for h.rest(ctx, readPause) {
		l := look{at: r.home, began: time.Now()}
		bounded, cancel := context.WithTimeout(ctx, lookPatience)
		var err error
		l.sum, err = counter.Get(bounded, starling.Locally, starling.WithInfo(&l.info))
		cancel()
		if err == nil {
			h.mu.Lock()
			h.looks = append(h.looks, l)
			h.mu.Unlock()
		}
	}
}

func (h *history) added(sum int64, err error) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.unknown++
		return
	}
	if _, twice := h.sums[sum]; twice {
		h.doubled = append(h.doubled, sum)
	}
	h.sums[sum] = now
}

// goOn waits until each runner has had so many writes acknowledged since an
// instant.
func (h *history) goOn(n *networked, since time.Time, writes int) {
	n.t.Helper()
	n.eventually(func() error {
		for _, r := range h.runners {
			r.mu.Lock()
			count := 0
			for _, a := range r.acks {
				if !a.ended.Before(since) {
					count++
				}
			}
			r.mu.Unlock()
			if count < writes {
				return fmt.Errorf("the client of %s had %d of %d writes acknowledged", r.home.name, count, writes)
			}
		}
		return nil
	})
}

// end lets what is under way end. What does not is unknown.
func (h *history) end() {
	close(h.stop)
	timer := time.AfterFunc(patience, h.cancel)
	h.done.Wait()
	timer.Stop()
	h.cancel()
}

// check judges the history, which has ended: an order explains all that the
// clients saw of each register, and the counter is what was acknowledged, and of
// what is unknown no more than there was.
func (h *history) check(n *networked) {
	n.t.Helper()
	operations := 0
	for name, list := range h.registers { // order does not matter: each by itself
		operations += len(list)
		switch porcupine.CheckOperationsTimeout(registerModel, list, judgeTime) {
		case porcupine.Illegal:
			n.t.Errorf("no order explains the %d operations on %s:\n%s", len(list), name, describe(list))
		case porcupine.Unknown:
			n.t.Errorf("no verdict on the %d operations on %s within %v", len(list), name, judgeTime)
		}
	}
	if operations == 0 {
		n.t.Error("the history is empty: it shows nothing")
	}
	for _, sum := range h.doubled {
		n.t.Errorf("two increments of %s have the sum %d", h.name, sum)
	}
	acked := int64(len(h.sums))
	for _, m := range n.members {
		at, err := n.client(m)
		if err != nil {
			n.t.Fatal(err)
		}
		var got int64
		n.eventually(func() (err error) {
			got, err = starling.NewCounter(at, h.name).Get(n.t.Context())
			return err
		})
		if got < acked || got > acked+h.unknown {
			n.t.Errorf("%s at %s: got %d, want %d that were acknowledged and at most %d unknown ones", h.name, m.name, got, acked, h.unknown)
		}
	}
	for _, r := range h.runners {
		if opened, gone := r.sessions.opened.Load(), r.sessions.gone.Load(); opened != 1 || gone != 0 {
			n.t.Errorf("the client of %s has opened %d sessions, and was told %d times that its session has ended", r.home.name, opened, gone)
		}
	}
	ages := h.checkLooks(n)
	n.t.Logf("%s: %d operations on %d registers, %d increments, %d unknown; %d looks at members, %d ages compared",
		h.name, operations, len(h.registers), acked, h.unknown, len(h.looks), ages)
}

// checkLooks judges what members said of what they had: at one index all have the same, at a
// higher one no less, and none is older than it says. It returns how many ages were compared.
func (h *history) checkLooks(n *networked) (ages int) {
	n.t.Helper()
	sums := slices.Sorted(maps.Keys(h.sums))
	missed := make([]time.Time, len(sums)) // when the first of this sum and those above it was acknowledged
	for i := len(sums) - 1; i >= 0; i-- {
		missed[i] = h.sums[sums[i]]
		if i+1 < len(sums) && missed[i+1].Before(missed[i]) {
			missed[i] = missed[i+1]
		}
	}
	slices.SortFunc(h.looks, func(a, b look) int {
		return cmp.Or(cmp.Compare(a.info.Index, b.info.Index), cmp.Compare(a.sum, b.sum))
	})
	for i, l := range h.looks {
		if i > 0 {
			before := h.looks[i-1]
			if l.info.Index == before.info.Index && l.sum != before.sum || l.sum < before.sum {
				n.t.Errorf("%s has %d at %d, %s has %d at %d", l.at.name, l.sum, l.info.Index, before.at.name, before.sum, before.info.Index)
			}
		}
		if !l.info.AgeKnown {
			continue
		}
		ages++
		if k, _ := slices.BinarySearch(sums, l.sum+1); k < len(missed) && l.began.Sub(missed[k]) > l.info.Age {
			n.t.Errorf("%s says that %d at %d is at most %v old; more was acknowledged %v before it was asked", l.at.name, l.sum, l.info.Index, l.info.Age, l.began.Sub(missed[k]))
		}
	}
	if ages == 0 {
		n.t.Error("nobody has said how old its state is: no age was compared")
	}
	return ages
}

// describe lists operations for whoever looks for the wrong one.
func describe(list []porcupine.Operation) string {
	slices.SortFunc(list, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var b strings.Builder
	for _, o := range list {
		until := time.Duration(o.Return).String()
		if o.Return == math.MaxInt64 {
			until = "unknown"
		}
		if a := o.Input.(access); a.write {
			fmt.Fprintf(&b, "%v to %s: write %d\n", time.Duration(o.Call), until, a.value)
		} else {
			fmt.Fprintf(&b, "%v to %s: read %v\n", time.Duration(o.Call), until, o.Output)
		}
	}
	return b.String()
}
