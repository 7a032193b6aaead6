package cmd

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestProgressIsALineNowAndThenWithoutATerminal(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "importing", "lines", 200)
	p.set(10, 1)
	if got := out.String(); got != "" {
		t.Errorf("at once: got %q, want nothing", got)
	}
	p.started, p.said = p.started.Add(-10*time.Second), p.said.Add(-10*time.Second)
	p.set(100, 50)
	p.set(101, 51)
	p.finish()
	if got, want := out.String(), "importing: 50 lines (50 %), 5/s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if strings.Contains(out.String(), "\r") {
		t.Error("a bar where there is no terminal")
	}
}
