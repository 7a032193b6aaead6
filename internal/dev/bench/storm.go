package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/starlinghq/starling"
)

const (
	// stormFresh is how old the state of a member may be that is fresh.
	stormFresh = 500 * time.Millisecond
	// stormKeys is what it holds then, of values of stormWrite bytes.
	stormKeys  = 4000
	stormWrite = 256
)

// Storm measures what it takes until passives that start at once are fresh. The actives are in
// this process; the passives have one of their own, which begins with nothing, is killed, and
// begins again with its directories.
type Storm struct {
	Passives int
	Runs     int
	Away     time.Duration // between the death and the second start
	For      time.Duration // that each start is measured for, longer if need be
	// Process makes the command, not started yet, that runs [StormPassives].
	Process func(ctx context.Context) (*exec.Cmd, error)
}

// StormStart says what the passives are to do.
type StormStart struct {
	Dir       string         `json:"dir"`
	Join      []string       `json:"join"`
	Addresses []string       `json:"addresses"`
	Applied   starling.Index `json:"applied"` // what who is fresh has applied
	For       time.Duration  `json:"for"`
}

// StormRun is one start of all passives.
type StormRun struct {
	Again bool `json:"again"` // with directories, after a death
	// Half, Most and Last are when half, 90 % and all were level with what was written before
	// and had an age of less than half a second; Known when all knew all.
	Half  time.Duration `json:"half_ns"`
	Most  time.Duration `json:"most_ns"`
	Last  time.Duration `json:"last_ns"`
	Known time.Duration `json:"known_ns"`
	// Until is until then, Sent and CPU of everybody until For was over.
	Until starling.Traffic `json:"sent_until"`
	Sent  starling.Traffic `json:"sent"`
	// CPUUntil and CPU are what all have computed until all were fresh, and until For was over.
	CPUUntil time.Duration `json:"cpu_until_ns"`
	CPU      time.Duration `json:"cpu_ns"`
}

// StormPassives is the process of a [Storm]'s passives: it opens them all at once, and says how that
// went. It lives until its input ends.
func StormPassives(ctx context.Context, stdin io.Reader, stdout io.Writer) (err error) {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var s StormStart
	if err := json.Unmarshal(line, &s); err != nil {
		return err
	}
	p := &stormPassives{start: s, nodes: make([]*starling.Node, len(s.Addresses))}
	err = p.run(ctx, json.NewEncoder(stdout))
	if err == nil {
		_, err = io.Copy(io.Discard, in)
	}
	return errors.Join(err, closeFlock(p.nodes))
}

type stormPassives struct {
	start StormStart
	nodes []*starling.Node
}

// stormWord is what that process says: when all are fresh, and at the end.
type stormWord struct {
	Fresh []time.Duration  `json:"fresh"`
	Known time.Duration    `json:"known"`
	CPU   time.Duration    `json:"cpu"`
	Sent  starling.Traffic `json:"sent"`
}

func (p *stormPassives) run(ctx context.Context, out *json.Encoder) error {
	begin := time.Now()
	errs, fresh, known := make([]error, len(p.nodes)), make([]time.Duration, len(p.nodes)), make([]time.Duration, len(p.nodes))
	var all, knowing sync.WaitGroup
	for i := range p.nodes {
		all.Add(1)
		knowing.Go(func() {
			fresh[i], errs[i] = p.open(ctx, i, begin)
			all.Done()
			if errs[i] == nil {
				known[i], errs[i] = p.knows(ctx, i, begin)
			}
		})
	}
	all.Wait()
	slices.Sort(fresh)
	w := stormWord{Fresh: fresh, Sent: p.sent()}
	w.CPU, _ = processTime()
	if err := out.Encode(w); err != nil {
		return err
	}
	knowing.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	w.Known = slices.Max(known)
	select {
	case <-time.After(time.Until(begin.Add(p.start.For))):
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	if w.CPU, err = processTime(); err != nil {
		return err
	}
	w.Sent = p.sent()
	return out.Encode(w)
}

// open opens a passive, and returns when it was fresh.
func (p *stormPassives) open(ctx context.Context, i int, begin time.Time) (time.Duration, error) {
	name := "p" + strconv.Itoa(i+1)
	n, err := starling.Open(ctx, starling.Config{
		Name: name, Dir: filepath.Join(p.start.Dir, name), Bind: p.start.Addresses[i], Role: starling.Passive,
		Join: p.start.Join, Neighbours: len(p.nodes) + FlockActives - 1,
	})
	if err != nil {
		return 0, err
	}
	p.nodes[i] = n
	err = poll(ctx, 50*time.Millisecond, func() bool {
		s := n.Status()
		return s.Applied >= p.start.Applied && s.AgeMS != nil && *s.AgeMS <= stormFresh.Milliseconds()
	})
	return time.Since(begin), err
}

// knows returns when a passive knows all others.
func (p *stormPassives) knows(ctx context.Context, i int, begin time.Time) (time.Duration, error) {
	err := poll(ctx, 250*time.Millisecond, func() bool { return len(p.nodes[i].Status().Passives) == len(p.nodes) })
	return time.Since(begin), err
}

func (p *stormPassives) sent() (sum starling.Traffic) {
	for _, n := range p.nodes {
		if n != nil {
			sum = added(sum, n.Traffic(), 1)
		}
	}
	return sum
}

// added returns a + b, or, with less than 0, a - b.
func added(a, b starling.Traffic, sign int64) starling.Traffic {
	sum := func(x *uint64, y uint64) { *x += uint64(sign) * y }
	sum(&a.Raft, b.Raft)
	sum(&a.Frames, b.Frames)
	sum(&a.Copies, b.Copies)
	sum(&a.Control, b.Control)
	sum(&a.Checkpoints, b.Checkpoints)
	sum(&a.Membership, b.Membership)
	return a
}

// poll waits until something is so.
func poll(ctx context.Context, every time.Duration, so func() bool) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// Run makes all runs, and tells of each start.
func (b *Storm) Run(ctx context.Context, told func(run int, r *StormRun)) (all []StormRun, err error) {
	for i := range b.Runs {
		list, err := b.run(ctx)
		if err != nil {
			return nil, err
		}
		for k := range list {
			told(i+1, &list[k])
		}
		all = append(all, list...)
	}
	return all, nil
}

// run begins a cluster and starts its passives twice.
func (b *Storm) run(ctx context.Context) (list []StormRun, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*flockPatience+2*b.For+b.Away)
	defer cancel()
	dir, err := os.MkdirTemp("", "starling-storm-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	actives, err := b.actives(ctx)
	defer func() { err = errors.Join(err, closeFlock(actives)) }()
	if err != nil {
		return nil, err
	}
	m, value := starling.NewMap[string, []byte](actives[0], "bench"), make([]byte, stormWrite)
	if _, err := paced(ctx, 1e6, stormKeys, func(k int) error { return m.Put(ctx, "key"+strconv.Itoa(k), value) }, nil); err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(b.Passives)
	if err != nil {
		return nil, err
	}
	s := StormStart{Dir: dir, Addresses: addresses, Applied: actives[0].Status().Applied, For: b.For}
	for _, n := range actives {
		s.Join = append(s.Join, n.Addr())
	}
	for again := range 2 {
		r, err := b.start(ctx, actives, s)
		if err != nil {
			return nil, err
		}
		r.Again = again > 0
		list = append(list, *r)
		if again == 0 && b.Away > 0 {
			time.Sleep(b.Away)
		}
	}
	return list, nil
}

// actives opens them.
func (b *Storm) actives(ctx context.Context) ([]*starling.Node, error) {
	neighbours := b.Passives + FlockActives - 1
	first, err := starling.Open(ctx, starling.Config{
		Name: leaderName, Bind: "127.0.0.1:0", Role: starling.Active, Actives: FlockActives, Bootstrap: true, Neighbours: neighbours,
	})
	if err != nil {
		return nil, err
	}
	others, err := openFlock(ctx, first.Addr(), 0, neighbours)
	return append([]*starling.Node{first}, others...), err
}

// start runs the process of the passives, measures and kills it.
func (b *Storm) start(ctx context.Context, actives []*starling.Node, s StormStart) (r *StormRun, err error) {
	command, err := b.Process(ctx)
	if err != nil {
		return nil, err
	}
	in, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	sent := func() (sum starling.Traffic) {
		for _, n := range actives {
			sum = added(sum, n.Traffic(), 1)
		}
		return sum
	}
	cpu, err := processTime()
	if err != nil {
		return nil, err
	}
	before := sent()
	if err := command.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
	}()
	if err := json.NewEncoder(in).Encode(s); err != nil {
		return nil, err
	}
	words, w := json.NewDecoder(out), stormWord{}
	if err := words.Decode(&w); err != nil {
		return nil, fmt.Errorf("the passives' process: %w", err)
	}
	n := len(w.Fresh)
	r = &StormRun{Half: w.Fresh[n/2], Most: w.Fresh[n*9/10], Last: w.Fresh[n-1]}
	now, _ := processTime()
	r.CPUUntil, r.Until = w.CPU+now-cpu, added(added(w.Sent, sent(), 1), before, -1)
	if err := words.Decode(&w); err != nil {
		return nil, fmt.Errorf("the passives' process: %w", err)
	}
	now, _ = processTime()
	r.Known, r.CPU, r.Sent = w.Known, w.CPU+now-cpu, added(added(w.Sent, sent(), 1), before, -1)
	return r, nil
}

// freeAddresses returns addresses of this machine at which nobody listens.
func freeAddresses(n int) (list []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		list = append(list, l.Addr().String())
	}
	return list, nil
}

// Table returns all runs.
func (b *Storm) Table(all []StormRun) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%d passives start at once\n\n", b.Passives)
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "start\thalf fresh\t90 %\tall\tall known\tCPU until\tmembership, MB\tframes\tcontrol\tCPU\tmembership\tframes\tcontrol\t")
	for i := range all {
		r := &all[i]
		name := "first"
		if r.Again {
			name = "again"
		}
		mb := func(n uint64) float64 { return float64(n) / 1e6 }
		fmt.Fprintf(w, "%s\t%.1f s\t%.1f s\t%.1f s\t%.1f s\t%.1f s\t%.1f\t%.1f\t%.1f\t%.1f s\t%.1f\t%.1f\t%.1f\t\n", name,
			r.Half.Seconds(), r.Most.Seconds(), r.Last.Seconds(), r.Known.Seconds(), r.CPUUntil.Seconds(),
			mb(r.Until.Membership), mb(r.Until.Frames), mb(r.Until.Control),
			r.CPU.Seconds(), mb(r.Sent.Membership), mb(r.Sent.Frames), mb(r.Sent.Control))
	}
	_ = w.Flush() // into memory
	return out.String()
}
