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

// methodsMax is how many methods a type may have.
const methodsMax = 60

// wide are the types that have more, with how many: walls that are still to move. No
// number rises, and each sinks with its type.
var wide = map[string]int{
	"active.Member": 142, "cmd.Program": 87, "gossip.Core": 166, "internal/runtime.Member": 126,
	"internal/sim.member": 126, "internal/sim.simulation": 102, "storage/checkpoint.Store": 62,
}

// checkMethods keeps types narrow enough that one can know what they do.
func checkMethods(r *Report) {
	for _, p := range r.Tree.Packages {
		count, at := map[string]int{}, map[string]token.Pos{}
		for _, f := range p.Files {
			if f.Test {
				continue
			}
			for _, d := range f.Syntax.Decls {
				function, ok := d.(*ast.FuncDecl)
				if !ok || function.Recv == nil {
					continue
				}
				name := receiverOf(function)
				count[name]++
				at[name] = function.Pos()
			}
		}
		for _, name := range slices.Sorted(maps.Keys(count)) {
			limit, known := wide[p.Dir+"."+name]
			switch n := count[name]; {
			case known && n != limit:
				r.add(at[name], "%s has %d methods; the list of wide types says %d: it may not grow, and the list follows when it shrinks", name, n, limit)
			case !known && n > methodsMax:
				r.add(at[name], "%s has %d methods, %d are allowed", name, n, methodsMax)
			}
		}
	}
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
