package replica

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// The page on the architecture has a line for each part, and the replica stays a joint.
func TestArchitectureNamesEveryPart(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Inside a replica")
	section, _, _ = strings.Cut(section, "\n## ")
	parts := 0
	for f := range reflect.TypeFor[Replica]().Fields() {
		if f.Type.Kind() != reflect.Struct || strings.Contains("cfg log standing flock out ids progress", f.Name) {
			continue
		}
		if parts++; !strings.Contains(section, "| `"+f.Name+"` |") {
			t.Errorf("the page says nothing of %s", f.Name)
		}
	}
	if lines := strings.Count(section, "\n| `"); lines != parts {
		t.Errorf("the page has %d parts, the replica has %d", lines, parts)
	}
}
