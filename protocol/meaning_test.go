package protocol

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
)

// A sentinel that is declared and has no line would be given up by clients that should
// retry it, or counted as an answer of a write that did not happen.
func TestNoSentinelIsWithoutAMeaning(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := map[Code]bool{OK: true}
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Err") {
			return true
		}
		code, err := strconv.Unquote(v.Values[0].(*ast.CallExpr).Args[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		declared[Code(code)] = true
		if _, known := meanings[Code(code)]; !known {
			t.Errorf("nobody says what %s means", v.Names[0].Name)
		}
		return true
	})
	for code := range meanings {
		if !declared[code] {
			t.Errorf("%q has a meaning, and is no sentinel", code)
		}
	}
}

// A write that is settled and sent again would be done twice where there is no session;
// one whose outcome is unknown would be reported as refused.
func TestMeaningsFitTogether(t *testing.T) {
	for code, m := range meanings {
		if m.Final() && m.Retry != never {
			t.Errorf("%s is settled, and to be tried again", code)
		}
		if m.Outcome != Settled && m.Condition == NotMet {
			t.Errorf("%s: a condition was not met, of a write that was not applied", code)
		}
		if m.MayRetry(Elsewhere) && m.Condition != Unavailable {
			t.Errorf("%s: another member would do it, and it is refused", code)
		}
	}
	for code, want := range map[Code]bool{OK: true, ErrNotFound.Code: true, "auction.too_low": true, "from_a_later_version": false, ErrWindow.Code: false, ErrAnswerLost.Code: false} {
		if got := code.AnswersEveryCopy(); got != want {
			t.Errorf("%s is the answer to every copy: got %t, want %t", code, got, want)
		}
	}
	for code, want := range map[Code]Meaning{
		"auction.too_low":      {Settled, never, NotMet, ""},
		"from_a_later_version": {OutcomeUnknown, never, Failure, ""},
		ErrUnknownOutcome.Code: {OutcomeUnknown, Later | WithALeader, Unavailable, ""},
		ErrNotLeader.Code:      {DidNotHappen, Later | Elsewhere | WithALeader, Unavailable, ""},
	} {
		got := code.Meaning()
		if got.WayOut == "" {
			t.Errorf("%s: nobody says what to do", code)
		}
		if got.WayOut = ""; got != want {
			t.Errorf("%s: got %+v, want %+v", code, got, want)
		}
	}
}
