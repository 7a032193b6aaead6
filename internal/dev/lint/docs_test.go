package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func page(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func load(t *testing.T) *Tree {
	t.Helper()
	tree, err := house()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

var packageRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\|$")

// TestArchitecturePageHasEveryPackage: one sentence for each, and for none that is not
// there.
func TestArchitecturePageHasEveryPackage(t *testing.T) {
	_, section, _ := strings.Cut(page(t, "architecture.md"), "## Every package")
	section, _, _ = strings.Cut(section, "\n## ")
	told := map[string]bool{}
	for _, m := range packageRow.FindAllStringSubmatch(section, -1) {
		if told[m[1]] = true; !strings.HasSuffix(strings.TrimSpace(m[2]), ".") {
			t.Errorf("docs/architecture.md: %s has no sentence", m[1])
		}
	}
	left := maps.Clone(told)
	for _, p := range load(t).Packages {
		dir := p.Dir
		if !told[dir] { // one of many alike
			dir = filepath.Dir(dir) + "/*"
		}
		if !told[dir] {
			t.Errorf("docs/architecture.md does not have %s", p.Dir)
		}
		delete(left, dir)
	}
	for dir := range left {
		t.Errorf("docs/architecture.md has %s, which is not in the tree", dir)
	}
}

// drawing is what a mermaid chart says: packages by the names of their nodes, and
// arrows.
type drawing struct {
	nodes  map[string][]string
	arrows map[string][]string // between nodes
}

var (
	node  = regexp.MustCompile(`(\w+)\["([^"]+)"\]`)
	arrow = regexp.MustCompile(`^\s*(\w+)(?:\["[^"]+"\])? -->\s*(\w+)`)
)

// readDrawing reads the chart of docs/architecture.md. A label is a package, or several
// of one folder: "resources/kvmap, counter".
func readDrawing(text string) drawing {
	d := drawing{nodes: map[string][]string{}, arrows: map[string][]string{}}
	_, chart, _ := strings.Cut(text, "```mermaid")
	chart, _, _ = strings.Cut(chart, "```")
	for line := range strings.Lines(chart) {
		if strings.Contains(line, "subgraph") {
			continue
		}
		for _, m := range node.FindAllStringSubmatch(line, -1) {
			first, others, _ := strings.Cut(m[2], ", ")
			list := []string{first}
			for _, name := range strings.Split(others, ", ") {
				if name != "" {
					list = append(list, first[:strings.LastIndex(first, "/")+1]+name)
				}
			}
			d.nodes[m[1]] = list
		}
		if m := arrow.FindStringSubmatch(line); m != nil {
			d.arrows[m[1]] = append(d.arrows[m[1]], m[2])
		}
	}
	return d
}

// reach adds what a node's arrows lead to.
func (d *drawing) reach(from string, found map[string]bool) map[string]bool {
	for _, to := range d.arrows[from] {
		if !found[to] {
			found[to] = true
			d.reach(to, found)
		}
	}
	return found
}

// nodeOf returns the node of a package, "" if it is not drawn.
func (d *drawing) nodeOf(dir string) string {
	for name, list := range d.nodes {
		for _, label := range list {
			if label == dir || dir == "." && strings.Contains(label, "the root") || strings.HasSuffix(label, "/*") && strings.HasPrefix(dir, strings.TrimSuffix(label, "*")) {
				return name
			}
		}
	}
	return ""
}

// notDrawn are tools of the house, suites for tests, and what all may import.
var notDrawn = []string{
	"protocol", "internal/invariant", "internal/dev/lint", "internal/dev/mutation/...", "internal/dev/...", "internal/virtual", "internal/dev/fieldtest",
	"internal/dev/hostile", "internal/dev/strace", "internal/dev/valuetest", "internal/sim/awkward", "internal/sim/told", "storage/storagetest", "resources/resourcetest",
}

// TestDrawingFitsTheTree: every package is drawn, every arrow is an import, and every
// import follows arrows.
func TestDrawingFitsTheTree(t *testing.T) {
	tree := load(t)
	for _, fault := range compareDrawing(tree, readDrawing(page(t, "architecture.md"))) {
		t.Errorf("docs/architecture.md, the drawing: %s", fault)
	}
}

func compareDrawing(tree *Tree, d drawing) (faults []string) {
	imports := map[string]map[string]bool{} // node -> nodes
	for _, p := range tree.Packages {
		if anyFits(notDrawn, p.Dir) {
			continue
		}
		from := d.nodeOf(p.Dir)
		if from == "" {
			faults = append(faults, p.Dir+" is missing")
			continue
		}
		ways := d.reach(from, map[string]bool{})
		for _, f := range p.Files {
			for _, spec := range f.Syntax.Imports {
				dir, ours := inModule(importPathOf(spec))
				to := d.nodeOf(dir)
				if f.Test || !ours || to == "" || to == from {
					continue
				}
				if imports[from] == nil {
					imports[from] = map[string]bool{}
				}
				if imports[from][to] = true; !ways[to] {
					faults = append(faults, fmt.Sprintf("%s imports %s, and no arrows lead there", p.Dir, dir))
				}
			}
		}
	}
	for from, list := range d.arrows {
		for _, to := range list {
			if !imports[from][to] {
				faults = append(faults, fmt.Sprintf("the arrow from %s to %s is no import", from, to))
			}
		}
	}
	slices.Sort(faults)
	return slices.Compact(faults)
}

// TestDrawingIsCompared proves that the test above finds what does not fit.
func TestDrawingIsCompared(t *testing.T) {
	tree, err := Parse(map[string]string{
		"active/a.go":           "package active\nimport _ \"" + mod + "/gossip\"\n",
		"gossip/a.go":           "package gossip\n",
		"passive/a.go":          "package passive\n",
		"internal/runtime/a.go": "package runtime\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	d := readDrawing("```mermaid\na[\"active\"]\np[\"passive\"] --> g[\"gossip\"]\n```")
	want := []string{"active imports gossip, and no arrows lead there", "internal/runtime is missing", "the arrow from p to g is no import"}
	if got := compareDrawing(tree, d); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

var (
	numberedEntry = regexp.MustCompile(`(?m)^\*\*(\d+)\. `)
	mention       = regexp.MustCompile(`(?i)counterexamples? (\d+)`)
	namedTest     = regexp.MustCompile("`(Test\\w+)`")
	namedPlay     = regexp.MustCompile("`([a-z]+(?:_[a-z0-9]+)+)`")
)

// TestCounterexamplesArePointedAt: each number that a comment, a screenplay or a page
// gives is on the page, and each test that the page names is there.
func TestCounterexamplesArePointedAt(t *testing.T) {
	text := page(t, "counterexamples.md")
	entries := map[int]bool{}
	for _, m := range numberedEntry.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(m[1])
		if entries[n] {
			t.Errorf("docs/counterexamples.md has %d twice", n)
		}
		entries[n] = true
	}
	tests := map[string]bool{}
	pointed := 0
	check := func(where, text string) {
		for _, m := range mention.FindAllStringSubmatch(text, -1) {
			pointed++
			if n, _ := strconv.Atoi(m[1]); !entries[n] {
				t.Errorf("%s speaks of counterexample %d, which docs/counterexamples.md does not have", where, n)
			}
		}
	}
	load(t).eachFile(func(f *File) {
		for _, group := range f.Syntax.Comments {
			check(f.Name, strings.Join(strings.Fields(group.Text()), " "))
		}
		for _, decl := range f.Syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
				tests[fn.Name.Name] = true
			}
		}
	})
	plays, err := filepath.Glob("../../../active/testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	others, err := filepath.Glob("../../../docs/adr/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(plays, others...) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		check(name, string(b))
		tests[strings.TrimSuffix(filepath.Base(name), ".txt")] = true
	}
	for _, pattern := range []*regexp.Regexp{namedTest, namedPlay} {
		for _, m := range pattern.FindAllStringSubmatch(text, -1) {
			if !tests[m[1]] {
				t.Errorf("docs/counterexamples.md names %s, which is not there", m[1])
			}
		}
	}
	if pointed < 50 || len(entries) < 30 {
		t.Errorf("%d mentions of %d counterexamples were found: the test reads nothing", pointed, len(entries))
	}
}

func (t *Tree) eachFile(visit func(*File)) {
	for _, p := range t.Packages {
		for _, f := range p.Files {
			visit(f)
		}
	}
}

var namedFile = regexp.MustCompile("`([a-z][a-z_/]*\\.(?:go|txt|md|svg)|[a-z]+(?:/[a-z]+)+)`")

// TestContributingNamesWhatIsThere: whoever follows CONTRIBUTING.md finds each file.
func TestContributingNamesWhatIsThere(t *testing.T) {
	b, err := os.ReadFile("../../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	found := namedFile.FindAllStringSubmatch(string(b), -1)
	for _, m := range found {
		name := m[1]
		if base := filepath.Base(name); base == name && strings.HasPrefix(base, "codec_") {
			name = "protocol/" + base // of a list that begins with the folder
		}
		if _, err := os.Stat(filepath.Join("../../..", name)); err != nil {
			t.Errorf("CONTRIBUTING.md names %s, which is not there", m[1])
		}
	}
	if len(found) < 20 {
		t.Errorf("%d files were found: the test reads nothing", len(found))
	}
}
