package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/starlinghq/starling"
)

// FlockActives is how many actives the clusters of [Flock] have.
const FlockActives = 3

const (
	// flockPatience bounds a start, flockWarm is written before it counts.
	flockPatience = 2 * time.Minute
	flockWarm     = 3 * time.Second
	// flockAtOnce is how many members are opened side by side.
	flockAtOnce = 16
)

// Flock measures what passives cost the leader: it has a process of its own, the other
// members are in this one.
type Flock struct {
	Passives []int         // numbers of passives, which take turns
	Rate     float64       // writes per second
	Bytes    int           // of a value
	For      time.Duration // that each run measures
	Runs     int           // with each number of passives
	// Leader makes the command, not started yet, that runs [Leader] beside so many other
	// members.
	Leader func(ctx context.Context, neighbours int) (*exec.Cmd, error)
}

// FlockRun is one measurement.
type FlockRun struct {
	Passives int              `json:"passives"`
	Writes   int              `json:"writes"`
	CPU      time.Duration    `json:"leader_cpu_ns"`
	Took     time.Duration    `json:"took_ns"`
	Sent     starling.Traffic `json:"leader_sent"`
	// Others is the processor time of all other members and of who writes.
	Others time.Duration `json:"others_cpu_ns"`
	Equal  bool          `json:"digests_equal"`
}

// Run makes all runs, and tells of each.
func (b *Flock) Run(ctx context.Context, told func(run int, r *FlockRun)) (all []FlockRun, err error) {
	for i := range b.Runs {
		for _, passives := range b.Passives {
			r, err := b.run(ctx, passives)
			if err != nil {
				return nil, fmt.Errorf("with %d passives: %w", passives, err)
			}
			told(i+1, r)
			all = append(all, *r)
		}
	}
	return all, nil
}

// run starts a cluster, writes, and measures.
func (b *Flock) run(ctx context.Context, passives int) (r *FlockRun, err error) {
	starting, cancel := context.WithTimeout(ctx, flockPatience)
	defer cancel()
	neighbours := FlockActives - 1 + passives
	l, first, err := b.startLeader(ctx, neighbours)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	nodes, err := openFlock(starting, first.Address, passives, neighbours)
	defer func() { err = errors.Join(err, closeFlock(nodes)) }()
	if err != nil {
		return nil, err
	}
	client, err := starling.Dial(starting, starling.ClientConfig{Addresses: []string{first.Address}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := voting(starting, client); err != nil {
		return nil, err
	}
	if s, err := l.sample(); err != nil || !s.Leads { // the start may have cost it the leadership
		_, handed := client.Transfer(starting, leaderName)
		if err = errors.Join(err, handed); err != nil {
			return nil, err
		}
	}
	r = &FlockRun{Passives: passives, Writes: max(int(b.Rate*b.For.Seconds()), 1)}
	m := starling.NewMap[string, []byte](client, "bench")
	value := make([]byte, b.Bytes)
	put := func(k int) error { return m.Put(ctx, "key"+strconv.Itoa(k%keys), value) }
	if _, err := paced(ctx, b.Rate, int(b.Rate*flockWarm.Seconds()), put, nil); err != nil {
		return nil, err
	}
	if err := r.measure(l, func() (time.Duration, error) { return paced(ctx, b.Rate, r.Writes, put, nil) }); err != nil {
		return nil, err
	}
	v, err := client.Verify(ctx)
	r.Equal = v.Equal && len(v.Members) == 1+neighbours
	return r, err
}

// measure takes the difference that the writes make.
func (r *FlockRun) measure(l *leaderProcess, write func() (time.Duration, error)) error {
	mine, err := processTime()
	if err != nil {
		return err
	}
	before, err := l.sample()
	if err != nil {
		return err
	}
	if r.Took, err = write(); err != nil {
		return err
	}
	after, err := l.sample()
	if err != nil {
		return err
	}
	if !before.Leads || !after.Leads {
		return errors.New("another member leads: the machine is too busy for this load")
	}
	now, err := processTime()
	if err != nil {
		return err
	}
	a, z := before.Sent, after.Sent
	r.CPU, r.Others = after.CPU-before.CPU, now-mine
	r.Sent = starling.Traffic{
		Raft: z.Raft - a.Raft, Frames: z.Frames - a.Frames, Copies: z.Copies - a.Copies, Control: z.Control - a.Control,
		Checkpoints: z.Checkpoints - a.Checkpoints, Membership: z.Membership - a.Membership,
	}
	return nil
}

// openFlock opens the other members, among so many neighbours.
func openFlock(ctx context.Context, join string, passives, neighbours int) ([]*starling.Node, error) {
	nodes := make([]*starling.Node, FlockActives-1+passives)
	errs := make([]error, len(nodes))
	places := make(chan struct{}, flockAtOnce)
	var all sync.WaitGroup
	for i := range nodes {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			cfg := starling.Config{Name: "a" + strconv.Itoa(i+2), Bind: "127.0.0.1:0", Role: starling.Active, Join: []string{join}, Neighbours: neighbours}
			if i >= FlockActives-1 {
				cfg.Name, cfg.Role = "p"+strconv.Itoa(i-FlockActives+2), starling.Passive
			}
			nodes[i], errs[i] = starling.Open(ctx, cfg)
		})
	}
	all.Wait()
	return nodes, errors.Join(errs...)
}

func closeFlock(nodes []*starling.Node) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		if n != nil {
			all.Go(func() { errs[i] = n.Close() })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// voting waits until all actives vote.
func voting(ctx context.Context, client *starling.Client) error {
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		s, err := client.Status(ctx)
		if err != nil {
			return err
		}
		voters := 0
		for _, m := range s.Members {
			if m.Suffrage == "voter" {
				voters++
			}
		}
		if voters == FlockActives {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d actives vote: %w", voters, FlockActives, ctx.Err())
		}
	}
}

// flockFigures are the medians for one number of passives.
type flockFigures struct {
	runs                                             int
	cpu, least, most                                 float64 // microseconds of the leader for each write
	raft, frames, control, membership, total, copies float64 // for each write
	cores                                            float64 // of everybody
	equal                                            bool
}

func flockFiguresOf(all []FlockRun, passives int) flockFigures {
	f := flockFigures{equal: true}
	var list []FlockRun
	for _, r := range all {
		if r.Passives == passives {
			list = append(list, r)
			f.equal = f.equal && r.Equal
		}
	}
	f.runs = len(list)
	median := func(of func(r *FlockRun) float64) float64 {
		var x []float64
		for i := range list {
			x = append(x, of(&list[i]))
		}
		slices.SortFunc(x, cmp.Compare[float64])
		return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
	}
	each := func(of func(s *starling.Traffic) uint64) float64 {
		return median(func(r *FlockRun) float64 { return float64(of(&r.Sent)) / float64(r.Writes) })
	}
	cpu := func(r *FlockRun) float64 { return float64(r.CPU.Nanoseconds()) / 1000 / float64(r.Writes) }
	f.cpu, f.least, f.most = median(cpu), cpu(&list[0]), cpu(&list[0])
	for i := range list {
		f.least, f.most = min(f.least, cpu(&list[i])), max(f.most, cpu(&list[i]))
	}
	f.raft = each(func(s *starling.Traffic) uint64 { return s.Raft })
	f.frames = each(func(s *starling.Traffic) uint64 { return s.Frames })
	f.control = each(func(s *starling.Traffic) uint64 { return s.Control })
	f.membership = each(func(s *starling.Traffic) uint64 { return s.Membership })
	f.copies = each(func(s *starling.Traffic) uint64 { return s.Copies })
	f.total = each(func(s *starling.Traffic) uint64 {
		return s.Raft + s.Frames + s.Control + s.Checkpoints + s.Membership
	})
	f.cores = median(func(r *FlockRun) float64 { return (r.CPU + r.Others).Seconds() / r.Took.Seconds() })
	return f
}

// Table returns the medians.
func (b *Flock) Table(all []FlockRun) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%g writes/s of %d B for %v, %d runs each; medians, for each write\n\n", b.Rate, b.Bytes, b.For, b.Runs)
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "passives\tleader CPU\tleast to most\tto the first\tsends, B\tto the first\tRaft\tframes\tcopies\tcontrol\tmembership\tcores, all\tequal\t")
	first := flockFiguresOf(all, b.Passives[0])
	for _, n := range b.Passives {
		f := flockFiguresOf(all, n)
		fmt.Fprintf(w, "%d\t%.0f us\t%.0f to %.0f\t%+.1f %%\t%.0f\t%+.1f %%\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.2f\t%v\t\n",
			n, f.cpu, f.least, f.most, 100*(f.cpu/first.cpu-1), f.total, 100*(f.total/first.total-1),
			f.raft, f.frames, f.copies, f.control, f.membership, f.cores, f.equal)
	}
	_ = w.Flush() // into memory
	return out.String()
}
