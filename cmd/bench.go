package cmd

import (
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/dev/study"
)

// trialsMax limits one run of a study.
const trialsMax = 1_000_000

func (p *Program) benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure elections, how entries reach the passives, and what those cost",
		Description: examples("starling bench election", "starling bench gossip", "starling bench flock"),
		Subcommands: []*cli.Command{{
			Name:  "election",
			Usage: "time from a leader's crash to the next leader, in virtual time",
			Description: "Figure 16 of the Raft paper, with the real core, five servers and the paper's broadcast time. " +
				"No clock has a say: the same seed gives the same figures everywhere.\n\n" +
				examples("starling bench election", "starling bench election --trials 100 --plot election.svg", "starling bench election -o json"),
			Flags: []cli.Flag{
				intFlag("trials", 1000, "`N` crashes for each setting"),
				uint64Flag("seed", 1, "the `SEED` that decides everything"),
				stringFlag("plot", "", "also draw the cumulative plot into this `FILE`, as SVG"),
				outputFlag(),
			},
			Action: offline(0, 0, p.benchElection),
		}, p.benchGossipCommand(), p.benchFlockCommand()},
	}
}

func (p *Program) benchElection(c *cli.Context, _ []string, asJSON bool) error {
	trials, seed := c.Int("trials"), c.Uint64("seed")
	if trials < 1 || trials > trialsMax {
		return &usageError{fmt.Sprintf("%s: --trials from 1 to %d", c.Command.HelpName, trialsMax)}
	}
	settings := study.Settings()
	bar := newProgress(p.Stderr, "electing", "settings", int64(len(settings)))
	var all []study.Series
	for i, s := range settings {
		for _, rules := range []study.Rules{study.Paper, study.PreVote} {
			series, err := study.Run(c.Context, rules, s, trials, seed)
			if err != nil {
				return err
			}
			all = append(all, series)
		}
		bar.set(int64(i+1), int64(i+1))
	}
	bar.finish()
	if file := c.String("plot"); file != "" {
		if err := os.WriteFile(file, []byte(study.Plot(all)), 0o644); err != nil {
			return fmt.Errorf("cannot write the plot: %w", err)
		}
	}
	if asJSON {
		return p.printJSON(electionJSON(all, seed))
	}
	fmt.Fprint(p.Stdout, study.Table(all))
	fmt.Fprintln(p.Stdout, "\nNot as in the paper:")
	for _, line := range study.Differences() {
		fmt.Fprintln(p.Stdout, "  "+line)
	}
	return nil
}

// electionJSON is the study for a script; times are in milliseconds.
func electionJSON(all []study.Series, seed uint64) map[string]any {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	lines := make([]map[string]any, 0, len(all))
	for i := range all {
		s := &all[i]
		lines = append(lines, map[string]any{
			"rules": s.Rules.String(), "timeout_least_ms": ms(s.Setting.Least), "timeout_most_ms": ms(s.Setting.Most), "lower_plot": s.Setting.Lower,
			"trials": len(s.Times), "no_leader": s.Unfinished,
			"least_ms": ms(s.Times[0]), "median_ms": ms(s.Quantile(0.5)), "mean_ms": ms(s.Mean()),
			"p99_ms": ms(s.Quantile(0.99)), "worst_ms": ms(s.Quantile(1)), "paper": s.Setting.Paper,
		})
	}
	return map[string]any{
		"seed": seed, "servers": study.Servers, "broadcast_ms": ms(study.Broadcast),
		"give_up_ms": ms(study.GiveUp), "settings": lines, "differences": study.Differences(),
	}
}
