package lint

import (
	_ "embed"
	"go/ast"
	"go/token"
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
	listed := strings.Fields(authorsSee)
	there := map[string]bool{}
	first := token.NoPos
	for _, f := range p.Files {
		if f.Test {
			continue
		}
		if first == token.NoPos {
			first = f.Syntax.Package
		}
		for name, pos := range exported(f.Syntax) {
			there[name] = true
			if !slices.Contains(listed, name) {
				r.add(pos, "resources exports %s, which is not in internal/lint/resources.txt: do authors of types need it?", name)
			}
		}
	}
	for _, name := range listed {
		if !there[name] {
			r.add(first, "internal/lint/resources.txt has %s, which resources does not export", name)
		}
	}
}

// exported returns the exported names that a file declares, methods and fields of
// exported types as "Type.Name".
func exported(f *ast.File) map[string]token.Pos {
	out := map[string]token.Pos{}
	add := func(of string, id *ast.Ident) {
		if id.IsExported() {
			out[of+id.Name] = id.Pos()
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				add("", d.Name)
			} else if of := receiverOf(d); ast.IsExported(of) {
				add(of+".", d.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.ValueSpec:
					for _, id := range s.Names {
						add("", id)
					}
				case *ast.TypeSpec:
					add("", s.Name)
					for _, id := range members(s) {
						if s.Name.IsExported() {
							add(s.Name.Name+".", id)
						}
					}
				}
			}
		}
	}
	return out
}

// members returns the fields of a struct, and the methods of an interface.
func members(s *ast.TypeSpec) (out []*ast.Ident) {
	var list *ast.FieldList
	switch t := s.Type.(type) {
	case *ast.StructType:
		list = t.Fields
	case *ast.InterfaceType:
		list = t.Methods
	}
	if list == nil {
		return nil
	}
	for _, field := range list.List {
		out = append(out, field.Names...)
	}
	return out
}
