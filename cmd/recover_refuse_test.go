package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling"
)

// alone is the directory of a cluster of one member that has stopped, with one write, and
// its index.
func alone(t *testing.T) (dir string, index uint64) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "a1")
	n, err := starling.Open(t.Context(), starling.Config{Name: "a1", Dir: dir, Bind: "127.0.0.1:0", Bootstrap: true, Actives: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(works(t, "", "map", "put", "--addr", n.Addr(), "-o", "json", "m", "k", "v")), &struct {
		Index *uint64 `json:"index"`
	}{&index}); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, index
}

// Who only looks hears what would be refused: entries that cannot be left out, and
// directories of two clusters.
func TestALookHearsWhatIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: each look goes through a whole log, by itself")
	}
	one, index := alone(t)
	other, _ := alone(t)
	put := fmt.Sprint(index)
	if got := works(t, "", "recover", "--refuse", put, one); !strings.Contains(got, "--although-quorum-is-intact --refuse "+put+" "+one) || !strings.Contains(got, `it leaves out  entry `+put+`, command map.put on "m"`) {
		t.Errorf("got\n%s", got)
	}
	if got := works(t, "", "recover", "-o", "json", "--refuse", put, one); !strings.Contains(got, `"refused":[{"index":`+put+`,"type":"map","operation":"put","resource":"m"}]`) {
		t.Errorf("got\n%s", got)
	}
	for _, form := range []string{"table", "json"} {
		for _, row := range []struct {
			says string
			args []string
		}{
			{"entry 1 holds no command, its kind is configuration; there is no entry 999999", []string{"--refuse", put + ",1,999999", one}},
			{"Look at those of one cluster at a time", []string{one, other}},
			{"Look at those of one cluster at a time", []string{"--begin-new-cluster", one, other}},
		} {
			out, stderr, code := run(t.Context(), "", append([]string{"recover", "-o", form}, row.args...)...)
			if code != exitRefused || !strings.Contains(stderr, row.says) || strings.Contains(out, "To begin a new cluster") {
				t.Errorf("recover %v: exit code %d, %s\n%s", row.args, code, stderr, out)
			}
		}
	}
}

// Lists are read in both forms, and what is no number is named.
func TestRefuseTakesAList(t *testing.T) {
	var q starling.Quorum
	q.Intact = true
	if got, want := strings.Join(flagsFor(q, []starling.Index{7, 9}), " "), "--although-quorum-is-intact --refuse 7,9"; got != want {
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
