package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/naming"
)

// stopTime is how long a graceful stop may take before it is given up.
const stopTime = 10 * time.Second

// firstStartTime is how long a new member tries to join. A member that has
// been there waits for the others as long as it takes.
const firstStartTime = time.Minute

// httpDefault is where an agent serves HTTP unless told otherwise.
const httpDefault = "127.0.0.1:7680"

func (p *Program) agentCommand() *cli.Command {
	return &cli.Command{
		Name:  "agent",
		Usage: "run one member until it is interrupted",
		Description: "Members of a cluster all say --bootstrap and --join, with the same list: " +
			"one of them begins when all have answered, and the others join it. Without --join --bootstrap begins a cluster at once, and asks nobody whether there is one: " +
			"not for a unit file of one of several, which begins a second cluster with a lost directory. A member with a directory remembers both. " +
			"A flag goes over its environment variable, STARLING_AGENT_NAME for --name, and that over its key in the file of --config.\n\n" +
			examples(
				"starling agent --name a1 --dir /var/lib/starling --actives 1 --bootstrap",
				"starling agent --name a1 --dir D --bind 10.0.0.1:7600 --insecure --bootstrap --join 10.0.0.1:7600,10.0.0.2:7600,10.0.0.3:7600",
				"starling agent --dir D --bind 0.0.0.0:7600 --advertise $POD_IP:7600 --insecure --expect 3 --join starling:7600",
				"starling agent --name a2 --dir D --bind 127.0.0.1:7602 --http 127.0.0.1:7682 --join 127.0.0.1:7600",
				"starling agent --name a2 --dir NEW --bind 127.0.0.1:7602 --http 127.0.0.1:7682 --join 127.0.0.1:7600 --replace",
				"starling agent --name p1 --role passive --dir E --bind 127.0.0.1:7603 --http none --join 127.0.0.1:7600",
				"starling agent --name r1 --role reserve --eligible --dir F --bind 127.0.0.1:7604 --http none --join 127.0.0.1:7600",
				"starling agent --config /etc/starling.yaml"),
		Flags: variables("agent", agentFlags()),
		Action: func(c *cli.Context) error {
			cfg, err := p.agentConfig(c)
			if err != nil {
				return err
			}
			if !c.IsSet("start-timeout") && !cfg.Bootstrap && cfg.Expect == 0 && !hasEntries(cfg.Dir) {
				cfg.StartTimeout = firstStartTime
			}
			return p.runAgent(c.Context, cfg)
		},
	}
}

func agentFlags() []cli.Flag {
	return append(fieldFlags(),
		stringFlag("log-level", "info", "`LEVEL` of the log: debug, info, warn or error"),
		stringFlag("log-format", "text", "`FORMAT` of the log on standard error: text or json"),
		stringFlag("config", "", "YAML `FILE` with any of these flags as keys"))
}

// agentConfig turns flags into a configuration, mistakes into usage errors.
func (p *Program) agentConfig(c *cli.Context) (starling.Config, error) {
	names, wrong := readConfigFile(c) // before any flag is looked at
	cfg := starling.Config{Types: p.Types}
	fill(c, &cfg, &wrong)
	if cfg.HTTP == "none" {
		cfg.HTTP = ""
	}
	if cfg.Dir == "" && !names.unread {
		wrong.Addf("%s is required: a member keeps its log there", naming.Field("Dir"))
	}
	var err error
	cfg.Logger, err = newLogger(p.Stderr, c.String("log-level"), c.String("log-format"))
	wrong.Add(err)
	judged := cfg
	if judged.Dir == "" {
		judged.Dir = "." // it is said that there is none
	}
	if len(wrong) > 0 { // perhaps of a key that cannot be read: what goes with it is not known
		judged.SigningKey, judged.TrustedKeys = nil, nil
	}
	if wrong.Add(judged.Validate()); len(wrong) > 0 {
		return cfg, &usageError{"starling agent: " + strings.ReplaceAll(names.say(wrong), "\n", "\n  ")}
	}
	return cfg, nil
}

// hasEntries reports whether a directory is there and not empty.
func hasEntries(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

func newLogger(w io.Writer, levelName, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(levelName)); err != nil {
		return nil, naming.Faultf("%s takes debug, info, warn or error, not %q", naming.Field("LogLevel"), levelName)
	}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l})), nil
	}
	return nil, naming.Faultf("%s takes text or json, not %q", naming.Field("LogFormat"), format)
}

// runAgent opens a member and waits for the end of ctx, which is a graceful
// stop and no error, or for the member to stop by itself, which is one.
func (p *Program) runAgent(ctx context.Context, cfg starling.Config) error {
	outlives(p)
	node, err := starling.Open(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted while starting
		}
		return err
	}
	does := "serves members and clients"
	if node.Status().Role == starling.Reserve.String() {
		does = "stands by, a reserve,"
	}
	p.say("%s %s at %s%s, data in %s\n", node.Name(), does, node.Addr(), httpText(node), cfg.Dir)
	select {
	case <-ctx.Done():
		fmt.Fprintf(p.Stderr, "%s: stopping (once more to stop at once)\n", node.Name())
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		return node.Shutdown(stop)
	case <-node.Done():
		return errors.Join(node.Err(), node.Close())
	}
}

func httpText(n *starling.Node) string {
	if n.HTTPAddr() == "" {
		return ""
	}
	return ", HTTP at http://" + n.HTTPAddr()
}
