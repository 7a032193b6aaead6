package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/protocol"
)

// devStartTime bounds the start of a whole cluster on one machine.
const devStartTime = time.Minute

func (p *Program) devCommand() *cli.Command {
	return &cli.Command{
		Name:  "dev",
		Usage: "run a whole cluster in this process, over real sockets, until interrupted",
		Description: "The first member listens at --bind, where other commands look by default; the others have the ports that follow. " +
			"Without --dir everything is in memory and gone at the end.\n\n" +
			examples("starling dev", "starling dev --actives 5 --passives 10", "starling dev --dir /tmp/flock --bind 127.0.0.1:7900"),
		Flags: variables("dev", append([]cli.Flag{
			intFlag("actives", 3, "`N` active members"),
			intFlag("passives", 2, "`N` passive members"),
			unsaid("in memory", stringFlag("dir", "", "`DIR` for their data")),
			stringFlag("bind", defaultAddress, "`HOST:PORT` of the first member, on this machine; port 0 picks one for each"),
			stringFlag("http", httpDefault, "`HOST:PORT` of its HTTP; none for no HTTP"),
			stringFlag("log-level", "warn", "`LEVEL` of the log on standard error: debug, info, warn or error"),
			stringFlag("log-format", "text", "`FORMAT` of the log: text or json"),
		}, devFields()...)),
		Action: p.runDev,
	}
}

// sharedFields are what all members of a cluster in one process have alike.
var sharedFields = []naming.Field{"Timing", "Election", "Heartbeat", "CheckpointBytes", "CheckpointEvery", "RetainBytes", "DiskLow", "DiskHigh"}

func devFields() []cli.Flag {
	flags := fieldFlags(sharedFields...)
	unsaid("250 ms to 500 ms for up to 16 members, otherwise lan", findFlag(flags, "timing"))
	return flags
}

func (p *Program) runDev(c *cli.Context) error {
	var wrong naming.Faults
	logger, err := newLogger(p.Stderr, c.String("log-level"), c.String("log-format"))
	wrong.Add(err)
	cfg := starling.LocalConfig{
		Actives: c.Int("actives"), Passives: c.Int("passives"), Dir: c.String("dir"),
		Bind: cmp.Or(c.String("bind"), defaultAddress), HTTP: c.String("http"), Types: p.Types, Logger: logger,
	}
	fill(c, &cfg, &wrong, sharedFields...)
	if n := c.Int("actives"); n == 0 { // it would mean the default
		wrong.Addf("%s is 0, not from 1 to %d", naming.Field("Actives"), protocol.ActivesMax)
	}
	if cfg.HTTP == "none" {
		cfg.HTTP = ""
	}
	if wrong.Add(cfg.Validate()); len(wrong) > 0 {
		return wrongInput(c, wrong)
	}
	outlives(p)
	ctx, cancel := context.WithTimeout(c.Context, devStartTime)
	defer cancel()
	cluster, err := starling.OpenLocal(ctx, cfg)
	if err != nil {
		if c.Context.Err() != nil {
			return nil // interrupted while starting
		}
		return err
	}
	p.introduce(cluster, cfg.Dir)
	stopped := waitForAny(c.Context, cluster)
	if c.Context.Err() != nil {
		fmt.Fprintln(p.Stderr, "stopping (once more to stop at once)")
	}
	return errors.Join(stopped, cluster.Close())
}

// introduce says what was started, and three commands that work as printed in
// another terminal.
func (p *Program) introduce(c *starling.Cluster, dir string) {
	first, last := c.Nodes[0].Status(), c.Nodes[len(c.Nodes)-1]
	where := "in memory: all of it is gone at the end"
	if dir != "" {
		where = "data in " + dir
	}
	fmt.Fprintf(p.Stdout, "A cluster of %d active and %d passive members runs in this process, %s.\n\n",
		len(first.Actives), len(c.Nodes)-len(first.Actives), where)
	var rows [][]string
	for _, n := range c.Nodes {
		s := n.Status()
		http := ""
		if n.HTTPAddr() != "" {
			http = "http://" + n.HTTPAddr() + "/v1/status"
		}
		rows = append(rows, []string{"  " + s.Name, s.Role, s.RaftRole, n.Addr(), http})
	}
	printTable(p.Stdout, []string{"  NAME", "ROLE", "RAFT", "ADDRESS", "HTTP"}, rows) // nothing depends on a terminal
	addr := ""
	if c.Nodes[0].Addr() != defaultAddress {
		addr = "--addr " + c.Nodes[0].Addr() + " "
	}
	fmt.Fprintf(p.Stdout, `
Try, in another terminal:

  %[1]s map put %[2]scolors sky blue
  %[1]s map get --consistency local --addr %[3]s colors sky
  %[1]s status%[4]s

Ctrl-C stops it.
`, cmp.Or(p.Command, "starling"), addr, last.Addr(), strings.TrimRight(" "+addr, " "))
}

// waitForAny returns when ctx has ended, with nil, or when a member has stopped
// by itself, with its reason.
func waitForAny(ctx context.Context, c *starling.Cluster) error {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, len(c.Nodes))
	for _, n := range c.Nodes {
		go func() {
			select {
			case <-n.Done():
				failed <- fmt.Errorf("%s: %w", n.Name(), n.Err())
			case <-watch.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}
