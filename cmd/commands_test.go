package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/freeport"
)

func TestTheFirstSignalStopsGracefullyTheSecondAtOnce(t *testing.T) {
	signals := make(chan os.Signal, 2)
	got := supervise(signals, io.Discard, func(ctx context.Context) int {
		signals <- os.Interrupt
		<-ctx.Done()
		return 7
	})
	if want := 7; got != want {
		t.Errorf("one signal: got exit code %d, want %d", got, want)
	}
	hanging := make(chan struct{})
	defer close(hanging)
	got = supervise(signals, io.Discard, func(ctx context.Context) int {
		signals <- os.Interrupt
		<-ctx.Done()
		signals <- os.Interrupt
		<-hanging
		return 0
	})
	if want := exitFailure; got != want {
		t.Errorf("two signals: got exit code %d, want %d", got, want)
	}
}

// local opens a cluster in this process and returns the flag that names it.
func local(t *testing.T) (addr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 1, Passives: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return "--addr=" + c.Nodes[0].Addr()
}

func TestCommandsOfTheResources(t *testing.T) {
	addr := local(t)
	for _, c := range []struct{ line, want string }{
		{"map put A colors sky blue", ""},
		{"map put A --if-version 0 colors grass green", "version "},
		{"map get A colors sky", "blue\n"},
		{"map get A --consistency local colors sky", "blue\n"},
		{"map get A -o json colors sky", `"value":"blue"`},
		{"map get A --consistency session colors sky", "blue\n"},
		{"map get A --consistency session=1 -o json colors sky", `"age_ms":`},
		{"map get A --consistency stale=1h -o json colors sky", `"index":`},
		{"map get A --consistency stale=0 colors sky", "blue\n"},
		{"map get A --consistency stale=1h --no-forwarding colors sky", "blue\n"},
		{"map len A --consistency session colors", "2\n"},
		{"map scan A --consistency stale=500ms -o json colors s", `"age_ms":`},
		{"map len A colors", "2\n"},
		{"map scan A colors", "KEY    VERSION  VALUE\ngrass  "},
		{"map scan A -o json colors s", `{"key":"sky","key_type":"string","value":"blue","value_type":"string","version":`},
		{"map scan A --limit 1 -o json colors", `{"key":"grass"`},
		{"map scan A --from h -o json colors", `{"key":"sky"`},
		{"map scan A --to h -o json colors", `{"key":"grass"`},
		{"map delete A colors grass", ""},
		{"map export A --format tab colors", "sky\tblue\n"},
		{"map export A colors", "\n{\"key\":\"sky\",\"value\":\"blue\"}\n{\"entries\":1,"},
		{"queue push A jobs wash", ""},
		{"queue push A jobs dry", ""},
		{"queue len A jobs", "2\n"},
		{"queue peek A jobs", "wash\n"},
		{"queue pop A jobs", "wash\n"},
		{"queue pop A -o json jobs", `{"value":"dry","value_type":"string","index":`},
		{"counter add A hits -5", "-5\n"},
		{"counter set A hits 3", ""},
		{"counter cas A hits 3 4", ""},
		{"counter get A hits", "4\n"},
		{"counter get A -o json hits", `"value":4`},
		{"status A", "  a1\ncommit"},
		{"members A", "NAME  ADDRESS"},
		{"members A -o json", `"suffrage":"voter"`},
	} {
		args := strings.Fields(c.line)
		for i := range args {
			if args[i] == "A" {
				args[i] = addr
			}
		}
		if got := works(t, "", args...); !strings.Contains(got, c.want) || (c.want == "" && got != "") {
			t.Errorf("%s: got %q, want %q", c.line, got, c.want)
		}
	}
	fails(t, exitNotFound, "empty", "queue", "pop", addr, "jobs")
	fails(t, exitNotFound, "the counter is 4, not 3", "counter", "cas", addr, "hits", "3", "5")
	fails(t, exitUsage, "whole number", "counter", "add", addr, "hits", "many")
	fails(t, exitUsage, "takes NAME KEY VALUE, got 2 arguments, without VALUE;", "map", "put", addr, "colors", "sky")
	fails(t, exitUsage, "not both", "map", "scan", addr, "--from", "a", "colors", "s")
	fails(t, exitUsage, "--consistency takes", "map", "get", addr, "--consistency", "eventual", "colors", "sky")
	fails(t, exitUsage, "such as 500ms", "map", "get", addr, "--consistency", "stale", "colors", "sky")
	fails(t, exitUsage, "such as 500ms", "map", "get", addr, "--consistency", "stale=-1s", "colors", "sky")
	fails(t, exitUsage, "whole number", "map", "get", addr, "--consistency", "session=new", "colors", "sky")
	fails(t, exitUsage, "goes with", "map", "get", addr, "--no-forwarding", "colors", "sky")
	fails(t, exitUnavailable, "0s was asked for", "map", "get", addr, "--consistency", "stale=0", "--no-forwarding", "colors", "sky")
	fails(t, exitUsage, "--output takes", "map", "get", addr, "-o", "xml", "colors", "sky")
	fails(t, exitUnavailable, "no member answers", "status", "--addr", freeport.Address(t))
	fails(t, exitUsage, "host:port", "status", "--addr", "nonsense")
}

func TestStatusAsJSONHasWhatScriptsNeed(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal([]byte(works(t, "", "status", local(t), "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "role", "raft_role", "term", "leader", "commit", "applied", "digest", "age_ms", "actives", "passives"} {
		if _, ok := got[key]; !ok {
			t.Errorf("no %q in %v", key, got)
		}
	}
	if got["leader"] != "a1" || fmt.Sprint(got["actives"]) != "[a1]" || fmt.Sprint(got["passives"]) != "[p1]" {
		t.Errorf("leader %v, actives %v, passives %v; want a1, [a1], [p1]", got["leader"], got["actives"], got["passives"])
	}
}

func TestImportReportsBadLinesAndIsIdempotent(t *testing.T) {
	addr := local(t)
	input := "b\t2\nno tab\na\t1\nc\tx\\q\nb\t3\n\tof the empty key\n" + `tab\there` + "\t" + `line\nbreak` + "\n"
	for range 2 {
		_, stderr, code := run(context.Background(), input, "map", "import", addr, "--format", "tab", "m")
		if code != exitFailure {
			t.Errorf("exit code %d, want %d", code, exitFailure)
		}
		for _, want := range []string{"line 2: no tab", `line 4: value: unknown escape \q`, "not imported: 2 of 7 lines"} {
			if !strings.Contains(stderr, want) {
				t.Errorf("says %q, want %q", stderr, want)
			}
		}
		got := works(t, "", "map", "export", addr, "--format", "tab", "m")
		if want := "\tof the empty key\na\t1\nb\t3\n" + `tab\there` + "\t" + `line\nbreak` + "\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	fails(t, exitUsage, "--concurrency is 0", "map", "import", addr, "--concurrency", "0", "m")
	if got := works(t, "x\ty\n", "map", "import", addr, "--format", "tab", "-o", "json", "m2"); got != `{"imported":1,"lines":1}`+"\n" {
		t.Errorf("got %q", got)
	}
}

func TestValuesOfPrograms(t *testing.T) {
	ctx := context.Background()
	addr := local(t)
	c, err := starling.Dial(ctx, starling.ClientConfig{Addresses: addresses(strings.TrimPrefix(addr, "--addr="))})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	type user struct{ Name string }
	if err := starling.NewMap[string, user](c, "users").Put(ctx, "1", user{"ada"}); err != nil {
		t.Fatal(err)
	}
	if err := starling.NewMap[string, map[int]bool](c, "users").Put(ctx, "2", map[int]bool{7: true}); err != nil {
		t.Fatal(err)
	}
	if got, want := works(t, "", "map", "get", addr, "users", "1"), `{"Name":"ada"}`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := "{\"key\":\"1\",\"value\":{\"Name\":\"ada\"}}\n{\"key\":\"2\",\"value\":{\"$map\":[[7,true]]}}\n"
	if got := works(t, "", "map", "export", addr, "users"); !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWatchPrintsChanges(t *testing.T) {
	addr := local(t)
	works(t, "", "map", "put", addr, "colors", "sky", "blue")
	index := strings.Split(strings.Split(works(t, "", "map", "get", addr, "-o", "json", "colors", "sky"), `"index":`)[1], ",")[0]
	out := new(syncBuffer)
	watch := command(t, "map", "watch", addr, "--after", index, "colors")
	watch.Stdout, watch.Stderr = out, out
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	defer watch.Process.Kill()
	works(t, "", "map", "put", addr, "colors", "sky", "grey")
	works(t, "", "map", "delete", addr, "colors", "sky")
	eventually(t, 30*time.Second, func() error {
		if s := out.String(); !strings.Contains(s, "put\tsky\tgrey\n") || !strings.Contains(s, "delete\tsky\t\n") {
			return fmt.Errorf("it says %q", s)
		}
		return nil
	})
	if err := errors.Join(watch.Process.Signal(os.Interrupt), watch.Wait()); err != nil {
		t.Errorf("Ctrl-C: %v: %s", err, out)
	}
}

func TestWatchPrintsPreviousValues(t *testing.T) {
	addr := local(t)
	works(t, "", "map", "put", addr, "colors", "sky", "blue")
	index := strings.Split(strings.Split(works(t, "", "map", "get", addr, "-o", "json", "colors", "sky"), `"index":`)[1], ",")[0]
	works(t, "", "map", "put", addr, "colors", "sky", "grey")
	works(t, "", "map", "delete", addr, "colors", "sky")
	works(t, "", "map", "put", addr, "--value-type", "int", "colors", "sea", "7")
	works(t, "", "map", "put", addr, "--value-type", "bytes", "colors", "sea", "aGk=")
	for _, out := range []struct {
		flags []string
		want  []string
	}{
		{nil, []string{"put\tsky\tgrey\tvalue\tblue\n", "delete\tsky\t\tvalue\tgrey\n", "put\tsea\t7\tnone\t\n", "put\tsea\t{\"$b64\":\"aGk=\"}\tvalue\t7\n"}},
		{[]string{"-o", "json"}, []string{
			`"value":"grey","value_type":"string","previous_kind":"value","previous":"blue","previous_type":"string"}`, `"key":"sky","key_type":"string","previous_kind":"value","previous":"grey","previous_type":"string"}`,
			`"value":7,"value_type":"int","previous_kind":"none"}`, `"value_b64":"aGk=","value_type":"bytes","previous_kind":"value","previous":7,"previous_type":"int"}`}},
	} {
		said := new(syncBuffer)
		watch := command(t, append(append([]string{"map", "watch", addr, "--previous", "--after", index}, out.flags...), "colors")...)
		watch.Stdout, watch.Stderr = said, said
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			for _, want := range out.want {
				if !strings.Contains(said.String(), want) {
					return fmt.Errorf("%q: it says %q, not %q", out.flags, said, want)
				}
			}
			return nil
		})
		watch.Process.Kill()
		watch.Wait()
	}
	fails(t, exitUsage, "not with --previous", "map", "watch", addr, "--list", "--previous", "colors")
}

func TestWatchListsAndGoesOn(t *testing.T) {
	addr := local(t)
	works(t, "", "map", "put", addr, "colors", "sky", "blue")
	out := new(syncBuffer)
	watch := command(t, "map", "watch", addr, "--list", "-o", "json", "colors")
	watch.Stdout, watch.Stderr = out, out
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	defer watch.Process.Kill()
	has := func(texts ...string) {
		t.Helper()
		eventually(t, 30*time.Second, func() error {
			s := out.String()
			for _, text := range texts {
				if !strings.Contains(s, text) {
					return fmt.Errorf("it says %q, not %q", s, text)
				}
			}
			return nil
		})
	}
	has(`"kind":"reset"`, `"key":"sky"`, `"kind":"listed"`)
	works(t, "", "map", "delete", addr, "colors", "sky")
	has(`"kind":"delete"`)
	if err := errors.Join(watch.Process.Signal(os.Interrupt), watch.Wait()); err != nil {
		t.Errorf("Ctrl-C: %v: %s", err, out)
	}
	fails(t, exitUsage, "not both", "map", "watch", addr, "--list", "--after", "1", "colors")
}

func TestDevPrintsCommandsThatWork(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a process")
	}
	out := new(syncBuffer)
	dev := command(t, "dev", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0")
	dev.Stdout, dev.Stderr = out, out
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	defer dev.Process.Kill()
	eventually(t, time.Minute, func() error {
		if !strings.Contains(out.String(), "Ctrl-C") {
			return fmt.Errorf("dev says %q", out)
		}
		return nil
	})
	if s := out.String(); !strings.Contains(s, "3 active and 2 passive members") || strings.Count(s, "http://") != 5 {
		t.Errorf("dev says\n%s", s)
	}
	t.Setenv(runVariable, "1")
	ran := 0
	for line := range strings.SplitSeq(out.String(), "\n") {
		if fields := strings.Fields(line); len(fields) < 2 || fields[1] != "map" && fields[1] != "status" {
			continue
		}
		ran++
		var b []byte
		// The second one reads locally from a passive, which may take a moment.
		eventually(t, 30*time.Second, func() (err error) {
			if b, err = exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
				err = fmt.Errorf("%s: %w: %s", line, err, b)
			}
			return err
		})
		if strings.Contains(line, " get ") && string(b) != "blue\n" {
			t.Errorf("%s: got %q", line, b)
		}
	}
	if got, want := ran, 3; got != want {
		t.Errorf("dev printed %d commands, want %d:\n%s", got, want, out)
	}
	if err := errors.Join(dev.Process.Signal(os.Interrupt), dev.Wait()); err != nil {
		t.Errorf("Ctrl-C: %v\n%s", err, out)
	}
	if _, after, _ := strings.Cut(out.String(), "stopping (once more"); strings.Contains(after, "is not heard any more") {
		t.Errorf("a graceful stop is not quiet:\n%s", after)
	}
}

// interrupting is a writer that ends a context when it is written to.
type interrupting struct{ end context.CancelCauseFunc }

// Write ends it.
func (w interrupting) Write(b []byte) (int, error) {
	w.end(&interrupted{os.Interrupt})
	return len(b), nil
}

// What was stopped before it was done has one exit code, whatever it was.
func TestWhatASignalCutsShortIsUnavailable(t *testing.T) {
	silent := deaf(t)
	for _, line := range []string{
		"sim --seed 1 --for 1h", "sim --for 1h --seeds 2 --trace",
		"status --timeout 0 --addr " + silent, "map put --timeout 0 --addr " + silent + " m k v", "bench gossip --for 1s",
	} {
		ctx, end := context.WithCancelCause(t.Context())
		out := interrupting{end}
		if !strings.HasPrefix(line, "sim") {
			end(&interrupted{os.Interrupt})
		}
		var errs syncBuffer
		p := &Program{Args: strings.Fields(line), Stdin: strings.NewReader(""), Stdout: out, Stderr: &errs}
		if code := p.Run(ctx); code != exitUnavailable || !strings.Contains(errs.String(), "starling: interrupt\n") {
			t.Errorf("%s: exit code %d, want %d: %s", line, code, exitUnavailable, errs.String())
		}
		end(nil)
	}
}

func TestDevSaysThatItsPortIsInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fails(t, exitFailure, "another process has the port", "dev", "--http", "none", "--bind", l.Addr().String())
	fails(t, exitUsage, "is not of this machine alone", "dev", "--bind", "0.0.0.0:7600")
	fails(t, exitUsage, "--actives is -1, not from 1 to 64", "dev", "--actives", "-1")
	fails(t, exitUsage, "takes no arguments", "dev", "extra")
}

func TestSimEndsWithOneLine(t *testing.T) {
	out := works(t, "", "sim", "--from", "1", "--seeds", "2", "--for", "2s")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "2 seeds, 0 violations, ") {
		t.Errorf("got %q", out)
	}
	trace := works(t, "", "sim", "--seed", "1", "--for", "2s")
	if !strings.Contains(trace, "leader") || !bytes.HasSuffix([]byte(trace), []byte("\n")) {
		t.Errorf("a trace without a leader: %.200q", trace)
	}
	if strings.Contains(trace, "▶") || strings.Contains(trace, "\x1b") {
		t.Errorf("a trace with arrows that nobody asked for, or with colours in a file: %.200q", trace)
	}
	if arrows := works(t, "", "sim", "--seed", "1", "--for", "2s", "--messages"); !strings.Contains(arrows, "▶") {
		t.Errorf("a trace of messages without arrows: %.200q", arrows)
	}
	fails(t, exitUsage, "say one of both", "sim", "--seed", "1", "--from", "1")
	fails(t, exitUsage, "there are calm", "sim", "--profile", "sunny")
}
