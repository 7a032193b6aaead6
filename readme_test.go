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

// The program in docs/recover.md is ExampleRecover, which is compiled.
func TestRecoverProgramIsTheExample(t *testing.T) {
	page, err := os.ReadFile("docs/recover.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_recover_test.go")
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(string(page), "```")
	program := strings.TrimPrefix(parts[len(parts)-2], "go\n")
	types, body, ok := strings.Cut(program, "func main() {\n")
	if !ok || types == "" || !strings.Contains(string(source), types) || !strings.Contains(string(source), "func ExampleRecover() {\n"+body) {
		t.Errorf("the program in docs/recover.md is not in example_recover_test.go:\n%s", program)
	}
}
