package lint

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

// pure are the packages that start no goroutine and use no clock, network,
// disk, lock or global randomness, so that a seed decides all that they do.
var pure = []string{"active", "passive", "gossip", "gossip/reunion", "internal/policy", "internal/replica", "internal/repair", "internal/install", "internal/founding"}

// ordered are the packages in which no map may decide an order: the cores and
// the replicated state.
var ordered = append([]string{"resources/...", "internal/machine", "internal/sessionop", "internal/state", "internal/value"}, pure...)

// impureImports must not be imported by a core, with what they would bring.
var impureImports = map[string]string{
	"os": "the operating system", "io/ioutil": "the disk", "io/fs": "the disk", "path/filepath": "the disk",
	"net": "the network", "sync": "locks", "context": "clocks and goroutines", "runtime": "the scheduler",
	"crypto/rand": "unseeded randomness", "hash/maphash": "a random seed of the process",
	"log": "global output", "log/slog": "output that is not an event", "syscall": "the operating system",
	"unsafe": "memory", "testing": "tests in the product", "database/sql": "the disk", "plugin": "the operating system",
}

// allowedNames are all that a core may use of a package that is half pure.
var allowedNames = map[string][]string{
	"time":         {"Duration", "Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour", "ParseDuration"},
	"math/rand":    {"New", "NewSource", "NewZipf", "Rand", "Source", "Source64", "Zipf"},
	"math/rand/v2": {"New", "NewPCG", "NewChaCha8", "NewZipf", "Rand", "Source", "PCG", "ChaCha8", "Zipf"},
}

// forbiddenNames are what a core may not use of a package that is pure else.
var forbiddenNames = map[string][]string{
	"fmt": {"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"},
}

// checkPurity keeps the cores deterministic. Their tests are free.
func checkPurity(r *Report) {
	r.files(func(p *Package, f *File) {
		if f.Test || !anyFits(pure, p.Dir) {
			return
		}
		for _, spec := range f.Syntax.Imports {
			if why, impure := impureImport(importPathOf(spec)); impure {
				r.add(spec.Pos(), "a core may not import %s: %s", importPathOf(spec), why)
			}
		}
		names := importNames(f)
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				r.add(n.Pos(), "a core starts no goroutine")
			case *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				r.add(n.Pos(), "a core uses no channel")
			case *ast.CallExpr:
				if name, ok := n.Fun.(*ast.Ident); ok && (name.Name == "print" || name.Name == "println") {
					r.add(n.Pos(), "a core prints nothing")
				}
			case *ast.SelectorExpr:
				importPath, name := selected(p, names, n)
				if !pureName(importPath, name) {
					r.add(n.Pos(), "a core may not use %s.%s: time comes in as an argument, randomness from a seeded source", importPath, name)
				}
			}
			return true
		})
	})
}

// opensSockets are the functions and types of the standard library by which a program
// connects to others.
var opensSockets = map[string][]string{
	"net": {
		"Dial", "DialTimeout", "DialIP", "DialTCP", "DialUDP", "DialUnix", "Dialer", "Listen", "ListenIP", "ListenMulticastUDP",
		"ListenPacket", "ListenTCP", "ListenUDP", "ListenUnix", "ListenUnixgram", "ListenConfig", "FileConn", "FileListener", "FilePacketConn",
	},
	"crypto/tls": {"Dial", "DialWithDialer", "Dialer", "Listen"},
	"net/http":   {"ListenAndServe", "ListenAndServeTLS", "Get", "Head", "Post", "PostForm", "DefaultClient", "DefaultTransport"},
}

// checkSockets has all sockets come from one value, which decides what is encrypted and
// who is let in. Tests, what exists for them, and examples, which are programs of users, are
// free.
func checkSockets(r *Report) {
	r.files(func(p *Package, f *File) {
		if f.Test || p.Dir == "internal/security" || anyFits([]string{"examples/...", "internal/dev/..."}, p.Dir) {
			return
		}
		names := importNames(f)
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			if n, ok := n.(*ast.SelectorExpr); ok {
				if importPath, name := selected(p, names, n); contains(opensSockets[importPath], name) {
					r.add(n.Pos(), "%s.%s: sockets come from a security.Security", importPath, name)
				}
			}
			return true
		})
	})
}

func impureImport(importPath string) (why string, impure bool) {
	if importPath == "net/netip" { // addresses are values
		return "", false
	}
	for name := importPath; name != ""; {
		if why, impure = impureImports[name]; impure {
			return why, true
		}
		cut := strings.LastIndex(name, "/")
		if cut < 0 {
			break
		}
		name = name[:cut]
	}
	return "", false
}

func pureName(importPath, name string) bool {
	if allowed, half := allowedNames[importPath]; half {
		return contains(allowed, name)
	}
	return !contains(forbiddenNames[importPath], name)
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// orderComment excuses a walk over a map whose order nobody can see.
const orderComment = "// order does not matter: "

// checkMapOrder finds walks over maps in cores and state. The comment that
// excuses one stands on the line itself and says why.
func checkMapOrder(r *Report) {
	r.files(func(p *Package, f *File) {
		if f.Test || !anyFits(ordered, p.Dir) {
			return
		}
		names := importNames(f)
		sorted := map[ast.Node]bool{} // walks that are sorted at once
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.RangeStmt:
				if isMap(p.info.Types[n.X].Type) {
					r.unordered(f, n.Pos(), "range over a map")
				}
			case *ast.CallExpr:
				called, ok := n.Fun.(*ast.SelectorExpr)
				if !ok {
					break
				}
				importPath, name := selected(p, names, called)
				switch {
				case importPath == "slices" && strings.HasPrefix(name, "Sorted"):
					for _, argument := range n.Args {
						sorted[argument] = true
					}
				case importPath == "maps" && contains([]string{"All", "Keys", "Values"}, name) && !sorted[n]:
					r.unordered(f, n.Pos(), "maps."+name+" without slices.Sorted")
				}
			case *ast.SelectorExpr:
				importPath, name := selected(p, names, n)
				if importPath == "sync" && name == "Map" {
					r.unordered(f, n.Pos(), "sync.Map has no order")
				}
			}
			return true
		})
	})
}

func (r *Report) unordered(f *File, pos token.Pos, what string) {
	comment := f.comments[r.line(pos)]
	if why, excused := strings.CutPrefix(comment, orderComment); excused && strings.TrimSpace(why) != "" {
		return
	}
	r.add(pos, "%s: its order would differ between members; sort the keys, or say %q", what, orderComment+"...")
}

// isMap reports whether ranging over a value of the type walks a map.
func isMap(t types.Type) bool {
	if t == nil {
		return false
	}
	parameter, ok := t.(*types.TypeParam)
	if !ok {
		_, ok = t.Underlying().(*types.Map)
		return ok
	}
	constraint, ok := parameter.Constraint().Underlying().(*types.Interface)
	if !ok {
		return false
	}
	for i := range constraint.NumEmbeddeds() {
		union, ok := constraint.EmbeddedType(i).(*types.Union)
		if !ok {
			if isMap(constraint.EmbeddedType(i)) {
				return true
			}
			continue
		}
		for k := range union.Len() {
			if isMap(union.Term(k).Type()) {
				return true
			}
		}
	}
	return false
}
