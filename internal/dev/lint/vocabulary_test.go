package lint

import (
	"flag"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/words.txt anew")

// TestExportedNamesUseKnownWords: the words of exported names are in the glossary, or in
// testdata/words.txt, which -update writes anew. A new word there is one that readers have
// to know: is there one already for the thing, and is it the field's?
func TestExportedNamesUseKnownWords(t *testing.T) {
	known := map[string]bool{}
	ours, _, _ := strings.Cut(page(t, "glossary.md"), "## Words of other systems")
	for _, term := range regexp.MustCompile(`\*\*([^*]+)\*\*`).FindAllStringSubmatch(ours, -1) {
		for _, w := range strings.FieldsFunc(strings.ToLower(term[1]), func(r rune) bool { return r < 'a' || r > 'z' }) {
			known[w], known[w+"s"] = true, true
		}
	}
	used := map[string]string{}
	tree := load(t)
	for _, p := range tree.Packages {
		if strings.HasPrefix(p.Dir, "internal/dev") {
			continue
		}
		for name, pos := range exported(tree.check(p).Scope()) {
			if strings.HasSuffix(tree.Fset.Position(pos).Filename, "_test.go") {
				continue
			}
			for _, w := range split(name[strings.Index(name, ".")+1:]) {
				if !known[w] {
					used[w] = p.Dir + "." + name
				}
			}
		}
	}
	const file = "testdata/words.txt"
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(slices.Sorted(maps.Keys(used)), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, w := range strings.Fields(string(text)) {
		listed[w] = true
		if used[w] == "" {
			t.Errorf("%s has %q, which is in no exported name any more, or in the glossary: -update takes it off", file, w)
		}
	}
	for w, name := range used {
		if !listed[w] {
			t.Errorf("%s: the word %q is neither in docs/glossary.md nor in %s: is there one already for it? If not, -update adds it", name, w, file)
		}
	}
}

// split returns the words of a name in lower case.
func split(name string) []string {
	var out []string
	for _, w := range regexp.MustCompile(`[A-Z]{2,}(?:s\b|[0-9]+)?|[A-Z]?[a-z]+`).FindAllString(upperRuns.ReplaceAllString(name, "$1 $2"), -1) {
		out = append(out, strings.ToLower(w))
	}
	return out
}

// upperRuns is where an abbreviation ends and a word begins: HTTPAddr.
var upperRuns = regexp.MustCompile(`([A-Z])([A-Z][a-z])`)
