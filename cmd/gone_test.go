package cmd

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A member without a seat that is gone has nothing that could be removed. It is listed for
// a time that all who list it name, and when it comes back it is a member as before.
func TestGoneMembersWithoutASeatAreListedForAStatedTime(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	t.Parallel()
	f := newFlock(t, 1, 1)
	at, p1 := f.addr("a1"), f.agents["p1"]
	alive := func(want bool) {
		t.Helper()
		eventually(t, time.Minute, func() error {
			s, err := status(at)
			if err != nil {
				return err
			}
			for _, m := range s.Members {
				if m.Name == "p1" && m.Alive == want {
					return nil
				}
			}
			return fmt.Errorf("p1 is not listed with alive: %t", want)
		})
	}
	alive(true)
	p1.kill()
	alive(false)
	const note = "p1 has no seat and is gone: it is listed, and missing for `starling verify`, until 24 hours after it was last heard, for "
	for range 2 {
		got := works(t, "", "remove", "--addr", at, "p1")
		if !strings.HasPrefix(got, "p1 has no seat: nothing had to be changed\nnote: "+note) {
			t.Errorf("remove: got\n%s", got)
		}
	}
	if got := works(t, "", "members", "--addr", at); !strings.Contains(got, "note: "+note) {
		t.Errorf("members: got\n%s", got)
	}
	fails(t, exitRefused, "p1 has no seat, and was last heard ", "promote", "--addr", at, "p1")
	fails(t, exitRefused, "only a voter can lead", "transfer", "--addr", at, "p1")
	fails(t, exitNotFound, "no member is called \"p2\"", "promote", "--addr", at, "p2")
	out, _, code := run(t.Context(), "", "verify", "--addr", at)
	if code != exitFailure || !strings.Contains(out, "p1 has no seat and is gone") {
		t.Errorf("verify: exit code %d, got\n%s", code, out)
	}
	fails(t, exitNotFound, "no member is called \"p2\"", "remove", "--addr", at, "p2")
	p1.start()
	alive(true)
	if got := works(t, "", "members", "--addr", at); strings.Contains(got, "note: ") {
		t.Errorf("members, when it is back: got\n%s", got)
	}
	eventually(t, time.Minute, func() error {
		if out, stderr, code := run(t.Context(), "", "verify", "--addr", at); code != 0 {
			return errors.New(out + stderr)
		}
		return nil
	})
}
