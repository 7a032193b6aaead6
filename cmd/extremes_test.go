package cmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// accepted are the extreme values that a flag takes, as they are meant: by command and
// flag, or by flag alone. What is not here is refused. "any text" is for what only
// whoever is asked can judge.
var accepted = map[string][]string{
	"timeout": {"0"}, "addr": {"0.0.0.0:7600"}, "cluster": {""},
	"dir": {anyText}, "name": {"", "ünïcode", "-1", "0.0.0.0:7600", "0"}, "zone": {"", "ünïcode", "-1", "0.0.0.0:7600", "0"},
	"bind": {""}, "http": {""}, "advertise": {""}, "join": {""}, "config": {""}, "sign-key": {""}, "trusted-keys": {""}, "timing": {""}, "gossip-mode": {""},
	"actives": {"1"}, "passives": {"0", "1"}, "recover actives": {"0", "1"}, "floor": {"0", "1"}, "reserves": {"0", "1"}, "gossip-fanout": {"1"}, "expect": {"1"},
	"start-timeout": {"0"}, "election": {"0"}, "heartbeat": {"0"}, "stable": {"0", "1ns"}, "failed-after": {"0"}, "autopilot set state-bytes": {"0"},
	"checkpoint-every": {"-1s"}, "retain-bytes": {"-1", "1", minInt}, "changes-bytes": {"-1", minInt}, "disk-low": {"1"},
	"if-version": {"0", "1", maxUint}, "limit": {"0", "1", maxInt}, "after": {"0", "1", maxUint}, "refuse": {"0", "1", maxUint}, "seed": {"0", "1", maxUint},
	"map scan from": {anyText}, "map scan to": {anyText}, "resource delete type": {anyText}, "label": {anyText}, "plot": {anyText}, "concurrency": {"1"},
	"sim from": {"0", "1", maxUint}, "seeds": {"1"}, "workers": {"1"}, "profile": {""}, "trials": {"1"}, "runs": {"1"}, "bytes": {"1"}, "zones": {"1"},
	"loss": small, "dead": small, "slow": small, "zone-delay": {"0", "1ns"}, "bench flock passives": {"0"}, "bench storm passives": {"1"}, "bench storm away": {"0", "1ns"},
}

const (
	anyText         = "any text"
	minInt, maxInt  = "-9223372036854775808", "9223372036854775807"
	maxUint         = "18446744073709551615"
	beyondAllNumber = "99999999999999999999999999"
)

var small = []string{"0", "-0", "1e-300"}

// extremesOf are values at which a flag of its kind may go wrong.
func extremesOf(f cli.Flag) []string {
	switch f.(type) {
	case *cli.DurationFlag:
		return []string{"", " ", "x", "5", "-1s", "0", "1ns", "2540400h", beyondAllNumber + "h", "10 parsecs", "NaN", "١s"}
	case *cli.IntFlag:
		return []string{"", " ", "x", "-1", "0", "1", maxInt, minInt, beyondAllNumber, "1.5", "NaN", "3s", "٣"}
	case *cli.Uint64Flag:
		return []string{"", " ", "x", "-1", "0", "1", maxUint, beyondAllNumber, "1.5", "NaN"}
	case *cli.Float64Flag:
		return []string{"", " ", "x", "-1", "0", "-0", "1e-300", "1e300", "NaN", "Inf", "-Inf", "1e999", "٣"}
	case *cli.BoolFlag:
		return []string{"", " ", "perhaps", "2", "-1"}
	}
	return []string{"", " ", "\x00", "\n", "ünïcode", strings.Repeat("x", 10_000), "-1", "0.0.0.0:7600", ",", "0", "\xff"}
}

// besides is what a command line needs beside one flag to be judged by it.
func besides(command, flag string) (flags, args []string) {
	set := func(name, value string) {
		if name != flag {
			flags = append(flags, "--"+name+"="+value)
		}
	}
	switch command {
	case "agent":
		set("dir", "never")
		set("http", "none")
		if set("bind", "127.0.0.1:0"); flag == "expect" {
			set("join", "127.0.0.1:1")
		}
	case "autopilot set":
		set("on", "true")
		return flags, nil
	case "map import":
		return nil, []string{"m"}
	case "dev":
		set("http", "none")
		if flag == "dir" { // its members need ports that they find again
			set("bind", "127.0.0.1:7950")
		} else {
			set("bind", "127.0.0.1:0")
		}
	case "sim":
		set("for", "1s")
		if set("seeds", "1"); flag == "seed" {
			flags = slices.DeleteFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--seeds") })
		}
	case "recover", "keys generate", "keys show", "wal inspect", "wal verify", "checkpoint inspect", "checkpoint put-back":
		args = []string{"never"}
	}
	return flags, append(args, strings.Fields(timedCommands[command].args)...)
}

// fieldNames are the names of fields of configurations that are no words.
func fieldNames() *regexp.Regexp {
	var names []string
	for _, config := range []any{starling.Config{}, starling.LocalConfig{}, starling.ClientConfig{}} {
		for _, f := range reflect.VisibleFields(reflect.TypeOf(config)) {
			if strings.ContainsFunc(f.Name[1:], unicode.IsUpper) && f.Name != "HTTP" {
				names = append(names, f.Name)
			}
		}
	}
	return regexp.MustCompile(`\b(` + strings.Join(names, "|") + `)\b`)
}

var flagsSaid = regexp.MustCompile(`--([a-z][a-z-]+)`)

// Every flag of every command refuses what it cannot mean, before the command does
// anything, by the names that a command line has: its own, and those of other flags that
// there are. The context of the commands has ended, so that nothing comes of what they
// accept.
func TestEveryFlagRefusesWhatItCannotMean(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: thousands of command lines that start nothing")
	}
	t.Chdir(t.TempDir())
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	fields, used := fieldNames(), map[string]bool{}
	walk((&Program{}).app().Commands, func(c *cli.Command) {
		if len(c.Subcommands) > 0 {
			return
		}
		command := strings.TrimPrefix(c.HelpName, "starling ")
		for _, f := range c.Flags {
			flag := f.Names()[0]
			if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() || flag == "help" {
				continue
			}
			key := command + " " + flag
			if accepted[key] == nil {
				key = flag
			}
			used[key] = used[key] || accepted[key] != nil
			for _, value := range extremesOf(f) {
				flags, args := besides(command, flag)
				out, stderr, code := run(ended, "", slices.Concat(strings.Fields(command), flags, []string{"--" + flag + "=" + value}, args)...)
				said, wants := out+stderr, code != exitUsage
				if want := slices.Contains(accepted[key], value) || slices.Contains(accepted[key], anyText); want && !wants || !want && wants {
					if !(slices.Contains(accepted[key], anyText) && strings.Contains(said, "--"+flag)) {
						t.Errorf("%s --%s=%.40q: exit code %d, accepted %t, want %t: %.200s", command, flag, value, code, wants, want, said)
					}
					continue
				}
				if wants {
					continue
				}
				if !strings.Contains(said, "--"+flag) {
					t.Errorf("%s --%s=%.40q: is not named in %.200s", command, flag, value, said)
				}
				if name := fields.FindString(said); name != "" {
					t.Errorf("%s --%s=%.40q: the field %s is named in %.200s", command, flag, value, name, said)
				}
				for _, m := range flagsSaid.FindAllStringSubmatch(said, -1) {
					if m[1] != "help" && findFlag(c.Flags, m[1]) == nil {
						t.Errorf("%s --%s=%.40q: names --%s, which it does not have: %.200s", command, flag, value, m[1], said)
					}
				}
			}
		}
	})
	for key := range accepted {
		if !used[key] {
			t.Errorf("%q accepts something, and there is no such flag", key)
		}
	}
}

// What a file of --config says wrong is named by key and line.
func TestEveryKeyOfAFileIsNamedAsThereByItsLine(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: thousands of command lines that start nothing")
	}
	dir := t.TempDir()
	t.Chdir(dir)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, f := range agentFlags() {
		flag := f.Names()[0]
		for _, value := range extremesOf(f) {
			if slices.Contains(accepted[flag], value) || slices.Contains(accepted[flag], anyText) || flag == "config" || !utf8.ValidString(value) || strings.ContainsAny(value, "\x00\n") {
				continue
			}
			flags, _ := besides("agent", flag)
			file := filepath.Join(dir, "f.yaml")
			if err := os.WriteFile(file, fmt.Appendf(nil, "# one line\n%s: %q\n", flag, value), 0o600); err != nil {
				t.Fatal(err)
			}
			_, said, code := run(ended, "", slices.Concat([]string{"agent"}, flags, []string{"--config", file})...)
			if code != exitUsage || !strings.Contains(said, flag) || !strings.Contains(said, "line 2") || strings.Contains(said, "--"+flag+" ") {
				t.Errorf("%s: %.40q: exit code %d: %.300s", flag, value, code, said)
			}
		}
	}
	for key, want := range map[string]string{"config: x": "files do not name one another", "help: true": "help is for the command line", "disk-lwo: 1": "did you mean disk-low"} {
		file := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		fails(t, exitUsage, want, "agent", "--config", file)
	}
}

// No help shows two defaults, or a zero that is none.
func TestEveryFlagShowsOneDefault(t *testing.T) {
	walk((&Program{}).app().Commands, func(c *cli.Command) {
		for _, f := range c.Flags {
			text := f.String()
			if strings.Count(strings.ToLower(text), "default") > 1 || strings.Contains(text, "(default: 0s)") {
				t.Errorf("%s: %s", c.HelpName, text)
			}
		}
	})
}

// A list of addresses that is given twice is refused: the second would take the place of
// the first.
func TestAListThatStandsTwiceIsRefused(t *testing.T) {
	for _, line := range []string{"agent --dir d --join a:1 --join b:1", "map get --addr a:1 --addr=b:1 m k", "status -addr a:1 --addr b:1"} {
		fails(t, exitUsage, "stands twice", strings.Fields(line)...)
	}
}
