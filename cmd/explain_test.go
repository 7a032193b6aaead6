package cmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/protocol"
)

// Every code is explained, and what its way out names is there: commands, their flags, and pages.
func TestEveryCodeIsExplained(t *testing.T) {
	app := (&Program{}).app()
	commands, flags := regexp.MustCompile("`(starling [^`]+)`"), regexp.MustCompile(`--[a-z-]+`)
	pages := regexp.MustCompile(`docs/[a-z/-]+\.md`)
	for _, code := range codes() {
		e := explain(code)
		if e.Text == "" || e.Outcome == "" || e.WayOut == "" || e.Exit == exitOK || e.Exit == exitUsage {
			t.Errorf("%s: %+v", code, e)
		}
		for _, m := range commands.FindAllStringSubmatch(e.WayOut, -1) {
			var found *cli.Command
			list := app.Commands
			for _, word := range strings.Fields(m[1])[1:] {
				if i := slices.IndexFunc(list, func(c *cli.Command) bool { return c.Name == word }); i >= 0 {
					found, list = list[i], list[i].Subcommands
				} else if found == nil || len(list) > 0 || !strings.HasPrefix(word, "-") {
					t.Errorf("%s: there is no command %q", code, m[1])
				}
			}
			for _, flag := range flags.FindAllString(m[1], -1) {
				if found == nil || !slices.ContainsFunc(found.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), flag[2:]) }) {
					t.Errorf("%s: %q has no flag %s", code, m[1], flag)
				}
			}
		}
		for _, page := range pages.FindAllString(e.WayOut, -1) {
			if _, err := os.Stat(filepath.Join("..", filepath.FromSlash(page))); err != nil {
				t.Errorf("%s: %v", code, err)
			}
		}
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		args []string
		exit int
		want []string
	}{
		{[]string{}, 0, []string{"CODE", "answer_lost", "wrong_version", "counter.overflow"}},
		{[]string{"unknown_outcome"}, 0, []string{"may or may not have happened", "exit code  3", "way out    Read"}},
		{[]string{"counter.overflow"}, 0, []string{"exit code  5", "would overflow"}},
		{[]string{"auction.too_low"}, 0, []string{"an error of the resource type auction", "exit code  4"}},
		{[]string{"2"}, 0, []string{"exit code 2: the command line"}},
		{[]string{"4"}, 0, []string{"exit code 4: ", "not_found", "condition_failed"}},
		{[]string{"6"}, 2, []string{"there is no exit code 6"}},
		{[]string{"nonsense"}, 4, []string{`no code "nonsense"`, "starling explain has all"}},
		{[]string{"a", "b"}, 2, []string{"takes [CODE], got 2 arguments"}},
	} {
		out, errs, exit := run(t.Context(), "", append([]string{"explain"}, c.args...)...)
		if exit != c.exit {
			t.Errorf("%q: exit code %d, want %d: %s", c.args, exit, c.exit, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%q: %q is not in\n%s%s", c.args, want, out, errs)
			}
		}
	}
	out, _, _ := run(t.Context(), "", "explain", "-o", "json", "no_leader")
	var e explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil || e.Code != protocol.ErrNoLeader.Code || e.Exit != exitUnavailable || len(e.Retry) != 3 {
		t.Errorf("got %v %+v of %s", err, e, out)
	}
}
