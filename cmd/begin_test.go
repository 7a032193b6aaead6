package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// beginners returns agents that are told to begin with each other, and not started.
func beginners(t *testing.T, n int, flags ...string) (list []*agent) {
	var addresses []string
	for i := range n {
		list = append(list, newAgent(t, fmt.Sprintf("a%d", i+1), "active", flags...))
		addresses = append(addresses, list[i].addr)
	}
	for _, a := range list {
		a.args = append(a.args, "--join", strings.Join(addresses, ","))
	}
	return list
}

// template returns agents that are told to expect three of them, of which the first is
// the seed that all name, and not started.
func template(t *testing.T, n int) []*agent {
	list := beginners(t, 1, "--expect", "3", "--timing", "fast")
	for i := 2; i <= n; i++ {
		list = append(list, newAgent(t, fmt.Sprintf("a%d", i), "active", "--expect", "3", "--timing", "fast", "--join", list[0].addr))
	}
	return list
}

// oneCluster waits until all serve, and fails if they serve two clusters.
func oneCluster(t *testing.T, list ...*agent) (cluster string) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		var clusters []string
		for _, a := range list {
			s, err := status(a.addr)
			if err != nil {
				return err
			}
			if !s.Serving {
				return fmt.Errorf("%s does not serve: %s", a.name, s.Reason)
			}
			clusters = append(clusters, s.Cluster)
		}
		cluster = clusters[0]
		if slices.Sort(clusters); len(slices.Compact(clusters)) > 1 {
			t.Fatalf("there are two clusters: %s", clusters)
		}
		return nil
	})
	return cluster
}

// voters waits until the leader holds as committed, and with no change under way, a
// configuration of so many voters, and all of these members have it: those of the
// configuration before decide nothing any more, so whoever stops one of them stops no others.
func voters(t *testing.T, n int, members ...*agent) {
	t.Helper()
	eventually(t, time.Minute, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		c, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{members[0].addr}})
		if err != nil {
			return err
		}
		defer c.Close()
		seats, err := c.Actives(ctx)
		if err != nil || len(seats.Voters) != n {
			return errors.Join(err, fmt.Errorf("%s, want %d voters", seats, n))
		}
		for _, m := range members {
			if s, err := status(m.addr); err != nil || s.Applied < seats.Version {
				return errors.Join(err, fmt.Errorf("%s has applied %d of %d", m.name, s.Applied, seats.Version))
			}
		}
		return nil
	})
}

// verifyOf returns the exit code of verify.
func verifyOf(a *agent) int {
	_, _, code := run(context.Background(), "", "verify", "--addr", a.addr)
	return code
}

// readyz returns what a member says there.
func readyz(a *agent) string {
	r, err := http.Get("http://" + a.http + "/readyz")
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return string(text)
}

func TestAgentsStartedAtOnceMakeOneCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	for range 4 {
		list := beginners(t, 3, "--bootstrap", "--timing", "fast")
		for _, a := range list {
			a.start()
		}
		oneCluster(t, list...)
		for _, a := range list {
			a.kill()
		}
	}
}

// TestASilentMemberIsWaitedFor starts two of three: none begins, and both say who is
// missing, in the log, in /readyz and in their status.
func TestASilentMemberIsWaitedFor(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	list := beginners(t, 3, "--bootstrap", "--timing", "fast")
	missing := list[2].addr
	for _, a := range list[:2] {
		a.start()
	}
	for _, a := range list[:2] {
		want := "no answer from " + missing
		eventually(t, time.Minute, func() error {
			s, err := status(a.addr)
			switch {
			case err != nil:
				return err
			case s.Serving || strings.Trim(s.Cluster, "0") != "":
				t.Fatalf("%s has a cluster: %+v", a.name, s)
			case !strings.Contains(s.Reason, want):
				return fmt.Errorf("status of %s says %q, want %q", a.name, s.Reason, want)
			case !strings.Contains(readyz(a), want):
				return fmt.Errorf("/readyz of %s says %q, want %q", a.name, readyz(a), want)
			case verifyOf(a) != 3:
				return fmt.Errorf("verify of %s, which has no cluster, says %d", a.name, verifyOf(a))
			case !strings.Contains(a.log.String(), want):
				return fmt.Errorf("the log of %s does not say %q", a.name, want)
			}
			return nil
		})
	}
	list[2].start()
	oneCluster(t, list...)
}

// TestABootstrapperWithALostDiskBeginsNothing starts the member that began the
// cluster with an empty directory, while the others are silent and when they are
// there again.
func TestABootstrapperWithALostDiskBeginsNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	list := beginners(t, 3, "--bootstrap", "--timing", "fast")
	for _, a := range list {
		a.start()
	}
	cluster := oneCluster(t, list...)
	voters(t, 3, list...)
	for _, a := range list {
		a.kill()
	}
	lost := list[0]
	i := slices.Index(lost.args, "--dir") + 1
	if err := os.RemoveAll(lost.args[i]); err != nil {
		t.Fatal(err)
	}
	lost.args[slices.Index(lost.args, "--name")+1] = "a4" // the seat of a1 is another matter
	lost.start()
	eventually(t, time.Minute, func() error {
		if s, err := status(lost.addr); err != nil || !strings.Contains(s.Reason, "no answer from") {
			return errors.Join(err, fmt.Errorf("the status says %+v", s))
		}
		return nil
	})
	list[1].start()
	list[2].start()
	if got := oneCluster(t, list...); got != cluster {
		t.Errorf("the cluster is %s, want %s, which was there before", got, cluster)
	}
}

func TestAgentsOfATemplateFindEachOther(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	list := template(t, 3)
	for _, a := range list[:2] {
		a.start()
	}
	eventually(t, time.Minute, func() error {
		if got, want := readyz(list[0]), "found 2 of 3"; !strings.Contains(got, want) {
			return fmt.Errorf("/readyz says %q, want %q", got, want)
		}
		return nil
	})
	list[2].start()
	oneCluster(t, list...)
}

// Counterexample: the seed of a template loses its directory, and is started again with
// the same flags together with two new members. The others of its cluster call it; nobody
// asks them, since only the seed is named. The three began a second cluster.
func TestASeedWithALostDiskBeginsNoSecondCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	list := template(t, 5)
	seed := list[0]
	for _, a := range list[:3] {
		a.start()
	}
	cluster := oneCluster(t, list[:3]...)
	voters(t, 3, list[:3]...)
	seed.kill()
	if err := os.RemoveAll(seed.dir()); err != nil {
		t.Fatal(err)
	}
	seed.log = new(syncBuffer)
	for _, a := range []*agent{seed, list[3], list[4]} {
		a.start()
	}
	eventually(t, time.Minute, func() error {
		if got := readyz(seed); !strings.Contains(got, cluster) || !strings.Contains(got, "--replace") {
			return fmt.Errorf("/readyz of the seed says %q, want who calls it and the way out", got)
		}
		return nil
	})
	for _, a := range []*agent{seed, list[3], list[4]} {
		if strings.Contains(a.log.String(), "beginning a new cluster") {
			t.Errorf("%s begins a second cluster:\n%s", a.name, a.log)
		}
	}
}

// Lists that differ are shown, both, and end the start when all that they name are there.
func TestListsThatDifferEndTheStart(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	list := beginners(t, 2, "--bootstrap")
	other := newAgent(t, "a3", "active", "--join", list[0].addr)
	list[1].args[len(list[1].args)-1] += "," + other.addr
	for _, a := range list {
		a.start()
	}
	for _, a := range list {
		eventually(t, time.Minute, func() error {
			if got := a.log.String(); !strings.Contains(got, other.addr) || !strings.Contains(got, "--bootstrap with the members") {
				return fmt.Errorf("%s does not show both lists:\n%s", a.name, got)
			}
			return nil
		})
	}
	other.start()
	// Now all that the lists name are there. Who sees that first ends; the other may do so
	// too, or waits for the first one to come back with another list.
	var first *agent
	eventually(t, time.Minute, func() error {
		for _, a := range list {
			if strings.Contains(a.log.String(), "no cluster begins") {
				first = a
				return nil
			}
		}
		return errors.New("nobody ends")
	})
	if code := first.wait(); code == 0 {
		t.Errorf("%s ends with code 0", first.name)
	}
}

func TestCommandsDemandACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts processes")
	}
	t.Parallel()
	a := newAgent(t, "a1", "active", "--bootstrap")
	a.start()
	own := oneCluster(t, a)
	if _, stderr, code := run(t.Context(), "", "map", "put", "--addr", a.addr, "--cluster", own, "m", "k", "v"); code != 0 {
		t.Errorf("with its own id: exit code %d: %s", code, stderr)
	}
	other := strings.Repeat("ab", 16)
	_, stderr, code := run(t.Context(), "", "map", "put", "--addr", a.addr, "--cluster", other, "m", "k", "v")
	if code == 0 || !strings.Contains(stderr, own) || !strings.Contains(stderr, other) {
		t.Errorf("with another one: exit code %d: %s, want an error that names both", code, stderr)
	}
	if _, stderr, code := run(t.Context(), "", "status", "--addr", a.addr, "--cluster", "x"); code != exitUsage {
		t.Errorf("with no id: exit code %d: %s, want %d", code, stderr, exitUsage)
	}
}
