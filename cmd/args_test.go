package cmd

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// parsed runs a command line through arrange and the library and returns what
// the command sees.
func parsed(t *testing.T, args ...string) (arguments []string, addr string, err error) {
	t.Helper()
	p := &Program{Stdin: strings.NewReader(""), Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}
	app := p.app()
	walk(app.Commands, func(c *cli.Command) {
		if len(c.Subcommands) == 0 {
			c.Action = func(c *cli.Context) error {
				arguments, addr = c.Args().Slice(), c.String("addr")
				return nil
			}
		}
	})
	args, err = arrange(app, args)
	if err != nil {
		return nil, "", err
	}
	err = app.RunContext(context.Background(), append([]string{"starling"}, args...))
	return arguments, addr, err
}

func walk(commands []*cli.Command, f func(*cli.Command)) {
	for _, c := range commands {
		f(c)
		walk(c.Subcommands, f)
	}
}

func TestArgumentsAreReadAsMeant(t *testing.T) {
	for _, c := range []struct {
		line string
		args string
		addr string
	}{
		{"counter add hits -5", "hits -5", defaultAddress},
		{"counter add --addr x:1 hits -5", "hits -5", "x:1"},
		{"counter add --addr=x:1 hits -5", "hits -5", "x:1"},
		{"counter add -addr x:1 -o json hits -5", "hits -5", "x:1"},
		{"map put m --key -v", "m --key -v", defaultAddress},
		{"map put m -- --addr x", "m --addr x", defaultAddress},
		{"map put -- m --addr x", "m --addr x", defaultAddress},
		{"map put --addr x:1 -- m -- x", "m -- x", "x:1"},
		{"map put m k v --", "m k v", defaultAddress},
		{"map get m help", "m help", defaultAddress},
		{"map get help help", "help help", defaultAddress},
		{"map get m h", "m h", defaultAddress},
		{"map get m -", "m -", defaultAddress},
		{"map get -- m --generate-completion", "m --generate-completion", defaultAddress},
		{"map get m addr", "m addr", defaultAddress},
		{"map get m k --addr x:1", "m k", "x:1"},
		{"map get m --addr=x:1 k -o json", "m k", "x:1"},
		{"counter add hits -5 --addr x:1", "hits -5", "x:1"},
		{"map put m --addr x:1 -- --addr y", "m --addr y", "x:1"},
		{"map put m -- k --addr", "m k --addr", defaultAddress},
	} {
		got, addr, err := parsed(t, strings.Fields(c.line)...)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if want := strings.Fields(c.args); !slices.Equal(got, want) {
			t.Errorf("%s: arguments %q, want %q", c.line, got, want)
		}
		if addr != c.addr {
			t.Errorf("%s: addr %q, want %q", c.line, addr, c.addr)
		}
	}
}

func TestMisplacedAndUnknownFlagsSayWhereFlagsGo(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"--addr x:1 map get m k", "flags go after it: starling map get --addr"},
		{"map --addr x:1 get m k", "flags go after it: starling map get --addr"},
		{"--nonsense status", "unknown flag --nonsense"},
		{"counter add -5 hits", "write -- before an argument that begins with a dash"},
		{"status --adr x:1", "did you mean --addr?"},
		{"status --timeout", "flag needs an argument"},
		{"map get m k --addr", "flag needs an argument"},
		{"map get m k --timeout soon", "invalid value"},
		{"status --timeout soon", "invalid value"},
		{"status --timeout -1s", "from 100ms to 8760h0m0s, or 0 for as long as it takes"},
		{"mpa get m k", `unknown command "mpa", did you mean map?`},
		{"map got m k", `unknown command "got", did you mean get?`},
		{"map", "which one? delete, export, get"},
		{"-- map", "a command is expected"},
	} {
		_, _, err := parsed(t, strings.Fields(c.line)...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.line, err, c.want)
		}
		if u := (*usageError)(nil); !errors.As(err, &u) {
			t.Errorf("%s: %T is not a usage error", c.line, err)
		}
	}
}
