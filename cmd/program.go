package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/notation"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Program is one run of the command: what it is given and where it writes. It
// is made for one call of Run.
type Program struct {
	// Types are the resource types that members know, and sim and dev run,
	// beside the built-in ones.
	Types []*resources.Type
	// Command is how to run this program from another terminal, for texts.
	// Default: starling.
	Command string
	// Args are the arguments without the name of the program.
	Args           []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Main runs the command of this process and returns its exit code. The first
// interrupt, termination or hang-up signal, of a terminal that is closed, stops it
// gracefully, the second at once.
func Main(types ...*resources.Type) int {
	p := &Program{Types: types, Command: ownCommand(), Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signal.Notify(signals, syscall.SIGHUP)
	}
	defer signal.Stop(signals)
	return supervise(signals, p.Stderr, p.Run)
}

// supervise runs something until it ends. The first signal ends its context,
// the second is not waited for.
func supervise(signals <-chan os.Signal, stderr io.Writer, run func(context.Context) int) int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	done := make(chan int, 1)
	go func() { done <- run(ctx) }()
	for stopping := false; ; stopping = true {
		select {
		case code := <-done:
			return code
		case s := <-signals:
			if stopping {
				fmt.Fprintln(unhurried(stderr, lastWords), "starling: stopped at once")
				return exitFailure
			}
			cancel(&interrupted{s})
		}
	}
}

// ownCommand returns how to run this program again from any directory: by its
// name if that finds it, otherwise by its path.
func ownCommand() string {
	path, err := os.Executable()
	if err != nil {
		return "starling"
	}
	if builtByGoRun(path) {
		return "go run ./cmd/starling"
	}
	name := filepath.Base(path)
	if found, err := exec.LookPath(name); err == nil {
		a, errA := os.Stat(found)
		b, errB := os.Stat(path)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return name
		}
	}
	if strings.Contains(path, " ") {
		return strconv.Quote(path)
	}
	return path
}

// builtByGoRun reports whether a program is one that go run has built and will
// remove; the programs of tests run again as they are.
func builtByGoRun(path string) bool {
	if strings.HasSuffix(strings.TrimSuffix(path, ".exe"), ".test") {
		return false
	}
	for part := range strings.SplitSeq(filepath.ToSlash(path), "/") {
		if strings.HasPrefix(part, "go-build") {
			return true
		}
	}
	return false
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal os.Signal }

// Error names the signal.
func (e *interrupted) Error() string { return e.signal.String() }

// cutShort is an error of an interrupted command that says more than that it was.
type cutShort struct{ error }

// Unwrap returns what else errors.Is finds.
func (e cutShort) Unwrap() error { return e.error }

// Run runs the command and returns its exit code. It ends early, gracefully,
// when ctx does. Errors have been written to Stderr. A process runs one at a
// time: the library keeps its help flag in a variable.
func (p *Program) Run(ctx context.Context) int {
	app := p.app()
	if n := len(p.Args) - 1; n >= 0 && p.Args[n] == completionFlag && !slices.Contains(p.Args, "--") {
		for _, c := range candidates(app, p.Args[:n]) {
			fmt.Fprintln(p.Stdout, c)
		}
		return exitOK
	}
	args, err := arrange(app, p.Args)
	if err == nil {
		err = app.RunContext(ctx, append([]string{app.Name}, args...))
	}
	if err == nil {
		return exitOK
	}
	text := err.Error()
	if i := (*interrupted)(nil); errors.As(context.Cause(ctx), &i) && errors.Is(err, context.Canceled) {
		if s := (cutShort{}); !errors.As(err, &s) {
			text = i.Error()
		}
		if errors.Is(err, protocol.ErrUnknownOutcome) {
			text += ": " + protocol.ErrUnknownOutcome.Text
		}
	}
	if !strings.HasPrefix(text, "starling") {
		text = "starling: " + text
	}
	fmt.Fprintln(p.Stderr, notation.Safe(text, "\n\t")) // it may quote what others have written
	return exitCode(err)
}

// app is the tree of commands.
func (p *Program) app() *cli.App {
	commands := []*cli.Command{
		p.devCommand(), p.agentCommand(), p.statusCommand(), p.membersCommand(), p.verifyCommand(),
		mapCommands{p}.command(), queueCommands{p}.command(), counterCommands{p}.command(), p.resourceCommand(),
	}
	commands = append(commands, p.membershipCommands()...)
	commands = append(commands, imposeCommand(p), p.recoverCommand(), p.simCommand(), p.benchCommand(), p.walCommand(), checkpointCommands{p}.command(), p.keysCommand(), explainCommand{p}.command(), p.completionCommand(), p.versionCommand())
	app := &cli.App{
		Name:           "starling",
		HelpName:       "starling",
		Usage:          "replicated maps, queues, counters and your own types: a few members lead by consensus, any number follow by gossip",
		Version:        version(),
		Suggest:        true,
		Reader:         p.Stdin,
		Writer:         p.Stdout,
		ErrWriter:      p.Stderr,
		ExitErrHandler: func(*cli.Context, error) {}, // Run decides
		Description: "Start with a whole cluster in one process, and talk to it from another terminal.\n\n" +
			examples("starling dev", "starling map put colors sky blue", "starling map get colors sky"),
		Commands: commands,
	}
	app.Action = unknownCommand(app.Name, func() []*cli.Command { return app.Commands }, true)
	app.OnUsageError = onUsageError
	for _, c := range app.Commands {
		finish(c, app.Name)
		c.HelpName = c.Name // the library puts the program's name before it
	}
	return app
}

// finish gives c and each command below what all of them share.
func finish(c *cli.Command, parent string) {
	c.HelpName = parent + " " + c.Name
	c.Description = wrap(c.Description)
	c.OnUsageError = onUsageError
	if len(c.Subcommands) == 0 {
		// Or "map get help" would not read the key "help".
		c.HideHelpCommand = true
		c.Before = withinBounds(c.Before)
		return
	}
	c.Action = unknownCommand(c.HelpName, func() []*cli.Command { return c.Subcommands }, false)
	for _, below := range c.Subcommands {
		finish(below, c.HelpName)
	}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	name := "starling"
	if c.Command != nil && c.Command.HelpName != "" {
		name = c.Command.HelpName
	}
	return &usageError{fmt.Sprintf("%s: %s; see %s --help", name, expecting(c, err.Error()), name)}
}

// expecting replaces "parse error", which is all that the library says of a value, by
// what the flag takes.
func expecting(c *cli.Context, text string) string {
	given, rest, ok := strings.Cut(text, " for flag -")
	if !ok {
		given, rest, ok = strings.Cut(text, " for -")
	}
	if !ok || c.Command == nil {
		return text
	}
	name, _, _ := strings.Cut(rest, ":")
	takes := takesOf(findFlag(c.Command.Flags, name))
	if takes == "" {
		return text
	}
	return fmt.Sprintf("%s for --%s, which takes %s", given, name, takes)
}

// takesOf says what a flag takes; empty: any text.
func takesOf(f cli.Flag) string {
	switch f.(type) {
	case *cli.DurationFlag:
		return "a duration, such as 500ms, 1.5s or 2m"
	case *cli.IntFlag:
		return "a whole number"
	case *cli.Uint64Flag:
		return "a whole number, not below 0"
	case *cli.Uint64SliceFlag:
		return "whole numbers, not below 0, separated by commas"
	case *cli.Float64Flag:
		return "a number"
	case *cli.BoolFlag:
		return "true or false, or no value"
	}
	return ""
}

// unknownCommand answers for a command that only has sub-commands.
func unknownCommand(name string, commands func() []*cli.Command, helpIfNone bool) cli.ActionFunc {
	return func(c *cli.Context) error {
		if !c.Args().Present() {
			if helpIfNone {
				return cli.ShowAppHelp(c)
			}
			return &usageError{fmt.Sprintf("%s: which one? %s; see %s --help", name, strings.Join(names(commands()), ", "), name)}
		}
		given := c.Args().First()
		return &usageError{fmt.Sprintf("%s: unknown command %q%s; see %s --help", name, given, suggest(given, names(commands())), name)}
	}
}

func names(commands []*cli.Command) []string {
	var out []string
	for _, c := range commands {
		if !c.Hidden && c.Name != "help" {
			out = append(out, c.Name)
		}
	}
	slices.Sort(out)
	return out
}

// examples is the last part of every command's description.
func examples(lines ...string) string {
	return "Examples:\n  " + strings.Join(lines, "\n  ")
}

// helpColumns is where the text of a description is broken.
const helpColumns = 88

// wrap breaks long lines at spaces; examples, which are indented, stay.
func wrap(text string) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		for len(line) > helpColumns && !strings.HasPrefix(line, " ") {
			i := strings.LastIndexByte(line[:helpColumns], ' ')
			if i < 0 {
				break
			}
			out, line = append(out, line[:i]), line[i+1:]
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// argumentWords are the words for the arguments of a command in its usage.
func argumentWords(c *cli.Command) []string {
	usage, _, _ := strings.Cut(c.ArgsUsage, " <") // what follows is the standard input
	return strings.Fields(usage)
}

// checkArguments refuses arguments that a command does not take, by its usage: too few, too
// many, or nothing where a name or a path is meant. A key or a value may be empty.
func checkArguments(c *cli.Command, name string, args []string) error {
	words := argumentWords(c)
	got, least, endless := counted(int64(len(args)), "argument"), 0, strings.HasSuffix(c.ArgsUsage, "...")
	for _, word := range words {
		if !strings.HasPrefix(word, "[") {
			least++
		}
	}
	for i, arg := range args {
		if i >= len(words) && !endless {
			break
		}
		word := strings.Trim(words[min(i, len(words)-1)], "[].")
		if arg == "" && slices.Contains([]string{"NAME", "DIR", "FILE"}, word) {
			return &usageError{fmt.Sprintf("%s: %s is empty; see %s --help", name, word, name)}
		}
	}
	switch {
	case len(args) < least:
		got += ", without " + strings.Join(words[len(args):least], " and ")
	case len(args) <= len(words) || endless:
		return nil
	}
	return &usageError{fmt.Sprintf("%s: takes %s, got %s; see %s --help", name, takes(c.ArgsUsage), got, name)}
}

func takes(usage string) string {
	if usage == "" {
		return "no arguments"
	}
	return usage
}
