package observe

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Every kind of event that there is has one row.
func TestEveryKindOfEventHasARow(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../protocol/ready.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil || fmt.Sprint(spec.Type) != "EventKind" {
			return true
		}
		kinds++
		kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		rows := slices.DeleteFunc(slices.Clone(Events), func(e Event) bool { return string(e.Kind) != kind })
		if err != nil || len(rows) != 1 {
			t.Errorf("%s has %d rows (%v)", spec.Names[0], len(rows), err)
		}
		return true
	})
	if kinds == 0 || kinds != len(Events) {
		t.Errorf("%d kinds of events, and %d rows", kinds, len(Events))
	}
}

var update = flag.Bool("update", false, "write the rows of docs/counters.md again, from the table")

// Every counter has one row, with a name of its own, and the page has the same rows.
func TestEveryCounterHasARowAndIsDocumented(t *testing.T) {
	if len(Counters) != int(end)-1 {
		t.Errorf("%d rows, and %d counters", len(Counters), end-1)
	}
	names, rows := map[string]bool{}, ""
	for i, r := range Counters {
		if r.Counter != Counter(i+1) || names[r.Name] || r.Text == "" || Text(r.Name) != r.Text {
			t.Errorf("row %d is %+v", i, r)
		}
		names[r.Name] = true
		rows += fmt.Sprintf("| `%s` | %s |\n", r.Name, r.Text)
	}
	const name, head = "../../docs/counters.md", "|---|---|\n"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(page), head)
	_, after, _ := strings.Cut(rest, "\n\n")
	want := before + head + rows + "\n" + after
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(page) != want {
		t.Error("docs/counters.md has other rows than the table: go test ./internal/observe -update writes them")
	}
}

// An event is counted whether or not the log wants it, and told at its level.
func TestAnEventIsCountedAndTold(t *testing.T) {
	var said bytes.Buffer
	o := Observer{
		Logger: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Name:   func(protocol.MemberID) string { return "a2" },
	}
	o.Event(protocol.Event{Kind: protocol.EventBecameLeader, Term: 3})
	o.Event(protocol.Event{Kind: protocol.EventPutBack, Term: 3, Index: 7, Member: protocol.MemberID{1}, Text: "old"})
	o.Event(protocol.Event{Kind: protocol.EventPutBack})
	if o.Get(ElectionsWon) != 1 || o.Get(PutBack) != 2 {
		t.Errorf("got %v", o.List())
	}
	if got, want := said.String(), `level=ERROR msg=put-back term=3 index=7 with=a2 why=old`; strings.Contains(got, "became-leader") || !strings.Contains(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	list := o.List()
	if len(list) != len(Counters) || list[0].Name != Counters[0].Name {
		t.Errorf("got %v", list)
	}
}
