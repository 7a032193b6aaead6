package sim

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	// wasmVariable has TestTraceOfSeeds print what it has for the other process.
	wasmVariable = "STARLING_SIM_TRACES"
	traceTag     = "trace of seed"
)

// tracesOf plays a few short seeds: with checkpoints, whose sums and engine are another
// code on another processor, and with values of all kinds.
func tracesOf() string {
	var out strings.Builder
	for seed := uint64(1); seed <= 3; seed++ {
		r := Run(seed, Options{Duration: 5 * time.Second})
		fmt.Fprintf(&out, "%s %d: %s, %016x after %d steps, %v\n", traceTag, seed, r.Profile, r.TraceHash, r.Steps, r.Violation)
	}
	return out.String()
}

// TestTraceOfSeeds is for the process that TestASeedIsTheSameInAPage starts.
func TestTraceOfSeeds(t *testing.T) {
	if os.Getenv(wasmVariable) == "" {
		t.Skip("it is run by TestASeedIsTheSameInAPage")
	}
	fmt.Print("\n", tracesOf())
}

// The simulator runs in a page: the same seed gives the same trace there, step by step.
// Node stands for the page's browser.
func TestASeedIsTheSameInAPage(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds the package for another platform")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no Node to run it under")
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	wrapper := filepath.Join(strings.TrimSpace(string(out)), "lib", "wasm", "go_js_wasm_exec")
	if _, err := os.Stat(wrapper); err != nil {
		t.Skipf("this Go has no wrapper for Node: %v", err)
	}
	program := filepath.Join(t.TempDir(), "sim.wasm")
	build := exec.Command("go", "test", "-c", "-o", program, ".")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := exec.Command(wrapper, program, "-test.run=^TestTraceOfSeeds$")
	// Go's memory has room for a small environment only.
	run.Env = []string{"PATH=" + filepath.Dir(node) + string(os.PathListSeparator) + os.Getenv("PATH"), wasmVariable + "=1"}
	out, err = run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got strings.Builder
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, traceTag) {
			got.WriteString(line)
		}
	}
	if want := tracesOf(); got.String() != want {
		t.Errorf("in a page:\n%s\nhere:\n%s", out, want)
	}
}
