package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Limits of what a reader can hold in the head. Tests are excepted.
const (
	fileLinesMax     = 499
	functionLinesMax = 69
)

// checkSize keeps files and functions short.
func checkSize(r *Report) {
	r.files(func(_ *Package, f *File) {
		if f.Test {
			return
		}
		if f.Lines > fileLinesMax {
			r.add(f.Syntax.Package, "the file has %d lines, %d are allowed", f.Lines, fileLinesMax)
		}
		for _, d := range f.Syntax.Decls {
			function, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := r.line(function.End()) - r.line(function.Pos()) + 1; lines > functionLinesMax {
				r.add(function.Pos(), "%s has %d lines, %d are allowed", function.Name.Name, lines, functionLinesMax)
			}
		}
	})
}

// How many methods and fields a type may have. An embedded type is one field, and exported
// fields do not count: a record of settings or figures may be long, for what is in it is no
// state that methods share.
const methodsMax, fieldsMax = 60, 30

// width is how many methods and fields a type has.
type width struct{ methods, fields int }

// wide are the types that have more methods or more fields, with how many: walls that
// are still to move. No number rises, and each sinks with its type.
var wide = map[string]width{
	"active.Member": {methods: 142, fields: 36},
}

// checkWidth keeps types narrow enough that one can know what they do.
func checkWidth(r *Report) {
	for _, p := range r.Tree.Packages {
		has, at := widths(p)
		for _, name := range slices.Sorted(maps.Keys(has)) {
			listed := wide[p.Dir+"."+name]
			r.checkWide(at[name], name, "methods", has[name].methods, listed.methods, methodsMax)
			r.checkWide(at[name], name, "fields", has[name].fields, listed.fields, fieldsMax)
		}
		for _, key := range slices.Sorted(maps.Keys(wide)) {
			name, here := strings.CutPrefix(key, p.Dir+".")
			if _, known := has[name]; here && !known {
				r.add(p.Files[0].Syntax.Package, "the list of wide types names %s, which is not there", name)
			}
		}
	}
}

// checkWide holds one number of a type against the limit, or against the list.
func (r *Report) checkWide(at token.Pos, name, what string, n, listed, limit int) {
	switch {
	case listed != 0 && listed <= limit:
		r.add(at, "%s may have %d %s like any type: it is not to stand in the list of wide types", name, limit, what)
	case listed != 0 && n != listed:
		r.add(at, "%s has %d %s; the list of wide types says %d: it may not grow, and the list follows when it shrinks", name, n, what, listed)
	case listed == 0 && n > limit:
		r.add(at, "%s has %d %s, %d are allowed", name, n, what, limit)
	}
}

// widths counts the methods and fields of a package's types, its tests left out, and
// says where each type stands.
func widths(p *Package) (has map[string]width, at map[string]token.Pos) {
	has, at = map[string]width{}, map[string]token.Pos{}
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv != nil {
					name := receiverOf(n)
					w := has[name]
					w.methods++
					has[name] = w
				}
				return false
			case *ast.TypeSpec:
				name := n.Name.Name
				w := has[name]
				if s, ok := n.Type.(*ast.StructType); ok {
					w.fields = hidden(s)
				}
				has[name], at[name] = w, n.Pos()
			}
			return true
		})
	}
	return has, at
}

// hidden counts the fields of a struct that are its own affair, and the embedded ones.
func hidden(s *ast.StructType) int {
	n := 0
	for _, field := range s.Fields.List {
		if field.Names == nil {
			n++
		}
		for _, name := range field.Names {
			if !name.IsExported() {
				n++
			}
		}
	}
	return n
}

// receiverOf returns the name of the type that a method belongs to.
func receiverOf(function *ast.FuncDecl) string {
	expr := function.Recv.List[0].Type
	for {
		switch e := expr.(type) {
		case *ast.StarExpr:
			expr = e.X
		case *ast.IndexExpr:
			expr = e.X
		case *ast.IndexListExpr:
			expr = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}

// checkPackageDoc asks for a doc comment in each package, in the usual form.
// A directory with tests only needs none.
func checkPackageDoc(r *Report) {
	for _, p := range r.Tree.Packages {
		var first *File
		documented := false
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			if first == nil {
				first = f
			}
			doc := f.Syntax.Doc.Text()
			name := f.Syntax.Name.Name
			if name == "main" {
				documented = documented || doc != ""
			} else {
				documented = documented || strings.HasPrefix(doc, "Package "+name+" ")
			}
		}
		if first != nil && !documented {
			r.add(first.Syntax.Package, "package %s has no doc comment (\"Package %s ...\")", p.Dir, first.Syntax.Name.Name)
		}
	}
}

// checkInit refuses init functions: what happens at start stands in the code
// that starts.
func checkInit(r *Report) {
	r.files(func(_ *Package, f *File) {
		for _, d := range f.Syntax.Decls {
			if function, ok := d.(*ast.FuncDecl); ok && function.Recv == nil && function.Name.Name == "init" {
				r.add(function.Pos(), "no init functions")
			}
		}
	})
}

// checkGlobals finds package variables that change after their declaration,
// tests included: a test that sets one cannot run beside another.
func checkGlobals(r *Report) {
	r.files(func(p *Package, f *File) {
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				if n.Tok != token.DEFINE {
					for _, target := range n.Lhs {
						r.assigned(p, target)
					}
				}
			case *ast.RangeStmt:
				if n.Tok == token.ASSIGN {
					r.assigned(p, n.Key)
					r.assigned(p, n.Value)
				}
			case *ast.IncDecStmt:
				r.assigned(p, n.X)
			case *ast.UnaryExpr:
				if _, composite := ast.Unparen(n.X).(*ast.CompositeLit); n.Op == token.AND && !composite {
					r.assigned(p, n.X) // whoever has the address can assign
				}
			case *ast.CallExpr:
				if name, ok := n.Fun.(*ast.Ident); ok && contains([]string{"delete", "clear"}, name.Name) && len(n.Args) > 0 {
					r.assigned(p, n.Args[0])
				}
			}
			return true
		})
	})
}

// assigned reports an assignment whose target is, or lies in, a package
// variable of ours.
func (r *Report) assigned(p *Package, target ast.Expr) {
	for target != nil {
		switch e := target.(type) {
		case *ast.Ident:
			r.globalAssigned(p, e)
			return
		case *ast.SelectorExpr:
			if x, ok := e.X.(*ast.Ident); ok {
				if _, isPackage := p.info.Uses[x].(*types.PkgName); isPackage {
					r.globalAssigned(p, e.Sel)
					return
				}
			}
			target = e.X
		case *ast.IndexExpr:
			target = e.X
		case *ast.StarExpr:
			target = e.X
		case *ast.ParenExpr:
			target = e.X
		default:
			return
		}
	}
}

func (r *Report) globalAssigned(p *Package, name *ast.Ident) {
	v, ok := p.info.Uses[name].(*types.Var)
	if !ok || v.IsField() || v.Pkg() == nil || v.Parent() != v.Pkg().Scope() {
		return
	}
	r.add(name.Pos(), "package variable %s changes after its declaration", name.Name)
}

// unfinished finds the marks by which people put work off.
var unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)

// checkUnfinished refuses them in comments: work that is left is an issue.
func checkUnfinished(r *Report) {
	r.files(func(_ *Package, f *File) {
		for _, group := range f.Syntax.Comments {
			for _, c := range group.List {
				if mark := unfinished.FindString(c.Text); mark != "" {
					r.add(c.Pos(), "%s: open an issue instead", mark)
				}
			}
		}
	})
}

// checkSleep finds tests that wait for the clock instead of for a condition.
// Inside a testing/synctest bubble the clock is virtual, and sleeping is how a
// test moves it on.
func checkSleep(r *Report) {
	r.files(func(p *Package, f *File) {
		if !f.Test {
			return
		}
		names := importNames(f)
		limits := map[ast.Stmt]bool{} // cases of a select: they bound a wait
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CommClause:
				limits[n.Comm] = true
			case *ast.CallExpr:
				if called, ok := n.Fun.(*ast.SelectorExpr); ok {
					if importPath, name := selected(p, names, called); importPath == "testing/synctest" && name == "Test" {
						return false
					}
				}
			case *ast.SelectorExpr:
				if importPath, name := selected(p, names, n); importPath == "time" && name == "Sleep" {
					r.add(n.Pos(), "tests do not sleep: wait for the condition, or use testing/synctest")
				}
			case *ast.ExprStmt:
				if !limits[n] && waitsForClock(p, names, n.X) {
					r.add(n.Pos(), "waiting for time.After is sleeping")
				}
			}
			return true
		})
	})
}

// waitsForClock reports whether an expression is "<-time.After(d)".
func waitsForClock(p *Package, names map[string]string, e ast.Expr) bool {
	receive, ok := e.(*ast.UnaryExpr)
	if !ok || receive.Op != token.ARROW {
		return false
	}
	call, ok := receive.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	called, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	importPath, name := selected(p, names, called)
	return importPath == "time" && name == "After"
}
