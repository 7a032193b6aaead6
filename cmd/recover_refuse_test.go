package cmd

import (
	"context"
	"strings"
	"testing"

	"github.com/starlinghq/starling"
)

// Lists are read in both forms, and what is no number is named.
func TestRefuseTakesAList(t *testing.T) {
	var q starling.Quorum
	q.Intact = true
	if got, want := strings.Join(flagsFor(q, []uint64{7, 9}), " "), "--although-quorum-is-intact --refuse 7,9"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	dir := t.TempDir()
	for _, row := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--refuse", "7,x", dir}, exitUsage, `for --refuse, which takes whole numbers, not below 0, separated by commas`},
		{[]string{"--help"}, 0, "--refuse INDEX[,INDEX...]"},
		{[]string{"--help"}, 0, "cmd.Main"},
	} {
		out, stderr, code := run(context.Background(), "", append([]string{"recover"}, row.args...)...)
		if code != row.code || !strings.Contains(strings.Join(strings.Fields(out+stderr), " "), row.says) {
			t.Errorf("recover %v: exit code %d, want %d; got\n%s%s", row.args, code, row.code, out, stderr)
		}
	}
}
