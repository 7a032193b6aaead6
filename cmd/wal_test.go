package cmd

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/starlinghq/starling/storage/wal"
)

// A place that the disk does not give is shown with its offset and cause, for people
// and for programs.
func TestInspectShowsWhatCannotBeRead(t *testing.T) {
	r := wal.Report{Unreadable: []wal.Place{{Segment: "00000002-x.wal", Offset: 8192, Bytes: 4096, Err: syscall.EIO}},
		Notes: []string{"the log is cut after entry 4"}}
	var out bytes.Buffer
	p := &Program{Stdout: &out}
	if err := p.printReport(&r, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.printJSON(reportJSON(&r, nil)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cannot be read: 00000002-x.wal, offset 8192, 4096 bytes: input/output error", `"offset":8192`, `"error":"input/output error"`,
		"at the next start: the log is cut after entry 4", `"notes":["the log is cut after entry 4"]`} {
		if !strings.Contains(strings.NewReplacer(`": `, `":`, "[\n    ", "[", "\n  ]", "]").Replace(out.String()), want) {
			t.Errorf("%q is not shown in\n%s", want, out.String())
		}
	}
}
