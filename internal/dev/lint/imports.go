package lint

import "strings"

// row says which of our packages a part of the tree may import. A name stands
// for that package alone, a name that ends in "/..." for it and all below.
type row struct {
	dir   string
	allow []string
	tests []string // what the tests of the part may import besides
	// bare rows may not even import protocol and internal/invariant.
	bare bool
}

// Parts that are listed together in many rows.
var (
	cores = []string{"protocol", "active", "passive", "gossip", "storage", "resources/...", "internal/machine", "internal/sessionop", "internal/policy"}
	below = append([]string{"gossip/...", "internal/changefile", "storage/...", "internal/replica", "internal/snapshotter", "internal/repair", "internal/install", "internal/member"}, cores...)
	// offline is what the command uses without a cluster.
	offline = []string{"internal/sim", "internal/dev/study/...", "internal/dev/bench", "internal/machine", "storage/...", "gossip", "active"}
	// anything that is not a program: tests below the root may come from there.
	anything = append([]string{".", "internal/..."}, below...)
)

// table is who may import whom. The longest dir that fits decides. Besides what
// a row names, every package may import protocol (the words) and
// internal/invariant, unless its row is bare, and in a part with "/..." the
// rest of the part.
var table = []row{
	{dir: "protocol"},
	{dir: "internal/invariant", bare: true},
	{dir: "internal/dev/lint", tests: []string{"internal/dev/mutation"}, bare: true},
	// It makes messages for the tests of others.
	{dir: "internal/dev/hostile"},
	{dir: "active", tests: append([]string{"internal/dev/hostile", "internal/virtual"}, cores...)},
	{dir: "passive", tests: cores},
	{dir: "gossip", tests: append([]string{"internal/virtual"}, cores...)},
	// Whom a member looks for.
	{dir: "gossip/reunion", tests: cores},
	{dir: "internal/logqueue", bare: true},
	// What runs in virtual time shares its queue.
	{dir: "internal/virtual", bare: true},
	// It stands for the library of that name, with which its tests compare it.
	{dir: "internal/virtual/memberlist", tests: []string{"internal/virtual"}, bare: true},
	// It says what is wrong with a configuration in its reader's words.
	{dir: "internal/naming", bare: true},
	{dir: "internal/config", allow: []string{"active", "internal/keys", "internal/naming", "resources/..."}, tests: anything},
	{dir: "internal/security", bare: true},
	{dir: "internal/observe", tests: anything},
	// It waits for sockets.
	{dir: "internal/outage", bare: true},
	{dir: "gossip/swim", allow: []string{"gossip", "gossip/reunion", "internal/outage"}, tests: anything},
	{dir: "storage/...", tests: anything},
	{dir: "internal/value", tests: anything},
	// It makes values for tests.
	{dir: "internal/dev/valuetest", bare: true},
	// It makes system calls of processes fail, for tests.
	{dir: "internal/dev/strace", bare: true},
	// It gives tests ports.
	{dir: "internal/dev/freeport", bare: true},
	{dir: "internal/notation", tests: anything},
	{dir: "internal/state"},
	{dir: "resources/...", allow: []string{"internal/state", "internal/value", "internal/notation"}, tests: anything},
	{dir: "resources/resourcetest", allow: []string{"resources", "internal/machine", "internal/sessionop"}, tests: anything},
	{dir: "internal/machine", allow: []string{"resources", "internal/changefile", "internal/state", "internal/sessionop"}, tests: anything},
	{dir: "internal/changefile", allow: []string{"storage/vfs"}, tests: anything},
	{dir: "internal/sessionop", allow: []string{"resources"}, tests: anything},
	{dir: "internal/policy", tests: cores},
	{dir: "internal/replica", allow: append([]string{"internal/repair", "internal/install"}, cores...), tests: append([]string{"storage/...", "internal/dev/hostile"}, cores...)},
	{dir: "internal/snapshotter", allow: []string{"storage", "internal/machine", "internal/install", "internal/repair", "internal/replica"}, tests: anything},
	{dir: "internal/member", allow: []string{"gossip", "storage", "storage/vfs", "internal/machine", "internal/repair", "internal/replica", "internal/snapshotter", "internal/witness"}, tests: anything},
	{dir: "internal/witness", allow: []string{"storage/vfs"}, tests: anything},
	{dir: "internal/recovery", allow: []string{"storage/...", "resources", "internal/machine", "internal/snapshotter", "internal/replica", "internal/witness"}, tests: anything},
	{dir: "internal/install", allow: []string{"gossip", "storage"}, tests: cores},
	{dir: "internal/repair", allow: []string{"gossip", "storage", "internal/install"}, tests: append([]string{"storage/..."}, cores...)},
	{dir: "internal/founding"},
	{dir: "internal/keys", allow: []string{"internal/naming"}, tests: anything},
	{dir: "internal/handshake"},
	{dir: "internal/wire", allow: []string{"internal/handshake", "internal/outage", "internal/security"}, tests: anything},
	{dir: "internal/attempt"},
	{dir: "internal/client", allow: []string{"internal/attempt", "internal/security", "internal/wire", "internal/sessionop", "resources"}, tests: anything},
	{dir: "internal/web/...", allow: []string{"internal/outage", "internal/security", "resources/..."}, tests: anything},
	{dir: "internal/runtime", allow: append([]string{"internal/config", "internal/observe", "internal/security", "internal/wire", "internal/keys", "internal/founding", "internal/handshake"}, below...), tests: anything},
	{dir: "internal/sim/...", allow: []string{
		"active", "passive", "gossip", "gossip/reunion", "storage/...", "resources/...", "internal/machine", "internal/sessionop", "internal/policy",
		"internal/replica", "internal/snapshotter", "internal/repair", "internal/install", "internal/member", "internal/virtual/...", "internal/attempt", "internal/changefile", "internal/handshake",
	}},
	{dir: "internal/dev/bench", allow: []string{".", "internal/dev/study/spread"}},
	{dir: "internal/dev/study", allow: []string{"active", "internal/virtual"}},
	{dir: "internal/dev/study/spread", allow: []string{"gossip", "internal/virtual"}},
	// It runs the command itself in processes of its own.
	{dir: "internal/dev/fieldtest", tests: append([]string{"cmd"}, anything...)},
	{dir: "internal/dev/mutation", bare: true},
	{dir: "internal/dev/mutation/cmd", allow: []string{"internal/dev/mutation"}, bare: true},
	{dir: ".", allow: []string{"internal/config", "internal/runtime", "internal/client", "internal/keys", "internal/logqueue", "internal/naming", "internal/observe", "internal/recovery", "internal/security", "internal/web/...", "internal/notation", "resources/..."}, tests: anything},
	{dir: "cmd", allow: append([]string{".", "internal/config", "internal/naming", "internal/observe", "internal/notation", "resources/..."}, offline...), tests: anything},
	{dir: "cmd/starling", allow: []string{"cmd", ".", "resources/..."}, tests: anything},
	{dir: "examples/...", allow: []string{".", "resources/..."}, bare: true},
}

// rowOf returns the row that decides for a directory.
func rowOf(dir string) (row, bool) {
	best, found := row{}, false
	for _, candidate := range table {
		if fits(candidate.dir, dir) && (!found || len(candidate.dir) > len(best.dir)) {
			best, found = candidate, true
		}
	}
	return best, found
}

// fits reports whether a pattern of the table stands for a directory.
func fits(pattern, dir string) bool {
	base, tree := strings.CutSuffix(pattern, "/...")
	return dir == base || tree && strings.HasPrefix(dir, base+"/")
}

func anyFits(patterns []string, dir string) bool {
	for _, pattern := range patterns {
		if fits(pattern, dir) {
			return true
		}
	}
	return false
}

// mayImport reports whether a file of the row may import one of our packages.
func (r row) mayImport(dir string, test bool) bool {
	switch {
	case fits(r.dir, dir): // external tests, and the rest of a part
		return true
	case dir == "internal/invariant" || dir == "protocol":
		return !r.bare
	case anyFits(r.allow, dir):
		return true
	}
	return test && anyFits(r.tests, dir)
}

// checkImports keeps the directions: imports go down only. Tests may import
// more, but never a program, and those of a core nothing impure.
func checkImports(r *Report) {
	r.files(func(p *Package, f *File) {
		from, known := rowOf(p.Dir)
		if !known {
			r.add(f.Syntax.Package, "package %s is not in the table of import directions (internal/dev/lint/imports.go)", p.Dir)
			return
		}
		for _, spec := range f.Syntax.Imports {
			if spec.Name != nil && spec.Name.Name == "." {
				r.add(spec.Pos(), "dot imports hide where a name comes from")
			}
			dir, ours := inModule(importPathOf(spec))
			if ours && !from.mayImport(dir, f.Test) {
				r.add(spec.Pos(), "%s may not import %s", p.Dir, dir)
			}
		}
	})
}

// dependency says where a module of somebody else may be used.
type dependency struct {
	module string
	allow  []string
}

// dependencies is the list of docs/adr/0002-dependencies.md.
var dependencies = []dependency{
	{"github.com/hashicorp/memberlist", []string{"gossip/swim"}},
	{"github.com/vmihailenco/msgpack/v5", []string{"protocol", "resources/...", "internal/...", ".", "cmd"}},
	{"github.com/zeebo/xxh3", []string{"protocol", "storage/...", "internal/changefile", "internal/state", "internal/sim"}},
	{"github.com/urfave/cli/v2", []string{"cmd/..."}},
	{"github.com/schollz/progressbar/v3", []string{"cmd/..."}},
	{"github.com/dgraph-io/badger/v4", []string{"storage/engine/badgerengine"}},
	{"go.yaml.in/yaml/v3", []string{"cmd/..."}},
	{"golang.org/x/sys", []string{"storage/...", "internal/runtime"}},
	// For tests only: the simulator's checker is the exception.
	{"go.uber.org/goleak", nil},
	{"github.com/anishathalye/porcupine", []string{"internal/sim/..."}},
}

// apart are packages that must do without another one, directly and through others:
// what reaches it cannot be built where that cannot.
var apart = []struct{ from, without string }{
	{"internal/sim", "storage/engine/badgerengine"},       // a page in a browser simulates clusters
	{"storage/checkpoint", "storage/engine/badgerengine"}, // the store's rules are above every engine
	{"internal/client", "storage/..."},
	{"internal/client", "gossip/..."},
}

// checkApart finds the imports through which a package reaches what it must not.
func checkApart(r *Report) {
	for _, a := range apart {
		reaches := r.Tree.reaching(a.without)
		r.files(func(p *Package, f *File) {
			if f.Test || !fits(a.from, p.Dir) {
				return
			}
			for _, spec := range f.Syntax.Imports {
				if dir, ours := inModule(importPathOf(spec)); ours && reaches[dir] {
					r.add(spec.Pos(), "%s must do without %s, and reaches it through %s", p.Dir, a.without, dir)
				}
			}
		})
	}
}

// reaching returns the packages that need one that fits a pattern, and those that fit.
func (t *Tree) reaching(pattern string) map[string]bool {
	found := map[string]bool{}
	for grown := true; grown; {
		grown = false
		for _, p := range t.Packages {
			if !found[p.Dir] && (fits(pattern, p.Dir) || p.importsAny(found)) {
				found[p.Dir], grown = true, true
			}
		}
	}
	return found
}

// importsAny reports whether a package, its tests left out, imports one of some.
func (p *Package) importsAny(some map[string]bool) bool {
	for _, f := range p.Files {
		for _, spec := range f.Syntax.Imports {
			if dir, ours := inModule(importPathOf(spec)); ours && !f.Test && some[dir] {
				return true
			}
		}
	}
	return false
}

// checkDependencies keeps modules of others where they belong. A test may use
// any that is listed.
func checkDependencies(r *Report) {
	r.files(func(p *Package, f *File) {
		for _, spec := range f.Syntax.Imports {
			importPath := importPathOf(spec)
			first, _, _ := strings.Cut(importPath, "/")
			if _, ours := inModule(importPath); ours || !strings.Contains(first, ".") {
				continue
			}
			found := false
			for _, d := range dependencies {
				if importPath != d.module && !strings.HasPrefix(importPath, d.module+"/") {
					continue
				}
				found = true
				if !f.Test && !anyFits(d.allow, p.Dir) {
					r.add(spec.Pos(), "%s may not use %s (internal/dev/lint/imports.go says who may)", p.Dir, d.module)
				}
			}
			if !found {
				r.add(spec.Pos(), "%s is not among the dependencies of docs/adr/0002-dependencies.md", importPath)
			}
		}
	})
}
