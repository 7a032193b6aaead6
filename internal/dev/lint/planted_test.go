package lint

import (
	"go/ast"
	"go/types"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/starlinghq/starling/internal/dev/mutation"
)

// A planted bug that does not build is none, and only a run of hours would say so: what the
// bug makes of its package has no error that the package has not.
func TestPlantedBugsBuild(t *testing.T) {
	tree := load(t)
	sound := map[string]map[string]bool{}
	for _, m := range mutation.All() {
		text, err := os.ReadFile(filepath.Join("../../..", m.File))
		if err != nil {
			t.Fatal(err)
		}
		broken, err := m.Applied(string(text))
		if err != nil {
			t.Error(err)
			continue
		}
		p := tree.byDir[path.Dir(m.File)]
		if sound[p.Dir] == nil {
			sound[p.Dir] = tree.errorsWith(p, m.File, string(text))
		}
		for fault := range tree.errorsWith(p, m.File, broken) {
			if !sound[p.Dir][fault] {
				t.Errorf("%s does not build: %s", m.Name, fault)
			}
		}
	}
}

// errorsWith returns what is wrong with a package, without its tests, if one of its files has
// another text. Among it is always what comes of packages that are not looked into.
func (t *Tree) errorsWith(p *Package, name, text string) map[string]bool {
	faults := map[string]bool{}
	var files []*ast.File
	for _, f := range p.Files {
		if f.Name == name {
			other, err := t.parse(name, text)
			if err != nil {
				faults[err.Error()] = true
				return faults
			}
			f = other
		}
		if !f.Test {
			files = append(files, f.Syntax)
		}
	}
	config := types.Config{Importer: treeImporter{t}, FakeImportC: true, Error: func(err error) {
		faults[err.(types.Error).Msg] = true
	}}
	_, _ = config.Check(p.importPath(), t.Fset, files, nil)
	return faults
}
