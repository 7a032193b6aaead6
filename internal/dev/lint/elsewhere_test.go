package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listed is what `go list` says about one package, or one of a package and its tests.
type listed struct {
	Dir, ImportPath, Name, ForTest string
	GoFiles                        []string
	ImportMap                      map[string]string
	Module                         *struct {
		Path, GoVersion string
		Main            bool
	}
	Error, DepsErrors any
}

// list returns packages of this repository for another system, after all that they need.
func list(goos, goarch string, args ...string) ([]*listed, error) {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json"}, args...)...)
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	var all []*listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(listed)
		if err := decoder.Decode(p); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

// compiles returns what a compiler for another system says of packages and all that they need.
// Types decide that: nothing is made of them, which takes a hundredth of the time.
func compiles(goos, goarch string, packages []*listed) error {
	fset, done := token.NewFileSet(), map[string]*types.Package{"unsafe": types.Unsafe}
	var faults []error
	for _, p := range packages {
		if p.ImportPath == "unsafe" || strings.HasSuffix(p.ImportPath, ".test") {
			continue
		}
		if p.Error != nil {
			return fmt.Errorf("%s: %v", p.ImportPath, p.Error)
		}
		ours := p.Module != nil && p.Module.Main
		var files []*ast.File
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			files = append(files, file)
		}
		config := types.Config{
			IgnoreFuncBodies: !ours,
			Sizes:            types.SizesFor("gc", goarch),
			Error:            func(err error) { faults = append(faults, fmt.Errorf("%s/%s: %w", goos, goarch, err)) },
			Importer: imports(func(path string) (*types.Package, error) {
				if other, ok := p.ImportMap[path]; ok {
					path = other
				}
				if done[path] == nil {
					return nil, fmt.Errorf("%s is not among what is needed", path)
				}
				return done[path], nil
			}),
		}
		if p.Module != nil && p.Module.GoVersion != "" {
			config.GoVersion = "go" + p.Module.GoVersion
		}
		path, _, _ := strings.Cut(p.ImportPath, " ")
		done[p.ImportPath], _ = config.Check(path, fset, files, nil)
	}
	return errors.Join(faults...)
}

type imports func(string) (*types.Package, error)

func (i imports) Import(path string) (*types.Package, error) { return i(path) }

// Nobody who has built for Linux alone knows whether the others can be built for.
func TestItCompilesForOtherSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the standard library once for each system")
	}
	for _, goos := range []string{"darwin", "windows", "freebsd"} {
		t.Run(goos, func(t *testing.T) {
			t.Parallel()
			packages, err := list(goos, "amd64", "-test", "./...")
			if err != nil {
				t.Fatal(err)
			}
			if err := compiles(goos, "amd64", packages); err != nil {
				t.Error(err)
			}
		})
	}
}

// The simulator is to run in a browser, and needs no engine of checkpoints that needs an operating
// system. A platform of 32 bits is refused by what the compiler says.
func TestTheSimulatorNeedsNoFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the standard library once for each system")
	}
	for _, system := range [][2]string{{"js", "wasm"}, {"linux", "amd64"}} {
		packages, err := list(system[0], system[1], "./internal/sim")
		if err != nil {
			t.Fatal(err)
		}
		if err := compiles(system[0], system[1], packages); err != nil {
			t.Error(err)
		}
		if slices.ContainsFunc(packages, func(p *listed) bool { return strings.Contains(p.ImportPath, "badger") }) {
			t.Errorf("the simulator needs Badger for %s", system[0])
		}
	}
}

func TestAPlatformOf32BitsIsRefused(t *testing.T) {
	packages, err := list("linux", "386", "./protocol")
	if err != nil {
		t.Fatal(err)
	}
	if err := compiles("linux", "386", packages); err == nil || !strings.Contains(err.Error(), "needs a 64-bit platform") {
		t.Errorf("it is compiled for 32 bits: %v", err)
	}
}
