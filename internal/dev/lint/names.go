package lint

import (
	_ "embed"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// authorsSee are the names that package resources exports, one a line, in order: what
// authors of resource types see, and the few that are marked as the engine's.
//
//go:embed resources.txt
var authorsSee string

// checkNames keeps the names that package resources exports: what is added to them is
// there for every author of a type to read, and to stay. A name that is gone leaves the
// list, too.
func checkNames(r *Report) {
	p := r.Tree.byDir["resources"]
	if p == nil {
		return
	}
	listed, there := strings.Fields(authorsSee), exported(r.Tree.check(p).Scope())
	for name, pos := range there { // order does not matter: violations are sorted
		test := strings.HasSuffix(r.Tree.Fset.Position(pos).Filename, "_test.go")
		if !test && !slices.Contains(listed, name) {
			r.add(pos, "resources exports %s, which is not in internal/dev/lint/resources.txt: do authors of types need it?", name)
		}
	}
	for _, name := range listed {
		if _, ok := there[name]; !ok {
			r.add(p.Files[0].Syntax.Package, "internal/dev/lint/resources.txt has %s, which resources does not export", name)
		}
	}
}

// exported returns the exported names of a package, methods and fields of exported types
// as "Type.Name".
func exported(scope *types.Scope) map[string]token.Pos {
	out := map[string]token.Pos{}
	add := func(of string, o types.Object) {
		if o.Exported() {
			out[of+o.Name()] = o.Pos()
		}
	}
	for _, name := range scope.Names() {
		o := scope.Lookup(name)
		add("", o)
		declared, isType := o.(*types.TypeName)
		if !isType || !o.Exported() {
			continue
		}
		if named, ok := declared.Type().(*types.Named); ok {
			for m := range named.Methods() {
				add(name+".", m)
			}
		}
		switch t := declared.Type().Underlying().(type) {
		case *types.Struct:
			for f := range t.Fields() {
				add(name+".", f)
			}
		case *types.Interface:
			for m := range t.Methods() {
				add(name+".", m)
			}
		}
	}
	return out
}

// indexNames are names, in small letters, of what is an index wherever programs see it.
var indexNames = map[string]bool{"index": true, "after": true, "applied": true, "commit": true, "checkpoint": true, "version": true, "holds": true, "ends": true, "diverged": true, "refuse": true, "seen": true, "resume": true}

// checkIndexes keeps indexes of one type where programs see them: one that is a plain number
// has to be converted between two calls, and nothing says what it counts.
func checkIndexes(r *Report) {
	for _, dir := range []string{".", "resources"} {
		p := r.Tree.byDir[dir]
		if p == nil {
			continue
		}
		r.Tree.check(p)
		for name, o := range p.info.Defs { // order does not matter: violations are sorted
			var t types.Type
			switch o := o.(type) {
			case *types.Var:
				t = o.Type()
			case *types.Func:
				if results := o.Signature().Results(); results.Len() > 0 {
					t = results.At(0).Type()
				}
			}
			if t != nil && indexNames[strings.ToLower(name.Name)] && strings.HasSuffix(t.String(), "uint64") {
				r.add(name.Pos(), "%s is a %s, and an index has the type Index", name.Name, t)
			}
		}
	}
}
