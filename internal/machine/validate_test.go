package machine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// counting is a caller that answers nothing and counts what it is given.
type counting struct{ calls int }

func (c *counting) Command(context.Context, protocol.Command) (protocol.Result, error) {
	c.calls++
	return protocol.Result{}, nil
}

func (c *counting) Query(context.Context, protocol.Query) (protocol.Result, error) {
	c.calls++
	return protocol.Result{}, nil
}

func (c *counting) Watch(context.Context, protocol.Watch) (resources.WatchStream, error) {
	c.calls++
	return nil, protocol.ErrClosed
}

// notes is a type with one operation of each kind.
func notes() (*resources.Type, *resources.Command[string, string], *resources.Query[string, string]) {
	write := resources.NewCommand("write", func(_ *resources.Tx, text string) (string, error) { return text, nil })
	read := resources.NewQuery("read", func(_ *resources.View, text string) (string, error) { return text, nil })
	return resources.NewType("notes", 1, write, read), write, read
}

// wantError checks the code of an error and what it says.
func wantError(t *testing.T, what string, err error, want *protocol.Error, says string) {
	t.Helper()
	if want == nil && err == nil {
		return
	}
	if want == nil || !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: got %v, want %v and %q", what, err, want, says)
	}
}

// What no member would take is refused where it is asked for, by commands and
// queries alike, and never travels.
func TestOperationsRefuseBeforeTheyAsk(t *testing.T) {
	_, write, read := notes()
	ctx := context.Background()
	for _, c := range []struct {
		what, resource string
		size           int // of the argument
		want           *protocol.Error
		says           string
	}{
		{"good", "r", 0, nil, ""},
		{"longest name", strings.Repeat("n", protocol.NameBytesMax), 0, nil, ""},
		{"largest argument", "r", protocol.CommandBytesMax - 5, nil, ""},
		{"no name", "", 0, protocol.ErrInvalid, "the name of a resource is empty"},
		{"bad name", "bad name", 0, protocol.ErrInvalid, `"bad name", has the character " "`},
		{"long name", strings.Repeat("n", protocol.NameBytesMax+1), 0, protocol.ErrTooLarge, "has 256 bytes, the limit is 255"},
		{"large argument", "r", protocol.CommandBytesMax - 4, protocol.ErrTooLarge, `for notes "r" has 1048577 bytes, the limit is 1048576`},
	} {
		caller := new(counting)
		argument := strings.Repeat("a", c.size)
		_, err := write.Do(ctx, caller, c.resource, argument)
		wantError(t, c.what+", command", err, c.want, c.says)
		_, err = read.Do(ctx, caller, c.resource, argument)
		wantError(t, c.what+", query", err, c.want, c.says)
		want := 0
		if c.want == nil {
			want = 2
		}
		if caller.calls != want {
			t.Errorf("%s: %d calls went out, want %d", c.what, caller.calls, want)
		}
	}
	_, err := read.Do(ctx, new(counting), "r", "", resources.MaxStale(-1))
	wantError(t, "negative age", err, protocol.ErrInvalid, "younger than 0")
}

// A machine refuses what operations refuse, whoever brings it.
func TestAMachineRefusesInvalidNames(t *testing.T) {
	kind, _, _ := notes()
	l := newLocal(t, kind)
	long := strings.Repeat("n", protocol.NameBytesMax+1)
	for _, c := range []struct {
		resource string
		want     *protocol.Error
	}{{"", protocol.ErrInvalid}, {"bad name", protocol.ErrInvalid}, {long, protocol.ErrTooLarge}, {"not-there-yet", nil}} {
		what := protocol.Quoted(c.resource)
		err := l.m.Check(&protocol.Command{Resource: c.resource, Type: "notes", Version: 1, Operation: "write"})
		wantError(t, what+", command", err, c.want, "the name of a resource")
		r := l.m.Query(t.Context(), &protocol.Query{Resource: c.resource, Type: "notes", Operation: "read"})
		wantError(t, what+", query", r.Err(), c.want, "the name of a resource")
		watcher, err := l.m.Watch(&protocol.Watch{Resource: c.resource, Type: "notes"})
		wantError(t, what+", watch", err, c.want, "the name of a resource")
		if err == nil {
			watcher.Close()
		}
		view, err := l.m.View(c.resource, "notes")
		wantError(t, what+", view", err, c.want, "the name of a resource")
		if err == nil {
			view.Close()
		}
	}
	_, err := l.m.Watch(&protocol.Watch{Resource: "r", Type: "notes", Prefix: make([]byte, protocol.KeyBytesMax+1)})
	wantError(t, "prefix", err, protocol.ErrTooLarge, "the limit is 4097")
	_, err = l.m.Watch(&protocol.Watch{Resource: "r", Type: "notes", From: protocol.IndexMax + 1})
	wantError(t, "index", err, protocol.ErrInvalid, "the highest that a log can have")
	watcher, err := l.m.Watch(&protocol.Watch{Resource: "r", Type: "notes", Prefix: make([]byte, protocol.KeyBytesMax)})
	if err != nil {
		t.Fatalf("the longest prefix: %v", err)
	}
	watcher.Close()
}

func TestWhatIsNilIsAnError(t *testing.T) {
	ctx := context.Background()
	kind, write, read := notes()
	var noCommand *resources.Command[string, string]
	var noQuery *resources.Query[string, string]
	for what, c := range map[string]struct {
		types []*resources.Type
		says  string
	}{
		"a nil type":       {[]*resources.Type{kind, nil}, "a type is nil"},
		"a zero type":      {[]*resources.Type{new(resources.Type)}, "make it with NewType"},
		"a nil operation":  {[]*resources.Type{resources.NewType("t", 1, nil)}, `type "t": operation 1 of 1 is nil`},
		"a nil command":    {[]*resources.Type{resources.NewType("t", 1, noCommand)}, "is nil"},
		"a nil query":      {[]*resources.Type{resources.NewType("t", 1, noQuery)}, "is nil"},
		"a zero command":   {[]*resources.Type{resources.NewType("t", 1, new(resources.Command[string, string]))}, "the name of an operation is empty"},
		"a command of nil": {[]*resources.Type{resources.NewType("t", 1, resources.NewCommand[int, int]("c", nil))}, `"c" has no function to run`},
		"a query of nil":   {[]*resources.Type{resources.NewType("t", 1, resources.NewQuery[int, int]("q", nil))}, `"q" has no function to run`},
	} {
		_, err := resources.NewRegistry(c.types...)
		wantError(t, what, err, protocol.ErrInvalid, c.says)
	}

	_, err := write.Do(ctx, nil, "r", "")
	wantError(t, "a command without a caller", err, protocol.ErrInvalid, "notes.write has nobody to ask")
	_, err = read.Do(ctx, nil, "r", "")
	wantError(t, "a query without a caller", err, protocol.ErrInvalid, "notes.read has nobody to ask")
	_, err = noCommand.Do(ctx, new(counting), "r", "")
	wantError(t, "a nil command", err, protocol.ErrInvalid, "nil")
	_, err = noQuery.Do(ctx, new(counting), "r", "")
	wantError(t, "a nil query", err, protocol.ErrInvalid, "nil")
	_, err = new(resources.Command[string, string]).Do(ctx, new(counting), "r", "")
	wantError(t, "a zero command", err, protocol.ErrUnknownOperation, "not part of a type")
	if _, err := read.Do(ctx, new(counting), "r", "", nil, resources.WithInfo(nil)); err != nil {
		t.Errorf("an option that is nil: %v", err)
	}
}

// An error whose code no message can carry, or that has none, is an error all
// the same, the same one on all members, and its command has no effect.
func TestErrorsOfATypeReachItsCallers(t *testing.T) {
	kept := resources.NewCell[int]("kept")
	fail := resources.NewCommand("fail", func(tx *resources.Tx, code string) (int, error) {
		if err := kept.Set(tx, 1); err != nil {
			return 0, err
		}
		return 0, &protocol.Error{Code: protocol.Code(code), Text: "refused"}
	})
	ask := resources.NewQuery("ask", func(v *resources.View, code string) (int, error) {
		if code == "" {
			return kept.Get(v)
		}
		return 0, &protocol.Error{Code: protocol.Code(code), Text: "refused"}
	})
	l := newLocal(t, resources.NewType("failing", 1, fail, ask))
	longest := strings.Repeat("c", protocol.NameBytesMax)
	for code, want := range map[string]protocol.Code{
		"":            protocol.ErrInvalid.Code,
		"t.reason":    "t.reason",
		longest:       protocol.Code(longest),
		longest + "c": protocol.ErrInvalid.Code,
	} {
		_, err := fail.Do(context.Background(), l, "r", code)
		if got, text := protocol.CodeOf(err); err == nil || got != want || !strings.Contains(text, "refused") {
			t.Errorf("command, code of %d bytes: got %q, %v, want %q", len(code), got, err, want)
		}
		if code != "" {
			_, err = ask.Do(context.Background(), l, "r", code)
			if got, _ := protocol.CodeOf(err); got != want {
				t.Errorf("query, code of %d bytes: got %q, want %q", len(code), got, want)
			}
		}
	}
	if n, err := ask.Do(context.Background(), l, "r", ""); n != 0 || err != nil {
		t.Errorf("a command that failed left %d, %v", n, err)
	}
}

// More types than members can tell one another of are refused.
func TestTooManyTypesAreRefused(t *testing.T) {
	types := make([]*resources.Type, protocol.TypesMax+1)
	for i := range types {
		ask := resources.NewQuery("ask", func(*resources.View, int) (int, error) { return 0, nil })
		types[i] = resources.NewType(fmt.Sprint("t", i), 1, ask)
	}
	if _, err := resources.NewRegistry(types[1:]...); err != nil {
		t.Errorf("as many as there may be: %v", err)
	}
	if _, err := resources.NewRegistry(types...); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("one too many: got %v", err)
	}
}
