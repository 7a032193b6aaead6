package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/dev/bench"
	"github.com/starlinghq/starling/internal/dev/study/spread"
)

// cutMax limits how long half of a flock may be cut off.
const cutMax = 10 * time.Minute

func (p *Program) benchGossipCommand() *cli.Command {
	return &cli.Command{
		Name:  "gossip",
		Usage: "how entries reach the passives, in virtual time or over real sockets",
		Description: "The real core of the flock, in virtual time: the same seed gives the same figures everywhere. Beside it, what a perfect tree would need, and two baselines, " +
			"which are models: every passive pulling straight from an active, and memberlist's queue of broadcasts.\n\n" +
			"With --real, members in this process over loopback sockets, on this machine's clock.\n\n" +
			examples("starling bench gossip", "starling bench gossip --members 1000 --loss 0.05", "starling bench gossip --mode all --plot spread.svg",
				"starling bench gossip --members 10,100,1000 --plot egress.svg", "starling bench gossip --cut 10s", "starling bench gossip --dead 0.1 --seeds 25", "starling bench gossip --real --members 20"),
		Flags: []cli.Flag{
			stringFlag("members", "100", "how many passives, `N[,N...]`, beside three actives"),
			boundedFloat("loss", 0, 0, 0.9, "`SHARE` of the datagrams that is lost, 0 to 0.9"),
			boundedDuration("delay", 500*time.Microsecond, 10*time.Microsecond, time.Second, "how long a message takes one way, `DURATION`"),
			stringFlag("mode", "hybrid", "`MODE`: hybrid, flood, pull, broadcast, or all of them; a picture is of all unless this is given"),
			boundedFloat("dead", 0, 0, 0.9, "`SHARE` of the passives that is dead and not noticed"),
			boundedFloat("slow", 0, 0, 0.9, "`SHARE` of the passives that is slow by 50 ms"),
			boundedInt("zones", 1, 1, 16, "`N` zones that the members are dealt out to"),
			boundedDuration("zone-delay", 40*time.Millisecond, 0, time.Second, "how much longer a message takes between zones, `DURATION`"),
			boundedFloat("rate", 100, 0.1, 100_000, "`N` entries per second"),
			boundedInt("bytes", 200, 1, 1<<20, "size of an entry's data, `BYTES`"),
			unsaid("2s, 1s with more than 1,000 members, 10s with --real", boundedDuration("for", 0, 100*time.Millisecond, time.Hour, "how long entries are written, `DURATION`")),
			unsaid("no cut", boundedDuration("cut", 0, 100*time.Millisecond, cutMax, "cut half of the flock off for a `DURATION`, and measure how it heals")),
			uint64Flag("seed", 1, "the `SEED` that decides everything"),
			unsaid("one", boundedInt("seeds", 0, 1, spread.SeedsMax, "`N` seeds from that on: the median and the worst of each figure, and with --dead or --slow how many times longer the lag is than without")),
			unsaid("4", boundedInt("gossip-fanout", 0, 1, 64, "fan-out `N` of the mode flood")),
			unsaid("0.75", boundedFloat("gossip-probability", 0, 0.01, 1, "`SHARE` of the fan-out that gets a copy, in the mode flood")),
			stringFlag("plot", "", "also draw into this `FILE`, as SVG: the share of the members that have an entry over time; with several numbers of members, the leader's egress against them"),
			boolFlag("real", "members in this process, over real sockets"),
			outputFlag(),
		},
		Action: p.benchGossip,
	}
}

// gossipBench is what the flags ask for.
type gossipBench struct {
	settings []spread.Setting // by members, then by mode
	sizes    []int
	modes    []spread.Mode
	cut      time.Duration
	seeds    int
	plot     string
	real     bool
	json     bool
}

func (p *Program) benchGossip(c *cli.Context) error {
	b, err := gossipBenchOf(c)
	if err != nil {
		return &usageError{fmt.Sprintf("%s: %v", c.Command.HelpName, err)}
	}
	switch {
	case b.real:
		return p.benchGossipReal(c.Context, b)
	case b.cut > 0:
		return p.benchGossipCut(c, b)
	case b.seeds > 0:
		return p.benchGossipSeeds(c, b)
	}
	var all []spread.Figures
	// Larger flocks take longer, about in proportion.
	total, done := 0, 0.0
	for _, s := range b.settings {
		total += s.Members
	}
	bar := newProgress(p.Stderr, "spreading", "members", int64(total))
	for _, s := range b.settings {
		f, err := spread.Run(s, func(share float64) error {
			now := int64(done + share*float64(s.Members))
			bar.set(now, now)
			return c.Context.Err()
		})
		if err != nil {
			bar.finish()
			return err
		}
		done += float64(s.Members)
		all = append(all, f)
	}
	bar.finish()
	return p.printGossip(b, all)
}

// printGossip draws the picture and prints the figures.
func (p *Program) printGossip(b *gossipBench, all []spread.Figures) error {
	if b.plot != "" {
		picture := spread.PlotSpread
		if len(b.sizes) > 1 {
			picture = spread.PlotEgress
		}
		if err := os.WriteFile(b.plot, []byte(picture(all)), 0o644); err != nil {
			return fmt.Errorf("cannot write the plot: %w", err)
		}
	}
	if b.json {
		lines := make([]map[string]any, 0, len(all))
		for i := range all {
			lines = append(lines, all[i].JSON())
		}
		if len(lines) == 1 {
			return p.printJSON(lines[0])
		}
		return p.printJSON(map[string]any{"runs": lines})
	}
	// One table for each mode if there are several sizes.
	if len(b.sizes) > 1 {
		for k, m := range b.modes {
			if k > 0 {
				fmt.Fprintln(p.Stdout)
			}
			fmt.Fprint(p.Stdout, spread.Table(slices.DeleteFunc(slices.Clone(all), func(f spread.Figures) bool { return f.Setting.Mode != m })))
		}
	} else {
		fmt.Fprint(p.Stdout, spread.Table(all))
	}
	fmt.Fprintln(p.Stdout, "\nWhat the figures rest on:")
	for _, line := range spread.Notes() {
		fmt.Fprintln(p.Stdout, "  "+line)
	}
	return nil
}

// shares shows how much of something is done, until it is finished or interrupted.
func (p *Program) shares(c *cli.Context, what string) (report func(share float64) error, finish func()) {
	bar := newProgress(p.Stderr, what, "per cent", 100)
	return func(share float64) error {
		bar.set(int64(100*share), int64(100*share))
		return c.Context.Err()
	}, bar.finish
}

func (p *Program) benchGossipCut(c *cli.Context, b *gossipBench) error {
	report, finish := p.shares(c, "cutting")
	h, err := spread.Heal(b.settings[0], b.cut, report)
	finish()
	if err != nil {
		return err
	}
	if !b.json {
		fmt.Fprint(p.Stdout, h.String())
		return nil
	}
	out := h.Setting.JSON()
	out["cut_ms"], out["behind"], out["healed_ms"] = spread.Milliseconds(h.Cut), h.Behind, spread.Milliseconds(h.Took)
	out["bytes"], out["active_share"] = h.Bytes, h.FromActives
	return p.printJSON(out)
}

func (p *Program) benchGossipSeeds(c *cli.Context, b *gossipBench) error {
	report, finish := p.shares(c, "spreading")
	t, err := spread.RunSeeds(b.settings[0], b.seeds, report)
	finish()
	if err != nil {
		return err
	}
	if b.json {
		return p.printJSON(t.JSON())
	}
	fmt.Fprint(p.Stdout, t.String())
	return nil
}

func (p *Program) benchGossipReal(ctx context.Context, b *gossipBench) error {
	set := &b.settings[0]
	fmt.Fprintf(p.Stderr, "starting %d actives and %d passives\n", spread.Actives, set.Members)
	var bar *progress
	f, err := bench.Real(ctx, *set, func(done, writes int) {
		if bar == nil {
			bar = newProgress(p.Stderr, "writing", "writes", int64(writes))
		}
		bar.set(int64(done), int64(done))
	})
	if bar != nil {
		bar.finish()
	}
	if err != nil {
		return err
	}
	if b.json {
		out := set.JSON()
		for _, virtual := range []string{"loss", "delay_ms", "dead", "slow", "zones", "zone_delay_ms", "seed"} {
			delete(out, virtual)
		}
		out["real"], out["writes"], out["writes_per_s"], out["digests_equal"] = true, f.Writes, f.Rate, f.Equal
		out["lag_p50_ms"], out["lag_p99_ms"], out["lag_max_ms"], out["missing"] = spread.Milliseconds(f.LagP50), spread.Milliseconds(f.LagP99), spread.Milliseconds(f.LagMax), f.Late
		return p.printJSON(out)
	}
	fmt.Fprintf(p.Stdout, "%d passives and %d actives in this process, over loopback sockets; %d writes of %d B, %.0f/s for %v\n\n",
		set.Members, spread.Actives, f.Writes, set.Bytes, f.Rate, set.For)
	fmt.Fprintf(p.Stdout, "lag, median    %v\nlag, 99 %%      %v\nlag, worst     %v\nnever came     %d\ndigests equal  %v\n\n"+
		"The lag is from when the leader's watchers heard of a write to when a passive's did. The members share this machine's cores.\n",
		f.LagP50.Round(10*time.Microsecond), f.LagP99.Round(10*time.Microsecond), f.LagMax.Round(10*time.Microsecond), f.Late, f.Equal)
	return nil
}

// gossipBenchOf reads the flags.
func gossipBenchOf(c *cli.Context) (*gossipBench, error) {
	b := &gossipBench{cut: c.Duration("cut"), seeds: c.Int("seeds"), plot: c.String("plot"), real: c.Bool("real")}
	var err error
	if b.json, err = wantsJSON(c); err != nil {
		return nil, err
	}
	for text := range strings.SplitSeq(c.String("members"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("--members takes numbers, not %q", text)
		}
		if !slices.Contains(b.sizes, n) {
			b.sizes = append(b.sizes, n)
		}
	}
	slices.Sort(b.sizes)
	if mode := c.String("mode"); mode == "all" || b.plot != "" && !c.IsSet("mode") {
		b.modes = spread.Modes()
	} else if m, err := spread.ParseMode(mode); err != nil {
		return nil, fmt.Errorf("--mode takes %w, or all", err)
	} else {
		b.modes = []spread.Mode{m}
	}
	if err := b.together(c); err != nil {
		return nil, err
	}
	for _, m := range b.modes {
		for _, n := range b.sizes {
			s := spread.Setting{
				Mode: m, Members: n, Loss: c.Float64("loss"), Delay: c.Duration("delay"), Dead: c.Float64("dead"), Slow: c.Float64("slow"),
				Zones: c.Int("zones"), ZoneDelay: c.Duration("zone-delay"), Rate: c.Float64("rate"), Bytes: c.Int("bytes"),
				For: c.Duration("for"), Seed: c.Uint64("seed"), Fanout: c.Int("gossip-fanout"), Probability: c.Float64("gossip-probability"),
			}
			if !c.IsSet("for") {
				s.For = gossipFor(b, n)
			}
			if err := s.Validate(); err != nil {
				return nil, fmt.Errorf("--mode %s with --members %d: %w", m, n, err)
			}
			b.settings = append(b.settings, s)
		}
	}
	return b, nil
}

// gossipFor is how long entries are written if nobody says.
func gossipFor(b *gossipBench, members int) time.Duration {
	switch {
	case b.real:
		return 10 * time.Second
	case members > 1000:
		return time.Second
	}
	return 2 * time.Second
}

// together refuses flags that contradict each other.
func (b *gossipBench) together(c *cli.Context) error {
	var errs []error
	one := len(b.sizes) == 1 && len(b.modes) == 1
	core := b.modes[0] == spread.Hybrid || b.modes[0] == spread.Flood
	if c.IsSet("cut") {
		if !one || !core || b.plot != "" {
			errs = append(errs, errors.New("--cut goes with one number of members and --mode hybrid or flood, and without --plot"))
		}
	}
	if b.seeds > 0 && (!one || b.plot != "" || b.cut > 0 || b.real) {
		errs = append(errs, errors.New("--seeds goes with one number of members and one mode, and without --plot, --cut and --real"))
	}
	if b.real {
		if !one || !core || b.plot != "" || b.cut > 0 {
			errs = append(errs, errors.New("--real goes with one number of members and --mode hybrid or flood, and without --plot and --cut"))
		}
		if n := b.sizes[0]; n > bench.MembersMax {
			errs = append(errs, fmt.Errorf("--real with at most %d members in one process, not %d", bench.MembersMax, n))
		}
		if f := c.Duration("for"); f > bench.ForMax {
			errs = append(errs, fmt.Errorf("--real for at most %v, not %v", bench.ForMax, f))
		}
		for _, name := range []string{"loss", "delay", "dead", "slow", "zones", "zone-delay"} {
			if c.IsSet(name) {
				errs = append(errs, fmt.Errorf("--real has real sockets: --%s is for virtual time", name))
			}
		}
	}
	return errors.Join(errs...)
}
