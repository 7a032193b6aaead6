package cmd

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/dev/study"
)

// trialsMax limits one run of a study.
const trialsMax = 1_000_000

func (p *Program) benchCommand() *cli.Command {
	return &cli.Command{
		Name: "bench", Usage: "measure elections, how entries reach the passives, what those cost, and how they start",
		Description: examples("starling bench election", "starling bench gossip", "starling bench flock", "starling bench storm"),
		Subcommands: []*cli.Command{{
			Name:  "election",
			Usage: "time from a leader's crash to the next leader, in virtual time",
			Description: "Figure 16 of the Raft paper, with the real core, five servers and the paper's broadcast time. " +
				"No clock has a say: the same seed gives the same figures everywhere.\n\n" +
				examples("starling bench election", "starling bench election --trials 100 --plot election.svg", "starling bench election -o json"),
			Flags: []cli.Flag{
				boundedInt("trials", 1000, 1, trialsMax, "`N` crashes for each setting"),
				uint64Flag("seed", 1, "the `SEED` that decides everything"),
				stringFlag("plot", "", "also draw the cumulative plot into this `FILE`, as SVG"),
				outputFlag(),
			},
			Action: offline(p.benchElection),
		}, p.benchGossipCommand(), p.benchFlockCommand(), p.benchStormCommand()},
	}
}

func (p *Program) benchElection(c *cli.Context, _ []string, asJSON bool) error {
	trials, seed := c.Int("trials"), c.Uint64("seed")
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
		return p.printJSON(study.JSON(all, seed))
	}
	fmt.Fprint(p.Stdout, study.Table(all))
	fmt.Fprintln(p.Stdout, "\nNot as in the paper:")
	for _, line := range study.Differences() {
		fmt.Fprintln(p.Stdout, "  "+line)
	}
	return nil
}
