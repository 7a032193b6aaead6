package recovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// jobs is a type whose command calls back.
func jobs(t *testing.T, run func(what string)) *resources.Registry {
	t.Helper()
	do := resources.NewCommand("do", func(_ *resources.Tx, what string) (int, error) {
		run(what)
		return 1, nil
	})
	r, err := resources.NewRegistry(kvmap.Type, resources.NewType("jobs", 1, do))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (m *member) job(term protocol.Term, what string) protocol.Index {
	m.t.Helper()
	m.calls++
	argument, err := resources.AppendValue(nil, what)
	if err != nil {
		m.t.Fatal(err)
	}
	c := protocol.Command{Session: m.session, Sequence: m.calls, Resource: "j", Type: "jobs", Version: 1, Operation: "do", Argument: argument}
	return m.append(term, protocol.EntryCommand, protocol.EncodeCommand(&c))
}

// hangs waits in the command, at the moment that a test ends the context, until the
// test is over.
type hangs struct {
	over   chan struct{}
	cancel context.CancelFunc
}

func (h *hangs) run(what string) {
	if what == "hang" {
		h.cancel()
		<-h.over
	}
}

// Two commands that never return: the first recovery stops at the first one, the next
// at the second one, and each says what to type; with both nothing else is lost.
func TestRecoverGetsPastEachCommandThatHangs(t *testing.T) {
	m := newMember(t, oldCluster, "a2")
	m.put(3, "before", "1")
	first := m.job(3, "hang")
	m.put(3, "between", "2")
	second := m.job(3, "hang")
	m.put(3, "after", "3")
	m.log.Close()
	over := make(chan struct{})
	defer close(over)
	var list []protocol.Index
	for _, stops := range []protocol.Index{first, second} {
		ctx, cancel := context.WithCancel(t.Context())
		h := &hangs{over: over, cancel: cancel}
		_, err := Recover(ctx, Options{Dir: m.dir, Registry: jobs(t, h.run), Refuse: list})
		list = append(list, stops)
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want %v", err, context.Canceled)
		}
		for _, want := range []string{fmt.Sprintf(`command jobs.do on "j", entry %d`, stops), "--refuse " + Indexes(list) + " ", seeHangs} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("no %q in %v", want, err)
			}
		}
		if _, err := os.Stat(m.dir + ".recovered"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("something was begun: %v", err)
		}
	}
	list = []protocol.Index{second, first, second} // in whatever order, and twice
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := &hangs{over: over, cancel: cancel}
	r, err := Recover(ctx, Options{Dir: m.dir, Registry: jobs(t, h.run), Refuse: list})
	if err != nil {
		t.Fatal(err)
	}
	if want := []Refusal{{first, "jobs", "do", "j"}, {second, "jobs", "do", "j"}}; !slices.Equal(r.Refused, want) {
		t.Errorf("left out %v, want %v", r.Refused, want)
	}
	machine, _ := state(t, m.dir)
	for _, key := range []string{"before", "between", "after"} {
		if _, found := get(t, machine, key); !found {
			t.Errorf("%q is lost", key)
		}
	}
}

// What is no command of a type in the log is not left out, and all that are wrong are
// named; nothing is begun.
func TestOnlyCommandsAreLeftOut(t *testing.T) {
	m := newMember(t, oldCluster, "a2") // 1 is a configuration, 2 opens a session
	good := m.put(3, "k", "v")
	noop := m.append(3, protocol.EntryNoop, nil)
	m.log.Close()
	all := Options{Dir: m.dir, Registry: registry(t), Refuse: []protocol.Index{0, 1, 2, good, noop, noop + 1}}
	before, err := Survey(t.Context(), m.dir)
	if err != nil {
		t.Fatal(err)
	}
	_, looked := LeaveOut(&before, all.Refuse)
	_, err = Recover(t.Context(), all)
	if err == nil || looked == nil || looked.Error() != err.Error() {
		t.Errorf("who looks hears %v, want %v", looked, err)
	}
	if !errors.Is(err, protocol.ErrInvalid) {
		t.Fatalf("got %v, want %v", err, protocol.ErrInvalid)
	}
	for _, want := range []string{"no entry 0:", "entry 1 holds no command, its kind is configuration", "entry 2 is session.open",
		fmt.Sprintf("entry %d holds no command, its kind is noop", noop), fmt.Sprintf("no entry %d: the log of %s ends at %d", noop+1, m.dir, noop)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), fmt.Sprintf("entry %d ", good)) {
		t.Errorf("entry %d is a command: %v", good, err)
	}
	all.Refuse = slices.Repeat([]protocol.Index{good}, RefuseMax+1)
	if _, err := Recover(t.Context(), all); !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), "the limit is 1000") {
		t.Errorf("%d entries: got %v", len(all.Refuse), err)
	}
	all.Refuse = []protocol.Index{good}
	r, err := Recover(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	// What a checkpoint has cannot be left out any more.
	again := all
	again.Refuse, again.AlthoughIntact = []protocol.Index{r.Begin}, true
	log := m.reopen(r.Begin)
	log.put(r.Term, "later", "v")
	log.log.Close()
	if _, err := Recover(t.Context(), again); !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), fmt.Sprintf("entry %d is part of the checkpoint at %d", r.Begin, r.Begin)) {
		t.Errorf("an entry below the checkpoint: got %v", err)
	}
}

// reopen goes on with the directory of a new cluster.
func (m *member) reopen(begin protocol.Index) *member {
	m.t.Helper()
	m.open()
	m.next, m.sum = begin+1, m.log.Opened().LastSum
	return m
}

// A program that lacks a type says where one that knows it is to be had, and does not
// advise to leave the entry out.
func TestRecoverNeedsTheTypesOfTheLog(t *testing.T) {
	m := newMember(t, oldCluster, "a2")
	m.job(3, "work")
	m.log.Close()
	_, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry(t)})
	if !errors.Is(err, protocol.ErrUnknownType) {
		t.Fatalf("got %v, want %v", err, protocol.ErrUnknownType)
	}
	for _, want := range []string{"jobs", "cmd.Main", "starling.Recover", seeTypes} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "--refuse") {
		t.Errorf("it advises to lose an entry: %v", err)
	}
}

// The directory is free, and unchanged, when the context has ended in a command that
// hangs: the same program can try again.
func TestRecoverThatWasCutShortHoldsNothing(t *testing.T) {
	m := newMember(t, oldCluster, "a2")
	bad := m.job(3, "hang")
	m.log.Close()
	over := make(chan struct{})
	defer close(over)
	ctx, cancel := context.WithCancel(t.Context())
	h := &hangs{over: over, cancel: cancel}
	registry := jobs(t, h.run)
	if _, err := Recover(ctx, Options{Dir: m.dir, Registry: registry}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry, Refuse: []protocol.Index{bad}}); err != nil {
		t.Error(err)
	}
}

// Without an end of the context the log says at which command the recovery stands.
func TestRecoverLogsTheCommandThatHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: a command counts as hanging after five seconds")
	}
	m := newMember(t, oldCluster, "a2")
	bad := m.job(3, "hang")
	m.log.Close()
	over := make(chan struct{})
	log := &toldOnce{over: over}
	registry := jobs(t, func(string) { <-over })
	if _, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry, Logger: slog.New(slog.NewTextHandler(log, nil))}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"level=ERROR", "a command hangs", fmt.Sprintf("entry %d", bad), "index=" + fmt.Sprint(bad), "type=jobs"} {
		if !strings.Contains(log.text.String(), want) {
			t.Errorf("no %q in %s", want, log.text.String())
		}
	}
}

// toldOnce lets the command go when the log says that it hangs.
type toldOnce struct {
	over chan struct{}
	text bytes.Buffer
}

func (l *toldOnce) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("a command hangs")) { // once
		defer close(l.over)
	}
	return l.text.Write(p)
}

// What texts name is there.
func TestRecoverNamesHeadingsThatAre(t *testing.T) {
	page, err := os.ReadFile("../../docs/recover.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, see := range []string{seeHangs, seeTypes} {
		_, heading, _ := strings.Cut(strings.TrimSuffix(see, `"`), `"`)
		if !strings.Contains(string(page), "\n## "+heading+"\n") {
			t.Errorf("docs/recover.md has no heading %q", heading)
		}
	}
}
