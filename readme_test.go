package starling_test

import (
	"os"
	"strings"
	"testing"
)

// The program in the README is examples/quickstart, which is compiled and run
// by its own test.
func TestReadmeProgramIsTheQuickstart(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	program, _, end := strings.Cut(rest, "```\n")
	if !ok || !end {
		t.Fatal("README.md has no Go program")
	}
	source, err := os.ReadFile("examples/quickstart/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, want, _ := strings.Cut(string(source), "\n") // without its comment
	if program != want {
		t.Errorf("the program in README.md is not examples/quickstart/main.go:\n%s", program)
	}
	if got, most := strings.Count(program, "\n"), 25; got > most {
		t.Errorf("the program has %d lines, at most %d were promised", got, most)
	}
}
