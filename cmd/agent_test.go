package cmd

import (
	"bytes"
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
)

// agentConfigOf returns the configuration that a command line amounts to.
func agentConfigOf(t *testing.T, args ...string) (cfg starling.Config, err error) {
	t.Helper()
	p := &Program{Stdin: strings.NewReader(""), Stdout: new(bytes.Buffer), Stderr: new(bytes.Buffer)}
	app := p.app()
	findCommand(app.Commands, "agent").Action = func(c *cli.Context) error {
		cfg, err = p.agentConfig(c)
		return err
	}
	args, err = arrange(app, append([]string{"agent"}, args...))
	if err == nil {
		err = app.RunContext(context.Background(), append([]string{"starling"}, args...))
	}
	return cfg, err
}

// The lines of agents that stand below one another in README.md and docs can be typed as they
// are, on one machine: no two of them want the same port.
func TestAgentsOfTheDocsShareNoPort(t *testing.T) {
	for page, least := range map[string]int{"../README.md": 3, "../docs/starting.md": 7} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		agents, taken := 0, map[string]string{}
		for line := range strings.Lines(string(text)) {
			words, is := strings.CutPrefix(strings.TrimSpace(line), "starling agent ")
			if !is || !strings.HasPrefix(line, "    ") {
				clear(taken)
				continue
			}
			agents++
			cfg, err := agentConfigOf(t, strings.Fields(strings.ReplaceAll(words, "$POD_IP", "10.0.0.1"))...)
			if err != nil {
				t.Errorf("%s: %q: %v", page, words, err)
			}
			for _, address := range []string{cfg.Bind, cfg.HTTP} {
				if other := taken[address]; other != "" && address != "" && strings.HasPrefix(cfg.Bind, "127.") {
					t.Errorf("%s: %q wants %s, which %q has", page, words, address, other)
				}
				taken[address] = words
			}
		}
		if agents < least {
			t.Errorf("%s has %d lines of agents, %d at least are looked for", page, agents, least)
		}
	}
}

func TestFlagGoesOverVariableOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "starling.yaml")
	if err := os.WriteFile(file, []byte("name: from-file\nzone: from-file\nactives: 5\ndir: /d\njoin: [a:1, b:2]\ngossip-probability: 0.5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STARLING_AGENT_ZONE", "from-variable")
	t.Setenv("STARLING_AGENT_NAME", "from-variable")
	cfg, err := agentConfigOf(t, "--config", file, "--name", "from-flag")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"name", cfg.Name, "from-flag"}, {"zone", cfg.Zone, "from-variable"}, {"dir", cfg.Dir, "/d"},
		{"join", strings.Join(cfg.Join, " "), "a:1 b:2"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
	if cfg.Actives != 5 || cfg.GossipProbability != 0.5 {
		t.Errorf("got actives %d, probability %g, want 5 and 0.5", cfg.Actives, cfg.GossipProbability)
	}
}

func TestMarksOfFreeSpace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "starling.yaml")
	if err := os.WriteFile(file, []byte("disk-low: 1000\ndisk-high: 3000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STARLING_AGENT_DISK_HIGH", "2500")
	for _, one := range []struct {
		args      []string
		low, high uint64
		wrong     string
	}{
		{nil, 0, 2500, "STARLING_AGENT_DISK_HIGH is 2500, below the default of --disk-low, 268435456"},
		{[]string{"--config", file}, 1000, 2500, ""},
		{[]string{"--disk-low", "7", "--disk-high", "8"}, 7, 8, ""},
		{[]string{"--config", file, "--disk-high", "9"}, 0, 0, "--disk-high is 9, below disk-low (line 1 of " + file + "), 1000"},
		{[]string{"--disk-low", "8", "--disk-high", "7"}, 0, 0, "--disk-high is 7, below --disk-low, 8"},
		{[]string{"--disk-low", "0"}, 0, 0, "--disk-low is 0, not from 1 to"},
	} {
		cfg, err := agentConfigOf(t, append([]string{"--dir", "/d", "--name", "a"}, one.args...)...)
		switch {
		case one.wrong != "":
			if err == nil || !strings.Contains(err.Error(), one.wrong) {
				t.Errorf("%q: got %v, want %q", one.args, err, one.wrong)
			}
		case err != nil || cfg.DiskLow != one.low || cfg.DiskHigh != one.high:
			t.Errorf("%q: got %d, %d, %v", one.args, cfg.DiskLow, cfg.DiskHigh, err)
		}
	}
}

func TestTimingOfAMember(t *testing.T) {
	for _, one := range []struct {
		args                []string
		timing              string
		heartbeat, election time.Duration
	}{
		{nil, "", 0, 0},
		{[]string{"--timing", "fast"}, "fast", 0, 0},
		{[]string{"--timing", "wan", "--election", "2s"}, "wan", 0, 2 * time.Second},
		{[]string{"--election", "1s", "--heartbeat", "200ms"}, "", 200 * time.Millisecond, time.Second},
	} {
		cfg, err := agentConfigOf(t, append([]string{"--dir", "/d", "--name", "a"}, one.args...)...)
		if err != nil || cfg.Timing != one.timing || cfg.Heartbeat != one.heartbeat || cfg.Election != one.election {
			t.Errorf("%q: got %q, %v, %v, %v", one.args, cfg.Timing, cfg.Heartbeat, cfg.Election, err)
		}
	}
	for _, args := range [][]string{{"--timing", "soon"}, {"--election", "100ms"}, {"--heartbeat", "-1s"}} {
		if _, err := agentConfigOf(t, append([]string{"--dir", "/d", "--name", "a"}, args...)...); exitCode(err) != exitUsage {
			t.Errorf("%q: got %v, want a usage error", args, err)
		}
	}
}

func TestAFileWithMistakesSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"nam: a1\n":              "line 1: unknown key \"nam\", did you mean name?",
		"dir: /d\nactives: many": "line 2: actives: ",
		"- a\n- b\n":             "line 1: expected lines such as",
		"dir: {a: b}\n":          "line 1: dir takes one value",
		"dir: [\n":               "line 1",
		"config: x\n":            "files do not name one another",
	} {
		file := filepath.Join(t.TempDir(), "starling.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := agentConfigOf(t, "--config", file)
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("file %q: got %v (exit code %d), want %q", text, err, exitCode(err), want)
		}
	}
	if _, err := agentConfigOf(t, "--config", "/nowhere.yaml"); err == nil || exitCode(err) != exitUsage {
		t.Errorf("a file that is not there: got %v", err)
	}
}

func TestBadAgentFlagsNameTheWayOut(t *testing.T) {
	for _, c := range []struct{ flags, want string }{
		{"", "--dir is required"},
		{"--role reserve --bootstrap", "a reserve member cannot begin a cluster"},
		{"--role king", "--role takes active, passive or reserve"},
		{"--gossip-mode carrier-pigeon", "--gossip-mode is hybrid or flood"},
		{"--gossip-probability 2", "not from 0.01 to 1"},
		{"--gossip-probability 0", "--gossip-probability is 0, not from 0.01 to 1"},
		{"--bind 0.0.0.0:7600", "--insecure"},
		{"--bind 10.1.2.3:7600", "beyond this machine"},
		{"--bind :7600", "beyond this machine"},
		{"--http 0.0.0.0:80", "beyond this machine"},
		{"--advertise 10.1.2.3:7600", "beyond this machine"},
		{"--bind localhost", "host:port"},
		{"--bind 0.0.0.0:7600 --insecure", "say in --advertise at which"},
		{"--join 127.0.0.1", "--join is host:port"},
		{"--join 127.0.0.1:0", "no port"},
		{"--actives 0", "--actives is 0, not from 1 to 64"},
		{"--gossip-fanout 0", "--gossip-fanout is 0, not from 1 to 64"},
		{"--actives 1000", "from 1 to 64"},
		{"--role passive --bootstrap", "a passive member cannot begin a cluster"},
		{"--log-level shout", "--log-level takes"},
		{"--log-format xml", "--log-format takes"},
	} {
		args := strings.Fields(c.flags)
		if c.want != "--dir is required" {
			args = append(args, "--dir", "/d", "--name", "a1")
		}
		_, err := agentConfigOf(t, args...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.flags, err, c.want)
		}
		if got := exitCode(err); got != exitUsage {
			t.Errorf("%s: exit code %d, want %d", c.flags, got, exitUsage)
		}
	}
}

// What cannot be read stands for nothing, and no other fault is told of it.
func TestOneMistakeIsNotToldAsAnother(t *testing.T) {
	for _, c := range []struct{ text, flags, says, not string }{
		{"[", "", "line 1", "--dir is required"},
		{"- dir: /d", "", "expected lines such as", "--dir is required"},
		{"", "--config /nowhere.yaml", "no such file", "--dir is required"},
		{"", "", "--dir is required", "line"},
		{"dir: /d\nname: null\nzone: ~\nactives: ~", "", `line 4: actives: ""`, "zone"},
		{"dir: /d\nrole: king\nbootstrap: true", "", "role (line 2 of", "cannot begin a cluster"},
		{"dir: /d\nrole: king\nreplace: true", "", "role (line 2 of", "takes no seat over"},
		{"dir: /d\ndisk-low: 0\ndisk-high: 5", "", "is 5, below the default of disk-low", "below disk-low"},
		{"dir: /d\ndisk-low: 7\ndisk-high: 5", "", "is 5, below disk-low", "default"},
	} {
		file := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := agentConfigOf(t, strings.Fields(cmp.Or(c.flags, "--config "+file))...)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), c.not) {
			t.Errorf("file %q, flags %q: got %v, want %q and not %q", c.text, c.flags, err, c.says, c.not)
		}
	}
	cfg, err := agentConfigOf(t, "--dir", "/d", "--role", "active", "--zone", "null")
	if err != nil || cfg.Zone != "null" {
		t.Errorf("got %q, %v", cfg.Zone, err)
	}
}

func TestAllMistakesAreToldAtOnce(t *testing.T) {
	_, err := agentConfigOf(t, "--dir", "/d", "--name", "a b", "--bind", "0.0.0.0:1", "--gossip-fanout", "99")
	for _, want := range []string{"space", "beyond this machine", "--gossip-fanout is 99"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want also %q", err, want)
		}
	}
}

func TestAddressesAreAList(t *testing.T) {
	if got, want := addresses(" a:1, b:2,,a:1 "), []string{"a:1", "b:2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
