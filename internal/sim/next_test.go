//go:build !starling_next

package sim

import (
	"os/exec"
	"testing"
)

// The release that knows the next format level has entries of its own in these runs: who
// applied them, or passed over them, without knowing that level would have another state.
func TestTheNextReleaseIsUpgradedToUnderFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds another release")
	}
	for _, args := range [][]string{{".", "ALevelRises"}, {"../machine", "PassesOver"}, {"../recovery", "Level"}} {
		out, err := exec.Command("go", "test", "-vet=off", "-tags", "starling_next", args[0], "-run", args[1]).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", args[0], err, out)
		}
	}
}
