// Package lint keeps the rules of the house as a test: import directions,
// pure cores, an order that no map decides, short files and functions, no
// global state, documented packages, and tests that do not sleep.
//
// It reads the source with the standard library alone, so that `go test`
// needs nothing else. A rule is a function over the whole tree; the tests run
// each on fixtures that break it, and then all of them on this repository.
package lint

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Module is the path of the module that the rules are for.
const Module = "github.com/starlinghq/starling"

// File is one parsed Go file.
type File struct {
	// Name is the path from the module's root, with slashes.
	Name   string
	Test   bool
	Syntax *ast.File
	Lines  int

	comments map[int]string // line -> text of the comments that end there
}

// Package is one directory.
type Package struct {
	// Dir is the path from the module's root, "." for the root itself.
	Dir   string
	Files []*File

	checked *types.Package
	info    *types.Info
}

// Tree is all Go source of the module, nested modules excluded. It belongs to
// one goroutine.
type Tree struct {
	Fset     *token.FileSet
	Packages []*Package

	byDir    map[string]*Package
	standard types.Importer
}

// Load reads the module whose root directory is given.
func Load(root string) (*Tree, error) {
	sources := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipDir(root, name, d.Name())
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		sources[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the source under %s: %w", root, err)
	}
	return Parse(sources)
}

// skipDir leaves out what the go tool leaves out, and nested modules.
func skipDir(root, name, base string) error {
	if name == root {
		return nil
	}
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

// Parse makes a tree of sources, keyed by path from the module's root.
func Parse(sources map[string]string) (*Tree, error) {
	t := &Tree{Fset: token.NewFileSet(), byDir: map[string]*Package{}}
	t.standard = importer.ForCompiler(t.Fset, "source", nil)
	names := make([]string, 0, len(sources))
	for name := range sources {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		file, err := t.parse(name, sources[name])
		if err != nil {
			return nil, err
		}
		dir := path.Dir(name)
		p := t.byDir[dir]
		if p == nil {
			p = &Package{Dir: dir}
			t.byDir[dir] = p
			t.Packages = append(t.Packages, p)
		}
		p.Files = append(p.Files, file)
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return cmp.Compare(a.Dir, b.Dir) })
	for _, p := range t.Packages {
		t.check(p)
	}
	return t, nil
}

func (t *Tree) parse(name, text string) (*File, error) {
	syntax, err := parser.ParseFile(t.Fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &File{
		Name: name, Test: strings.HasSuffix(name, "_test.go"), Syntax: syntax,
		Lines: strings.Count(text, "\n"), comments: map[int]string{},
	}
	for _, group := range syntax.Comments {
		for _, c := range group.List {
			f.comments[t.Fset.Position(c.End()).Line] += c.Text
		}
	}
	return f, nil
}

// check resolves the package's identifiers and types. Packages of other
// modules and most of the standard library are unknown to it; what depends on
// them stays without a type, and errors are ignored: the compiler reports them.
func (t *Tree) check(p *Package) *types.Package {
	if p.info != nil {
		return p.checked
	}
	p.info = &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Uses:  map[*ast.Ident]types.Object{},
		Defs:  map[*ast.Ident]types.Object{},
	}
	config := types.Config{Importer: treeImporter{t}, Error: func(error) {}, FakeImportC: true}
	var own, external []*ast.File // external: package x_test
	for _, f := range p.Files {
		if f.Test && strings.HasSuffix(f.Syntax.Name.Name, "_test") {
			external = append(external, f.Syntax)
		} else {
			own = append(own, f.Syntax)
		}
	}
	p.checked, _ = config.Check(p.importPath(), t.Fset, own, p.info)
	if len(external) > 0 {
		_, _ = config.Check(p.importPath()+"_test", t.Fset, external, p.info)
	}
	return p.checked
}

func (p *Package) importPath() string {
	if p.Dir == "." {
		return Module
	}
	return Module + "/" + p.Dir
}

// treeImporter finds our own packages in the tree, and the few of the standard
// library that hand out maps or take them.
type treeImporter struct{ tree *Tree }

func (i treeImporter) Import(name string) (*types.Package, error) {
	if dir, ours := inModule(name); ours {
		if p := i.tree.byDir[dir]; p != nil {
			if checked := i.tree.check(p); checked != nil {
				return checked, nil
			}
		}
		return nil, fmt.Errorf("%s is not in the tree", name)
	}
	switch name {
	case "cmp", "iter", "maps", "slices":
		return i.tree.standard.Import(name)
	}
	return nil, fmt.Errorf("%s is not looked into", name)
}

// inModule returns the directory of one of our packages.
func inModule(importPath string) (dir string, ours bool) {
	if importPath == Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, Module+"/")
}
