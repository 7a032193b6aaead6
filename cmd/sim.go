package cmd

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/sim"
)

// seedsMax limits one sim command, simForMax a seed of it, simWorkersMax how many play
// at a time.
const (
	seedsMax      = 10_000_000
	simForMax     = time.Hour
	simWorkersMax = 1024
)

func (p *Program) simCommand() *cli.Command {
	return &cli.Command{
		Name:  "sim",
		Usage: "replay, or look for, simulated disasters",
		Description: "A seed decides everything: the faults, their times, the order of all that happens. " +
			"--seed plays one and tells what happens; --from and --seeds look for a seed that breaks a promise. " +
			"The last line names seeds, violations and time; a violation is exit code 1, and so are rare events that did not occur often enough in 1,000 seeds or more.\n\n" +
			examples("starling sim --seed 1", "starling sim --from 1 --seeds 1000", "starling sim --from 1 --seeds 100 --for 10s --profile power"),
		Flags: []cli.Flag{
			uint64Flag("seed", 0, "play this `SEED` and tell what happens"),
			uint64Flag("from", 1, "first `SEED` of many"),
			boundedInt("seeds", 100, 1, seedsMax, "`N` seeds to look at"),
			boundedDuration("for", sim.DurationDefault, time.Second, simForMax, "simulated `DURATION` of load and faults"),
			boundedInt("actives", 3, 1, 9, "`N` active members"),
			boundedInt("passives", 2, 0, 50, "`N` passive members"),
			boundedInt("reserves", 0, 0, 50, "`N` reserves: with any, the policy wants all the passives that there are at first"),
			unsaid("drawn from the seed", stringFlag("profile", "", "`KIND` of trouble")),
			boundedInt("workers", runtime.NumCPU(), 1, simWorkersMax, "`N` seeds at a time"),
			boolFlag("trace", "tell what happens in each seed, members as columns (always with --seed, but for JSON)"),
			boolFlag("messages", "tell of every message and every client as well"),
			boolFlag("counts", "print how often each kind of rare event occurred"),
			outputFlag(),
		},
		Action: offline(p.runSim),
	}
}

func (p *Program) runSim(c *cli.Context, _ []string, asJSON bool) error {
	o, err := p.simOptions(c, asJSON)
	if err != nil {
		return err
	}
	from, n, workers := c.Uint64("from"), c.Int("seeds"), c.Int("workers")
	if c.IsSet("seed") {
		from, n = c.Uint64("seed"), 1
	}
	if o.Trace != nil {
		workers = 1 // so that the traces do not mix
	}
	bar := newProgress(p.Stderr, "simulating", "seeds", int64(n))
	done := int64(0)
	summary := sim.RunMany(from, n, workers, o, func(r sim.Report) bool {
		done++
		bar.set(done, done)
		if r.Violation != nil {
			bar.clear()
			fmt.Fprintf(p.Stderr, "seed %d: %v\n%s\n", r.Seed, r.Violation, r.Replay(o.Duration))
			if r.Stack != "" {
				io.WriteString(p.Stderr, r.Stack)
			}
		}
		return c.Context.Err() == nil
	})
	bar.finish()
	if err := p.printSummary(&summary, c.Bool("counts"), asJSON, rare(&summary, o)); err != nil {
		return err
	}
	return c.Context.Err() // what was seen so far is sound, and not all that was asked for
}

// simOptions turns flags into what a run does not draw from its seed.
func (p *Program) simOptions(c *cli.Context, asJSON bool) (sim.Options, error) {
	o := sim.Options{Duration: c.Duration("for"), Actives: c.Int("actives"), Passives: c.Int("passives"), Reserves: c.Int("reserves"), Profile: c.String("profile"),
		Stop: func() bool { return c.Context.Err() != nil }}
	wrong := func(format string, args ...any) (sim.Options, error) {
		return o, &usageError{c.Command.HelpName + ": " + fmt.Sprintf(format, args...)}
	}
	if c.IsSet("seed") && (c.IsSet("from") || c.IsSet("seeds")) {
		return wrong("--seed plays one, --from and --seeds look at many: say one of both")
	}
	if o.Passives == 0 {
		o.Passives = -1
	}
	if o.Profile != "" && !slices.Contains(sim.Profiles(), o.Profile) {
		return wrong("no --profile %q; there are %s", o.Profile, strings.Join(sim.Profiles(), ", "))
	}
	if c.Bool("trace") || c.Bool("messages") || c.IsSet("seed") && !asJSON {
		o.Trace, o.Messages, o.Colors = p.Stdout, c.Bool("messages"), isTerminal(p.Stdout)
	}
	return o, nil
}

// rareSeeds is from how many seeds on rare events must have occurred often
// enough: with fewer, chance decides.
const rareSeeds = 1000

// rare names the kinds of events of which many seeds had too few: a simulator
// that never gets there proves nothing.
func rare(s *sim.Summary, o sim.Options) []string {
	if s.Seeds < rareSeeds || o.Duration != sim.DurationDefault || o.Profile != "" {
		return nil
	}
	return s.Counts.Missing(s.Seeds)
}

func (p *Program) printSummary(s *sim.Summary, counts, asJSON bool, rare []string) error {
	if asJSON {
		var seeds []uint64
		for _, r := range s.Violations {
			seeds = append(seeds, r.Seed)
		}
		if err := p.printJSON(map[string]any{
			"seeds": s.Seeds, "violations": len(s.Violations), "violating_seeds": seeds,
			"too_rare": rare, "wall_ms": s.Wall.Milliseconds(), "trace_hash": fmt.Sprintf("%016x", s.TraceHash),
		}); err != nil {
			return err
		}
	} else {
		if counts {
			fmt.Fprint(p.Stdout, s.Counts.String())
		}
		for _, kind := range rare {
			fmt.Fprintf(p.Stdout, "too rare: %s\n", kind)
		}
		if _, err := fmt.Fprintln(p.Stdout, s.Line()); err != nil {
			return err
		}
	}
	if len(s.Violations) > 0 {
		return fmt.Errorf("of %s %d broke a promise", counted(int64(s.Seeds), "seed"), len(s.Violations))
	}
	if len(rare) > 0 {
		return fmt.Errorf("%d kinds of events were too rare to prove anything", len(rare))
	}
	return nil
}
