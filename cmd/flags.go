package cmd

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"iter"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/protocol"
)

// variables gives each flag of a command that runs members an environment variable:
// that of --http of agent is STARLING_AGENT_HTTP. No other flag has one, but --addr:
// what a command does must not depend on what was set for another one, or long ago.
func variables(command string, flags []cli.Flag) []cli.Flag {
	for _, f := range flags {
		name := []string{variablePrefix + strings.ToUpper(command+"_"+strings.ReplaceAll(f.Names()[0], "-", "_"))}
		readFrom(f, name)
	}
	return flags
}

// readFrom has a flag read environment variables.
func readFrom(f cli.Flag, names []string) {
	switch f := f.(type) {
	case *cli.StringFlag:
		f.EnvVars = names
	case *cli.IntFlag:
		f.EnvVars = names
	case *cli.Uint64Flag:
		f.EnvVars = names
	case *cli.Float64Flag:
		f.EnvVars = names
	case *cli.BoolFlag:
		f.EnvVars = names
	case *cli.DurationFlag:
		f.EnvVars = names
	}
}

// addrVariable says whom commands talk to that are not told by --addr.
const addrVariable = variablePrefix + "ADDR"

func stringFlag(name, value, usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: name, Value: value, Usage: usage}
}

func intFlag(name string, value int, usage string) *cli.IntFlag {
	return &cli.IntFlag{Name: name, Value: value, Usage: usage}
}

func uint64Flag(name string, value uint64, usage string) *cli.Uint64Flag {
	return &cli.Uint64Flag{Name: name, Value: value, Usage: usage}
}

// indexOf is what a flag of an index has.
func indexOf(c *cli.Context, name string) starling.Index { return starling.Index(c.Uint64(name)) }

// indexesOf is what a flag of indexes has.
func indexesOf(c *cli.Context, name string) (list []starling.Index) {
	for _, index := range c.Uint64Slice(name) {
		list = append(list, starling.Index(index))
	}
	return list
}

// indexesFlag takes a list, separated by commas, and may be given more than once.
func indexesFlag(name, usage string) *cli.Uint64SliceFlag {
	return &cli.Uint64SliceFlag{Name: name, Usage: usage}
}

func floatFlag(name string, value float64, usage string) *cli.Float64Flag {
	return &cli.Float64Flag{Name: name, Value: value, Usage: usage}
}

func boolFlag(name, usage string) *cli.BoolFlag {
	return &cli.BoolFlag{Name: name, Usage: usage}
}

func durationFlag(name string, value time.Duration, usage string) *cli.DurationFlag {
	return &cli.DurationFlag{Name: name, Value: value, Usage: usage}
}

// fieldFlags are the flags that fill in fields of a configuration: those that are
// named, or all.
func fieldFlags(names ...naming.Field) (flags []cli.Flag) {
	for _, f := range config.Fields {
		if len(names) == 0 || slices.Contains(names, f.Name) {
			flags = append(flags, fieldFlag(f))
		}
	}
	return flags
}

func fieldFlag(f config.Field) cli.Flag {
	name, value := flagOf(f.Name), f.Default
	if f.Unsaid != "" {
		value = nil
	}
	switch f.In(new(starling.Config)).(type) {
	case *bool:
		return boolFlag(name, f.Usage)
	case *int:
		value, _ := value.(int)
		return unsaid(f.Unsaid, intFlag(name, value, f.Usage))
	case *uint64:
		return unsaid(f.Unsaid, uint64Flag(name, 0, f.Usage))
	case *float64:
		value, _ := value.(float64)
		return unsaid(f.Unsaid, floatFlag(name, value, f.Usage))
	case *time.Duration:
		value, _ := value.(time.Duration)
		return unsaid(f.Unsaid, durationFlag(name, value, f.Usage))
	case *[]string:
		return listOf(stringFlag(name, "", f.Usage))
	}
	text := "" // of what is one, or is read from one
	switch {
	case f.Name == "HTTP":
		text = httpDefault
	case value != nil:
		text = fmt.Sprint(value)
	}
	return unsaid(f.Unsaid, stringFlag(name, text, f.Usage))
}

// fill fills in the fields of a configuration, a pointer to a struct, that the command
// has flags for.
func fill(c *cli.Context, configuration any, wrong *naming.Faults, names ...naming.Field) {
	for _, f := range config.Fields {
		name := flagOf(f.Name)
		if len(names) > 0 && !slices.Contains(names, f.Name) {
			continue
		}
		to := f.In(configuration)
		switch to := to.(type) {
		case *bool:
			*to = c.Bool(name)
		case *int:
			*to = c.Int(name)
		case *uint64:
			*to = c.Uint64(name)
		case *float64:
			*to = c.Float64(name)
		case *time.Duration:
			*to = c.Duration(name)
		case *[]string:
			*to = addresses(c.String(name))
		case *string:
			*to = c.String(name)
		default:
			wrong.Add(read(to, f.Name, c.String(name)))
		}
		if f.Least != nil && f.Zero == "" && c.IsSet(name) && reflect.ValueOf(to).Elem().IsZero() { // it would mean the default
			wrong.Add(f.Beyond(c.Value(name)))
		}
	}
}

// read reads what a text, or the file that it names, says of a field.
func read(to any, field naming.Field, text string) (err error) {
	switch to := to.(type) {
	case *starling.Role:
		for _, role := range []starling.Role{starling.Active, starling.Passive, starling.Reserve} {
			if text == role.String() {
				*to = role
				return nil
			}
		}
		*to = 0 // what goes with it is not known
		return naming.Faultf("%s takes active, passive or reserve, not %q", field, text)
	case *ed25519.PrivateKey:
		if text != "" {
			*to, err = starling.ReadSigningKey(text)
		}
	case *[]ed25519.PublicKey:
		if text != "" {
			*to, err = starling.ReadTrustedKeys(text)
		}
	}
	if err != nil {
		return naming.Faultf("%s: %v", field, err)
	}
	return nil
}

// unsaid says in the help of a flag what holds without it, where that is no value of it.
func unsaid(text string, f cli.Flag) cli.Flag {
	switch f := f.(type) {
	case *cli.StringFlag:
		f.DefaultText = text
	case *cli.IntFlag:
		f.DefaultText = text
	case *cli.Uint64Flag:
		f.DefaultText = text
	case *cli.Float64Flag:
		f.DefaultText = text
	case *cli.DurationFlag:
		f.DefaultText = text
	}
	return f
}

// outputFlag is -o; every command that prints a result has it.
func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "table",
		Usage: "`FORMAT` of the result: table, or json for scripts"}
}

// clientFlags are the flags of every command that talks to a cluster.
func clientFlags(more ...cli.Flag) []cli.Flag {
	addr := listOf(stringFlag("addr", defaultAddress, "members to talk to, `HOST:PORT[,HOST:PORT...]`; the next one is tried when one fails"))
	addr.EnvVars = []string{addrVariable}
	return append([]cli.Flag{
		addr,
		unsaid("whatever cluster answers", stringFlag("cluster", "", "`ID` of the cluster that is meant; members of another one are refused")),
		timeoutFlag(),
		outputFlag(),
	}, more...)
}

// timeoutFlag is --timeout of a command that talks to a cluster.
func timeoutFlag() cli.Flag {
	f := durationFlag("timeout", 15*time.Second, "how long to try, `DURATION`; 0 for as long as it takes")
	f.Action = func(c *cli.Context, d time.Duration) error {
		if d == 0 || d >= timeoutMin && d <= timeoutMax {
			return nil
		}
		return &usageError{fmt.Sprintf("%s: --timeout is %v, not from %v to %v, or 0 for as long as it takes", c.Command.HelpName, d, timeoutMin, timeoutMax)}
	}
	return f
}

// timeoutMin and timeoutMax bound --timeout: nothing is done in less, and what is longer is
// meant to have no end.
const timeoutMin, timeoutMax = 100 * time.Millisecond, 365 * 24 * time.Hour

// wrongInput is a usage error with the names of flags.
func wrongInput(c *cli.Context, err error) error {
	return &usageError{c.Command.HelpName + ": " + strings.ReplaceAll(namerOf(c).say(err), "\n", "\n  ")}
}

// defaultAddress is where dev puts its first member.
const defaultAddress = "127.0.0.1:7600"

// addresses splits a list of addresses, as --addr and --join take it.
func addresses(list string) []string {
	var out []string
	for a := range strings.SplitSeq(list, ",") {
		if a = strings.TrimSpace(a); a != "" && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// wantsJSON reports whether the result is for a script.
func wantsJSON(c *cli.Context) (bool, error) {
	switch o := c.String("output"); o {
	case "json":
		return true, nil
	case "table", "text":
		return false, nil
	default:
		return false, &usageError{fmt.Sprintf("%s: --output takes table or json, not %q", c.Command.HelpName, o)}
	}
}

// offline runs f, which asks no cluster, with the command's arguments and with what
// --output says.
func offline(f func(c *cli.Context, args []string, asJSON bool) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		args := c.Args().Slice()
		asJSON, err := wantsJSON(c)
		if err != nil {
			return err
		}
		return f(c, args, asJSON)
	}
}

// session is a client for the length of one command.
type session struct {
	*starling.Client
	ctx       context.Context
	addresses []string
	json      bool
	raw       bool // strings and bytes are shown as they are
	read      []starling.ReadOption
	// single says that the command writes once at most, and needs no session of the
	// cluster for that.
	single bool
	// wrote is the index of the last command that was answered: an import has many at
	// once.
	wrote atomic.Uint64
}

// Command notes where a command was applied, so that the answer can say so.
func (s *session) Command(ctx context.Context, c protocol.Command) (protocol.Result, error) {
	to := starling.Caller(s.Client)
	if s.single {
		to = s.OneShots()
	}
	result, err := to.Command(ctx, c)
	s.wrote.Store(uint64(result.Index))
	return result, err
}

// index is that of the last command that was answered.
func (s *session) index() starling.Index { return starling.Index(s.wrote.Load()) }

// withClient runs f, which writes once at most, with a client of the cluster at --addr.
func (p *Program) withClient(f func(c *cli.Context, s *session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, cancel := within(c.Context, c.Duration("timeout"))
		defer cancel()
		return p.dial(ctx, ctx, c, func(c *cli.Context, s *session) error {
			s.single = true
			return f(c, s)
		})
	}
}

// withClientUntimed is withClient for commands that run as long as they have
// work; --timeout is for each step of it, of which the first is to connect.
func (p *Program) withClientUntimed(f func(c *cli.Context, s *session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		ctx, cancel := within(c.Context, c.Duration("timeout"))
		defer cancel()
		return p.dial(ctx, c.Context, c, f)
	}
}

// within bounds what takes no longer than d, 0 being as long as it takes.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d)
}

// inTime yields what begin does, up to the first error, and gives up when the next of it takes longer than limit, unless that is 0: what
// begin itself does is part of the first. From what settled is true of on it may take as long as it takes; nil: nothing is.
// Whoever reads it may always take its time.
func inTime[E any](ctx context.Context, limit time.Duration, what string, begin func(ctx context.Context) iter.Seq2[E, error], settled func(*E) bool) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		patience := cmp.Or(max(limit, 0), math.MaxInt64)
		var late atomic.Bool
		clock := time.AfterFunc(patience, func() {
			late.Store(true)
			cancel()
		})
		defer clock.Stop()
		endless := false
		for e, err := range begin(ctx) {
			clock.Stop()
			if err != nil && late.Load() {
				err = &tooLate{fmt.Sprintf("%s within %v: %v", what, limit, err), err}
			}
			if !yield(e, err) || err != nil {
				return
			}
			if endless = endless || settled != nil && settled(&e); !endless {
				clock.Reset(patience)
			}
		}
	}
}

// tooLate is an error of what has taken longer than its limit.
type tooLate struct {
	text  string
	cause error
}

// Error says what has not come, and why.
func (e *tooLate) Error() string { return e.text }

// Unwrap returns what errors.Is finds.
func (e *tooLate) Unwrap() []error { return []error{context.DeadlineExceeded, e.cause} }

// dial connects while the first context lasts, and runs f in the second.
func (p *Program) dial(dialling, ctx context.Context, c *cli.Context, f func(c *cli.Context, s *session) error) error {
	s := &session{ctx: ctx}
	var err error
	if s.json, err = wantsJSON(c); err != nil {
		return err
	}
	if findFlag(c.Command.Flags, "raw") != nil {
		if s.raw = c.Bool("raw"); s.raw && s.json {
			return &usageError{c.Command.HelpName + ": --raw is for people's eyes and for files, -o json for scripts: not both"}
		}
	}
	if findFlag(c.Command.Flags, "consistency") != nil {
		if s.read, err = levelOf(c); err != nil {
			return err
		}
	}
	cfg := starling.ClientConfig{Addresses: addresses(c.String("addr"))}
	cfg.Cluster = c.String("cluster")
	if err := cfg.Validate(); err != nil {
		return wrongInput(c, err)
	}
	s.addresses = cfg.Addresses
	if s.Client, err = starling.Dial(dialling, cfg); err != nil {
		return err
	}
	defer s.Client.Close()
	return f(c, s)
}
