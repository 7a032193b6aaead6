package cmd

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// run runs a command in this process.
func run(ctx context.Context, stdin string, args ...string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	p := &Program{Args: args, Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs}
	code = p.Run(ctx)
	return out.String(), errs.String(), code
}

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	out, _, code := run(context.Background(), "", "--help")
	if code != 0 || !strings.Contains(out, "starling dev") {
		t.Errorf("starling --help: code %d, %q", code, out)
	}
	p := &Program{}
	app := p.app()
	walk(app.Commands, func(c *cli.Command) {
		out, stderr, code := run(context.Background(), "", append(strings.Fields(strings.TrimPrefix(c.HelpName, "starling ")), "--help")...)
		if code != 0 || stderr != "" {
			t.Errorf("%s --help: code %d, stderr %q", c.HelpName, code, stderr)
		}
		if want := strings.TrimPrefix(c.HelpName, "starling "); !strings.Contains(out, "   starling "+want) {
			t.Errorf("%s --help begins with %.80q", want, out)
		}
		if !strings.Contains(out, "Examples:") || !strings.Contains(out, c.Usage) {
			t.Errorf("%s --help has no examples:\n%s", c.HelpName, out)
		}
		for line := range strings.SplitSeq(c.Description[strings.LastIndex(c.Description, "Examples:"):], "\n") {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "starling") && !knownCommand(app, strings.Fields(line)[1:]) {
				t.Errorf("%s: the example %q names no command", c.HelpName, line)
			}
		}
	})
}

func knownCommand(app *cli.App, words []string) bool {
	commands := app.Commands
	for _, w := range words {
		c := findCommand(commands, w)
		if c == nil {
			return false
		}
		if len(c.Subcommands) == 0 {
			return true
		}
		commands = c.Subcommands
	}
	return false
}

// The rule of environment variables: those of agent and dev name the command, --addr
// is STARLING_ADDR, and no other flag of any command has one. A variable that was set
// for an agent must not shrink a cluster through autopilot set, nor make recover real.
func TestEnvironmentVariablesOfAllFlags(t *testing.T) {
	walk((&Program{}).app().Commands, func(c *cli.Command) {
		for _, f := range c.Flags {
			name := f.Names()[0]
			d, ok := f.(cli.DocGenerationFlag)
			if !ok {
				t.Errorf("%s --%s cannot be asked for its variables", c.HelpName, name)
				continue
			}
			var want []string
			switch {
			case c.HelpName == "agent" || c.HelpName == "dev":
				want = []string{"STARLING_" + strings.ToUpper(c.HelpName) + "_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
			case name == "addr":
				want = []string{"STARLING_ADDR"}
			}
			if name != "help" && !slices.Equal(d.GetEnvVars(), want) {
				t.Errorf("%s --%s: variables %q, want %q", c.HelpName, name, d.GetEnvVars(), want)
			}
		}
	})
}

func TestVariableOfAnAgentChangesNoCluster(t *testing.T) {
	addr := local(t)
	works(t, "", "autopilot", "set", addr, "--actives", "3")
	t.Setenv("STARLING_ACTIVES", "1")
	t.Setenv("STARLING_AGENT_ACTIVES", "1")
	if got := works(t, "", "autopilot", "set", addr, "--floor", "1"); !strings.Contains(got, "actives wanted   3\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestEveryCommandThatTalksToAClusterHasTheSharedFlags(t *testing.T) {
	walk((&Program{}).app().Commands, func(c *cli.Command) {
		if len(c.Subcommands) > 0 || findFlag(c.Flags, "addr") == nil {
			return
		}
		for _, name := range []string{"timeout", "output", "o"} {
			if findFlag(c.Flags, name) == nil {
				t.Errorf("%s has no --%s", c.HelpName, name)
			}
		}
	})
}

func TestVersionAndCompletion(t *testing.T) {
	out, _, code := run(context.Background(), "", "version")
	if code != 0 || !strings.HasPrefix(out, "starling ") {
		t.Errorf("version: code %d, %q", code, out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		out, _, code := run(context.Background(), "", "completion", shell)
		if code != 0 || !strings.Contains(out, completionFlag) {
			t.Errorf("completion %s: code %d, %q", shell, code, out)
		}
	}
	_, stderr, code := run(context.Background(), "", "completion", "tcsh")
	if code != exitUsage || !strings.Contains(stderr, "bash, zsh, fish, powershell") {
		t.Errorf("completion tcsh: code %d, %q", code, stderr)
	}
}

func TestCompletionNamesCommandsAndFlags(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", "status"}, {"map", "export"}, {"completion", "fish"}, {"map get --con", "--consistency"}, {"agent --boot", "--bootstrap"},
	} {
		out, _, code := run(context.Background(), "", append(strings.Fields(c.line), completionFlag)...)
		if code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("completing %q: code %d, %q, want %s", c.line, code, out, c.want)
		}
	}
}
