package lint

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// constants are the constants of the tree's packages, by the package's directory and
// the name, with the expressions that they are made of.
type constants struct {
	exprs   map[string]ast.Expr
	imports map[string]map[string]string // of the file with a constant: name to directory
}

// constantsOf reads the packages of the tree at root, tests excepted.
func constantsOf(t *testing.T, root string) *constants {
	t.Helper()
	c := &constants{exprs: map[string]ast.Expr{}, imports: map[string]map[string]string{}}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != root) {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(name))
		c.add(filepath.ToSlash(dir), f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *constants) add(dir string, f *ast.File) {
	imports := map[string]string{}
	for _, i := range f.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		base := path.Base(p)
		if i.Name != nil {
			base = i.Name.Name
		}
		imports[base] = strings.TrimPrefix(p, "github.com/starlinghq/starling/")
	}
	for _, d := range f.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, s := range group.Specs {
			spec := s.(*ast.ValueSpec)
			for i, id := range spec.Names {
				if i < len(spec.Values) {
					name := dir + "." + id.Name
					c.exprs[name], c.imports[name] = spec.Values[i], imports
				}
			}
		}
	}
}

var durations = map[string]time.Duration{
	"Nanosecond": time.Nanosecond, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond,
	"Second": time.Second, "Minute": time.Minute, "Hour": time.Hour,
}

// value returns what a constant is, and whether it is a time.
func (c *constants) value(name string) (v constant.Value, isTime bool, err error) {
	e, ok := c.exprs[name]
	if !ok {
		return nil, false, fmt.Errorf("there is no constant %s", name)
	}
	return c.eval(name, e)
}

func (c *constants) eval(in string, e ast.Expr) (constant.Value, bool, error) {
	dir := in[:strings.LastIndexByte(in, '.')]
	switch e := e.(type) {
	case *ast.BasicLit:
		return constant.MakeFromLiteral(e.Value, e.Kind, 0), false, nil
	case *ast.ParenExpr:
		return c.eval(in, e.X)
	case *ast.Ident:
		return c.value(dir + "." + e.Name)
	case *ast.CallExpr: // a conversion
		if len(e.Args) == 1 {
			return c.eval(in, e.Args[0])
		}
	case *ast.SelectorExpr:
		pkg := e.X.(*ast.Ident).Name
		if d, ok := durations[e.Sel.Name]; pkg == "time" && ok {
			return constant.MakeInt64(int64(d)), true, nil
		}
		return c.value(c.imports[in][pkg] + "." + e.Sel.Name)
	case *ast.BinaryExpr:
		x, xTime, err := c.eval(in, e.X)
		if err != nil {
			return nil, false, err
		}
		y, yTime, err := c.eval(in, e.Y)
		if err != nil {
			return nil, false, err
		}
		if e.Op == token.SHL || e.Op == token.SHR {
			n, _ := constant.Uint64Val(y)
			return constant.Shift(x, e.Op, uint(n)), xTime, nil
		}
		op := e.Op
		if op == token.QUO && x.Kind() == constant.Int && y.Kind() == constant.Int {
			op = token.QUO_ASSIGN // of whole numbers
		}
		return constant.BinaryOp(x, op, y), xTime || yTime, nil
	}
	return nil, false, fmt.Errorf("%s is made of something that this test does not read", in)
}
