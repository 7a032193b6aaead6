package lint

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// Violation is one place where a rule is broken.
type Violation struct {
	Rule string
	Pos  token.Position
	Text string
}

// String returns "file:line: rule: text".
func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", v.Pos.Filename, v.Pos.Line, v.Rule, v.Text)
}

// Rule is one rule of the house.
type Rule struct {
	Name  string
	Check func(*Report)
}

// Rules returns all of them.
func Rules() []Rule {
	return []Rule{
		{"imports", checkImports},
		{"apart", checkApart},
		{"dependencies", checkDependencies},
		{"purity", checkPurity},
		{"sockets", checkSockets},
		{"map-order", checkMapOrder},
		{"size", checkSize},
		{"width", checkWidth},
		{"package-doc", checkPackageDoc},
		{"init", checkInit},
		{"globals", checkGlobals},
		{"unfinished", checkUnfinished},
		{"sleep", checkSleep},
		{"lengths", checkLengths},
		{"names", checkNames},
		{"indexes", checkIndexes},
	}
}

// Check returns all violations of the rules, in order of place.
func (t *Tree) Check(rules ...Rule) []Violation {
	var all []Violation
	for _, rule := range rules {
		r := &Report{Tree: t, rule: rule.Name}
		rule.Check(r)
		all = append(all, r.violations...)
	}
	slices.SortFunc(all, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.Pos.Filename, b.Pos.Filename), cmp.Compare(a.Pos.Line, b.Pos.Line),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return all
}

// Report is what a rule looks at, and where it writes what it finds.
type Report struct {
	Tree       *Tree
	rule       string
	violations []Violation
}

func (r *Report) add(pos token.Pos, format string, args ...any) {
	r.violations = append(r.violations, Violation{
		Rule: r.rule, Pos: r.Tree.Fset.Position(pos), Text: fmt.Sprintf(format, args...),
	})
}

// line returns the line of a position.
func (r *Report) line(pos token.Pos) int { return r.Tree.Fset.Position(pos).Line }

// files calls visit for each file.
func (r *Report) files(visit func(*Package, *File)) {
	for _, p := range r.Tree.Packages {
		for _, f := range p.Files {
			visit(p, f)
		}
	}
}

// importNames returns the names under which a file imports packages.
func importNames(f *File) map[string]string {
	names := map[string]string{}
	for _, spec := range f.Syntax.Imports {
		importPath := importPathOf(spec)
		name := importPath[strings.LastIndex(importPath, "/")+1:]
		if name == "v2" {
			name = strings.TrimSuffix(importPath, "/v2")
			name = name[strings.LastIndex(name, "/")+1:]
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = importPath
	}
	return names
}

func importPathOf(spec *ast.ImportSpec) string {
	importPath, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value // the parser has refused such a file already
	}
	return importPath
}

// selected returns the import path and the name of a selector such as
// time.Now, or "" if what stands before the dot is no import: a local variable
// may have a package's name.
func selected(p *Package, names map[string]string, s *ast.SelectorExpr) (importPath, name string) {
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	if object := p.info.Uses[x]; object != nil {
		if _, isPackage := object.(*types.PkgName); !isPackage {
			return "", ""
		}
	}
	return names[x.Name], s.Sel.Name
}
