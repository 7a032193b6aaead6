// Package bench measures clusters of real members, over real sockets and by this machine's
// clock: what passives cost the leader ([Flock]), and how late they are ([Real]).
package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/study/spread"
)

// Limits of members in one process: with many more than two hundred, the
// detection of failures takes the machine for itself.
const (
	MembersMax = 200
	ForMax     = 10 * time.Minute
)

const (
	// writersMax is how many writes are under way at most.
	writersMax = 64
	// realPatience is how long the members have to start, and in the end to get
	// what was written last.
	realPatience = 2 * time.Minute
	keys         = 10_000
)

// RealFigures are what [Real] measures.
type RealFigures struct {
	Writes                 int
	Rate                   float64
	LagP50, LagP99, LagMax time.Duration
	Late                   int // arrivals that never came
	Equal                  bool
}

// Real opens a cluster in this process, writes, and measures how late the passives are.
// Told hears how many writes have been made of how many.
func Real(ctx context.Context, set spread.Setting, told func(done, writes int)) (*RealFigures, error) {
	r := &realRun{set: set, failed: make(chan error, 1), told: told}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	starting, stop := context.WithTimeout(ctx, realPatience)
	defer stop()
	var err error
	r.cluster, err = starling.OpenLocal(starting, starling.LocalConfig{
		Actives: spread.Actives, Passives: r.set.Members,
		GossipMode: r.set.Mode.String(), GossipFanout: r.set.Fanout, GossipProbability: r.set.Probability,
	})
	if err != nil {
		return nil, err
	}
	f, err := r.measure(ctx)
	return f, errors.Join(err, r.cluster.Close())
}

// realRun is a cluster whose members note when they apply each write.
type realRun struct {
	set     spread.Setting
	cluster *starling.Cluster
	leader  *starling.Node
	begin   time.Time
	writes  int
	// applied says by member and write when it was applied, in nanoseconds since
	// begin; 0: not yet. The leader's line is the last one.
	applied [][]atomic.Int64
	seen    []atomic.Int64 // the highest write that a member applied, from 1
	failed  chan error
	told    func(done, writes int)
}

// measure writes and watches.
func (r *realRun) measure(ctx context.Context) (*RealFigures, error) {
	name := r.cluster.Nodes[0].Status().Leader
	for _, n := range r.cluster.Nodes {
		if n.Name() == name {
			r.leader = n
		}
	}
	if r.leader == nil {
		return nil, fmt.Errorf("no leader: %q", name)
	}
	watched := append(slices.Clone(r.cluster.Nodes[spread.Actives:]), r.leader)
	r.writes = max(int(r.set.Rate*r.set.For.Seconds()), 1)
	r.begin = time.Now()
	r.seen = make([]atomic.Int64, len(watched))
	watching, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for i, n := range watched {
		r.applied = append(r.applied, make([]atomic.Int64, r.writes+1))
		all.Go(func() { r.watch(watching, i, n) })
	}
	if err := r.warm(ctx); err != nil {
		return nil, err
	}
	took, err := r.write(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.wait(ctx, func() bool { return r.everywhere(int64(r.writes)) }); err != nil {
		return nil, err
	}
	f := r.figures()
	f.Rate = float64(r.writes) / took.Seconds()
	return f, nil
}

// watch notes when a member applies each write.
func (r *realRun) watch(ctx context.Context, i int, n *starling.Node) {
	for e, err := range starling.NewMap[string, []byte](n, "bench").Watch(ctx, starling.WatchOptions{}) {
		if err != nil {
			if ctx.Err() == nil {
				r.fail(fmt.Errorf("%s: %w", n.Name(), err))
			}
			return
		}
		if len(e.Value) < 8 {
			continue
		}
		k := int64(binary.BigEndian.Uint64(e.Value))
		r.applied[i][k].Store(int64(time.Since(r.begin)))
		if k > r.seen[i].Load() {
			r.seen[i].Store(k)
		}
		if k == 0 {
			r.seen[i].CompareAndSwap(0, -1) // the watch is there
		}
	}
}

func (r *realRun) fail(err error) {
	select {
	case r.failed <- err:
	default:
	}
}

// put writes number k; 0 is of the warm-up.
func (r *realRun) put(ctx context.Context, m *starling.Map[string, []byte], k int) error {
	value := make([]byte, max(r.set.Bytes, 8))
	binary.BigEndian.PutUint64(value, uint64(k))
	return m.Put(ctx, "key"+strconv.Itoa(k%keys), value)
}

// warm writes until every watch has heard something, and then a little more:
// the links settle by the frames that come.
func (r *realRun) warm(ctx context.Context) error {
	m := starling.NewMap[string, []byte](r.leader, "bench")
	if err := r.wait(ctx, func() bool {
		r.failOn(r.put(ctx, m, 0))
		return !slices.ContainsFunc(r.pointers(), func(s *atomic.Int64) bool { return s.Load() == 0 })
	}); err != nil {
		return err
	}
	for range 200 {
		if err := r.put(ctx, m, 0); err != nil {
			return err
		}
	}
	return nil
}

func (r *realRun) failOn(err error) {
	if err != nil {
		r.fail(err)
	}
}

func (r *realRun) pointers() []*atomic.Int64 {
	var out []*atomic.Int64
	for i := range r.seen {
		out = append(out, &r.seen[i])
	}
	return out
}

// wait polls until something is so.
func (r *realRun) wait(ctx context.Context, so func() bool) error {
	ctx, stop := context.WithTimeout(ctx, realPatience)
	defer stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-r.failed:
			return err
		case <-poll.C:
		}
	}
	return nil
}

// write makes the writes at their rate, and returns how long that took.
func (r *realRun) write(ctx context.Context) (time.Duration, error) {
	m := starling.NewMap[string, []byte](r.leader, "bench")
	return paced(ctx, r.set.Rate, r.writes, func(k int) error { return r.put(ctx, m, k) }, func(k int) {
		r.told(k, r.writes)
	})
}

// paced makes writes 1 to n at a rate per second, a number of them at a time, and
// returns how long that took. It stops at the first error. told, if not nil,
// hears how far it is.
func paced(ctx context.Context, rate float64, n int, put func(k int) error, told func(k int)) (time.Duration, error) {
	due, failed := make(chan int), make(chan error, writersMax)
	var writers sync.WaitGroup
	for range writersMax {
		writers.Go(func() {
			for k := range due {
				if err := put(k); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	begin := time.Now()
	err := func() error {
		defer close(due)
		pace := time.NewTicker(time.Millisecond)
		defer pace.Stop()
		for k := 1; k <= n; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-failed:
				return err
			case <-pace.C:
			}
			for until := int(time.Since(begin).Seconds()*rate) + 1; k <= min(until, n); k++ {
				select {
				case due <- k:
				case err := <-failed:
					return err
				}
			}
			if told != nil {
				told(k)
			}
		}
		return nil
	}()
	writers.Wait()
	select {
	case e := <-failed:
		err = errors.Join(err, e)
	default:
	}
	return time.Since(begin), err
}

// everywhere reports whether all members have applied the last write and, as
// writes may pass each other, as many as there are.
func (r *realRun) everywhere(last int64) bool {
	for i := range r.seen {
		if r.seen[i].Load() < last {
			return false
		}
	}
	state := r.leader.Status()
	for _, n := range r.cluster.Nodes {
		if n.Status().Applied < state.Applied {
			return false
		}
	}
	return true
}

func (r *realRun) figures() *RealFigures {
	f := &RealFigures{Writes: r.writes, Equal: true}
	leader := r.applied[len(r.applied)-1]
	var lags []time.Duration
	for _, line := range r.applied[:len(r.applied)-1] {
		for k := 1; k <= r.writes; k++ {
			at, from := line[k].Load(), leader[k].Load()
			if at == 0 || from == 0 {
				f.Late++
				continue
			}
			lags = append(lags, max(time.Duration(at-from), 0))
		}
	}
	slices.Sort(lags)
	if n := len(lags); n > 0 {
		f.LagP50, f.LagP99, f.LagMax = lags[n/2], lags[n*99/100], lags[n-1]
	}
	first := r.leader.Status()
	for _, n := range r.cluster.Nodes {
		if s := n.Status(); s.Applied != first.Applied || s.Digest != first.Digest {
			f.Equal = false
		}
	}
	return f
}
