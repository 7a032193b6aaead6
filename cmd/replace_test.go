package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// seatsOf returns the ids of those with a seat, by name.
func seatsOf(s starling.Status) map[string][]string {
	seats := map[string][]string{}
	for _, m := range s.Members {
		if m.Suffrage != "" {
			seats[m.Name] = append(seats[m.Name], m.ID)
		}
	}
	return seats
}

// TestAWipedMemberTakesItsSeatBack wipes a voter: its name alone is refused, and so is
// --replace while it runs; then its seat changes hands.
func TestAWipedMemberTakesItsSeatBack(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	f := newFlock(t, 3, 0)
	before := f.settled()
	a3 := f.agents["a3"]

	other := newAgent(t, "a3", "active", "--join", f.addr("a1"), "--replace")
	other.start()
	if code := other.wait(); code == 0 || !strings.Contains(other.log.String(), "which runs at "+a3.addr) {
		t.Errorf("--replace of a member that runs: code %d:\n%s", code, other.log)
	}

	a3.kill()
	dir := a3.args[slices.Index(a3.args, "--dir")+1]
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	a3.start()
	if code := a3.wait(); code == 0 || !strings.Contains(a3.log.String(), "--replace") {
		t.Errorf("the name alone: code %d:\n%s", code, a3.log)
	}
	a3.args = append(a3.args, "--replace")
	a3.start()
	eventually(t, time.Minute, func() error {
		s, err := status(f.addr("a1"))
		if err != nil {
			return err
		}
		now, old := seatsOf(s), seatsOf(before)["a3"]
		if len(now) != 3 || len(now["a3"]) != 1 || slices.Equal(now["a3"], old) || !voterOf(s, now["a3"][0]) {
			return fmt.Errorf("seats are %v, a3's was %v", now, old)
		}
		return nil
	})
	f.settled()

	// The directory that was lost turns up again: its name is another one's now.
	stray := newAgent(t, "a3", "active")
	stray.args[slices.Index(stray.args, "--dir")+1] = dir + ".old"
	stray.start()
	if code := stray.wait(); code == 0 || !strings.Contains(stray.log.String(), `the name "a3" is in use`) {
		t.Errorf("the old directory: code %d:\n%s", code, stray.log)
	}
}

func voterOf(s starling.Status, id string) bool {
	return slices.ContainsFunc(s.Members, func(m starling.MemberStatus) bool { return m.ID == id && m.Suffrage == "voter" })
}

// TestRemoveFreesTheNameAtOnce starts a member under the name of one that was killed
// and removed, before the membership has noticed the death.
func TestRemoveFreesTheNameAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	f := newFlock(t, 3, 0)
	f.settled()
	a3 := f.agents["a3"]
	a3.kill()
	if _, stderr, code := run(t.Context(), "", "remove", "--addr", f.addr("a1"), "a3"); code != 0 {
		t.Fatalf("remove: code %d: %s", code, stderr)
	}
	a3.args[slices.Index(a3.args, "--dir")+1] = filepath.Join(t.TempDir(), "new")
	a3.start()
	oneCluster(t, a3)
	voters(t, 3, f.agents["a1"])
}
