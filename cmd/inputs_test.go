package cmd

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

// What a user may type, or has in a file: the exit code, and what the text must have.
func TestInputs(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 1, Passives: 1, HTTP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, name := range []string{"a1", "a2", "a3"} {
		if err := os.MkdirAll(filepath.Join(dir, "flock", name, "log"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	addr := "--addr " + c.Nodes[0].Addr()
	fits := strings.Repeat("v", protocol.ValueBytesMax-5) // a string has five bytes in front
	for _, row := range []struct {
		line string
		more []string
		code int
		says string
	}{
		{line: "map put --timeout 0 " + addr + " m k v"},
		{line: "map put --timeout -1s m k v", code: exitUsage, says: "--timeout is -1s, not from 100ms to 8760h0m0s, or 0 for as long as it takes"},
		{line: "map put --timeout abc m k v", code: exitUsage, says: `invalid value "abc" for --timeout, which takes a duration, such as 500ms`},
		{line: "dev --actives x", code: exitUsage, says: `"x" for --actives, which takes a whole number`},
		{line: "map put --if-version -1 m k v", code: exitUsage, says: `for --if-version, which takes a whole number, not below 0`},
		{line: "agent --gossip-probability half", code: exitUsage, says: `for --gossip-probability, which takes a number`},
		{line: "agent --bootstrap=perhaps", code: exitUsage, says: `for --bootstrap, which takes true or false, or no value`},
		{line: "keys show --help=false", code: exitUsage, says: "the flag --help takes no value, got --help=false"},
		{line: "wal verify -h=false", code: exitUsage, says: "the flag -h takes no value"},
		{line: "--version=false keys show", code: exitUsage, says: "the flag --version takes no value"},
		{line: "help nosuch", code: exitUsage, says: `unknown command "nosuch"`},
		{line: "help map nosuch", code: exitUsage, says: `starling map: unknown command "nosuch"`},
		{line: "help map get", says: "print the value of a key"},
		{line: "help", says: "COMMANDS"},
		{line: "status --timeout 5s --addr " + c.Nodes[0].HTTPAddr(), code: exitUnavailable, says: "an HTTP server answers there"},
		{line: "promote " + addr + " p1", code: exitRefused, says: "p1 does not wish to be active: start it again with --role active, or with --eligible"},
		{line: "promote " + addr + " p9", code: exitNotFound, says: `no member is called "p9"`},
		{line: "dev --actives 0", code: exitUsage, says: "--actives is 0"},
		{line: "dev --bind 127.0.0.1:7900 --actives 5 --dir " + filepath.Join(dir, "flock"), code: exitUsage, says: "holds a cluster of 3 actives (a1 to a3), not 5: say 3"},
		{line: "agent --config " + file("twice.yaml", "name: a\ndir: x\nname: b\n"), code: exitUsage, says: `line 3: the key "name" stands on line 1 already`},
		{line: "agent --dir x --trusted-keys " + file("huge", strings.Repeat("k", 2<<20)), code: exitUsage, says: "has 2097152 bytes: that is not a file of keys"},
		{line: "agent --dir x --trusted-keys " + file("bom", "\xef\xbb\xbfed25519 k"), code: exitUsage, says: "begins with a byte order mark"},
		{line: "agent --dir x --advertise 0.0.0.0:7600 --insecure --bootstrap", code: exitUsage, says: `--advertise "0.0.0.0:7600" names no single address`},
		{line: "agent --dir x --election 10000h", code: exitUsage, says: "--election is 10000h0m0s, not from 15ms to 1m0s"},
		{line: "agent --dir x --gossip-probability NaN", code: exitUsage, says: "--gossip-probability is NaN, not from 0.01 to 1"},
		{line: "agent --dir x --config " + file("marks.yaml", "disk-high: 7\n"), code: exitUsage, says: "disk-high (line 1 of "},
		{line: "map put " + addr + " m k", more: []string{fits}},
		{line: "map put " + addr + " m k", more: []string{fits + "v"}, code: exitRefused, says: "524289 bytes as encoded, the limit is 524288"},
		{line: "demote " + addr + " a1", code: exitRefused, says: "demoting a1: it is the only voter: make another member one first"},
		{line: "remove " + addr + " a1", code: exitRefused, says: "nothing has changed: voters a1, 1 wanted"},
		{line: "leave " + addr, code: exitRefused, says: "giving up the seat of a1: it is the only voter"},
		{line: "transfer " + addr + " a1", says: "a1 leads already"},
		{line: "transfer " + addr + " p1", code: exitRefused, says: "p1 is no voter"},
		{line: "impose --yes " + addr + " p1", code: exitRefused, says: "p1 is no voter"},
		{line: "impose --yes " + addr + " a1", code: exitRefused, says: "nothing has to be imposed"},
		{line: "impose " + addr + " a1", says: "Nothing was changed: all members have the state of a1"},
		{line: "impose " + addr + " nobody", code: exitNotFound, says: "no member is called nobody"},
		{line: "recover --actives 65 x", code: exitUsage, says: "--actives is 65, not from 0 to 64"},
		{line: "status --timeout 99ms", code: exitUsage, says: "--timeout is 99ms, not from 100ms to 8760h0m0s, or 0"},
		{line: "leave " + addr + ",127.0.0.1:1", code: exitUsage, says: "which one?"},
		{line: "dev --actives 1 --actives 2", code: exitUsage, says: "--actives stands twice, and takes one value"},
		{line: "status -o json --output table", code: exitUsage, says: "--output stands twice, and takes one value"},
		{line: "agent --bootstrap --bootstrap=false --timing x --timing y --timing z", code: exitUsage,
			says: "--bootstrap stands twice, and is said once\n  --timing stands twice, and takes one value;"},
		{line: "status " + addr + " --addr x:1", code: exitUsage, says: "--addr stands twice, and takes a list: HOST:PORT,HOST:PORT"},
		{line: "map --key-type int get m k", code: exitUsage, says: "flags go after it: starling map get --key-type ..."},
		{line: "--key-type int map delete m k", code: exitUsage, says: "flags go after it: starling map delete --key-type ..."},
		{line: "counter --timeout 1s cas c 1 2", code: exitUsage, says: "flags go after it: starling counter cas --timeout ..."},
		{line: "counter --key-type int add c 1", code: exitUsage, says: "starling counter add: unknown flag --key-type"},
		{line: "dev --timing x --passives 10001 --disk-low 7 --disk-high 3 --bind nowhere", code: exitUsage,
			says: "--passives is 10001, not from 0 to 10000\n  --bind is host:port, not \"nowhere\"\n  --timing is fast, lan or wan, not \"x\"\n  --disk-high is 3, below --disk-low, 7"},
		{line: "dev --timing x --passives 10001", code: exitUsage, says: "--timing is fast, lan or wan, not \"x\""},
		{line: "map put " + addr, more: []string{"m", "", ""}}, // keys and values may be empty
		{line: "map put --addr 127.0.0.1:1 m", code: exitUsage, says: "takes NAME KEY VALUE, got 1 argument, without KEY and VALUE; see starling map put --help"},
		{line: "map scan --addr 127.0.0.1:1 a b c", code: exitUsage, says: "takes NAME [PREFIX], got 3 arguments;"},
		{line: "remove --addr 127.0.0.1:1", code: exitUsage, says: "starling remove: takes NAME, got 0 arguments, without NAME;"},
		{line: "status --addr 127.0.0.1:1 x", code: exitUsage, says: "takes no arguments, got 1 argument;"},
		{line: "recover", code: exitUsage, says: "takes DIR..., got 0 arguments, without DIR...;"},
	} {
		out, stderr, code := run(ctx, "", append(strings.Fields(row.line), row.more...)...)
		if code != row.code || !strings.Contains(out+stderr, row.says) {
			t.Errorf("%s: exit code %d, want %d; says %.300q, want %q", row.line, code, row.code, out+stderr, row.says)
		}
	}
}

// Nothing, where a name or a path is meant, is no command line, whether or not there is a
// cluster: a variable of a script was not set.
func TestEmptyNamesAreNoInput(t *testing.T) {
	tried := 0
	var look func(path []string, commands []*cli.Command)
	look = func(path []string, commands []*cli.Command) {
		for _, c := range commands {
			path := append(slices.Clone(path), c.Name)
			look(path, c.Subcommands)
			word := strings.Trim(strings.Split(c.ArgsUsage, " ")[0], "[].")
			if word != "NAME" && word != "DIR" && word != "FILE" {
				continue
			}
			tried++
			args := append(path, "")
			for _, word := range strings.Fields(c.ArgsUsage)[1:] {
				if word == "<" || strings.HasPrefix(word, "[") {
					break
				}
				args = append(args, "1")
			}
			empty := "starling " + strings.Join(path, " ") + ": " + word + " is empty"
			fails(t, exitUsage, empty, args...)
			if strings.HasSuffix(c.ArgsUsage, "...") {
				fails(t, exitUsage, empty, append(path, "a", "")...)
			}
		}
	}
	look(nil, (&Program{}).app().Commands)
	if tried < 25 {
		t.Errorf("tried %d commands, want all that take a name or a path", tried)
	}
}

// Every command that writes says at which index, in one object.
func TestWritesSayWhereInJSON(t *testing.T) {
	addr := local(t)
	last := 0.0
	for _, line := range []string{
		"map put m k v", "map put --if-version 0 m other v", "map delete m k", "queue push q v", "queue pop q",
		"counter add c 1", "counter set c 5", "counter cas c 5 6", "resource delete m",
	} {
		words := strings.Fields(line)
		out := works(t, "", append([]string{words[0], words[1], addr, "-o", "json"}, words[2:]...)...)
		var got map[string]any
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Errorf("%s: %v in %q", line, err, out)
			continue
		}
		if index, _ := got["index"].(float64); index <= last {
			t.Errorf("%s: got the index %v in %s, want one above %v", line, got["index"], out, last)
		} else {
			last = index
		}
	}
}

// A watch that begins beyond the end says that it waits, and one that begins where no log comes says that and ends.
func TestWatchBeyondTheEndSaysSo(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	addr := local(t)
	short, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, kind := range []string{"map", "counter"} {
		_, said, code := run(short, "", kind, "watch", addr, "--after", "18446744073709551615", "m")
		if code != exitRefused || !strings.Contains(said, "after index 18446744073709551615") || strings.Contains(said, "waits") {
			t.Errorf("%s: exit code %d, it says %q, want %d and that there is no such index", kind, code, said, exitRefused)
		}
	}
	var out, errs syncBuffer
	p := &Program{Args: []string{"map", "watch", addr, "--after", "987654321", "m"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs}
	ended := make(chan int)
	go func() { ended <- p.Run(ctx) }()
	eventually(t, time.Minute, func() error {
		if !strings.Contains(errs.String(), "waits for index 987654321: the member at --addr has applied ") {
			return os.ErrNotExist
		}
		return nil
	})
	stop()
	<-ended
}

// The second signal does not wait for what the first one stops.
func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	signals, stuck := make(chan os.Signal, 2), make(chan struct{})
	defer close(stuck)
	signals <- os.Interrupt
	signals <- os.Interrupt
	var said syncBuffer
	code := supervise(signals, &said, func(context.Context) int { <-stuck; return 0 })
	if code != exitFailure || !strings.Contains(said.String(), "stopped at once") {
		t.Errorf("exit code %d, says %q", code, said.String())
	}
}

// All that is wrong is said at once, by the name under which it was given.
func TestAllThatIsWrongIsSaidByItsName(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f.yaml")
	if err := os.WriteFile(file, []byte("a: 1\nactives: x\nheartbeat: 1h\nzone: z\nzone: z\n---\nname: other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		env, line string
		says      []string
	}{
		{"STARLING_AGENT_ACTIVES=x STARLING_AGENT_ELECTION=5parsec", "agent --checkpoint-bytes y",
			[]string{`"y" for --checkpoint-bytes`, `"x" for STARLING_AGENT_ACTIVES`, `"5parsec" for STARLING_AGENT_ELECTION, which takes a duration`}},
		{"STARLING_AGENT_ACTIVES=99", "agent --bind foo --role x", []string{"STARLING_AGENT_ACTIVES is 99", "--bind is host:port", "--role takes", "--dir is required"}},
		{"STARLING_AGENT_ACTIVES=99", "agent --dir d --actives 98 --zone=,", []string{"--actives is 98", "--zone "}},
		{"STARLING_DEV_BIND=foo", "dev --actives 99 --retain-bytes 0", []string{"STARLING_DEV_BIND is host:port", "--actives is 99", "--retain-bytes is 0"}},
		{"STARLING_ADDR=foo", "status", []string{"STARLING_ADDR is host:port"}},
		{"STARLING_ADDR=,", "status", []string{`STARLING_ADDR "," has no address`}},
		{"STARLING_ADDR=foo", "status --addr bar", []string{`--addr is host:port, not "bar"`}},
		{"", "bench gossip --loss 5 --dead 7", []string{"--loss is 5, not from 0", "--dead is 7, not from 0"}},
		{"", "agent --bind foo --config " + file, []string{"--config " + file + ": line 1: unknown key", "line 2: actives: \"x\"", `line 5: the key "zone" stands on line 4`,
			"line 6: a second document begins", "heartbeat (line 3 of ", "--bind is host:port", "--dir is required"}},
		{"STARLING_AGENT_CONFIG=" + file, "agent", []string{"STARLING_AGENT_CONFIG " + file + ": line 1: unknown key"}},
	} {
		t.Run(row.env+" "+row.line, func(t *testing.T) {
			for _, v := range strings.Fields(row.env) {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			_, said, code := run(t.Context(), "", strings.Fields(row.line)...)
			if code != exitUsage || strings.Count(said, "\n") < len(row.says) {
				t.Errorf("exit code %d, want %d, and a line for each fault:\n%s", code, exitUsage, said)
			}
			for _, want := range row.says {
				if !strings.Contains(said, want) {
					t.Errorf("no %q in\n%s", want, said)
				}
			}
		})
	}
}
