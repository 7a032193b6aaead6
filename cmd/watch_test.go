package cmd

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestWatchesOfACounterAndBookmarks(t *testing.T) {
	addr := local(t)
	works(t, "", "counter", "add", addr, "hits", "3")
	works(t, "", "counter", "add", addr, "hits", "-10")
	works(t, "", "resource", "delete", addr, "--type", "counter", "hits")
	works(t, "", "map", "put", addr, "colors", "sky", "blue")
	index := strings.Split(strings.Split(works(t, "", "map", "get", addr, "-o", "json", "colors", "sky"), `"index":`)[1], ",")[0]
	for _, watch := range []struct {
		args string
		want []string
	}{
		{"counter watch --after 1 hits", []string{"\t3\n", "\t-7\n", "\t0\n"}},
		{"counter watch --after 1 --bookmarks hits", []string{"1\tbookmark\n", "\t3\n", "\t-7\n", index + "\tbookmark\n"}},
		{"counter watch --after 1 --bookmarks -o json hits", []string{`{"index":1,"kind":"bookmark","resume":1}`, `"kind":"put"`, `"value":-7}`, `"kind":"delete","resume":`,
			`{"index":` + index + `,"kind":"bookmark","resume":` + index + `}`}},
		{"map watch --after 1 --previous --bookmarks colors", []string{"put\tsky\tblue\tnone\t\n", index + "\tbookmark\t\t\n"}},
		{"map watch --list --bookmarks -o json colors", []string{`{"kind":"listed","index":` + index + `}`, `{"kind":"bookmark","index":` + index + `}`}},
	} {
		said := new(syncBuffer)
		args := strings.Fields(watch.args)
		c := command(t, append(args[:2:2], append([]string{addr}, args[2:]...)...)...)
		c.Stdout, c.Stderr = said, said
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() error {
			for _, want := range watch.want {
				if !strings.Contains(said.String(), want) {
					return fmt.Errorf("%s: it says %q, not %q", watch.args, said, want)
				}
			}
			return nil
		})
		if err := errors.Join(c.Process.Signal(os.Interrupt), c.Wait()); err != nil {
			t.Errorf("%s: Ctrl-C: %v: %s", watch.args, err, said)
		}
	}
}
