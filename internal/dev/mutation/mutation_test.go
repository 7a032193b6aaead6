package mutation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository.
const root = "../../.."

func TestEveryMutationFitsTheTreeExactlyOnce(t *testing.T) {
	all := All()
	if got := len(all); got < 25 {
		t.Errorf("got %d mutations, want at least 25", got)
	}
	names := map[string]bool{}
	for _, m := range all {
		if names[m.Name] {
			t.Errorf("two mutations are named %s", m.Name)
		}
		names[m.Name] = true
		text, err := os.ReadFile(filepath.Join(root, m.File))
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		broken, err := m.Applied(string(text))
		if err != nil {
			t.Error(err)
		}
		if broken == string(text) || strings.HasSuffix(m.File, "_test.go") || m.Breaks == "" {
			t.Errorf("%s plants nothing, or says nothing", m.Name)
		}
		for _, dir := range m.Tests {
			dir = strings.TrimSuffix(dir, "/...")
			if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
				t.Errorf("%s: no package %s", m.Name, dir)
			}
		}
		if len(m.Tests) == 0 {
			t.Errorf("%s names no tests", m.Name)
		}
	}
}

func TestAMutationIsTakenOutAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.go")
	sound := "one two three"
	if err := os.WriteFile(file, []byte(sound), 0o644); err != nil {
		t.Fatal(err)
	}
	m := Mutation{Name: "x", File: "a.go", Old: "two", New: "2"}
	restore, err := m.Plant(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != "one 2 three" {
		t.Errorf("planted: %q", got)
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(file); string(got) != sound {
		t.Errorf("restored: got %q, want %q", got, sound)
	}
	m.Old = "e"
	if _, err := m.Plant(dir); err == nil {
		t.Error("a text that stands twice was replaced")
	}
}
