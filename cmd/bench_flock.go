package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

const (
	flockActives = 3
	flockRunsMax = 99
	// flockPatience bounds a start, flockWarm is written before it counts.
	flockPatience = 2 * time.Minute
	flockWarm     = 3 * time.Second
	// flockAtOnce is how many members are opened side by side.
	flockAtOnce = 16
)

// flockBench is what the flags ask for.
type flockBench struct {
	passives []int
	rate     float64
	bytes    int
	duration time.Duration
	runs     int
	json     bool
}

// flockRun is one measurement.
type flockRun struct {
	Passives int              `json:"passives"`
	Writes   int              `json:"writes"`
	CPU      time.Duration    `json:"leader_cpu_ns"`
	Took     time.Duration    `json:"took_ns"`
	Sent     starling.Traffic `json:"leader_sent"`
	// Others is the processor time of all other members and of who writes.
	Others time.Duration `json:"others_cpu_ns"`
	Equal  bool          `json:"digests_equal"`
}

func (p *Program) benchFlockCommand() *cli.Command {
	leader := intFlag("leader", -1, "be the leader's process, among `N` other members")
	leader.Hidden = true
	return &cli.Command{
		Name:  "flock",
		Usage: "what passives cost the leader, over real sockets",
		Description: "The leader in a process of its own, two more actives and the passives in this one, at a fixed rate of writes: the leader's processor time and " +
			"what it sends, for each write. The leader has a directory and syncs; the others are in memory. The numbers of passives take turns.\n\n" +
			examples("starling bench flock", "starling bench flock --passives 0,10 --for 2s --runs 1", "starling bench flock --rate 400 -o json"),
		Flags: []cli.Flag{
			stringFlag("passives", "0,10,50,100", "how many passives, `N[,N...]`"),
			floatFlag("rate", 200, "`N` writes per second"),
			intFlag("bytes", 256, "size of a value, `BYTES`"),
			durationFlag("for", 10*time.Second, "how long each run measures, `DURATION`"),
			intFlag("runs", 5, "`N` runs with each number of passives; the figures are medians"),
			leader,
			outputFlag(),
		},
		Action: offline(0, 0, p.benchFlock),
	}
}

func (p *Program) benchFlock(c *cli.Context, _ []string, asJSON bool) error {
	if n := c.Int("leader"); n >= 0 {
		return p.benchFlockLeader(c.Context, n)
	}
	b, err := flockBenchOf(c)
	if err != nil {
		return &usageError{fmt.Sprintf("%s: %v", c.Command.HelpName, err)}
	}
	b.json = asJSON
	var all []flockRun
	for i := range b.runs {
		for _, passives := range b.passives {
			r, err := p.flockRun(c.Context, b, passives)
			if err != nil {
				return fmt.Errorf("with %d passives: %w", passives, err)
			}
			fmt.Fprintf(p.Stderr, "run %d of %d, %d passives: %v of processor time for %d writes\n", i+1, b.runs, passives, r.CPU, r.Writes)
			all = append(all, *r)
		}
	}
	if b.json {
		return p.printJSON(map[string]any{"rate": b.rate, "bytes": b.bytes, "actives": flockActives, "runs": all})
	}
	return p.printFlock(b, all)
}

// flockBenchOf reads the flags.
func flockBenchOf(c *cli.Context) (*flockBench, error) {
	b := &flockBench{rate: c.Float64("rate"), bytes: c.Int("bytes"), duration: c.Duration("for"), runs: c.Int("runs")}
	var errs []error
	for text := range strings.SplitSeq(c.String("passives"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 || n > realMembersMax {
			errs = append(errs, fmt.Errorf("--passives takes numbers from 0 to %d, not %q", realMembersMax, text))
		}
		b.passives = append(b.passives, n)
	}
	if b.rate < 1 || b.rate > 100_000 {
		errs = append(errs, fmt.Errorf("--rate from 1 to 100000, not %g", b.rate))
	}
	if b.bytes < 1 || b.bytes > 64<<10 {
		errs = append(errs, fmt.Errorf("--bytes from 1 to %d, not %d", 64<<10, b.bytes))
	}
	if b.duration < 100*time.Millisecond || b.duration > realForMax {
		errs = append(errs, fmt.Errorf("--for from 100ms to %v, not %v", realForMax, b.duration))
	}
	if b.runs < 1 || b.runs > flockRunsMax {
		errs = append(errs, fmt.Errorf("--runs from 1 to %d, not %d", flockRunsMax, b.runs))
	}
	return b, errors.Join(errs...)
}

// flockRun starts a cluster, writes, and measures.
func (p *Program) flockRun(ctx context.Context, b *flockBench, passives int) (r *flockRun, err error) {
	starting, cancel := context.WithTimeout(ctx, flockPatience)
	defer cancel()
	neighbours := flockActives - 1 + passives
	l, first, err := p.startLeader(ctx, neighbours)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.stop()) }()
	nodes, err := openFlock(starting, first.Address, passives)
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
		_, handed := client.Transfer(starting, flockLeader)
		if err = errors.Join(err, handed); err != nil {
			return nil, err
		}
	}
	r = &flockRun{Passives: passives, Writes: max(int(b.rate*b.duration.Seconds()), 1)}
	m := starling.NewMap[string, []byte](client, "bench")
	value := make([]byte, b.bytes)
	put := func(k int) error { return m.Put(ctx, "key"+strconv.Itoa(k%realKeys), value) }
	if _, err := paced(ctx, b.rate, int(b.rate*flockWarm.Seconds()), put, nil); err != nil {
		return nil, err
	}
	if err := r.measure(l, func() (time.Duration, error) { return paced(ctx, b.rate, r.Writes, put, nil) }); err != nil {
		return nil, err
	}
	v, err := client.Verify(ctx)
	r.Equal = v.Equal && len(v.Members) == 1+neighbours
	return r, err
}

// measure takes the difference that the writes make.
func (r *flockRun) measure(l *leaderProcess, write func() (time.Duration, error)) error {
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

// openFlock opens the other members.
func openFlock(ctx context.Context, join string, passives int) ([]*starling.Node, error) {
	nodes := make([]*starling.Node, flockActives-1+passives)
	errs := make([]error, len(nodes))
	places := make(chan struct{}, flockAtOnce)
	var all sync.WaitGroup
	for i := range nodes {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			cfg := starling.Config{Name: "a" + strconv.Itoa(i+2), Bind: "127.0.0.1:0", Role: starling.Active, Join: []string{join}, Neighbours: len(nodes)}
			if i >= flockActives-1 {
				cfg.Name, cfg.Role = "p"+strconv.Itoa(i-flockActives+2), starling.Passive
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
			if m.Seat == "voter" {
				voters++
			}
		}
		if voters == flockActives {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d actives vote: %w", voters, flockActives, ctx.Err())
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

func flockFiguresOf(all []flockRun, passives int) flockFigures {
	f := flockFigures{equal: true}
	var list []flockRun
	for _, r := range all {
		if r.Passives == passives {
			list = append(list, r)
			f.equal = f.equal && r.Equal
		}
	}
	f.runs = len(list)
	median := func(of func(r *flockRun) float64) float64 {
		var x []float64
		for i := range list {
			x = append(x, of(&list[i]))
		}
		slices.SortFunc(x, cmp.Compare[float64])
		return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
	}
	each := func(of func(s *starling.Traffic) uint64) float64 {
		return median(func(r *flockRun) float64 { return float64(of(&r.Sent)) / float64(r.Writes) })
	}
	cpu := func(r *flockRun) float64 { return float64(r.CPU.Nanoseconds()) / 1000 / float64(r.Writes) }
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
	f.cores = median(func(r *flockRun) float64 { return (r.CPU + r.Others).Seconds() / r.Took.Seconds() })
	return f
}

// printFlock prints the medians.
func (p *Program) printFlock(b *flockBench, all []flockRun) error {
	fmt.Fprintf(p.Stdout, "%g writes/s of %d B for %v, %d runs each; medians, for each write\n\n", b.rate, b.bytes, b.duration, b.runs)
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "passives\tleader CPU\tleast to most\tto the first\tsends, B\tto the first\tRaft\tframes\tcopies\tcontrol\tmembership\tcores, all\tequal\t")
	first := flockFiguresOf(all, b.passives[0])
	for _, n := range b.passives {
		f := flockFiguresOf(all, n)
		fmt.Fprintf(w, "%d\t%.0f us\t%.0f to %.0f\t%+.1f %%\t%.0f\t%+.1f %%\t%.0f\t%.0f\t%.2f\t%.0f\t%.0f\t%.2f\t%v\t\n",
			n, f.cpu, f.least, f.most, 100*(f.cpu/first.cpu-1), f.total, 100*(f.total/first.total-1),
			f.raft, f.frames, f.copies, f.control, f.membership, f.cores, f.equal)
	}
	return w.Flush()
}
