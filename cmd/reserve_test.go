package cmd

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// An active dies for good and no passive can have its seat: a reserve, which
// held nothing so far, is asked to follow and takes it, while somebody writes.
// Another one stands by until passives are wanted.
func TestReserveTakesTheSeatOfADeadActive(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes that are killed take a while")
	}
	t.Parallel()
	const failedAfter = 4 * time.Second
	f := newFlock(t, 3, 0)
	for name, more := range map[string][]string{"r1": {"--eligible"}, "r2": nil} {
		r := newAgent(t, name, "reserve", append(more, "--join", f.addr("a1"))...)
		r.start()
		eventually(t, time.Minute, func() error {
			if !strings.Contains(r.log.String(), name+" stands by, a reserve, at "+r.addr) {
				return fmt.Errorf("%s said:\n%s", name, r.log)
			}
			return nil
		})
		f.add(r)
	}
	at := f.addr("a1")
	works(t, "", "autopilot", "set", "--addr", at, "--failed-after", failedAfter.String())
	eventually(t, time.Minute, func() error {
		if s, err := status(at); err != nil || !slices.Equal(s.Reserves, []string{"r1", "r2"}) || len(s.Passives) > 0 {
			return fmt.Errorf("passives %v, reserves %v, %v", s.Passives, s.Reserves, err)
		}
		return nil
	})
	eventually(t, time.Minute, func() error { // r1 hears of r2 in its own time
		if got := works(t, "", "members", "--addr", f.addr("r1")); strings.Count(got, " reserve ") != 2 {
			return fmt.Errorf("r1 lists\n%s", got)
		}
		return nil
	})
	works(t, "", "verify", "--addr", at)
	fails(t, exitRefused, "does not wish to be active", "promote", "--addr", f.addr("r2"), "r2") // which knows who leads
	w := startWriter(t, at, f.addr("a2"), f.addr("a3"))
	eventually(t, time.Minute, func() error { // something to catch up with
		if w.count() < 50 {
			return fmt.Errorf("%d writes", w.count())
		}
		return nil
	})

	s, err := status(at)
	if err != nil {
		t.Fatal(err)
	}
	dead := "a2"
	if s.Leader == "a2" {
		dead = "a3"
	}
	f.agents[dead].kill()
	f.names = slices.DeleteFunc(f.names, func(name string) bool { return name == dead })
	w.pause()
	eventually(t, failedAfter+time.Minute, func() error {
		s, err := status(at)
		if err == nil && (len(s.Actives) != 3 || !slices.Contains(s.Actives, "r1") || slices.Contains(s.Actives, dead) || !slices.Equal(s.Reserves, []string{"r2"})) {
			err = fmt.Errorf("actives %v, reserves %v", s.Actives, s.Reserves)
		}
		return err
	})
	if pause := w.pause(); pause >= failedAfter {
		t.Errorf("writes stopped for %v, want less than %v", pause, failedAfter)
	}
	said := f.agents["a1"].log.String() + f.agents["a2"].log.String() + f.agents["a3"].log.String()
	for _, want := range []string{
		"r1, a reserve, is asked to follow: " + dead + " has not answered for", "r1 becomes a learner, to take the seat of " + dead, "r1 takes the seat of " + dead,
	} {
		if strings.Count(said, want) != 1 {
			t.Errorf("%q is said %d times, want once", want, strings.Count(said, want))
		}
	}
	if got := f.agents["r1"].log.String(); !strings.Contains(got, "it was a reserve, and a") {
		t.Errorf("r1 does not say why it follows:\n%s", got)
	}

	if got := works(t, "", "autopilot", "set", "--addr", at, "--passives", "1"); !strings.Contains(got, "passives wanted  1\n") {
		t.Errorf("got\n%s", got)
	}
	eventually(t, failedAfter+time.Minute, func() error {
		s, err := status(at)
		if err == nil && !slices.Equal(s.Passives, []string{"r2"}) {
			err = fmt.Errorf("passives %v, reserves %v", s.Passives, s.Reserves)
		}
		return err
	})
	w.stop()
	w.done.Wait()
	f.settled()
}
