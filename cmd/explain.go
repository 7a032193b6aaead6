package cmd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/notation"
	"github.com/starlinghq/starling/protocol"
)

// exitMeanings say what a script may take from an exit code.
var exitMeanings = []string{
	exitOK:          "done, or it was so already",
	exitFailure:     "something is broken: a port in use, a damaged directory, a failed disk",
	exitUsage:       "the command line cannot be understood",
	exitUnavailable: "the same may work later: no leader, no majority, out of time, outcome unknown, or stopped by a signal",
	exitNotFound:    "something is not there, or a condition was not met; nothing has changed",
	exitRefused:     "refused as asked: a limit, a wrong type, a stale version, another cluster",
}

var outcomes = map[protocol.Outcome]string{
	protocol.OutcomeUnknown: "a write may or may not have happened",
	protocol.DidNotHappen:   "a write has not happened in this attempt",
	protocol.Settled:        "a write has not happened, and will not by itself",
	protocol.NotAdmitted:    "this attempt at a write has not run; one before it may have",
}

// retries are what a second attempt is good for, the most useful first.
var retries = []struct {
	as   protocol.Retry
	text string
}{
	{protocol.Elsewhere, "at another member"}, {protocol.Later, "after a while"}, {protocol.WithALeader, "when there is a leader"},
}

// ofTypes are the errors of the types that every member has, as far as they have codes of their own.
var ofTypes = []*protocol.Error{starling.ErrOverflow}

// codes are all that are known, those of types last.
func codes() []protocol.Code {
	all := protocol.Codes()
	for _, e := range ofTypes {
		all = append(all, e.Code)
	}
	return all
}

// textOf returns the text of an error that is known, "" of another one.
func textOf(code protocol.Code) string {
	for _, e := range ofTypes {
		if e.Code == code {
			return e.Text
		}
	}
	return code.Text()
}

// explainCommand says what codes mean.
type explainCommand struct{ *Program }

func (p explainCommand) command() *cli.Command {
	return &cli.Command{
		Name: "explain", Usage: "what the code of an error means, or an exit code, and what to do", ArgsUsage: "[CODE]",
		Description: "Codes are what programs compare (starling.CodeOf), and what logs and -o json show. Without CODE: all of them.\n\n" +
			examples("starling explain", "starling explain unknown_outcome", "starling explain 3", "starling explain -o json no_space"),
		Flags: []cli.Flag{outputFlag()},
		Action: offline(func(c *cli.Context, args []string, asJSON bool) error {
			if len(args) == 0 {
				return p.all(codes(), asJSON)
			}
			if exit, err := strconv.Atoi(args[0]); err == nil {
				return p.exit(exit, asJSON)
			}
			return p.one(protocol.Code(args[0]), asJSON)
		}),
	}
}

// explanation is what is said of a code.
type explanation struct {
	Code    protocol.Code `json:"code"`
	Text    string        `json:"text"`
	Outcome string        `json:"outcome"`
	Retry   []string      `json:"retry"` // empty: the same fails again
	Exit    int           `json:"exit_code"`
	WayOut  string        `json:"way_out"`
}

func explain(code protocol.Code) explanation {
	m := code.Meaning()
	out := explanation{
		Code: code, Text: textOf(code), Outcome: outcomes[m.Outcome], Retry: []string{},
		Exit: exitCode(protocol.NewError(code, "")), WayOut: m.WayOut,
	}
	for _, r := range retries {
		if m.MayRetry(r.as) {
			out.Retry = append(out.Retry, r.text)
		}
	}
	return out
}

func (p explainCommand) all(codes []protocol.Code, asJSON bool) error {
	all := make([]explanation, 0, len(codes))
	rows := make([][]string, 0, len(codes))
	for _, code := range codes {
		e := explain(code)
		all = append(all, e)
		rows = append(rows, []string{string(e.Code), strconv.Itoa(e.Exit), e.Text})
	}
	if asJSON {
		return p.printJSON(all)
	}
	return printTable(p.Stdout, []string{"CODE", "EXIT", "MEANING"}, rows)
}

// exit says what an exit code means, and which codes have it.
func (p explainCommand) exit(exit int, asJSON bool) error {
	if exit < 0 || exit >= len(exitMeanings) {
		return &usageError{fmt.Sprintf("starling explain: there is no exit code %d; they are 0 to %d", exit, len(exitMeanings)-1)}
	}
	with := slices.DeleteFunc(codes(), func(code protocol.Code) bool { return explain(code).Exit != exit })
	if !asJSON {
		fmt.Fprintf(p.Stdout, "exit code %d: %s\n", exit, exitMeanings[exit])
		if len(with) == 0 {
			return nil
		}
		fmt.Fprintln(p.Stdout)
	}
	return p.all(with, asJSON)
}

func (p explainCommand) one(code protocol.Code, asJSON bool) error {
	e := explain(code)
	if e.Text == "" && !strings.Contains(string(code), ".") {
		return protocol.ErrNotFound.With(fmt.Sprintf("no code %q: starling explain has all that this release knows; a later one may have more", code))
	}
	if asJSON {
		return p.printJSON(e)
	}
	again := "no: the same fails again"
	if len(e.Retry) > 0 {
		again = strings.Join(e.Retry, ", ") + "; clients do so by themselves, as long as their time lasts"
	}
	text := e.Text
	if text == "" {
		kind, _, _ := strings.Cut(string(code), ".")
		text = "an error of the resource type " + kind
	}
	for _, line := range [][2]string{
		{"code", string(code)}, {"means", text}, {"outcome", e.Outcome}, {"again", again},
		{"exit code", fmt.Sprintf("%d: %s", e.Exit, exitMeanings[e.Exit])}, {"way out", e.WayOut},
	} {
		paragraph := strings.ReplaceAll(wrap(line[1]), "\n", "\n"+strings.Repeat(" ", explainIndent))
		if _, err := fmt.Fprintf(p.Stdout, "%-*s%s\n", explainIndent, line[0], notation.Safe(paragraph, "\n")); err != nil {
			return err
		}
	}
	return nil
}

// explainIndent is where the texts begin.
const explainIndent = 11
