package cmd

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/dev/bench"
)

func (p *Program) benchStormCommand() *cli.Command {
	process := boolFlag("process", "be the process of the passives")
	process.Hidden = true
	return &cli.Command{
		Name:  "storm",
		Usage: "how long it takes until passives that start at once are fresh, over real sockets",
		Description: "Three actives in this process, the passives in one of their own, with directories. All of them start at once, with nothing; then they are killed, " +
			"and start again. A passive is fresh when it has what was written before, and an age of less than half a second.\n\n" +
			examples("starling bench storm", "starling bench storm --passives 20 --runs 1 --for 1s", "starling bench storm --away 40s -o json"),
		Flags: []cli.Flag{
			boundedInt("passives", 100, 1, bench.MembersMax, "how many passives, `N`"),
			boundedInt("runs", 3, 1, 99, "`N` runs"),
			boundedDuration("away", time.Second, 0, bench.ForMax, "how long they stay dead, `DURATION`"),
			boundedDuration("for", 20*time.Second, 100*time.Millisecond, bench.ForMax, "how long each start is measured at least, `DURATION`"),
			process,
			outputFlag(),
		},
		Action: offline(p.benchStorm),
	}
}

func (p *Program) benchStorm(c *cli.Context, _ []string, asJSON bool) error {
	if c.Bool("process") {
		return bench.StormPassives(c.Context, p.Stdin, p.Stdout)
	}
	b := &bench.Storm{Passives: c.Int("passives"), Runs: c.Int("runs"), Away: c.Duration("away"), For: c.Duration("for"), Process: func(ctx context.Context) (*exec.Cmd, error) {
		return p.benchProcess(ctx, "storm", "--process")
	}}
	all, err := b.Run(c.Context, func(run int, r *bench.StormRun) {
		fmt.Fprintf(p.Stderr, "run %d of %d: all fresh after %v\n", run, b.Runs, r.Last)
	})
	if err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(map[string]any{"passives": b.Passives, "runs": all})
	}
	_, err = fmt.Fprint(p.Stdout, b.Table(all))
	return err
}
