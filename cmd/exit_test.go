package cmd

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// sentinels returns the code of every sentinel that the protocol declares, from
// its source, so that none can be forgotten.
func sentinels(t *testing.T) map[string]protocol.Code {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../protocol/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]protocol.Code{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Err") {
			return true
		}
		if call, ok := v.Values[0].(*ast.CallExpr); ok && len(call.Args) == 2 {
			code, err := strconv.Unquote(call.Args[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out[v.Names[0].Name] = protocol.Code(code)
		}
		return true
	})
	return out
}

func TestEverySentinelHasAnExitCode(t *testing.T) {
	all := sentinels(t)
	if got, least := len(all), 30; got < least {
		t.Fatalf("found %d sentinels, expected at least %d: has the file moved?", got, least)
	}
	for name, code := range all {
		exit := exitCode(fmt.Errorf("wrapped: %w", protocol.NewError(code, "text")))
		if exit == exitOK || exit == exitUsage || exit > exitRefused {
			t.Errorf("protocol.%s has exit code %d", name, exit)
		}
		if code.Meaning() == protocol.Code("not_known").Meaning() {
			t.Errorf("nobody says what protocol.%s (%s) means", name, code)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{errors.New("anything"), 1},
		{protocol.ErrCorrupt, 1},
		{&usageError{"usage"}, 2},
		{protocol.ErrNoLeader, 3},
		{protocol.ErrUnavailable.Because(context.DeadlineExceeded), 3},
		{fmt.Errorf("status: %w", context.DeadlineExceeded), 3},
		{protocol.ErrSessionExpired.Because(protocol.ErrUnknownOutcome), 3},
		{protocol.ErrNotFound.With("no key"), 4},
		{protocol.NewError("auction.too_low", "too low"), 4},
		{protocol.ErrTooLarge, 5},
		{protocol.ErrStaleVersion, 5},
		{protocol.NewError("from_the_future", "unknown"), 1},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("exit code of %v: got %d, want %d", c.err, got, c.want)
		}
	}
}
