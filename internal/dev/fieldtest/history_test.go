//go:build linux

package fieldtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/starlinghq/starling"
)

// The clients of a history write without a pause that anybody would notice, and
// read a little less often.
const (
	writePause = 5 * time.Millisecond
	readPause  = 20 * time.Millisecond
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
	home   *member
	client *starling.Client

	mu   sync.Mutex
	acks []acknowledgement // of its writes in this history
}

type acknowledgement struct{ began, ended time.Time }

// runners dials each member with a client of its own.
func (n *networked) runners(homes ...*member) []*runner {
	n.t.Helper()
	var list []*runner
	for _, m := range homes {
		client, err := starling.Dial(n.t.Context(), starling.ClientConfig{Addresses: []string{m.addr}})
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { _ = client.Close() }) // its members are gone
		list = append(list, &runner{home: m, client: client})
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
	sums      map[int64]int // of the counter: how often each was acknowledged
	acked     int64
	unknown   int64
}

// record lets runners write and read until ended is called. Each history has a
// name of its own.
func (n *networked) record(name string, runners []*runner) *history {
	ctx, cancel := context.WithCancel(context.Background())
	h := &history{
		name: name, runners: runners, began: time.Now(), stop: make(chan struct{}), cancel: cancel,
		registers: map[string][]porcupine.Operation{}, sums: map[int64]int{},
	}
	for _, r := range runners {
		r.mu.Lock()
		r.acks = nil
		r.mu.Unlock()
		h.done.Go(func() { h.writes(ctx, r) })
		h.done.Go(func() { h.reads(ctx, r) })
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

func (h *history) added(sum int64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.unknown++
		return
	}
	h.acked++
	h.sums[sum]++
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
	for sum, times := range h.sums { // order does not matter: each by itself
		if times > 1 {
			n.t.Errorf("%d increments of %s have the sum %d", times, h.name, sum)
		}
	}
	for _, m := range n.members {
		client, err := n.client(m)
		if err != nil {
			n.t.Fatal(err)
		}
		var got int64
		n.eventually(func() (err error) {
			got, err = starling.NewCounter(client, h.name).Get(n.t.Context())
			return err
		})
		if got < h.acked || got > h.acked+h.unknown {
			n.t.Errorf("%s at %s: got %d, want %d that were acknowledged and at most %d unknown ones", h.name, m.name, got, h.acked, h.unknown)
		}
	}
	n.t.Logf("%s: %d operations on %d registers, %d increments, %d unknown", h.name, operations, len(h.registers), h.acked, h.unknown)
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
