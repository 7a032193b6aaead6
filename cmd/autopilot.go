package cmd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// asItIs is what holds without a flag of autopilot set.
const asItIs = "as it is"

// autopilotCommand shows and changes how the cluster decides by itself who is
// active.
func (p *Program) autopilotCommand() *cli.Command {
	return &cli.Command{
		Name: "autopilot", Usage: "how the cluster decides by itself who is active: get, set",
		Description: examples("starling autopilot get", "starling autopilot set --actives 5 --failed-after 1m"),
		Subcommands: []*cli.Command{
			{
				Name: "get", Usage: "what the autopilot goes by, and what it said last",
				Description: "The last word is what the leader's autopilot does, or why it does nothing.\n\n" +
					examples("starling autopilot get", "starling autopilot get -o json"),
				Flags: clientFlags(),
				Action: p.withClient(func(c *cli.Context, s *session) error {
					return p.showAutopilot(s)
				}),
			},
			{
				Name: "set", Usage: "change what the autopilot goes by",
				Description: "What is not named stays as it is. The result is what the autopilot goes by then. " +
					"--failed-after should be longer than a member takes to start: one that reads its checkpoint " +
					"does not answer yet.\n\n" +
					examples("starling autopilot set --actives 5 --failed-after 1m --stable 5s", "starling autopilot set --off", "starling autopilot set --on --floor 3", "starling autopilot set --state-bytes 1073741824", "starling autopilot set --format-level hold"),
				Flags: clientFlags(
					unsaid(asItIs, boundedInt("actives", 0, 1, protocol.ActivesMax, "`N` voters to aim at")),
					unsaid(asItIs, boundedInt("floor", 0, 0, protocol.ActivesMax, "`N` voters below which the autopilot does not go, whatever --actives says; 0 for none")),
					unsaid(asItIs, boundedInt("passives", 0, 0, protocol.AutopilotPassivesMax, "`N` passives wanted: while fewer are alive for --failed-after, a reserve is asked to follow; 0 for none, so that reserves are asked only for a seat")),
					unsaid(asItIs, boundedDuration("stable", 0, 0, protocol.AutopilotTimeMax, "`DURATION` for which a member must have been alive before it gets a seat; 0 for "+starling.AutopilotStableDefault.String())),
					unsaid(asItIs, boundedDuration("failed-after", 0, protocol.AutopilotFailedMin, protocol.AutopilotTimeMax, "`DURATION` for which a voter must have failed before another member gets its seat; 0 for "+starling.AutopilotFailedDefault.String(), 0)),
					stateBytesFlag(),
					formatLevelFlag(),
					boolFlag("off", "switch the autopilot off: seats change by hand only"),
					boolFlag("on", "switch it on"),
				),
				Action: p.withClient(p.setAutopilot),
			},
		},
	}
}

func (p *Program) setAutopilot(c *cli.Context, s *session) error {
	named := false
	for _, flag := range []string{"actives", "floor", "passives", "stable", "failed-after", "state-bytes", "format-level", "off", "on"} {
		named = named || c.IsSet(flag)
	}
	switch {
	case !named:
		return &usageError{"starling autopilot set: change what? See starling autopilot set --help"}
	case c.Bool("on") && c.Bool("off"):
		return &usageError{"starling autopilot set: --on or --off, not both"}
	}
	for unsure := false; ; {
		now, err := s.Autopilot(s.ctx)
		switch {
		case err != nil && unsure:
			return starling.ErrUnknownOutcome.Because(err)
		case err != nil:
			return err
		}
		next := changed(c, now.Autopilot)
		if next == now.Autopilot { // what is so already needs no change
			return printAutopilot(p, s, now)
		}
		// Seats may change at any time, by the autopilot itself too; what it
		// goes by is changed on top of that.
		if err = s.SetAutopilot(s.ctx, next); err == nil {
			if now, err = s.Autopilot(s.ctx); err != nil {
				return fmt.Errorf("it was set, and what stands now is not known: %w", err)
			}
			return printAutopilot(p, s, now)
		}
		unsure = unsure || errors.Is(err, starling.ErrUnknownOutcome)
		again := errors.Is(err, starling.ErrStaleVersion) || errors.Is(err, starling.ErrUnknownOutcome)
		if !again || s.ctx.Err() != nil {
			return err
		}
	}
}

// changed is what an autopilot goes by when the flags are taken into account.
func changed(c *cli.Context, a starling.Autopilot) starling.Autopilot {
	if c.IsSet("actives") {
		a.Actives = c.Int("actives")
	}
	if c.IsSet("floor") {
		a.Floor = c.Int("floor")
	}
	if c.IsSet("passives") {
		a.Passives = c.Int("passives")
	}
	if c.IsSet("stable") {
		a.Stable = c.Duration("stable")
	}
	if c.IsSet("failed-after") {
		a.FailedAfter = c.Duration("failed-after")
	}
	if c.IsSet("state-bytes") {
		a.StateBytes = c.Uint64("state-bytes")
	}
	if c.IsSet("format-level") {
		a.HoldLevel = c.String("format-level") == "hold"
	}
	if c.Bool("on") || c.Bool("off") {
		a.Off = c.Bool("off")
	}
	return a
}

// autopilotJSON is stable for scripts. Times are in whole milliseconds.
type autopilotJSON struct {
	On            bool           `json:"on"`
	Actives       int            `json:"actives"`
	Floor         int            `json:"floor"`
	StableMS      int64          `json:"stable_ms"`
	FailedAfterMS int64          `json:"failed_after_ms"`
	Passives      int            `json:"passives"`
	StateBytes    uint64         `json:"state_bytes"` // 0: no limit
	FormatLevel   string         `json:"format_level"`
	Voters        []string       `json:"voters"`
	Learners      []string       `json:"learners"`
	Leader        string         `json:"leader"`
	Reason        string         `json:"reason"`
	Version       starling.Index `json:"version"`
}

func (p *Program) showAutopilot(s *session) error {
	a, err := s.Autopilot(s.ctx)
	if err != nil {
		return err
	}
	return printAutopilot(p, s, a)
}

func printAutopilot(p *Program, s *session, a starling.AutopilotStatus) error {
	if s.json {
		return p.printJSON(autopilotJSON{
			On: !a.Off, Actives: a.Actives, Floor: a.Floor, StableMS: a.Stable.Milliseconds(), FailedAfterMS: a.FailedAfter.Milliseconds(), Passives: a.Passives, StateBytes: a.StateBytes, FormatLevel: heldText(a),
			Voters: a.Voters, Learners: a.Learners, Leader: a.Leader, Reason: a.Reason, Version: a.Version,
		})
	}
	state, floor, passives, limit := "on", "-", "-", "-"
	if a.Off {
		state = "off"
	}
	if a.Floor > 0 {
		floor = fmt.Sprint(a.Floor)
	}
	if a.Passives > 0 {
		passives = fmt.Sprint(a.Passives)
	}
	if a.StateBytes > 0 {
		limit = fmt.Sprintf("%d bytes", a.StateBytes)
	}
	return printTable(p.Stdout, nil, [][]string{
		{"autopilot", state},
		{"actives wanted", fmt.Sprint(a.Actives)},
		{"floor", floor},
		{"passives wanted", passives},
		{"state at most", limit},
		{"format level", heldText(a)},
		{"stable after", timeText(a.Stable, starling.AutopilotStableDefault)},
		{"failed after", timeText(a.FailedAfter, starling.AutopilotFailedDefault)},
		{"voters", orNone(strings.Join(a.Voters, " "))},
		{"learners", orNone(strings.Join(a.Learners, " "))},
		{"leader", orNone(a.Leader)},
		{"last word", a.Reason},
		{"version", fmt.Sprint(a.Version)},
	})
}

// stateBytesFlag is --state-bytes of autopilot set.
func stateBytesFlag() cli.Flag {
	f := uint64Flag("state-bytes", 0, "limit of what all resources may hold, `BYTES` of keys and values with 128 for each key; beyond it writes are refused (state_full), but for those that free; 0 for none")
	f.Action = bounds(f.Name, uint64(protocol.StateBytesMin), protocol.StateBytesMax, 0)
	return unsaid(asItIs, f)
}

// formatLevelFlag is --format-level of autopilot set.
func formatLevelFlag() cli.Flag {
	f := stringFlag("format-level", "", "`WHAT` becomes of the format level when all members are upgraded: auto, it rises by itself, and they cannot be put back any more; hold, it stays")
	f.Action = func(c *cli.Context, value string) error {
		if value != "auto" && value != "hold" {
			return &usageError{fmt.Sprintf("%s: --format-level takes auto or hold, not %q", c.Command.HelpName, value)}
		}
		return nil
	}
	return unsaid(asItIs, f)
}

// heldText is what becomes of the format level, as --format-level has it.
func heldText(a starling.AutopilotStatus) string {
	if a.HoldLevel {
		return "hold"
	}
	return "auto"
}

func timeText(d, preset time.Duration) string {
	if d == preset {
		return d.String() + " (default)"
	}
	return d.String()
}
