package lint

import (
	"go/ast"
	"slices"
)

// checkLengths refuses int(order.Uint32(b)) and int(order.Uint64(b)): a length that was
// decoded is compared with its limit first. As an int it may be negative, and then it
// is below every limit.
func checkLengths(r *Report) {
	r.files(func(_ *Package, f *File) {
		if f.Test {
			return
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			to, ok := call.Fun.(*ast.Ident)
			if !ok || to.Name != "int" {
				return true
			}
			decoded, ok := call.Args[0].(*ast.CallExpr)
			if !ok {
				return true
			}
			if from, ok := decoded.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Uint32", "Uint64"}, from.Sel.Name) {
				r.add(call.Pos(), "a decoded length is compared before it is an int")
			}
			return true
		})
	})
}
