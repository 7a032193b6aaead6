package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/dev/bench"
)

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
			boundedFloat("rate", 200, 1, 100_000, "`N` writes per second"),
			boundedInt("bytes", 256, 1, 64<<10, "size of a value, `BYTES`"),
			boundedDuration("for", 10*time.Second, 100*time.Millisecond, bench.ForMax, "how long each run measures, `DURATION`"),
			boundedInt("runs", 5, 1, 99, "`N` runs with each number of passives; the figures are medians"),
			leader,
			outputFlag(),
		},
		Action: offline(p.benchFlock),
	}
}

func (p *Program) benchFlock(c *cli.Context, _ []string, asJSON bool) error {
	if n := c.Int("leader"); n >= 0 {
		return bench.Leader(c.Context, n, p.Stdin, p.Stdout)
	}
	b, err := p.flockOf(c)
	if err != nil {
		return &usageError{fmt.Sprintf("%s: %v", c.Command.HelpName, err)}
	}
	all, err := b.Run(c.Context, func(run int, r *bench.FlockRun) {
		fmt.Fprintf(p.Stderr, "run %d of %d, %d passives: %v of processor time for %d writes\n", run, b.Runs, r.Passives, r.CPU, r.Writes)
	})
	if err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(map[string]any{"rate": b.Rate, "bytes": b.Bytes, "actives": bench.FlockActives, "runs": all})
	}
	_, err = fmt.Fprint(p.Stdout, b.Table(all))
	return err
}

// flockOf reads the flags.
func (p *Program) flockOf(c *cli.Context) (*bench.Flock, error) {
	b := &bench.Flock{Rate: c.Float64("rate"), Bytes: c.Int("bytes"), For: c.Duration("for"), Runs: c.Int("runs"), Leader: func(ctx context.Context, neighbours int) (*exec.Cmd, error) {
		return p.benchProcess(ctx, "flock", "--leader", strconv.Itoa(neighbours))
	}}
	var errs []error
	for text := range strings.SplitSeq(c.String("passives"), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 0 || n > bench.MembersMax {
			errs = append(errs, fmt.Errorf("--passives takes numbers from 0 to %d, not %q", bench.MembersMax, text))
		}
		b.Passives = append(b.Passives, n)
	}
	return b, errors.Join(errs...)
}

// benchProcess is this program as a process of a bench.
func (p *Program) benchProcess(ctx context.Context, args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, path, append([]string{"bench"}, args...)...)
	command.Stderr = p.Stderr
	return command, nil
}
