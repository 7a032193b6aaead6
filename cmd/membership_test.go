package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// seatOf returns what the configuration says of a member, as another sees it.
func seatOf(at, name string) (string, error) {
	s, err := status(at)
	if err != nil {
		return "", err
	}
	for _, m := range s.Members {
		if m.Name == name {
			return m.Suffrage, nil
		}
	}
	return "", fmt.Errorf("%s is not known at %s", name, at)
}

// Members change their roles while they run, by hand, with real processes.
func TestSeatsByHand(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: processes take a while")
	}
	t.Parallel()
	f := newFlock(t, 3, 1)
	at := f.addr("a1")
	try := func(wantCode int, wantText string, args ...string) {
		t.Helper()
		words := 1
		if args[0] == "map" {
			words = 2
		}
		args = slices.Insert(args, words, "--addr", at, "--timeout", "30s")
		out, stderr, code := run(context.Background(), "", args...)
		if code != wantCode || !strings.Contains(out+stderr, wantText) {
			t.Fatalf("%v: exit code %d, %q; want %d with %q", args, code, out+stderr, wantCode, wantText)
		}
	}
	becomes := func(name, want string) {
		t.Helper()
		eventually(t, time.Minute, func() error {
			seat, err := seatOf(at, name)
			if err == nil && seat != want {
				err = fmt.Errorf("%s has the seat %q, want %q", name, seat, want)
			}
			return err
		})
	}
	try(0, "", "map", "put", "m", "k", "v")

	s, err := status(at)
	if err != nil {
		t.Fatal(err)
	}
	transferee := "a2"
	if s.Leader == transferee {
		transferee = "a3"
	}
	try(0, "", "transfer", transferee)
	eventually(t, time.Minute, func() error {
		s, err := status(at)
		if err == nil && s.Leader != transferee {
			err = fmt.Errorf("%q leads", s.Leader)
		}
		return err
	})
	try(4, "no member is called", "promote", "nobody")
	try(5, "wish to be active", "promote", "p1")

	e1 := newAgent(t, "e1", "passive", "--eligible", "--join", at)
	f.add(e1)
	e1.start()
	for _, name := range f.names { // the leader too
		eventually(t, time.Minute, func() error { _, err := seatOf(f.addr(name), "e1"); return err })
	}
	try(0, "", "promote", "e1")
	becomes("e1", "voter")
	try(0, "", "demote", "e1")
	becomes("e1", "")
	eventually(t, time.Minute, func() error {
		out, stderr, code := run(context.Background(), "", "map", "get", "--addr", e1.addr, "--consistency", "local", "m", "k")
		if code != 0 || strings.TrimSpace(out) != "v" {
			return fmt.Errorf("%q %q %d", out, stderr, code)
		}
		return nil
	})

	// A dead voter loses its seat, and the policy gives one to e1: the number
	// of voters wanted is as before. Meanwhile no live one may go.
	f.agents["a3"].kill()
	eventually(t, time.Minute, func() error { // the leader too has noticed by then
		s, err := status(at)
		for _, m := range s.Members {
			if m.Name == "a3" && m.Alive {
				err = errors.New("a3 is thought alive")
			}
		}
		return err
	})
	try(5, "voters that would be left", "demote", "a2")
	try(0, "", "remove", "a3")
	becomes("e1", "voter")
	try(0, "has no seat", "leave")
	becomes("a1", "")
	try(0, "v", "map", "get", "m", "k")
}
